/** The keys in force, on `?`. */

import { keys } from "../keys.js";
import { Dialog } from "./parts.js";

export function Help({ onClose }: { onClose: () => void }) {
  const seen = new Set<string>();
  const shown = keys.value.filter(({ key, words }) => words !== "" && !seen.has(key) && seen.add(key));
  return (
    <Dialog title="Keys" onClose={onClose}>
      <table class="keys">
        <tbody>
          {shown.map(({ key, words }) => (
            <tr key={key}>
              <th scope="row">
                <kbd>{key}</kbd>
              </th>
              <td>{words}</td>
            </tr>
          ))}
          <tr>
            <th scope="row">
              <kbd>↑</kbd> <kbd>↓</kbd> <kbd>Home</kbd> <kbd>End</kbd>
            </th>
            <td>move in a list</td>
          </tr>
        </tbody>
      </table>
    </Dialog>
  );
}

/** The keyboard shortcuts in force, on `?`. */

import { keys } from "../keys.js";
import { Dialog } from "./dialog.js";

export function Help({ onClose }: { onClose: () => void }) {
  const seen = new Set<string>();
  const shown = keys.value.filter(({ key, label }) => label !== "" && !seen.has(key) && seen.add(key));
  return (
    <Dialog title="Keyboard shortcuts" onClose={onClose}>
      <table class="keys">
        <tbody>
          {shown.map(({ key, label }) => (
            <tr key={key}>
              <th scope="row">
                <kbd>{key}</kbd>
              </th>
              <td>{label}</td>
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

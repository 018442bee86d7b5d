/** The field for an entry copied from a README or another program's configuration. */

import { useState } from "preact/hooks";
import { readPasted, type Pasted } from "./paste.js";

export function PasteField({ onPasted }: { onPasted: (pasted: Pasted) => void }) {
  const [text, setText] = useState("");
  const [error, setError] = useState("");
  const [several, setSeveral] = useState<readonly Pasted[]>([]);
  const take = (value: string): void => {
    setText(value);
    setSeveral([]);
    setError("");
    if (value.trim() === "") return;
    try {
      const pasted = readPasted(value);
      if (pasted.length === 1) onPasted(pasted[0] as Pasted);
      else setSeveral(pasted);
    } catch (failure) {
      setError((failure as Error).message);
    }
  };
  return (
    <details class="card paste">
      <summary>Paste an entry from Claude, Cursor, VS Code …</summary>
      <div class="stack">
        <textarea rows={5} aria-label="Entry to paste" spellcheck={false} placeholder='{"mcpServers": {"git": {"command": "mcp-server-git"}}}' value={text} onInput={(event) => take(event.currentTarget.value)} />
        {error && <p class="error bad">{error}</p>}
        {several.length > 1 && (
          <div class="row wrap">
            <span>Which server?</span>
            {several.map((pasted) => (
              <button key={pasted.name} type="button" onClick={() => onPasted(pasted)}>
                {pasted.name}
              </button>
            ))}
          </div>
        )}
      </div>
    </details>
  );
}

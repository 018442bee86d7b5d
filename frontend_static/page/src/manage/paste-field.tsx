/** Entries of other programs: pasted from a README or a configuration, or read from a file that the user chooses. */

import { useState } from "preact/hooks";
import { ClientFiles } from "./client-files.js";
import { readPasted, type Pasted } from "./paste.js";

/** Where programs keep their servers, on most systems. */
const FILES = [
  ["Claude Desktop", "claude_desktop_config.json"],
  ["Claude Code", "~/.claude.json"],
  ["Cursor", "~/.cursor/mcp.json"],
  ["VS Code", ".vscode/mcp.json"],
  ["Windsurf", "~/.codeium/windsurf/mcp_config.json"],
  ["Gemini CLI", "~/.gemini/settings.json"],
] as const;

/** @param open whether it is open from the beginning. */
export function PasteField({ open, onPasted }: { open: boolean; onPasted: (pasted: Pasted) => void }) {
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
  const choose = async (file: File | undefined): Promise<void> => {
    if (file !== undefined) take(await file.text());
  };
  return (
    <details class="card paste" open={open}>
      <summary>Import from Claude, Cursor, VS Code …</summary>
      <div class="stack">
        <ClientFiles onPasted={onPasted} />
        <p class="muted">Or paste an entry, or the text of a file:</p>
        <textarea rows={5} aria-label="Entry to paste" spellcheck={false} placeholder='{"mcpServers": {"git": {"command": "mcp-server-git"}}}' value={text} onInput={(event) => take(event.currentTarget.value)} />
        <label>
          Or choose a file of this computer
          <input type="file" accept=".json,.jsonc,application/json" onChange={(event) => void choose(event.currentTarget.files?.[0])} />
        </label>
        <p class="muted description">
          {FILES.map(([program, path], index) => (
            <>
              {index > 0 && ", "}
              {program}: <code>{path}</code>
            </>
          ))}
          . The file is read in this browser; nothing is saved until you have reviewed it.
        </p>
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

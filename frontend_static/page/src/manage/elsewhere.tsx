/** Using a server from other programs: configuration entries for IDEs, and gateway tokens. */

import { useEffect, useState } from "preact/hooks";
import { rest } from "../api.js";
import { useAttempt } from "../ui/attempt.js";
import { Banner, CopyButton } from "../ui/parts.js";
import { Table } from "../ui/table.js";

const IDES = {
  vscode: "VS Code",
  "vscode-command": "VS Code, with mcp-ws-connect",
  cursor: "Cursor",
  claude: "Claude",
  "jupyter-ai": "jupyter-ai",
  "notebook-intelligence": "Notebook Intelligence",
} as const;
const DAYS = [1, 7, 30, 90, 365];
const DAY = 86_400;

interface Token {
  readonly id: string;
  readonly servers: readonly string[];
  readonly created: number;
  readonly expires: number;
  readonly note: string;
  readonly last_used: number | null;
}

export function Elsewhere({ name }: { name: string }) {
  const [tokens, setTokens] = useState<readonly Token[]>([]);
  const { error, attempt } = useAttempt();
  const run = async (action: () => Promise<unknown>): Promise<void> => {
    await attempt("run", async () => {
      await action();
      setTokens((await rest<{ tokens: Token[] }>("tokens")).tokens.filter(({ servers }) => servers.includes(name)));
    });
  };
  useEffect(() => void run(async () => {}), [name]);
  return (
    <details class="card elsewhere">
      <summary>
        <h3>Connect other programs: IDE entries, tokens</h3>
      </summary>
      <div class="stack">
        {error && <Banner kind="bad">{error}</Banner>}
        <IdeEntry name={name} run={run} />
        <NewToken name={name} run={run} />
        {tokens.length > 0 && <Tokens tokens={tokens} onRevoke={(id) => void run(() => rest(`tokens/${id}`, { method: "DELETE" }))} />}
      </div>
    </details>
  );
}

/** Run an action, then list the tokens again; failures are shown above. */
type Run = (action: () => Promise<unknown>) => Promise<void>;

function IdeEntry({ name, run }: { name: string; run: Run }) {
  const [ide, setIde] = useState<keyof typeof IDES>("vscode");
  const [withToken, setWithToken] = useState(false);
  const [text, setText] = useState("");
  const make = (): void =>
    void run(async () => {
      const entry = await rest(`servers/${encodeURIComponent(name)}/entry`, { method: "POST", body: { ide, token: withToken } });
      setText(JSON.stringify(entry, null, 2));
    });
  return (
    <>
      <div class="row wrap">
        <label class="inline">
          Entry for{" "}
          <select value={ide} onChange={(event) => (setIde(event.currentTarget.value as keyof typeof IDES), setText(""))}>
            {Object.entries(IDES).map(([key, label]) => (
              <option key={key} value={key}>
                {label}
              </option>
            ))}
          </select>
        </label>
        <label class="inline">
          <input type="checkbox" checked={withToken} onChange={(event) => (setWithToken(event.currentTarget.checked), setText(""))} /> with a new token, valid for 30 days
        </label>
        <button type="button" onClick={make}>
          Show entry
        </button>
      </div>
      {text && (
        <div class="block">
          <div class="block-tools">
            <CopyButton text={() => text} label="Copy entry" />
          </div>
          <pre class="said-block" tabIndex={0}>
            {text}
          </pre>
        </div>
      )}
    </>
  );
}

function NewToken({ name, run }: { name: string; run: Run }) {
  const [note, setNote] = useState("");
  const [days, setDays] = useState(30);
  const [secret, setSecret] = useState("");
  const create = (): void =>
    void run(async () => {
      const { token } = await rest<{ token: string }>("tokens", { method: "POST", body: { servers: [name], note, expires_in: days * DAY } });
      setSecret(token);
      setNote("");
    });
  return (
    <>
      <div class="row wrap">
        <label class="inline">
          New token, valid for{" "}
          <select value={days} onChange={(event) => setDays(Number(event.currentTarget.value))}>
            {DAYS.map((count) => (
              <option key={count} value={count}>
                {count === 1 ? "1 day" : `${count} days`}
              </option>
            ))}
          </select>
        </label>
        <input type="text" class="filter" aria-label="Note for the token" placeholder="note, such as the program" maxLength={200} value={note} onInput={(event) => setNote(event.currentTarget.value)} />
        <button type="button" onClick={create}>
          Create token
        </button>
      </div>
      {secret && (
        <Banner>
          <span class="row wrap">
            Copy it now; it is shown only once: <code class="secret">{secret}</code> <CopyButton text={() => secret} label="Copy token" />
            <button type="button" onClick={() => setSecret("")}>
              Done
            </button>
          </span>
        </Banner>
      )}
    </>
  );
}

function Tokens({ tokens, onRevoke }: { tokens: readonly Token[]; onRevoke: (id: string) => void }) {
  return (
    <Table columns={["Token", "Servers", "Expires", "Last used", ""]}>
      {tokens.map((token) => (
        <tr key={token.id}>
          <td>{token.note || <span class="mono">{token.id}</span>}</td>
          <td>{token.servers.join(", ")}</td>
          <td>{new Date(token.expires * 1000).toLocaleDateString()}</td>
          <td>{token.last_used === null ? "never" : new Date(token.last_used * 1000).toLocaleString()}</td>
          <td>
            <button type="button" class="danger" aria-label={`Revoke the token ${token.note || token.id}`} onClick={() => onRevoke(token.id)}>
              Revoke
            </button>
          </td>
        </tr>
      ))}
    </Table>
  );
}

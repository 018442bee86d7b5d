/** Using a server from elsewhere: entries for IDEs, gateway tokens. */

import { useEffect, useState } from "preact/hooks";
import { rest } from "../api.js";
import { Banner, Columns, CopyButton } from "../ui/parts.js";

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
  const [wrong, setWrong] = useState("");
  const attempt = async (action: () => Promise<void>): Promise<void> => {
    setWrong("");
    try {
      await action();
      setTokens((await rest<{ tokens: Token[] }>("tokens")).tokens.filter(({ servers }) => servers.includes(name)));
    } catch (error) {
      setWrong((error as Error).message);
    }
  };
  useEffect(() => void attempt(async () => {}), [name]);
  return (
    <details class="card elsewhere">
      <summary>
        <h3>Use it elsewhere: IDEs, tokens</h3>
      </summary>
      <div class="stack">
        {wrong && <Banner kind="bad">{wrong}</Banner>}
        <IdeEntry name={name} attempt={attempt} />
        <Minting name={name} attempt={attempt} />
        {tokens.length > 0 && <Tokens tokens={tokens} onRevoke={(id) => void attempt(() => rest(`tokens/${id}`, { method: "DELETE" }))} />}
      </div>
    </details>
  );
}

type Attempt = (action: () => Promise<void>) => Promise<void>;

function IdeEntry({ name, attempt }: { name: string; attempt: Attempt }) {
  const [ide, setIde] = useState<keyof typeof IDES>("vscode");
  const [withToken, setWithToken] = useState(false);
  const [text, setText] = useState("");
  const make = (): void =>
    void attempt(async () => {
      const entry = await rest(`servers/${encodeURIComponent(name)}/entry`, { method: "POST", body: { ide, token: withToken } });
      setText(JSON.stringify(entry, null, 2));
    });
  return (
    <>
      <div class="row wrap">
        <label class="inline">
          Entry for{" "}
          <select value={ide} onChange={(event) => (setIde(event.currentTarget.value as keyof typeof IDES), setText(""))}>
            {Object.entries(IDES).map(([key, words]) => (
              <option key={key} value={key}>
                {words}
              </option>
            ))}
          </select>
        </label>
        <label class="inline">
          <input type="checkbox" checked={withToken} onChange={(event) => (setWithToken(event.currentTarget.checked), setText(""))} /> with a new token, good for 30 days
        </label>
        <button type="button" onClick={make}>
          Show the entry
        </button>
      </div>
      {text && (
        <div class="block">
          <div class="block-tools">
            <CopyButton text={() => text} label="Copy the entry" />
          </div>
          <pre class="said-block" tabIndex={0}>
            {text}
          </pre>
        </div>
      )}
    </>
  );
}

function Minting({ name, attempt }: { name: string; attempt: Attempt }) {
  const [note, setNote] = useState("");
  const [days, setDays] = useState(30);
  const [secret, setSecret] = useState("");
  const mint = (): void =>
    void attempt(async () => {
      const { token } = await rest<{ token: string }>("tokens", { method: "POST", body: { servers: [name], note, expires_in: days * DAY } });
      setSecret(token);
      setNote("");
    });
  return (
    <>
      <div class="row wrap">
        <label class="inline">
          New token, good for{" "}
          <select value={days} onChange={(event) => setDays(Number(event.currentTarget.value))}>
            {DAYS.map((count) => (
              <option key={count} value={count}>
                {count === 1 ? "a day" : `${count} days`}
              </option>
            ))}
          </select>
        </label>
        <input type="text" class="filter" aria-label="What the token is for" placeholder="what it is for" maxLength={200} value={note} onInput={(event) => setNote(event.currentTarget.value)} />
        <button type="button" onClick={mint}>
          Make a token
        </button>
      </div>
      {secret && (
        <Banner>
          <span class="row wrap">
            This is shown once: <code class="secret">{secret}</code> <CopyButton text={() => secret} label="Copy the token" />
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
    <table class="data">
      <Columns names={["Token", "Servers", "Good until", "Last used", ""]} />
      <tbody>
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
      </tbody>
    </table>
  );
}

/** Adding or changing an entry of the user's mcp.json: form or JSON, checked while it is written, agreed to before it runs. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { announce } from "../announce.js";
import { ApiError, type Problem } from "../api.js";
import { servers } from "../polled.js";
import { go, href } from "../route.js";
import { Banner, Empty } from "../ui/parts.js";
import { ConsentDialog } from "./consent.js";
import { preview, read, save, tryOnce, type Entry, type Preview } from "./definitions.js";
import { ListField, PairsField, TextField, type Wrong } from "./fields.js";
import { readPasted, type Pasted } from "./paste.js";

/** Milliseconds after the last key before the gateway is asked. */
const REST = 400;
const KINDS = [
  { key: "command", words: "a program (stdio)" },
  { key: "url", words: "an address (HTTP, SSE, WebSocket, Unix socket)" },
  { key: "python", words: "a Python object in Jupyter's process" },
  { key: "group", words: "several servers as one" },
] as const;
type Kind = (typeof KINDS)[number]["key"];

export default function Editor({ name: given }: { name?: string }) {
  const [entry, setEntry] = useState<Entry | undefined>(given === undefined ? { command: "" } : undefined);
  const [name, setName] = useState(given ?? "");
  const [wrong, setWrong] = useState("");
  useEffect(() => {
    if (given === undefined) return;
    read(given).then(
      (definition) => setEntry(definition.entry),
      (error: Error) => setWrong(error.message),
    );
  }, [given]);
  return (
    <section class="view narrow" aria-label={given === undefined ? "Add a server" : `Change ${given}`}>
      <p>
        <a href={href(given === undefined ? ["servers"] : ["servers", given])}>← {given ?? "Servers"}</a>
      </p>
      <h2>{given === undefined ? "Add a server" : `Change ${given}`}</h2>
      {wrong && <Banner kind="bad">{wrong}</Banner>}
      {entry === undefined ? !wrong && <Empty>Loading …</Empty> : <Form isNew={given === undefined} name={name} entry={entry} onName={setName} onEntry={setEntry} />}
    </section>
  );
}

interface FormProps {
  isNew: boolean;
  name: string;
  entry: Entry;
  onName: (name: string) => void;
  onEntry: (entry: Entry) => void;
}

function Form({ isNew, name, entry, onName, onEntry }: FormProps) {
  const [json, setJson] = useState<string | undefined>();
  const [jsonError, setJsonError] = useState("");
  const [wrong, setWrong] = useState("");
  const [touched, setTouched] = useState(!isNew);
  const [seen, setSeen] = useState<Preview | undefined>();
  const [asking, setAsking] = useState(false);
  const cleaned = useMemo(() => clean(entry), [entry]);
  const [unchecked, setUnchecked] = useState("");
  const checked = useCheck(name, cleaned, touched, setUnchecked);
  const problems = checked?.problems ?? [];
  const byKey: Wrong = useMemo(() => keyed(name, problems), [checked]);
  const nameError = name !== "" && !/^[A-Za-z0-9._-]+$/.test(name) ? "letters, digits, '.', '_' and '-' only" : undefined;

  const change = (next: Entry): void => {
    setTouched(true);
    setWrong("");
    onEntry(next);
  };
  const review = async (): Promise<void> => {
    setTouched(true);
    if (name === "") return setWrong("Give the server a name.");
    setAsking(true);
    try {
      const found = await preview(name, cleaned);
      setWrong(found.digest === null ? "Something is wrong with the entry; see below." : "");
      setSeen(found.digest === null ? undefined : found);
    } catch (error) {
      setWrong((error as Error).message);
    }
    setAsking(false);
  };
  const write = async (agreed: boolean): Promise<void> => {
    if (seen === undefined) return;
    try {
      await save(name, cleaned, seen.version, agreed ? (seen.digest ?? undefined) : undefined);
    } catch (error) {
      if (error instanceof ApiError && (error.status === 412 || error.status === 409)) setSeen(undefined);
      setWrong((error as Error).message);
      throw error;
    }
    announce(`${name} was saved`);
    await servers.refresh();
    go(["servers", name]);
  };
  return (
    <form class="stack" noValidate onSubmit={(event) => (event.preventDefault(), void review())}>
      {isNew && (
        <Paste
          onPasted={({ name: found, entry: pasted }) => {
            if (found) onName(found);
            setJson(undefined);
            change(pasted);
          }}
        />
      )}
      {isNew && <TextField label="Name" value={name} error={nameError} placeholder="git" onInput={(text) => (setTouched(true), onName(text))} />}
      <div class="segments" role="group" aria-label="Write it as">
        <button type="button" aria-pressed={json === undefined} onClick={() => json !== undefined && !jsonError && setJson(undefined)}>
          Form
        </button>
        <button type="button" aria-pressed={json !== undefined} onClick={() => setJson(JSON.stringify(cleaned, null, 2))}>
          JSON
        </button>
      </div>
      {json === undefined ? (
        <EntryFields entry={entry} onChange={change} wrong={byKey} />
      ) : (
        <JsonField
          text={json}
          error={jsonError}
          onInput={(text) => {
            setJson(text);
            const found = objectOf(text);
            setJsonError(typeof found === "string" ? found : "");
            if (typeof found !== "string") change(found);
          }}
        />
      )}
      <Problems problems={problems} name={name} />
      {(wrong || unchecked) && <Banner kind="bad">{wrong || unchecked}</Banner>}
      <div class="row">
        <button type="submit" class="primary" disabled={asking || jsonError !== "" || nameError !== undefined}>
          Review what it runs …
        </button>
        <span class="muted">Nothing is started before you agree.</span>
      </div>
      {seen?.launch && (
        <ConsentDialog
          title={`${isNew ? "Add" : "Change"} ${name}`}
          launch={seen.launch}
          file={servers.value.value?.editing.file ?? "mcp.json"}
          yes="Agree, and save"
          onAgree={() => write(true)}
          onLater={() => write(false)}
          {...(seen.launch.kind !== "group" && { onTry: () => tryOnce(name, cleaned, seen.digest ?? "") })}
          onClose={() => setSeen(undefined)}
        />
      )}
    </form>
  );
}

/** What the gateway says of the entry, a moment after the last key. */
function useCheck(name: string, entry: Entry, active: boolean, onError: (words: string) => void): Preview | undefined {
  const [found, setFound] = useState<Preview | undefined>();
  const asked = useRef<AbortController | undefined>(undefined);
  useEffect(() => {
    if (!active || name === "" || !/^[A-Za-z0-9._-]+$/.test(name)) return;
    const timer = setTimeout(() => {
      asked.current?.abort();
      const stop = (asked.current = new AbortController());
      preview(name, entry, stop.signal).then(
        (answer) => (setFound(answer), onError("")),
        (error: Error) => stop.signal.aborted || onError(error.message),
      );
    }, REST);
    return () => clearTimeout(timer);
  }, [name, entry, active]);
  return found;
}

function keyed(name: string, problems: readonly Problem[]): Wrong {
  return new Map(problems.filter(({ severity }) => severity === "error").map(({ key, reason }) => [key.replace(`${name}.`, ""), reason]));
}

function objectOf(text: string): Entry | string {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Entry) : "must be an object";
  } catch (error) {
    return (error as Error).message;
  }
}

/** Without fields that were left empty. */
function clean(entry: Entry): Entry {
  const empty = (value: unknown): boolean => value === undefined || value === "" || (Array.isArray(value) && value.length === 0) || (typeof value === "object" && value !== null && Object.keys(value).length === 0);
  const optional = ["args", "env", "headers", "cwd", "type", "group"];
  return Object.fromEntries(Object.entries(entry).filter(([key, value]) => !(optional.includes(key) && empty(value))));
}

function EntryFields({ entry, onChange, wrong }: { entry: Entry; onChange: (entry: Entry) => void; wrong: Wrong }) {
  const kind: Kind = KINDS.find(({ key }) => key in entry)?.key ?? "command";
  const set = (key: string, value: unknown): void => onChange({ ...entry, [key]: value });
  const choose = (to: Kind): void => {
    const { command: _c, url: _u, python: _p, group: _g, args: _a, type: _t, transport: _tr, ...rest } = entry;
    onChange({ [to]: to === "group" ? [] : "", ...rest });
  };
  return (
    <div class="stack">
      <div class="field">
        <label for="kind">What it is</label>
        <select id="kind" value={kind} onChange={(event) => choose(event.currentTarget.value as Kind)}>
          {KINDS.map(({ key, words }) => (
            <option key={key} value={key}>
              {words}
            </option>
          ))}
        </select>
      </div>
      {kind === "command" && (
        <>
          <TextField label="Program" value={textOf(entry["command"])} placeholder="mcp-server-git" error={wrong.get("command")} onInput={(text) => set("command", text)} help="Searched beside Jupyter first, then on PATH; no shell." />
          <ListField label="Arguments" name="args" values={listOf(entry["args"])} wrong={wrong} add="Add an argument" onChange={(values) => set("args", values)} />
        </>
      )}
      {kind === "url" && (
        <>
          <TextField label="Address" value={textOf(entry["url"])} placeholder="https://example.org/mcp" error={wrong.get("url")} onInput={(text) => set("url", text)} />
          <div class="field">
            <label for="type">Transport</label>
            <select id="type" value={typeof entry["type"] === "string" ? entry["type"] : ""} onChange={(event) => set("type", event.currentTarget.value)}>
              <option value="">by its address</option>
              <option value="http">Streamable HTTP</option>
              <option value="sse">HTTP with SSE (2024-11-05)</option>
              <option value="ws">WebSocket</option>
            </select>
            {wrong.get("type") && <p class="error bad">{wrong.get("type")}</p>}
          </div>
          <Pairs label="Headers" name="headers" entry={entry} wrong={wrong} add="Add a header" set={set} />
        </>
      )}
      {kind === "python" && <TextField label="Object" value={textOf(entry["python"])} placeholder="my_package.server:mcp" error={wrong.get("python")} onInput={(text) => set("python", text)} />}
      {kind === "group" && <ListField label="Members" name="group" values={listOf(entry["group"])} wrong={wrong} add="Add a member" onChange={(values) => set("group", values)} />}
      {kind === "command" && (
        <>
          <Pairs label="Environment" name="env" entry={entry} wrong={wrong} add="Add a variable" set={set} />
          <TextField label="Directory" value={textOf(entry["cwd"])} placeholder="that of Jupyter" error={wrong.get("cwd")} onInput={(text) => set("cwd", text)} />
        </>
      )}
      <p class="muted">
        A secret is best left in Jupyter's environment: <code>{"${env:NAME}"}</code>. Everything else an entry may have (<code>mcp_ws</code>, <code>disabled</code>, …) is kept, and can be written as JSON.
      </p>
    </div>
  );
}

function Pairs({ label, name, entry, wrong, add, set }: { label: string; name: "env" | "headers"; entry: Entry; wrong: Wrong; add: string; set: (key: string, value: unknown) => void }) {
  const stored = entry[name];
  const [pairs, setPairs] = useState(() => pairsOf(stored));
  useEffect(() => {
    const named = pairs.filter(([key]) => key !== "");
    if (JSON.stringify(Object.fromEntries(named)) !== JSON.stringify(Object.fromEntries(pairsOf(stored)))) setPairs(pairsOf(stored));
  }, [stored]);
  return (
    <PairsField
      label={label}
      name={name}
      pairs={pairs}
      wrong={wrong}
      add={add}
      example="${env:NAME}"
      onChange={(next) => {
        setPairs(next);
        set(name, Object.fromEntries(next.filter(([key]) => key !== "")));
      }}
    />
  );
}

function textOf(value: unknown): any {
  return typeof value === "object" && value !== null ? value : String(value ?? "");
}

function listOf(value: unknown): any[] {
  return Array.isArray(value) ? value : [];
}

function pairsOf(value: unknown): (readonly [string, any])[] {
  if (Array.isArray(value)) return value.map((item: any) => [String(item?.name ?? ""), item?.value ?? ""] as const);
  return typeof value === "object" && value !== null && !("hidden" in value) ? Object.entries(value) : [];
}

function JsonField({ text, error, onInput }: { text: string; error: string; onInput: (text: string) => void }) {
  return (
    <div class="field">
      <label for="entry-json">The entry</label>
      <textarea id="entry-json" rows={12} spellcheck={false} aria-invalid={error !== ""} value={text} onInput={(event) => onInput(event.currentTarget.value)} />
      <p class="description muted">
        {'{"hidden": …}'} stands for a value that is stored and not shown; leave it to keep the value.
      </p>
      {error && <p class="error bad">{error}</p>}
    </div>
  );
}

function Problems({ problems, name }: { problems: readonly Problem[]; name: string }) {
  if (problems.length === 0) return null;
  return (
    <ul class="problems" aria-label="What is wrong with the entry">
      {problems.map(({ key, reason, severity }) => (
        <li key={`${key} ${reason}`} class={severity === "error" ? "bad" : "warn"}>
          <code>{key.replace(`${name}.`, "")}</code> {reason}
        </li>
      ))}
    </ul>
  );
}

function Paste({ onPasted }: { onPasted: (pasted: Pasted) => void }) {
  const [text, setText] = useState("");
  const [wrong, setWrong] = useState("");
  const [several, setSeveral] = useState<readonly Pasted[]>([]);
  const take = (value: string): void => {
    setText(value);
    setSeveral([]);
    setWrong("");
    if (value.trim() === "") return;
    try {
      const found = readPasted(value);
      if (found.length === 1) onPasted(found[0] as Pasted);
      else setSeveral(found);
    } catch (error) {
      setWrong((error as Error).message);
    }
  };
  return (
    <details class="card paste">
      <summary>Paste an entry of Claude, Cursor, VS Code …</summary>
      <div class="stack">
        <textarea rows={5} aria-label="An entry to paste" spellcheck={false} placeholder='{"mcpServers": {"git": {"command": "mcp-server-git"}}}' value={text} onInput={(event) => take(event.currentTarget.value)} />
        {wrong && <p class="error bad">{wrong}</p>}
        {several.length > 1 && (
          <div class="row wrap">
            <span>Which one?</span>
            {several.map((one) => (
              <button key={one.name} type="button" onClick={() => onPasted(one)}>
                {one.name}
              </button>
            ))}
          </div>
        )}
      </div>
    </details>
  );
}

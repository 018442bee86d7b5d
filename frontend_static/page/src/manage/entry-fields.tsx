/** The fields of an mcp.json entry: by kind of server, or as JSON. Knows nothing of how an entry is checked or saved. */

import { useEffect, useState } from "preact/hooks";
import type { Entry } from "./definitions.js";
import { ListField, PairsField, TextField, type Errors } from "./fields.js";

const KINDS = [
  { key: "command", label: "a program (stdio)" },
  { key: "url", label: "an address (HTTP, SSE, WebSocket, Unix socket)" },
  { key: "python", label: "a Python object in Jupyter's process" },
  { key: "group", label: "a group of servers" },
] as const;
type Kind = (typeof KINDS)[number]["key"];

/** Members that depend on the kind; the others are kept when the kind changes. */
const OF_KIND = ["command", "url", "python", "group", "args", "type", "transport"];
/** Members that are left out when they are empty. */
const OPTIONAL = ["args", "env", "headers", "cwd", "type", "group"];

interface FieldsProps {
  entry: Entry;
  errors: Errors;
  set: (key: string, value: unknown) => void;
}

export function EntryFields({ entry, onChange, errors }: { entry: Entry; onChange: (entry: Entry) => void; errors: Errors }) {
  const kind: Kind = KINDS.find(({ key }) => key in entry)?.key ?? "command";
  const choose = (to: Kind): void => {
    const kept = Object.entries(entry).filter(([key]) => !OF_KIND.includes(key));
    onChange({ [to]: to === "group" ? [] : "", ...Object.fromEntries(kept) });
  };
  const props = { entry, errors, set: (key: string, value: unknown): void => onChange({ ...entry, [key]: value }) };
  return (
    <div class="stack">
      <div class="field">
        <label for="kind">Kind of server</label>
        <select id="kind" value={kind} onChange={(event) => choose(event.currentTarget.value as Kind)}>
          {KINDS.map(({ key, label }) => (
            <option key={key} value={key}>
              {label}
            </option>
          ))}
        </select>
      </div>
      {kind === "command" && <CommandFields {...props} />}
      {kind === "url" && <UrlFields {...props} />}
      {kind === "python" && <TextField label="Object" value={textOf(entry["python"])} placeholder="my_package.server:mcp" error={errors.get("python")} onInput={(text) => props.set("python", text)} />}
      {kind === "group" && <ListField label="Members" name="group" values={listOf(entry["group"])} errors={errors} add="Add a member" onChange={(values) => props.set("group", values)} />}
      <p class="muted">
        Keep secrets in Jupyter's environment: <code>{"${env:NAME}"}</code>. All other members of an entry (<code>mcp_ws</code>, <code>disabled</code>, …) are kept; edit them as JSON.
      </p>
    </div>
  );
}

function CommandFields({ entry, errors, set }: FieldsProps) {
  return (
    <>
      <TextField label="Program" value={textOf(entry["command"])} placeholder="mcp-server-git" error={errors.get("command")} onInput={(text) => set("command", text)} help="Looked up next to Jupyter's Python first, then on PATH; no shell." />
      <ListField label="Arguments" name="args" values={listOf(entry["args"])} errors={errors} add="Add an argument" onChange={(values) => set("args", values)} />
      <Pairs label="Environment" name="env" entry={entry} errors={errors} add="Add a variable" set={set} />
      <TextField label="Directory" value={textOf(entry["cwd"])} placeholder="Jupyter's working directory" error={errors.get("cwd")} onInput={(text) => set("cwd", text)} />
    </>
  );
}

function UrlFields({ entry, errors, set }: FieldsProps) {
  return (
    <>
      <TextField label="Address" value={textOf(entry["url"])} placeholder="https://example.org/mcp" error={errors.get("url")} onInput={(text) => set("url", text)} />
      <div class="field">
        <label for="type">Transport</label>
        <select id="type" value={typeof entry["type"] === "string" ? entry["type"] : ""} onChange={(event) => set("type", event.currentTarget.value)}>
          <option value="">detect from the address</option>
          <option value="http">Streamable HTTP</option>
          <option value="sse">HTTP with SSE (2024-11-05)</option>
          <option value="ws">WebSocket</option>
        </select>
        {errors.get("type") && <p class="error bad">{errors.get("type")}</p>}
      </div>
      <Pairs label="Headers" name="headers" entry={entry} errors={errors} add="Add a header" set={set} />
    </>
  );
}

/** Pairs of an entry; those without a name yet exist on the page only. */
function Pairs({ label, name, entry, errors, add, set }: FieldsProps & { label: string; name: "env" | "headers"; add: string }) {
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
      errors={errors}
      add={add}
      example="${env:NAME}"
      onChange={(next) => {
        setPairs(next);
        set(name, Object.fromEntries(next.filter(([key]) => key !== "")));
      }}
    />
  );
}

export function JsonField({ text, error, onInput }: { text: string; error: string; onInput: (text: string) => void }) {
  return (
    <div class="field">
      <label for="entry-json">Entry</label>
      <textarea id="entry-json" rows={12} spellcheck={false} aria-invalid={error !== ""} value={text} onInput={(event) => onInput(event.currentTarget.value)} />
      <p class="description muted">
        {'{"hidden": …}'} stands for a stored value that is not shown; leave it in place to keep the value.
      </p>
      {error && <p class="error bad">{error}</p>}
    </div>
  );
}

/** An entry without the optional members that are empty. */
export function withoutEmpty(entry: Entry): Entry {
  return Object.fromEntries(Object.entries(entry).filter(([key, value]) => !(OPTIONAL.includes(key) && isEmpty(value))));
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === "") return true;
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
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

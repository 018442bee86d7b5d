/** The tools of a server: their arguments, and calls. */

import type { Tool } from "@modelcontextprotocol/client";
import { useMemo, useRef, useState } from "preact/hooks";
import { announce } from "../announce.js";
import { check, notChecked } from "../form/checker.js";
import { SchemaForm } from "../form/form.js";
import { mistakeIn, placed } from "../form/json-place.js";
import { useLink } from "../form/link.js";
import { fieldOf, initial, isObject, resolved, variantsOf, type Json, type Schema } from "../form/schema.js";
import { useKeys } from "../keys.js";
import type { Connection, Draft } from "../mcp/connection.js";
import { faultsOf, textOf } from "../mcp/lenient.js";
import { href } from "../route.js";
import { Choose } from "../ui/choose.js";
import { Guard } from "../ui/guard.js";
import { JsonTree } from "../ui/json.js";
import { Badge, Banner, Clamped, CopyButton, Empty } from "../ui/parts.js";
import { Work } from "./work.js";

export function Tools({ connection, chosen, given }: { connection: Connection; chosen: string | undefined; given: string | undefined }) {
  const { items, error } = connection.lists.tools.value;
  const tool = items?.find(({ name }) => name === chosen);
  const links = useLink(given, tool !== undefined, (args) => connection.drafts.set(tool?.name ?? "", begin(schemaOf(tool), args)));
  const place = (name: string): string => href(["server", connection.name, "tools", name]);
  const listed = items?.map(({ name, title, description }) => ({ key: name, title: name, description: textOf(description) || textOf(title), href: place(name) }));
  return (
    <Choose label="tools" items={listed} error={error} loading={connection.state.value.kind !== "closed"} chosen={chosen} back={href(["server", connection.name, "tools"])}>
      {tool && given === undefined && (
        <Guard key={`${links} ${tool.name}`} what="this tool">
          <ToolDetail tool={tool} connection={connection} />
        </Guard>
      )}
      {!tool && chosen !== undefined && items !== undefined && <Empty>The server has no tool named {chosen}.</Empty>}
      {chosen === undefined && <Empty>Select a tool.</Empty>}
    </Choose>
  );
}

/** @param given arguments from a link, as JSON. */
function begin(schema: Schema, given: string | undefined): Draft {
  const value = initial(schema, schema) ?? {};
  if (given === undefined) return { value, text: undefined };
  const linked = objectOf(given);
  return linked === undefined ? { value, text: given } : { value: linked, text: undefined };
}

function objectOf(text: string): Json | undefined {
  try {
    const value = JSON.parse(text) as Json;
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Why a text cannot be the arguments of a tool. */
function notAnObject(text: string): string {
  const mistake = mistakeIn(text);
  return mistake ? `The arguments are not valid JSON: ${placed(mistake)}.` : "The arguments are not a JSON object.";
}

const NO_SCHEMA: Schema = {};
/** Milliseconds after which the page shows that a call waits for the check of its arguments. */
const SHOWN_AFTER = 300;

function schemaOf(tool: Tool | undefined): Schema {
  return isObject(tool?.inputSchema) ? tool.inputSchema : NO_SCHEMA;
}

function ToolDetail({ tool, connection }: { tool: Tool; connection: Connection }) {
  const schema = schemaOf(tool);
  const { draft, setDraft, errors, problem, setProblem, form, call, checking, reset } = useToolCall(tool, schema, connection);
  const connected = ["connected", "reconnecting"].includes(connection.state.value.kind);
  useKeys(() => [{ key: "Ctrl+Enter", label: "call the tool", typing: true, run: (event) => !inQuestion(event) && connected && void call(false) }], [connected]);
  return (
    <Work connection={connection} kind="tool" name={tool.name}>
      <ToolHead tool={tool} />
      <form ref={form} class="arguments-form stack" noValidate aria-label={`Arguments of ${tool.name}`} onSubmit={(event) => (event.preventDefault(), void call(false))}>
        <Modes draft={draft} setDraft={setDraft} schema={schema} setProblem={setProblem} />
        {draft.text === undefined ? (
          <Guard what="the form" instead="Enter the arguments as JSON.">
            <SchemaForm schema={schema} value={draft.value} onChange={(value) => setDraft({ value: value ?? {}, text: undefined })} errors={errors} recent={(name) => connection.recent.of(name)} />
          </Guard>
        ) : (
          <RawArguments text={draft.text} setText={(text) => setDraft({ value: draft.value, text })} errors={errors} />
        )}
        {problem && <Banner kind="bad">{problem}</Banner>}
        <div class="row wrap submit">
          <button type="submit" class="primary" disabled={!connected || checking} title="Ctrl+Enter">
            Call
          </button>
          {checking && <span class="muted">Checking the arguments …</span>}
          {errors.size > 0 && (
            <button type="button" disabled={!connected || checking} onClick={() => void call(true)}>
              Call anyway
            </button>
          )}
          <span class="spring" />
          <button type="button" class="quiet" onClick={reset}>
            Reset
          </button>
          <CopyButton label="Copy link with these arguments" text={() => linkTo(connection, tool, draft)} />
        </div>
      </form>
    </Work>
  );
}

/** The arguments of a tool as they are typed, their errors, and the call with them. */
function useToolCall(tool: Tool, schema: Schema, connection: Connection) {
  const kept = connection.drafts;
  const [draft, setDraftState] = useState<Draft>(() => kept.get(tool.name) ?? begin(schema, undefined));
  const [errors, setErrors] = useState<ReadonlyMap<string, string>>(new Map());
  const [problem, setProblem] = useState("");
  const form = useRef<HTMLFormElement>(null);
  /** The newest draft, be it rendered yet or not. */
  const newest = useRef(draft);
  const setDraft = (next: Draft): void => {
    newest.current = next;
    kept.set(tool.name, next);
    setDraftState(next);
    if (errors.size > 0 && next.text === undefined) void validate(next, next.value);
  };
  /** Check a value, and show its errors unless the draft has changed since. */
  const validate = async (of: Draft, value: Json): Promise<ReadonlyMap<string, string>> => {
    const verdict = await check(schema, value);
    if (newest.current === of) {
      setErrors(verdict.errors);
      setProblem(notChecked("The arguments were", verdict));
    }
    return verdict.errors;
  };
  /** Whether a call waits for the check of its arguments: another click is not another call. */
  const waiting = useRef(false);
  const [checking, setChecking] = useState(false);
  /** @param anyway whether to call in spite of errors. */
  const call = async (anyway: boolean): Promise<void> => {
    if (waiting.current) return;
    waiting.current = true;
    const timer = setTimeout(() => setChecking(true), SHOWN_AFTER);
    try {
      await checkAndCall(anyway);
    } finally {
      clearTimeout(timer);
      setChecking(false);
      waiting.current = false;
    }
  };
  const checkAndCall = async (anyway: boolean): Promise<void> => {
    const { current } = newest;
    const value = current.text === undefined ? current.value : objectOf(current.text);
    if (value === undefined) return setProblem(notAnObject(current.text ?? ""));
    if (form.current?.querySelector("[data-unfinished]")) return setProblem("A field does not contain valid JSON yet.");
    const { size } = await validate(current, value);
    if (size > 0 && !anyway) {
      announce(size === 1 ? "Not called: 1 invalid argument" : `Not called: ${size} invalid arguments`);
      queueMicrotask(() => form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus());
      return;
    }
    connection.recent.add(value);
    connection.calls.start("tool", tool.name, value);
  };
  const reset = (): void => {
    setErrors(new Map());
    setProblem("");
    setDraft(begin(schema, undefined));
  };
  return { draft, setDraft, errors, problem, setProblem, form, call, checking, reset };
}

function inQuestion(event: KeyboardEvent): boolean {
  return event.target instanceof Element && event.target.closest(".question") !== null;
}

function linkTo(connection: Connection, tool: Tool, draft: Draft): string {
  const args = draft.text ?? JSON.stringify(draft.value);
  return new URL(href(["server", connection.name, "tools", tool.name], { args }), location.href).href;
}

function ToolHead({ tool }: { tool: Tool }) {
  const hints = tool.annotations ?? {};
  const faults = useMemo(() => faultsOf("Tool", tool), [tool]);
  return (
    <header class="detail-head">
      <div class="row wrap">
        <h2>{String(tool.title ?? hints.title ?? tool.name)}</h2>
        {(tool.title ?? hints.title ?? tool.name) !== tool.name && <code class="muted">{tool.name}</code>}
        {hints.readOnlyHint === true && <Badge kind="good">read-only</Badge>}
        {hints.destructiveHint === true && hints.readOnlyHint !== true && <Badge kind="warn">destructive</Badge>}
        {hints.idempotentHint === true && <Badge>idempotent</Badge>}
        {hints.openWorldHint === true && <Badge>open world</Badge>}
      </div>
      {tool.description && <Clamped text={String(tool.description)} />}
      {faults && <Banner kind="warn">This definition does not conform to MCP: {faults}.</Banner>}
      <details>
        <summary class="muted">definition</summary>
        <JsonTree value={tool} open={2} />
      </details>
    </header>
  );
}

/** Form or JSON: two views of the same arguments. */
function Modes({ draft, setDraft, schema, setProblem }: { draft: Draft; setDraft: (draft: Draft) => void; schema: Schema; setProblem: (problem: string) => void }) {
  const raw = draft.text !== undefined;
  const toForm = (): void => {
    const value = objectOf(draft.text ?? "");
    if (value === undefined) return setProblem(`The form cannot show this. ${notAnObject(draft.text ?? "")}`);
    setProblem("");
    setDraft({ value, text: undefined });
  };
  const own = resolved(schema, schema);
  const hidden = !raw && variantsOf(own, schema).length === 0 && fieldOf(own, draft.value, schema).kind !== "object";
  return (
    <div class="row" role="group" aria-label="Edit the arguments as">
      <div class="segments">
        <button type="button" aria-pressed={!raw} onClick={() => raw && toForm()}>
          Form
        </button>
        <button type="button" aria-pressed={raw} onClick={() => !raw && setDraft({ ...draft, text: JSON.stringify(draft.value, null, 2) })}>
          JSON
        </button>
      </div>
      {hidden && <span class="warn">These arguments cannot be edited in a form.</span>}
    </div>
  );
}

function RawArguments({ text, setText, errors }: { text: string; setText: (text: string) => void; errors: ReadonlyMap<string, string> }) {
  const area = useRef<HTMLTextAreaElement>(null);
  const mistake = useMemo(() => mistakeIn(text), [text]);
  const show = (): void => {
    area.current?.focus();
    area.current?.setSelectionRange(mistake?.at ?? 0, (mistake?.at ?? 0) + 1);
  };
  return (
    <>
      <textarea
        ref={area}
        aria-label="Arguments as JSON"
        aria-invalid={objectOf(text) === undefined || errors.size > 0}
        rows={Math.min(24, Math.max(6, text.split("\n").length + 1))}
        spellcheck={false}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      {mistake && (
        <p class="bad error row wrap">
          Not valid JSON: {placed(mistake)}.
          <button type="button" class="small" onClick={show}>
            Show
          </button>
        </p>
      )}
      {[...errors].map(([pointer, message]) => (
        <p key={pointer} class="bad error">
          <code>{pointer || "/"}</code> {message}
        </p>
      ))}
    </>
  );
}

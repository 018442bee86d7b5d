/** Calls: those running, and the results of the others. */

import type { Tool } from "@modelcontextprotocol/client";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { appOf } from "../apps/resource.js";
import { check, notChecked, type Verdict } from "../form/checker.js";
import { isObject, type Json } from "../form/schema.js";
import type { Call } from "../mcp/call.js";
import { clock } from "../format.js";
import type { Connection } from "../mcp/connection.js";
import { endpointOf } from "../mcp/target.js";
import { pythonOf } from "../results/python.js";
import { unrepeated } from "../results/shape.js";
import { href } from "../route.js";
import { Contents, ResourceContents } from "../ui/content.js";
import { Guard } from "../ui/guard.js";
import { Icon } from "../ui/icons.js";
import { JsonTree } from "../ui/json.js";
import { Badge, Banner, CopyButton, Empty } from "../ui/parts.js";
import { lazy } from "../ui/lazy.js";
import { Value } from "../ui/value.js";

const App = lazy<{ call: Call; connection: Connection; uri: string }>(() => import("../apps/view.js"));
const Trace = lazy<{ call: Call; connection: Connection }>(() => import("./trace.js"));

/** @param only those of one tool, prompt or resource; else all. */
export function Calls({ connection, only }: { connection: Connection; only?: { kind: string; name: string } }) {
  const all = connection.calls.all.value;
  const shown = only ? all.filter((call) => call.kind === only.kind && call.name === only.name && !call.byApp) : all;
  if (shown.length === 0) return only ? null : <Empty>No calls yet.</Empty>;
  return (
    <section class="calls" aria-label="Calls">
      {shown.map((call, index) => (
        <CallCard key={call.key} call={call} connection={connection} named={only === undefined} first={index === 0} />
      ))}
    </section>
  );
}

function CallCard({ call, connection, named, first }: { call: Call; connection: Connection; named: boolean; first: boolean }) {
  const state = call.state.value;
  const running = state.kind === "running";
  const [open, setOpen] = useState<boolean | undefined>();
  const args = JSON.stringify(call.args ?? {});
  const card = useInView(first && !call.continued, state.kind);
  return (
    <details ref={card} class={`card call ${state.kind}`} open={open ?? (running || first)} data-call={call.name}>
      <summary onClick={(event) => (event.preventDefault(), setOpen(!(open ?? (running || first))))}>
        <StateBadge call={call} />
        {named && <strong>{call.name}</strong>}
        {call.byApp && <Badge>by an app</Badge>}
        <code class="arguments">{args === "{}" ? "" : args}</code>
        <span class="spring" />
        <Elapsed call={call} />
      </summary>
      {running && <Running call={call} />}
      <TaskLine call={call} />
      <div class="result">
        {state.kind === "done" && (
          <Guard what="this result">
            {state.remark && <Banner kind="warn">{state.remark}</Banner>}
            <Result call={call} result={state.result} odd={state.remark !== undefined} connection={connection} />
          </Guard>
        )}
        {state.kind === "failed" && (
          <>
            <pre class="bad" role="alert">{state.message}</pre>
            <Outcome data={state.data} />
            {state.data !== undefined && <JsonTree value={state.data} />}
          </>
        )}
        {state.kind === "cancelled" && <p class="muted">Cancelled. The server may have carried it out, wholly or in part.</p>}
      </div>
      {!running && <CallTools call={call} connection={connection} />}
      <TraceOf call={call} connection={connection} />
    </details>
  );
}

/** Milliseconds after the start of a call within which its result is scrolled to. */
const SOON = 5_000;

/** Scroll a card into view when its call starts, and when that ends soon, unless the user has scrolled in between. */
function useInView(wanted: boolean, kind: string) {
  const card = useRef<HTMLDetailsElement>(null);
  const began = useRef<{ at: number; top: number } | undefined>(undefined);
  useLayoutEffect(() => {
    const element = card.current;
    const box = element?.closest(".choose-detail");
    if (!wanted || element === null || !box) return;
    if (kind === "running") {
      element.scrollIntoView({ block: "nearest" });
      began.current = { at: Date.now(), top: box.scrollTop };
    } else if (began.current !== undefined) {
      const { at, top } = began.current;
      began.current = undefined;
      if (Date.now() - at < SOON && Math.abs(box.scrollTop - top) < 2) element.scrollIntoView({ block: "nearest" });
    }
  }, [kind]);
  return card;
}

/** What a failure means for repeating the call. */
function Outcome({ data }: { data: unknown }) {
  const outcome = isObject(data) ? data["outcome"] : undefined;
  if (outcome === "unknown") return <p class="warn">It may have run: check before repeating.</p>;
  return outcome === "not_sent" ? <p class="muted">It did not run: you can call it again.</p> : null;
}

/** What happened meanwhile, once it is wanted. */
function TraceOf({ call, connection }: { call: Call; connection: Connection }) {
  const [open, setOpen] = useState(false);
  return (
    <details class="whole trace-of" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary class="muted">{connection.target.url === "" ? "Messages, log and stderr" : "Messages and log"}</summary>
      {open && <Trace call={call} connection={connection} />}
    </details>
  );
}

/** What can be done with a call that has ended. */
function CallTools({ call, connection }: { call: Call; connection: Connection }) {
  const state = call.state.value;
  const wrong = state.kind === "failed" || (state.kind === "done" && state.result?.isError === true);
  const connected = ["connected", "reconnecting"].includes(connection.state.value.kind);
  return (
    <div class="row wrap call-tools">
      <button type="button" class="quiet" disabled={!connected} onClick={() => connection.calls.start(call.kind, call.name, call.args)}>
        <Icon name="refresh" /> {call.kind === "tool" ? "Call again" : "Request again"}
      </button>
      <CopyButton shown="Copy as Python" label="Copy this call as a Python program" text={() => pythonOf(endpointOf(connection.target), call.kind, call.name, call.args)} />
      {wrong && connection.target.url === "" && (
        <a class="button quiet" href={href(["servers", connection.name], { show: "stderr" })}>
          Show stderr
        </a>
      )}
    </div>
  );
}

function StateBadge({ call }: { call: Call }) {
  const state = call.state.value;
  if (state.kind === "running") return <Badge kind="accent">running</Badge>;
  if (state.kind === "cancelled") return <Badge>cancelled</Badge>;
  if (state.kind === "failed") return <Badge kind="bad">failed</Badge>;
  return state.result?.isError ? <Badge kind="bad">error</Badge> : <Badge kind="good">done</Badge>;
}

function Elapsed({ call }: { call: Call }) {
  const running = call.state.value.kind === "running";
  const [, tick] = useState(0);
  useEffect(() => {
    if (!running) return undefined;
    const timer = setInterval(() => tick((count) => count + 1), 1_000);
    return () => clearInterval(timer);
  }, [running]);
  const took = (call.ended ?? Date.now()) - call.began;
  return (
    <span class="muted elapsed">
      {call.continued && "continued after reload · "}
      {running && took < 1_000 ? "" : took < 1_000 ? `${took} ms · ` : `${(took / 1_000).toFixed(running ? 0 : 1)} s · `}
      <time dateTime={new Date(call.began).toISOString()} title={`started ${new Date(call.began).toLocaleString()}`}>
        {clock(call.began / 1_000)}
      </time>
    </span>
  );
}

/** The task that a server answered with. */
function TaskLine({ call }: { call: Call }) {
  const task = call.task.value;
  if (task === undefined) return null;
  return (
    <p class="row wrap muted task" data-task={task.status}>
      Task <code>{task.taskId}</code> <Badge kind={TASK_COLOURS[task.status] ?? "accent"}>{task.status.replace("_", " ")}</Badge> {String(task.statusMessage ?? "")}
    </p>
  );
}

const TASK_COLOURS: Record<string, "good" | "bad" | "warn" | ""> = { completed: "good", failed: "bad", cancelled: "", input_required: "warn" };

function Running({ call }: { call: Call }) {
  const progress = call.progress.value;
  const total = progress?.total;
  return (
    <div class="row running">
      <progress aria-label={`Progress of ${call.name}`} {...(progress && total ? { value: progress.progress, max: total } : {})} />
      <span class="muted">
        {progress && [`${progress.progress}${total ? ` of ${total}` : ""}`, progress.message].filter(Boolean).join(" · ")}
      </span>
      <span class="spring" />
      <button type="button" onClick={() => call.cancel()}>
        Cancel
      </button>
    </div>
  );
}

/** @param odd whether the result does not conform to MCP, so that all of it is shown unfolded. */
function Result({ call, result, odd, connection }: { call: Call; result: any; odd: boolean; connection: Connection }) {
  const { contents, messages, content, structuredContent, isError } = result ?? {};
  const blocks = Array.isArray(content) ? content : [];
  const app = odd || call.byApp ? undefined : appOf(toolOf(call, connection));
  const shown = useMemo(() => (odd ? { content: true, structured: true } : unrepeated(blocks, structuredContent)), [result, odd]);
  return (
    <>
      {isError && <p class="bad strong">The tool reported an error.</p>}
      {app && <App key={call.key} call={call} connection={connection} uri={app} />}
      {shown.content && <Contents blocks={blocks} />}
      {structuredContent === undefined && !isError && toolOf(call, connection)?.outputSchema !== undefined && (
        <p class="warn">The tool has an output schema, so MCP requires structured content, but the result has none.</p>
      )}
      {structuredContent !== undefined && <Structured call={call} value={structuredContent} shown={shown} connection={connection} />}
      {Array.isArray(contents) && contents.map((one, index) => <ResourceContents key={index} contents={one} />)}
      {Array.isArray(messages) && <Messages messages={messages} />}
      {call.kind === "prompt" && result?.description && <p class="muted">{String(result.description)}</p>}
      <details class="whole" open={odd}>
        <summary class="muted">Raw response</summary>
        <CopyButton text={() => JSON.stringify(result, null, 2)} label="Copy result" />
        <JsonTree value={result} open={1} />
      </details>
    </>
  );
}

/** The messages of a prompt. */
function Messages({ messages }: { messages: readonly any[] }) {
  return (
    <>
      {messages.map((message, index) => (
        <div key={index}>
          <strong>{String(message?.role)}</strong>
          <Contents blocks={[message?.content]} />
        </div>
      ))}
    </>
  );
}

function toolOf(call: Call, connection: Connection): Tool | undefined {
  return call.kind === "tool" ? connection.lists.tools.value.items?.find(({ name }) => name === call.name) : undefined;
}

interface StructuredProps {
  call: Call;
  value: Json;
  /** What of the result is shown: what the text says already is not repeated. */
  shown: { readonly content: boolean; readonly structured: boolean };
  connection: Connection;
}

function Structured({ call, value, shown, connection }: StructuredProps) {
  const mismatch = useMismatch(toolOf(call, connection)?.outputSchema, value);
  return (
    <>
      {shown.structured && shown.content && <p class="muted">Structured content</p>}
      {mismatch && <p class="warn">{mismatch}</p>}
      {shown.structured && <Value value={value} name={call.name} />}
    </>
  );
}

/** How a value violates a schema, once it was checked. */
function useMismatch(schema: object | undefined, value: Json): string {
  const [mismatch, setMismatch] = useState("");
  useEffect(() => {
    let current = true;
    setMismatch("");
    if (schema !== undefined) void check(schema, value).then((verdict) => current && setMismatch(mismatchIn(verdict)));
    return () => {
      current = false;
    };
  }, [schema, value]);
  return mismatch;
}

function mismatchIn(verdict: Verdict): string {
  const errors = [...verdict.errors].map(([pointer, message]) => `${pointer || "(root)"}: ${message}`).join("; ");
  return errors ? `Does not match the tool's output schema: ${errors}` : notChecked("The structured content was", verdict);
}

/** The server's questions to the user, inline: the rest of the page stays usable. */

import { useRef, useState } from "preact/hooks";
import { check, notChecked } from "../form/checker.js";
import { SchemaForm } from "../form/form.js";
import { initial, type Json } from "../form/schema.js";
import type { Connection } from "../mcp/connection.js";
import type { Question } from "../mcp/questions.js";
import { schemaOfQuestion } from "../mcp/wire.js";
import { Contents } from "../ui/content.js";
import { isWeb } from "../ui/web.js";
import { Guard } from "../ui/guard.js";
import { JsonTree } from "../ui/json.js";

export function Questions({ connection }: { connection: Connection }) {
  const open = connection.questions.open.value;
  if (open.length === 0) return null;
  return (
    <section class="questions" aria-label="Questions from the server">
      {open.map((question) => (
        <article key={question.number} class="card question">
          <Guard what="this question">
            {question.kind === "form" && <FormQuestion question={question} from={connection.name} />}
            {question.kind === "url" && <UrlQuestion question={question} from={connection.name} />}
            {question.kind === "sampling" && <SamplingQuestion question={question} from={connection.name} />}
          </Guard>
        </article>
      ))}
    </section>
  );
}

interface Asked {
  question: Question;
  from: string;
}

function FormQuestion({ question, from }: Asked) {
  const schema = schemaOfQuestion(question.params);
  const [value, setValue] = useState<Json | undefined>(() => initial(schema, schema));
  const [errors, setErrors] = useState<ReadonlyMap<string, string>>(new Map());
  const newest = useRef(value);
  const [unchecked, setUnchecked] = useState("");
  const show = async (of: Json | undefined): Promise<boolean> => {
    const verdict = await check(schema, of ?? {});
    if (newest.current !== of) return false;
    setErrors(verdict.errors);
    setUnchecked(notChecked("Your answer was", verdict));
    return verdict.errors.size === 0;
  };
  const change = (next: Json | undefined): void => {
    newest.current = next;
    setValue(next);
    if (errors.size > 0) void show(next);
  };
  const accept = async (): Promise<void> => {
    const { current } = newest;
    // Where it cannot be checked here, the server will check it.
    if (await show(current)) question.answer({ action: "accept", content: current ?? {} });
  };
  return (
    <form class="stack" noValidate onSubmit={(event) => (event.preventDefault(), void accept())} onKeyDown={(event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && (event.preventDefault(), void accept())}>
      <h3>Question from {from}</h3>
      <p class="said">{String(question.params.message)}</p>
      <SchemaForm schema={schema} value={value} onChange={change} errors={errors} oneLine />
      {unchecked && <p class="warn">{unchecked}</p>}
      <p class="muted">Your answer is sent to this server. Do not enter passwords or keys.</p>
      <Answers question={question} accept="Accept" />
    </form>
  );
}

function Answers({ question, accept, disabled = false }: { question: Question; accept: string; disabled?: boolean }) {
  return (
    <div class="row">
      <button type="submit" class="primary" disabled={disabled}>
        {accept}
      </button>
      <button type="button" onClick={() => question.answer({ action: "decline" })}>
        Decline
      </button>
      <button type="button" onClick={() => question.answer({ action: "cancel" })}>
        Close without answering
      </button>
    </div>
  );
}

function UrlQuestion({ question, from }: Asked) {
  const url = String(question.params.url);
  const visit = (): void => {
    window.open(url, "_blank", "noopener,noreferrer");
    question.answer({ action: "accept" });
  };
  const web = isWeb(url);
  return (
    <form class="stack" onSubmit={(event) => (event.preventDefault(), web && visit())}>
      <h3>{from} asks you to open a URL</h3>
      <p class="said">{String(question.params.message)}</p>
      <p>
        <code class="uri">{url}</code>
      </p>
      {web ? <p class="muted">Check the host name: {new URL(url).host}. The URL opens in a new tab.</p> : <p class="bad">This is not an http(s) URL; it cannot be opened.</p>}
      <Answers question={question} accept="Open" disabled={!web} />
    </form>
  );
}

function SamplingQuestion({ question, from }: Asked) {
  const [text, setText] = useState("");
  const { messages = [], systemPrompt, ...others } = question.params;
  const send = (): void => question.answer({ role: "assistant", model: "a person", stopReason: "endTurn", content: { type: "text", text } });
  return (
    <form class="stack" onSubmit={(event) => (event.preventDefault(), send())} onKeyDown={(event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && (event.preventDefault(), send())}>
      <h3>{from} requests a model response</h3>
      {systemPrompt && <p class="muted said">{String(systemPrompt)}</p>}
      {messages.map((message: any, index: number) => (
        <div key={index}>
          <strong>{String(message.role)}</strong>
          <Contents blocks={Array.isArray(message.content) ? message.content : [message.content]} />
        </div>
      ))}
      <details>
        <summary>Other parameters</summary>
        <JsonTree value={others} />
      </details>
      <label>
        Your response in place of the model
        <textarea class="grow" rows={2} value={text} onInput={(event) => setText(event.currentTarget.value)} />
      </label>
      <div class="row">
        <button type="submit" class="primary">
          Send
        </button>
        <button type="button" onClick={() => question.refuse("the user declined")}>
          Decline
        </button>
      </div>
    </form>
  );
}

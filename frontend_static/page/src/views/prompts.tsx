/** The prompts of a server. */

import type { Prompt } from "@modelcontextprotocol/client";
import { useMemo, useState } from "preact/hooks";
import { useLink } from "../form/link.js";
import { own } from "../form/schema.js";
import { useKeys } from "../keys.js";
import type { Connection } from "../mcp/connection.js";
import { faultsOf, textOf } from "../mcp/lenient.js";
import { href } from "../route.js";
import { Choose } from "../ui/choose.js";
import { Guard } from "../ui/guard.js";
import { Banner, Clamped, Empty } from "../ui/parts.js";
import { Work } from "./work.js";
import { draftKey, Fill, textsIn, useTexts } from "./fill.js";

export function Prompts({ connection, chosen, given }: { connection: Connection; chosen: string | undefined; given: string | undefined }) {
  const { items, error } = connection.lists.prompts.value;
  const prompt = items?.find(({ name }) => name === chosen);
  const links = useLink(given, prompt !== undefined, (args) => connection.drafts.set(draftKey("prompt", prompt?.name ?? ""), { value: texts(args), text: undefined }));
  const listed = items?.map(({ name, title, description }) => ({ key: name, title: textOf(title) || name, description: textOf(description), href: href(["server", connection.name, "prompts", name]) }));
  return (
    <Choose label="prompts" items={listed} error={error} loading={connection.state.value.kind !== "closed"} chosen={chosen} back={href(["server", connection.name, "prompts"])}>
      {prompt && given === undefined && (
        <Guard key={`${links} ${prompt.name}`} what="this prompt">
          <PromptDetail prompt={prompt} connection={connection} />
        </Guard>
      )}
      {!prompt && chosen !== undefined && items !== undefined && <Empty>The server has no prompt named {chosen}.</Empty>}
      {chosen === undefined && <Empty>Select a prompt.</Empty>}
    </Choose>
  );
}

function texts(given: string): Record<string, string> {
  try {
    return textsIn(JSON.parse(given));
  } catch {
    return {};
  }
}

function PromptDetail({ prompt, connection }: { prompt: Prompt; connection: Connection }) {
  const [values, setValues] = useTexts(connection, draftKey("prompt", prompt.name));
  const [missing, setMissing] = useState<ReadonlySet<string>>(new Set());
  const blanks = (Array.isArray(prompt.arguments) ? prompt.arguments : []).map(({ name, description, required }) => ({ name, description, required: required === true }));
  const faults = useMemo(() => faultsOf("Prompt", prompt), [prompt]);
  const get = (): void => {
    const unset = new Set(blanks.filter(({ name, required }) => required && !own(values, name)).map(({ name }) => name));
    setMissing(unset);
    const given = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ""));
    if (unset.size === 0) connection.calls.start("prompt", prompt.name, given);
  };
  useKeys(() => [{ key: "Ctrl+Enter", label: "get the prompt", typing: true, run: get }], [values]);
  return (
    <Work connection={connection} kind="prompt" name={prompt.name}>
      <header class="detail-head">
        <h2>{textOf(prompt.title) || prompt.name}</h2>
        {prompt.description && <Clamped text={String(prompt.description)} />}
        {faults && <Banner kind="warn">This definition does not conform to MCP: {faults}.</Banner>}
      </header>
      <form class="arguments-form stack" noValidate onSubmit={(event) => (event.preventDefault(), get())}>
        <Fill blanks={blanks} values={values} setValues={setValues} missing={missing} complete={(name, value) => connection.complete({ type: "ref/prompt", name: prompt.name }, name, value, others(values, name))} />
        <div class="row submit">
          <button type="submit" class="primary">
            Get
          </button>
        </div>
      </form>
    </Work>
  );
}

export function others(values: Record<string, string>, name: string): Record<string, string> {
  return Object.fromEntries(Object.entries(values).filter(([key, value]) => key !== name && value !== ""));
}

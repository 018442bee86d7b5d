/** A value with a choice of views: table, tree and text of JSON; rendered and source of Markdown. */

import { useMemo, useState } from "preact/hooks";
import { looksLikeMarkdown, structureOf, tableOf } from "../results/shape.js";
import { JsonTree } from "./json.js";
import { lazy } from "./lazy.js";
import { CopyButton } from "./parts.js";

const DataTable = lazy(() => import("./data-table.js"));
const Markdown = lazy(() => import("./markdown.js"));
/** Characters of a text shown before a button shows all. */
const LONG = 20_000;

type View = "Table" | "Tree" | "JSON" | "Rendered" | "Source";

/** JSON that came as a value. @param name of the saved table. */
export function Value({ value, name = "result" }: { value: unknown; name?: string }) {
  const table = useMemo(() => tableOf(value), [value]);
  const branch = typeof value === "object" && value !== null;
  const [view, setView] = useState<View>();
  const views: readonly View[] = table ? ["Table", "Tree", "JSON"] : branch ? ["Tree", "JSON"] : [];
  const shown = view ?? views[0];
  const text = (): string => JSON.stringify(value, null, 2);
  return (
    <div class="block">
      <BlockTools views={views} shown={shown} setView={setView} text={text} />
      {shown === "Table" && table ? <DataTable table={table} name={name} /> : shown === "JSON" ? <LongText text={text()} /> : <JsonTree value={value} open={3} />}
    </div>
  );
}

/** A text: verbatim, and as a table, a tree or a document where it is JSON or Markdown. */
export function TextBlock({ text, markdown, name = "result" }: { text: string; /** Whether the text is known to be Markdown. */ markdown?: boolean; name?: string }) {
  const json = useMemo(() => structureOf(text), [text]);
  const table = useMemo(() => (json === undefined ? undefined : tableOf(json)), [json]);
  const rendered = json === undefined && (markdown ?? looksLikeMarkdown(text));
  const [view, setView] = useState<View>();
  const views: readonly View[] = table ? ["Table", "Tree", "Source"] : json !== undefined ? ["Source", "Tree"] : rendered ? ["Rendered", "Source"] : [];
  const shown = view ?? views[0];
  return (
    <div class="block">
      <BlockTools views={views} shown={shown} setView={setView} text={() => text} />
      {shown === "Table" && table ? (
        <DataTable table={table} name={name} />
      ) : shown === "Tree" ? (
        <JsonTree value={json} />
      ) : shown === "Rendered" ? (
        <Markdown text={text} />
      ) : (
        <LongText text={text} />
      )}
    </div>
  );
}

interface BlockToolsProps {
  views: readonly View[];
  shown: View | undefined;
  setView: (view: View) => void;
  text: () => string;
}

function BlockTools({ views, shown, setView, text }: BlockToolsProps) {
  return (
    <div class={views.length > 1 ? "row block-views" : "block-tools"}>
      {views.length > 1 && (
        <div class="segments" role="group" aria-label="Show as">
          {views.map((view) => (
            <button key={view} type="button" class="small" aria-pressed={view === shown} onClick={() => setView(view)}>
              {view}
            </button>
          ))}
        </div>
      )}
      <span class="spring" />
      <CopyButton text={text} label="Copy the text" />
    </div>
  );
}

function LongText({ text }: { text: string }) {
  const [all, setAll] = useState(false);
  return (
    <>
      <pre tabIndex={0}>{all ? text : text.slice(0, LONG)}</pre>
      {!all && text.length > LONG && (
        <button type="button" onClick={() => setAll(true)}>
          Show all {text.length.toLocaleString()} characters
        </button>
      )}
    </>
  );
}

/** A JSON value as a tree with branches that fold. */

import { useState } from "preact/hooks";

/** Members shown before a button shows more. */
const FIRST_MEMBERS = 100;
/** Characters of a text shown before a button shows all. */
const LONG = 2_000;

/** @param open how many levels are unfolded at first. */
export function JsonTree({ value, name, open = 2 }: { value: unknown; name?: string; open?: number }) {
  if (typeof value !== "object" || value === null) {
    return (
      <div class="json-leaf">
        <Name name={name} />
        <Leaf value={value} />
      </div>
    );
  }
  return <Branch value={value} name={name} open={open} />;
}

function Branch({ value, name, open }: { value: object; name: string | undefined; open: number }) {
  const [isOpen, setOpen] = useState(open > 0);
  const [shown, setShown] = useState(FIRST_MEMBERS);
  const entries = Object.entries(value);
  const summary = Array.isArray(value) ? `[${entries.length}]` : `{${entries.length}}`;
  if (entries.length === 0) {
    return (
      <div class="json-leaf">
        <Name name={name} />
        <span class="muted">{Array.isArray(value) ? "[]" : "{}"}</span>
      </div>
    );
  }
  return (
    <details class="json" open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <Name name={name} />
        <span class="muted">{summary}</span>
      </summary>
      {isOpen && entries.slice(0, shown).map(([key, item]) => <JsonTree key={key} name={key} value={item} open={open - 1} />)}
      {isOpen && entries.length > shown && (
        <button type="button" class="quiet" onClick={() => setShown(shown + 10 * FIRST_MEMBERS)}>
          show {(entries.length - shown).toLocaleString()} more …
        </button>
      )}
    </details>
  );
}

function Name({ name }: { name: string | undefined }) {
  return name === undefined ? null : <span class="json-name">{name}: </span>;
}

function Leaf({ value }: { value: unknown }) {
  const [all, setAll] = useState(false);
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  const kind = value === null ? "null" : typeof value;
  if (all || text.length <= LONG) return <span class={`json-${kind}`}>{text}</span>;
  return (
    <>
      <span class={`json-${kind}`}>{text.slice(0, LONG)}…</span>{" "}
      <button type="button" class="quiet" onClick={() => setAll(true)}>
        show all {text.length.toLocaleString()} characters
      </button>
    </>
  );
}

/** The inputs of a form that hold one value: texts, numbers, choices, JSON. */

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { dateInput, localOf, momentOf } from "./dates.js";
import { mistakeIn, placed } from "./json-place.js";
import { own, same, typedNumber, type Json, type Schema } from "./schema.js";

export type Change = (value: Json | undefined) => void;

/** Where a value is, and what surrounds it. */
export interface Place {
  readonly root: Schema;
  /** JSON pointer of the value. */
  readonly pointer: string;
  readonly errors: ReadonlyMap<string, string>;
  readonly depth: number;
  /** Whether texts are single-line, so that Enter submits. */
  readonly oneLine: boolean;
  /** Values of earlier calls for an argument of this name. */
  readonly recent: (name: string) => readonly Json[];
}

/** One value as it is shown. */
export interface Shown {
  readonly schema: Schema;
  readonly value: Json | undefined;
  readonly change: Change;
  readonly place: Place;
  readonly id: string;
  readonly label: string;
  readonly required: boolean;
  /** What is sent as long as nothing is entered, as the field shows it: `null`; empty where nothing is sent. */
  readonly empty?: string;
}

/** Attributes that connect an input with its label, description and error. */
function described({ id, place, schema, required }: Shown) {
  const wrong = place.errors.has(place.pointer);
  const by = [typeof schema["description"] === "string" && `${id}-hint`, wrong && `${id}-error`].filter(Boolean).join(" ");
  return { id, "aria-invalid": wrong, "aria-describedby": by || undefined, "aria-required": required };
}

export function Text({ format, ...shown }: Shown & { format: string }) {
  const { schema, value, change, required, empty } = shown;
  const date = dateInput(format, typeof value === "string" ? value : "");
  if (date !== undefined) return <DateField {...shown} kind={date} />;
  const example = Array.isArray(schema["examples"]) ? schema["examples"].find((one) => typeof one === "string") : undefined;
  const common = {
    ...described(shown),
    value: typeof value === "string" ? value : "",
    placeholder: value === "" ? "empty string" : (example ?? own(placeholders, format) ?? empty ?? ""),
    spellcheck: false,
    onInput: (event: { currentTarget: { value: string } }) => {
      const text = event.currentTarget.value;
      change(text === "" && !required ? undefined : text);
    },
  };
  const short = (format !== "" || shown.place.oneLine || schema["maxLength"] <= 100) && !common.value.includes("\n");
  if (short) return <input type="text" autocomplete="off" {...common} />;
  return <textarea class="grow" rows={1} {...common} />;
}

/** A date, or a moment in local time, which is sent in UTC. */
function DateField({ kind, ...shown }: Shown & { kind: "date" | "datetime-local" }) {
  const { value, change, required } = shown;
  const text = typeof value === "string" ? value : "";
  const input = (event: { currentTarget: { value: string } }): void => {
    const next = kind === "date" ? event.currentTarget.value : momentOf(event.currentTarget.value);
    change(next === "" && !required ? undefined : next);
  };
  return (
    <>
      <input {...described(shown)} type={kind} step={kind === "date" ? undefined : 1} class="date" value={kind === "date" ? text : localOf(text)} onInput={input} />
      {kind !== "date" && <p class="muted description">local time{text && `; sent as ${text}`}</p>}
    </>
  );
}

const placeholders: Record<string, string> = { date: "2026-01-31", "date-time": "2026-01-31T12:00:00Z", email: "name@example.org", uri: "https://…" };

export function NumberField(shown: Shown) {
  const { value, change, empty } = shown;
  const [typed, setTyped] = useState("");
  const text = value !== undefined && same(typedNumber(typed), value) ? typed : value === undefined ? "" : String(value);
  const input = (event: { currentTarget: { value: string } }): void => {
    setTyped(event.currentTarget.value);
    change(typedNumber(event.currentTarget.value));
  };
  return (
    <>
      <input {...described(shown)} type="text" inputMode="decimal" autocomplete="off" placeholder={empty} value={text} onInput={input} />
      {typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value) && <p class="warn">Beyond 2⁵³: a browser cannot represent this number exactly.</p>}
    </>
  );
}

/** A checkbox; before it is used, and after *Clear*, nothing is sent. */
export function Checkbox(shown: Shown) {
  const { value, change, required, label, empty } = shown;
  const box = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => {
    if (box.current) box.current.indeterminate = value === undefined;
  });
  return (
    <div class="row check">
      <input ref={box} {...described(shown)} type="checkbox" checked={value === true} onChange={(event) => change(event.currentTarget.checked)} />
      <span class="muted">{value === undefined ? empty || "not set" : String(value)}</span>
      {!required && value !== undefined && (
        <button type="button" class="quiet" aria-label={`Clear ${label}`} onClick={() => change(undefined)}>
          Clear
        </button>
      )}
    </div>
  );
}

export function Choice({ options, ...shown }: Shown & { options: readonly { value: Json; label: string }[] }) {
  const { value, change, empty } = shown;
  const at = options.findIndex((option) => value !== undefined && same(option.value, value));
  return (
    <select {...described(shown)} value={String(at)} onChange={(event) => change(options[Number(event.currentTarget.value)]?.value)}>
      <option value="-1">{empty || "–"}</option>
      {options.map(({ label }, index) => (
        <option key={index} value={String(index)}>
          {label}
        </option>
      ))}
    </select>
  );
}

export function Choices({ options, ...shown }: Shown & { options: readonly { value: Json; label: string }[] }) {
  const { value, change, id, required } = shown;
  const items = Array.isArray(value) ? value : [];
  const toggle = (option: Json, on: boolean): void => {
    const next = options.map((one) => one.value).filter((one) => (same(one, option) ? on : items.some((item) => same(item, one))));
    change(next.length === 0 && !required ? undefined : next);
  };
  return (
    <div role="group" aria-labelledby={`${id}-label`} class="choices" id={id}>
      {options.map((option, index) => (
        <label key={index}>
          <input type="checkbox" checked={items.some((item) => same(item, option.value))} onChange={(event) => toggle(option.value, event.currentTarget.checked)} /> {option.label}
        </label>
      ))}
    </div>
  );
}

/** Any value, as JSON. A text that is not valid JSON yet stays as it was typed. */
export function JsonField(shown: Shown) {
  const { value, change } = shown;
  const [typed, setTyped] = useState<string | undefined>();
  const [error, setError] = useState("");
  const text = typed !== undefined && (error !== "" || same(parsed(typed), value)) ? typed : value === undefined ? "" : JSON.stringify(value, null, 2);
  const input = (event: { currentTarget: { value: string } }): void => {
    const now = event.currentTarget.value;
    setTyped(now);
    if (now.trim() === "") {
      setError("");
      return change(undefined);
    }
    const next = parsed(now);
    const mistake = mistakeIn(now);
    setError(mistake ? `This is not valid JSON yet: ${placed(mistake)}.` : "");
    if (next !== undefined) change(next);
  };
  return (
    <>
      <textarea {...described(shown)} data-unfinished={error !== "" || undefined} class="grow" rows={1} placeholder="JSON" spellcheck={false} value={text} onInput={input} />
      {error && <p class="bad">{error}</p>}
    </>
  );
}

function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

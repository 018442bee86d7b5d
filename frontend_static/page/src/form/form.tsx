/** A form for a JSON Schema. What is drawn is decided in `schema.ts`. */

import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Icon } from "../ui/icons.js";
import {
  blank,
  changed,
  escaped,
  fieldOf,
  own,
  resolved,
  same,
  typedNumber,
  typeOf,
  variantFor,
  variantsOf,
  type Field,
  type Json,
  type Member,
  type Schema,
} from "./schema.js";

type Change = (value: Json | undefined) => void;

interface Place {
  readonly root: Schema;
  /** JSON pointer of the value. */
  readonly pointer: string;
  readonly errors: ReadonlyMap<string, string>;
  readonly depth: number;
  /** Whether texts have one line, so that Enter answers. */
  readonly oneLine: boolean;
}

interface Shown {
  readonly schema: Schema;
  readonly value: Json | undefined;
  readonly change: Change;
  readonly place: Place;
  readonly id: string;
  readonly label: string;
  readonly required: boolean;
}

interface Whole {
  schema: Schema;
  value: Json | undefined;
  onChange: Change;
  errors: ReadonlyMap<string, string>;
  oneLine?: boolean;
}

/** The form of a whole schema, which is one of an object; what is wrong and has no field stands below. */
export function SchemaForm(whole: Whole) {
  return (
    <>
      <WholeFields {...whole} />
      <Fieldless errors={whole.errors} />
    </>
  );
}

function WholeFields({ schema, value, onChange, errors, oneLine = false }: Whole) {
  const place = { root: schema, pointer: "", errors, depth: 0, oneLine };
  const own = resolved(schema, schema);
  const field = fieldOf(own, value, schema);
  const several = variantsOf(own, schema).length > 0;
  if (several || field.kind !== "object") return <Labelled name={several ? "choice" : ""} schema={own} required value={value} change={onChange} place={place} />;
  if (field.members.length + field.extra.length === 0 && own["additionalProperties"] === undefined) return <p class="muted">No arguments.</p>;
  return <Members field={field} value={value} change={onChange} place={place} />;
}

/** Errors that no field of the form shows; looked for in what was drawn, as every kind of field decides by itself what it shows. */
function Fieldless({ errors }: { errors: ReadonlyMap<string, string> }) {
  const here = useRef<HTMLUListElement>(null);
  const [without, setWithout] = useState<readonly string[]>([]);
  useLayoutEffect(() => {
    const fields = here.current?.parentElement?.querySelectorAll<HTMLElement>("[data-pointer]") ?? [];
    const shown = new Set([...fields].map((field) => field.dataset["pointer"]));
    const found = [...errors.keys()].filter((pointer) => !shown.has(pointer));
    if (!same(found, [...without])) setWithout(found);
  });
  const listed = without.filter((pointer) => errors.has(pointer));
  return (
    <ul ref={here} class="bad error" hidden={listed.length === 0}>
      {listed.map((pointer) => (
        <li key={pointer}>
          {pointer === "" ? "As a whole: " : <code>{pointer}</code>} {errors.get(pointer)}
        </li>
      ))}
    </ul>
  );
}

/** One value with its name, what it is for, and what is wrong with it. */
function Labelled({ name, schema, required, value, change, place, onRemove }: { name: string; schema: Schema; required: boolean; value: Json | undefined; change: Change; place: Place; onRemove?: () => void }) {
  const id = useId();
  const own = resolved(schema, place.root);
  const error = place.errors.get(place.pointer);
  const title = typeof own["title"] === "string" && own["title"].toLowerCase() !== name.toLowerCase().replaceAll("_", " ") ? own["title"] : "";
  const shown: Shown = { schema: own, value, change, place, id, label: name || title || "value", required };
  return (
    <div class={`field ${error ? "wrong" : ""}`} data-pointer={place.pointer}>
      <div class="row label">
        <label for={id} id={`${id}-label`}>
          {name || title || "value"}
          {required && <span class="required" title="required" aria-hidden="true">*</span>}
        </label>
        {title && name && <span class="muted">{title}</span>}
        <span class="muted type">{hintOf(own)}</span>
        <span class="spring" />
        {onRemove && (
          <button type="button" class="quiet" aria-label={`Remove ${name}`} title="Remove" onClick={onRemove}>
            <Icon name="close" />
          </button>
        )}
      </div>
      {typeof own["description"] === "string" && (
        <p class="muted description" id={`${id}-hint`}>
          {own["description"]}
        </p>
      )}
      <Variants {...shown} />
      {error && (
        <p class="bad error" id={`${id}-error`}>
          {error}
        </p>
      )}
    </div>
  );
}

function hintOf(schema: Schema): string {
  const words = [typeOf(schema), schema["format"], bounds(schema)].filter((word) => typeof word === "string" && word !== "");
  return words.join(" · ");
}

function bounds(schema: Schema): string {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, minLength, maxLength, pattern } = schema;
  const parts = [
    minimum !== undefined && `≥ ${minimum}`,
    typeof exclusiveMinimum === "number" && `> ${exclusiveMinimum}`,
    maximum !== undefined && `≤ ${maximum}`,
    typeof exclusiveMaximum === "number" && `< ${exclusiveMaximum}`,
    minLength > 1 && `at least ${minLength} characters`,
    maxLength !== undefined && `at most ${maxLength} characters`,
    typeof pattern === "string" && `like ${pattern}`,
  ];
  return parts.filter(Boolean).join(", ");
}

/** Where a value may have several shapes, a choice among them; what was typed for another one is kept. */
function Variants(shown: Shown) {
  const { schema, value, place, change, label } = shown;
  const variants = variantsOf(schema, place.root);
  const [chosen, choose] = useState<number | undefined>();
  const kept = useRef(new Map<number, Json | undefined>());
  if (variants.length === 0) return <Value {...shown} />;
  const fitting = variantFor(variants, value, place.root);
  const at = chosen !== undefined && chosen < variants.length && (value === undefined || stays(variants[chosen]?.schema ?? {}, value, place.root)) ? chosen : fitting;
  const pick = (next: number): void => {
    kept.current.set(at, value);
    choose(next);
    const to = variants[next]?.schema ?? {};
    change(kept.current.has(next) ? kept.current.get(next) : typeOf(to) === "null" ? null : shown.required ? blank(to, place.root) : undefined);
  };
  const nothing = typeOf(variants[at]?.schema ?? {}) === "null";
  return (
    <div class="variants">
      <select id={nothing ? shown.id : undefined} aria-label={`Kind of ${label}`} value={String(at)} onChange={(event) => pick(Number(event.currentTarget.value))}>
        {variants.map((variant, index) => (
          <option key={index} value={String(index)}>
            {variant.label}
          </option>
        ))}
      </select>
      {(!nothing || (value !== null && value !== undefined)) && <Value {...shown} schema={resolved(variants[at]?.schema, place.root)} />}
    </div>
  );
}

function stays(schema: Schema, value: Json, root: Schema): boolean {
  const field = fieldOf(resolved(schema, root), value, root);
  return field.kind !== "json" || field.because === "";
}

function Value(shown: Shown) {
  const { schema, value, place, id } = shown;
  if (variantsOf(schema, place.root).length > 0) return <Variants {...shown} />;
  const field = fieldOf(schema, value, place.root);
  switch (field.kind) {
    case "text":
      return <Text {...shown} format={field.format} />;
    case "number":
      return <NumberField {...shown} />;
    case "boolean":
      return <Choice {...shown} options={[{ value: true, label: "true" }, { value: false, label: "false" }]} />;
    case "choice":
      return <Choice {...shown} options={field.options} />;
    case "choices":
      return <Choices {...shown} options={field.options} />;
    case "constant":
      return <Choice {...shown} options={[{ value: field.value, label: JSON.stringify(field.value) }]} />;
    case "null":
      return <Choice {...shown} options={[{ value: null, label: "null" }]} />;
    case "object":
      return <ObjectField {...shown} field={field} />;
    case "array":
      return <ArrayField {...shown} field={field} />;
    case "json":
      return (
        <>
          {field.because && <p class="warn" id={`${id}-why`}>Kept as JSON: {field.because}.</p>}
          <JsonField {...shown} />
        </>
      );
  }
}

function described({ id, place, schema, required }: Shown) {
  const wrong = place.errors.has(place.pointer);
  const by = [typeof schema["description"] === "string" && `${id}-hint`, wrong && `${id}-error`].filter(Boolean).join(" ");
  return { id, "aria-invalid": wrong, "aria-describedby": by || undefined, "aria-required": required };
}

function Text({ format, ...shown }: Shown & { format: string }) {
  const { schema, value, change, required } = shown;
  const example = Array.isArray(schema["examples"]) ? schema["examples"].find((one) => typeof one === "string") : undefined;
  const common = {
    ...described(shown),
    value: typeof value === "string" ? value : "",
    placeholder: value === "" ? "empty text" : (example ?? own(placeholders, format) ?? ""),
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

const placeholders: Record<string, string> = { date: "2026-01-31", "date-time": "2026-01-31T12:00:00Z", email: "name@example.org", uri: "https://…" };

function NumberField(shown: Shown) {
  const { value, change } = shown;
  const [typed, setTyped] = useState("");
  const text = value !== undefined && same(typedNumber(typed), value) ? typed : value === undefined ? "" : String(value);
  const input = (event: { currentTarget: { value: string } }): void => {
    setTyped(event.currentTarget.value);
    change(typedNumber(event.currentTarget.value));
  };
  return (
    <>
      <input {...described(shown)} type="text" inputMode="decimal" autocomplete="off" value={text} onInput={input} />
      {typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value) && <p class="warn">Beyond 2⁵³: a browser does not hold this number exactly.</p>}
    </>
  );
}

function Choice({ options, ...shown }: Shown & { options: readonly { value: Json; label: string }[] }) {
  const { value, change } = shown;
  const at = options.findIndex((option) => value !== undefined && same(option.value, value));
  return (
    <select {...described(shown)} value={String(at)} onChange={(event) => change(options[Number(event.currentTarget.value)]?.value)}>
      <option value="-1">–</option>
      {options.map(({ label }, index) => (
        <option key={index} value={String(index)}>
          {label}
        </option>
      ))}
    </select>
  );
}

function Choices({ options, ...shown }: Shown & { options: readonly { value: Json; label: string }[] }) {
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

function Nested({ id, children }: { id: string; children: ComponentChildren }) {
  return (
    <div role="group" aria-labelledby={`${id}-label`} class="nested" id={id}>
      {children}
    </div>
  );
}

function ObjectField({ field, ...shown }: Shown & { field: Field & { kind: "object" } }) {
  const { value, change, place, schema, label, id, required } = shown;
  if (value === undefined) {
    return (
      <button type="button" id={id} onClick={() => change(blank(schema, place.root))}>
        <Icon name="plus" /> Add {label}
      </button>
    );
  }
  return (
    <Nested id={id}>
      <Members field={field} value={value} change={change} place={{ ...place, depth: place.depth + 1 }} />
      {!required && (
        <button type="button" class="quiet" onClick={() => change(undefined)}>
          Leave {label} out
        </button>
      )}
    </Nested>
  );
}

function Members({ field, value, change, place }: { field: Field & { kind: "object" }; value: Json | undefined; change: Change; place: Place }) {
  const of = (name: string): Json | undefined => own(value as Record<string, Json> | undefined, name);
  const one = ({ name, schema, required }: Member, extra: boolean) => (
    <Labelled
      key={name}
      name={name}
      schema={schema}
      required={required}
      value={of(name)}
      change={(part) => change(changed(value, name, part))}
      place={{ ...place, pointer: `${place.pointer}/${escaped(name)}` }}
      {...(extra ? { onRemove: () => change(changed(value, name, undefined)) } : {})}
    />
  );
  return (
    <>
      {field.members.map((member) => one(member, false))}
      {field.extra.map((name) => one({ name, schema: field.more ?? {}, required: false }, true))}
      {field.more !== undefined && <AddMember taken={(name) => of(name) !== undefined} add={(name) => change(changed(value, name, blank(field.more, place.root)))} />}
    </>
  );
}

function AddMember({ taken, add }: { taken: (name: string) => boolean; add: (name: string) => void }) {
  const [name, setName] = useState("");
  const done = (): void => {
    if (name === "" || taken(name)) return;
    add(name);
    setName("");
  };
  return (
    <div class="row add">
      <input type="text" aria-label="Name of a further member" placeholder="further member" value={name} onInput={(event) => setName(event.currentTarget.value)} />
      <button type="button" disabled={name === "" || taken(name)} onClick={done}>
        <Icon name="plus" /> Add
      </button>
    </div>
  );
}

function ArrayField({ field, ...shown }: Shown & { field: Field & { kind: "array" } }) {
  const { value, change, place, id, label, required } = shown;
  const items = Array.isArray(value) ? value : [];
  const schemaAt = (index: number): Schema | undefined => field.items[index] ?? field.more;
  const next = schemaAt(items.length);
  const remove = (index: number): void => {
    const left = changed(items, index, undefined) as Json[];
    change(left.length === 0 && !required ? undefined : left);
  };
  return (
    <Nested id={id}>
      {items.map((item, index) => (
        <Labelled
          key={index}
          name={`${index + 1}`}
          schema={schemaAt(index) ?? {}}
          required
          value={item}
          change={(part) => change(changed(items, index, part ?? null))}
          place={{ ...place, pointer: `${place.pointer}/${index}`, depth: place.depth + 1 }}
          onRemove={() => remove(index)}
        />
      ))}
      {next !== undefined && (
        <button type="button" onClick={() => change([...items, blank(next, place.root)])}>
          <Icon name="plus" /> Add to {label}
        </button>
      )}
    </Nested>
  );
}

/** Any value, as JSON; a text that is none yet stays as it was typed. */
function JsonField(shown: Shown) {
  const { value, change } = shown;
  const [typed, setTyped] = useState<string | undefined>();
  const [wrong, setWrong] = useState("");
  const text = typed !== undefined && (wrong !== "" || same(parsed(typed), value)) ? typed : value === undefined ? "" : JSON.stringify(value, null, 2);
  const input = (event: { currentTarget: { value: string } }): void => {
    const now = event.currentTarget.value;
    setTyped(now);
    if (now.trim() === "") {
      setWrong("");
      return change(undefined);
    }
    const next = parsed(now);
    setWrong(next === undefined ? "This is not JSON yet." : "");
    if (next !== undefined) change(next);
  };
  return (
    <>
      <textarea {...described(shown)} data-unfinished={wrong !== "" || undefined} class="grow" rows={1} placeholder="JSON" spellcheck={false} value={text} onInput={input} />
      {wrong && <p class="bad">{wrong}</p>}
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

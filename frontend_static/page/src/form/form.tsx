/** A form for a JSON Schema. `schema.ts` decides which field shows a value; `inputs.tsx` has the inputs of single values. */

import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Icon } from "../ui/icons.js";
import { Clamped } from "../ui/parts.js";
import { Checkbox, Choice, Choices, JsonField, NumberField, Text, type Change, type Place, type Shown } from "./inputs.js";
import {
  blank,
  changed,
  escaped,
  fieldOf,
  own,
  resolved,
  optionalOf,
  same,
  typeOf,
  variantFor,
  variantsOf,
  type Field,
  type Json,
  type Member,
  type Schema,
  type Variant,
} from "./schema.js";

interface Whole {
  schema: Schema;
  value: Json | undefined;
  onChange: Change;
  errors: ReadonlyMap<string, string>;
  oneLine?: boolean;
  /** Values of earlier calls for an argument of this name, to be offered. */
  recent?: (name: string) => readonly Json[];
}

const NO_VALUES = (): readonly Json[] => [];

/** The form of a whole schema, usually an object's. Errors without a field are listed below. */
export function SchemaForm(whole: Whole) {
  return (
    <>
      <WholeFields {...whole} />
      <Fieldless errors={whole.errors} />
    </>
  );
}

function WholeFields({ schema, value, onChange, errors, oneLine = false, recent = NO_VALUES }: Whole) {
  const place = { root: schema, pointer: "", errors, depth: 0, oneLine, recent };
  const own = resolved(schema, schema);
  const field = fieldOf(own, value, schema);
  const several = variantsOf(own, schema).length > 0;
  if (several || field.kind !== "object") return <Labelled name={several ? "choice" : ""} schema={own} required value={value} change={onChange} place={place} />;
  if (field.members.length + field.extra.length === 0 && own["additionalProperties"] === undefined) return <p class="muted">No arguments.</p>;
  return <Members field={field} value={value} change={onChange} place={place} />;
}

/** Errors that no field shows. Found in the rendered form, since each kind of field decides which members it shows. */
function Fieldless({ errors }: { errors: ReadonlyMap<string, string> }) {
  const here = useRef<HTMLUListElement>(null);
  const [without, setWithout] = useState<readonly string[]>([]);
  useLayoutEffect(() => {
    const fields = here.current?.parentElement?.querySelectorAll<HTMLElement>("[data-pointer]") ?? [];
    const shown = new Set([...fields].map((field) => field.dataset["pointer"]));
    const missing = [...errors.keys()].filter((pointer) => !shown.has(pointer));
    if (!same(missing, [...without])) setWithout(missing);
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

/** One value with its name, description and error. */
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
        <span class="muted type">{hintOf(own, place.root)}</span>
        <span class="spring" />
        {onRemove && (
          <button type="button" class="quiet" aria-label={`Remove ${name}`} title="Remove" onClick={onRemove}>
            <Icon name="close" />
          </button>
        )}
      </div>
      {typeof own["description"] === "string" && (
        <div class="muted description" id={`${id}-hint`}>
          <Clamped text={own["description"]} />
        </div>
      )}
      <Variants {...shown} />
      {name && <Offers {...shown} name={name} />}
      {error && (
        <p class="bad error" id={`${id}-error`}>
          {error}
        </p>
      )}
    </div>
  );
}

/** Values of earlier calls for an argument of this name, while nothing is entered. */
function Offers({ name, schema, value, change, place }: Shown & { name: string }) {
  if (value !== undefined && value !== "" && value !== null) return null;
  const variants = optionalOf(variantsOf(schema, place.root));
  const own = variants ? resolved(variants.schema, place.root) : schema;
  const offers = place.recent(name).filter((offer) => {
    const { kind } = fieldOf(own, offer, place.root);
    return (kind === "text" && typeof offer === "string") || (kind === "number" && typeof offer === "number");
  });
  if (offers.length === 0) return null;
  return (
    <p class="row wrap offers">
      <span class="muted">recent</span>
      {offers.map((offer) => (
        <button key={String(offer)} type="button" class="small" title="Use this value again" onClick={() => change(offer)}>
          {String(offer)}
        </button>
      ))}
    </p>
  );
}

function hintOf(schema: Schema, root: Schema): string {
  const hints = [typeOf(schema) || orNull(schema, root), schema["format"], bounds(schema)].filter((hint) => typeof hint === "string" && hint !== "");
  return hints.join(" · ");
}

/** The type of a value that may also be null: `string or null`. */
function orNull(schema: Schema, root: Schema): string {
  const label = optionalOf(variantsOf(schema, root))?.label;
  return label ? `${label} or null` : "";
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
    typeof pattern === "string" && `matches ${pattern}`,
  ];
  return parts.filter(Boolean).join(", ");
}

/** A choice among the shapes that a value may have. What was typed for another shape is kept. */
function Variants(shown: Shown) {
  const { schema, value, place, change, label } = shown;
  const variants = variantsOf(schema, place.root);
  const [chosen, choose] = useState<number | undefined>();
  const kept = useRef(new Map<number, Json | undefined>());
  const optional = optionalOf(variants);
  if (variants.length === 0) return <Value {...shown} />;
  if (optional !== undefined && (value === undefined || value === null || stays(optional.schema, value, place.root))) return <Optional {...shown} variant={optional} />;
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

/** A value or null, in the field of the value alone. Emptied, it is null where null was there before or something is required. */
function Optional({ variant, ...shown }: Shown & { variant: Variant }) {
  const { value, change, place, required, schema } = shown;
  const absent = required || schema["default"] === null ? null : undefined;
  const own = resolved(variant.schema, place.root);
  return <Value {...shown} schema={own} required={false} value={value === null ? undefined : value} change={(next) => change(next === undefined ? absent : next)} empty={value === null ? "null" : ""} />;
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
      return <Checkbox {...shown} />;
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
          {field.because && <p class="warn" id={`${id}-why`}>Shown as JSON: {field.because}.</p>}
          <JsonField {...shown} />
        </>
      );
  }
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
          Omit {label}
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
      <input type="text" aria-label="Name of a new member" placeholder="new member" value={name} onInput={(event) => setName(event.currentTarget.value)} />
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

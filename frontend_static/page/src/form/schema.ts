/**
 * From a JSON Schema and a value to the fields of a form. Pure: renders nothing.
 *
 * The value is authoritative and the form only a view of it: a value that its field cannot show is shown as JSON, and stays
 * as it is until the user changes it.
 *
 * Schemas come from servers and are untrusted: nothing here runs their regular expressions, and following references is
 * bounded in steps. `check.ts` validates values, in a worker.
 */

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export interface Schema {
  readonly [keyword: string]: any;
}

/** How one value is shown. */
export type Field =
  | { readonly kind: "text"; readonly format: string }
  | { readonly kind: "number"; readonly integer: boolean }
  | { readonly kind: "boolean" }
  | { readonly kind: "choice"; readonly options: readonly Option[] }
  | { readonly kind: "choices"; readonly options: readonly Option[] }
  | { readonly kind: "constant"; readonly value: Json }
  | { readonly kind: "object"; readonly members: readonly Member[]; readonly extra: readonly string[]; readonly more: Schema | undefined }
  | { readonly kind: "array"; readonly items: readonly Schema[]; readonly more: Schema | undefined }
  | { readonly kind: "null" }
  /** `because`: why the form has no better field; empty where the schema allows any value. */
  | { readonly kind: "json"; readonly because: string };

export interface Option {
  readonly value: Json;
  readonly label: string;
}

export interface Member {
  readonly name: string;
  readonly schema: Schema;
  readonly required: boolean;
}

/** One of several shapes that a value may have. */
export interface Variant {
  readonly label: string;
  readonly schema: Schema;
}

/** Nested references and schemas that are followed. */
const MAX_DEPTH = 32;
/** Steps of one walk through a schema: references that double at each level would never end. */
const MAX_STEPS = 2_000;

/** The steps that a walk has left. */
interface Budget {
  left: number;
}

function spend(budget: Budget): boolean {
  budget.left -= 1;
  return budget.left >= 0;
}

/** A schema with its references resolved and its `allOf` merged. */
export function resolved(schema: unknown, root: Schema, depth = 0, budget: Budget = { left: MAX_STEPS }): Schema {
  if (schema === true || schema === undefined || depth > MAX_DEPTH || !spend(budget)) return {};
  if (schema === false) return { not: {} };
  if (!isObject(schema)) return {};
  const { $ref, allOf, ...own } = schema as Schema;
  let result: Schema = own;
  if (typeof $ref === "string") result = joined(resolved(pointed(root, $ref), root, depth + 1, budget), own);
  for (const part of Array.isArray(allOf) ? allOf : []) result = joined(resolved(part, root, depth + 1, budget), result);
  return result;
}

function joined(first: Schema, second: Schema): Schema {
  const result: Record<string, any> = { ...first, ...second };
  if (first["properties"] && second["properties"]) result["properties"] = { ...first["properties"], ...second["properties"] };
  if (Array.isArray(first["required"]) && Array.isArray(second["required"])) result["required"] = [...new Set([...first["required"], ...second["required"]])];
  return result;
}

/** The target of a reference `#/a/b`; undefined where there is none, or in another document. */
function pointed(root: Schema, reference: string): unknown {
  if (reference === "#") return root;
  if (!reference.startsWith("#/")) return undefined;
  let target: any = root;
  for (const part of reference.slice(2).split("/")) {
    const name = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
    if (target === null || typeof target !== "object" || !Object.hasOwn(target, name)) return undefined;
    target = target[name];
  }
  return target;
}

/** The shapes that a value may have; none where there is only one. */
export function variantsOf(schema: Schema, root: Schema): readonly Variant[] {
  const parts = schema["anyOf"] ?? schema["oneOf"];
  if (Array.isArray(parts) && !optionsOf(schema, root)) {
    const { anyOf, oneOf, title, description, default: preset, ...common } = schema;
    const own = parts.map((part) => resolved(part, root));
    if (own.every((part) => onlyRules(part, schema))) return [];
    return withDistinctLabels(own.map((part) => ({ label: labelOf(part, typeOf(common)), schema: joined(common, part) })));
  }
  const { type } = schema;
  if (!Array.isArray(type) || type.length < 2) return [];
  return type.map((one) => ({ label: String(one), schema: { ...schema, type: one } }));
}

/** The shape of a value that may also be null and nothing else; undefined where there is another choice. */
export function optionalOf(variants: readonly Variant[]): Variant | undefined {
  const others = variants.filter(({ schema }) => typeOf(schema) !== "null");
  return variants.length === 2 && others.length === 1 ? others[0] : undefined;
}

/** Keywords that say nothing about the shape of a value. */
const RULES = new Set(["required", "not", "title", "description", "$comment", "dependentRequired", "minProperties", "maxProperties"]);

/** Whether a part of a choice has no shape of its own, such as a `required` of members defined beside the choice. */
function onlyRules(part: Schema, schema: Schema): boolean {
  return schema["properties"] !== undefined && Object.keys(part).every((name) => RULES.has(name) || (name === "type" && part[name] === "object"));
}

function withDistinctLabels(variants: readonly Variant[]): readonly Variant[] {
  return variants.map((variant, index) => {
    const alike = variants.filter(({ label }) => label === variant.label);
    return alike.length < 2 ? variant : { ...variant, label: `${variant.label} ${index + 1}` };
  });
}

/** @param type type shared by all parts of the choice. */
function labelOf(schema: Schema, type = ""): string {
  if (typeof schema["title"] === "string") return schema["title"];
  if (schema["const"] !== undefined) return JSON.stringify(schema["const"]);
  const own = typeOf(schema) || type;
  if (own === "array" && isObject(schema["items"])) return `list of ${typeOf(schema["items"] as Schema) || "anything"}`;
  if (own === "object") return `object${withMembers(schema)}`;
  return own || "anything";
}

/** What distinguishes an object: its constants, else the names of its required members. */
function withMembers(schema: Schema): string {
  const properties = Object.entries(isObject(schema["properties"]) ? schema["properties"] : {});
  const constants = properties.filter(([, part]) => isObject(part) && part["const"] !== undefined).map(([name, part]) => `${name} ${JSON.stringify(part["const"])}`);
  const required: unknown[] = Array.isArray(schema["required"]) ? schema["required"] : [];
  const names = required.length > 0 ? required : properties.map(([name]) => name);
  const traits = (constants.length > 0 ? constants : names).slice(0, 3).join(", ");
  return traits && ` with ${traits}`;
}

/** The index of the variant that a value has; 0 without a value. */
export function variantFor(variants: readonly Variant[], value: Json | undefined, root: Schema): number {
  if (value === undefined) return 0;
  const budget = { left: MAX_STEPS };
  const fit = variants.findIndex(({ schema }) => fits(schema, value, root, budget));
  if (fit >= 0) return fit;
  const meant = variants.findIndex(({ schema }) => hasConstants(schema, value));
  if (meant >= 0) return meant;
  return Math.max(0, variants.findIndex(({ schema }) => typeOf(schema) === jsonType(value)));
}

/** Whether a value has all the constants that tell an object from others, be the rest as it may. */
function hasConstants(schema: Schema, value: Json): boolean {
  const constants = Object.entries(isObject(schema["properties"]) ? schema["properties"] : {}).filter(([, part]) => isObject(part) && part["const"] !== undefined);
  const given: Record<string, any> = isObject(value) ? value : {};
  return constants.length > 0 && constants.every(([name, part]) => same(own(given, name), part["const"]));
}

/** Whether a value has the shape of a schema: types, constants and members, no patterns; what is too long to look at fits. */
function fits(schema: unknown, value: Json, root: Schema, budget: Budget): boolean {
  if (!spend(budget)) return true;
  const own = resolved(schema, root, 0, budget);
  if (isObject(own["not"]) && Object.keys(own["not"]).length === 0) return false;
  if (own["const"] !== undefined && !same(own["const"], value)) return false;
  if (Array.isArray(own["enum"]) && !own["enum"].some((one) => same(one, value))) return false;
  const types: unknown[] = own["type"] === undefined ? [] : [own["type"]].flat();
  if (types.length > 0 && !types.some((type) => hasType(type, value))) return false;
  const parts = own["anyOf"] ?? own["oneOf"];
  if (Array.isArray(parts) && parts.length > 0 && !parts.some((part) => fits(part, value, root, budget))) return false;
  if (Array.isArray(value)) return !isObject(own["items"]) || value.every((item) => fits(own["items"], item, root, budget));
  return !isObject(value) || membersFit(own, value, root, budget);
}

function hasType(type: unknown, value: Json): boolean {
  return type === "integer" ? Number.isInteger(value) : type === jsonType(value);
}

function membersFit(schema: Schema, value: Record<string, Json>, root: Schema, budget: Budget): boolean {
  const properties: Schema = isObject(schema["properties"]) ? schema["properties"] : {};
  const required: unknown[] = Array.isArray(schema["required"]) ? schema["required"] : [];
  if (required.some((name) => typeof name === "string" && !Object.hasOwn(value, name))) return false;
  return Object.keys(value).every((name) => {
    if (Object.hasOwn(properties, name)) return fits(properties[name], value[name] as Json, root, budget);
    return schema["additionalProperties"] !== false || isObject(schema["patternProperties"]);
  });
}

function jsonType(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return typeof value;
}

/** The one type of a schema, given or implied; empty where it is open. */
export function typeOf(schema: Schema): string {
  const { type } = schema;
  if (typeof type === "string") return type;
  if (Array.isArray(type) && type.length === 1) return String(type[0]);
  if (schema["properties"] !== undefined) return "object";
  if (schema["items"] !== undefined || schema["prefixItems"] !== undefined) return "array";
  return "";
}

/** The field that shows a value; `schema` is resolved and has one shape. */
export function fieldOf(schema: Schema, value: Json | undefined, root: Schema): Field {
  const field = wantedField(schema, value, root);
  return value === undefined || shows(field, value) ? field : { kind: "json", because: `this field cannot show ${described(value)}` };
}

function wantedField(schema: Schema, value: Json | undefined, root: Schema): Field {
  if (schema["const"] !== undefined) return { kind: "constant", value: schema["const"] };
  const options = optionsOf(schema, root);
  if (options !== undefined) return { kind: "choice", options };
  switch (typeOf(schema)) {
    case "string":
      return { kind: "text", format: typeof schema["format"] === "string" ? schema["format"] : "" };
    case "number":
      return { kind: "number", integer: false };
    case "integer":
      return { kind: "number", integer: true };
    case "boolean":
      return { kind: "boolean" };
    case "null":
      return { kind: "null" };
    case "object":
      return objectField(schema, value);
    case "array":
      return arrayField(schema, root);
    default:
      return { kind: "json", because: "" };
  }
}

function objectField(schema: Schema, value: Json | undefined): Field {
  const properties: Schema = isObject(schema["properties"]) ? schema["properties"] : {};
  const required: unknown[] = Array.isArray(schema["required"]) ? schema["required"] : [];
  const names = [...new Set([...Object.keys(properties), ...required.filter((name) => typeof name === "string")])];
  const members = names.map((name) => ({ name, schema: asSchema(own(properties, name)), required: required.includes(name) }));
  const extra = isObject(value) ? Object.keys(value).filter((name) => !names.includes(name)) : [];
  const { additionalProperties } = schema;
  const open = additionalProperties === undefined ? members.length === 0 : additionalProperties !== false;
  return { kind: "object", members, extra, more: open ? asSchema(additionalProperties) : undefined };
}

function arrayField(schema: Schema, root: Schema): Field {
  const { prefixItems, items } = schema;
  const options = isObject(items) && schema["uniqueItems"] !== false ? optionsOf(resolved(items, root), root) : undefined;
  if (options !== undefined && prefixItems === undefined) return { kind: "choices", options };
  const first = Array.isArray(prefixItems) ? prefixItems : Array.isArray(items) ? items : [];
  const rest = Array.isArray(items) ? schema["additionalItems"] : items;
  return { kind: "array", items: first.map(asSchema), more: rest === false ? undefined : asSchema(rest) };
}

function asSchema(schema: unknown): Schema {
  if (schema === false) return { not: {} };
  return isObject(schema) ? schema : {};
}

/** The options of an `enum`, or of constants with titles. */
function optionsOf(schema: Schema, root: Schema): readonly Option[] | undefined {
  if (Array.isArray(schema["enum"])) {
    const names: unknown[] = Array.isArray(schema["enumNames"]) ? schema["enumNames"] : [];
    const values: Json[] = schema["enum"];
    return values.map((value, index) => ({ value, label: String(names[index] ?? labelOfValue(value, values)) }));
  }
  const parts = schema["oneOf"] ?? schema["anyOf"];
  if (!Array.isArray(parts) || parts.length === 0) return undefined;
  const options = parts.map((part) => resolved(part, root));
  if (!options.every((part) => part["const"] !== undefined)) return undefined;
  const values = options.map((part) => part["const"] as Json);
  return options.map((part) => ({ value: part["const"], label: String(part["title"] ?? labelOfValue(part["const"], values)) }));
}

/** A text is its own label, quoted where another value would look the same. */
function labelOfValue(value: Json, among: readonly Json[]): string {
  if (typeof value !== "string") return JSON.stringify(value);
  if (among.some((other) => typeof other !== "string" && JSON.stringify(other) === value)) return JSON.stringify(value);
  return value || "(empty string)";
}

/** Whether a field can show this value. A text in a number field is a number being typed. */
function shows(field: Field, value: Json): boolean {
  switch (field.kind) {
    case "text":
      return typeof value === "string";
    case "number":
      return typeof value === "number" || typeof value === "string";
    case "boolean":
      return typeof value === "boolean";
    case "null":
      return value === null;
    case "choice":
      return field.options.some((option) => same(option.value, value));
    case "choices":
      return Array.isArray(value) && value.every((item, at) => field.options.some((option) => same(option.value, item)) && value.findIndex((other) => same(other, item)) === at);
    case "constant":
      return same(field.value, value);
    case "object":
      return isObject(value);
    case "array":
      return Array.isArray(value);
    case "json":
      return true;
  }
}

function described(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "an object";
  const text = JSON.stringify(value);
  return text.length > 40 ? `this ${typeof value}` : text;
}

/** Whether two values are equal as JSON. */
export function same(first: Json | undefined, second: Json | undefined): boolean {
  if (first === second) return true;
  if (typeof first !== "object" || typeof second !== "object" || first === null || second === null) return false;
  const names = Object.keys(first);
  if (Array.isArray(first) !== Array.isArray(second) || names.length !== Object.keys(second).length) return false;
  return names.every((name) => Object.hasOwn(second, name) && same((first as any)[name], (second as any)[name]));
}

/** The initial value of a form: defaults, constants, and required objects. */
export function initial(schema: unknown, root: Schema, depth = 0, budget: Budget = { left: MAX_STEPS }): Json | undefined {
  const own = resolved(schema, root, 0, budget);
  if (own["default"] !== undefined) return structuredClone(own["default"]);
  if (own["const"] !== undefined) return own["const"];
  if (typeOf(own) !== "object" || depth > MAX_DEPTH / 4) return undefined;
  const field = objectField((depth === 0 ? variantsOf(own, root)[0]?.schema : undefined) ?? own, undefined);
  const made: [string, Json][] = [];
  for (const member of field.kind === "object" ? field.members : []) {
    const part = resolved(member.schema, root, 0, budget);
    const value = member.required || part["default"] !== undefined ? initial(part, root, depth + 1, budget) : undefined;
    if (value !== undefined) made.push([member.name, value]);
  }
  return Object.fromEntries(made);
}

/** The initial value of a new item: an empty value of its type, so that its field is shown. */
export function blank(schema: unknown, root: Schema): Json {
  const own = resolved(schema, root);
  const begun = initial(own, root);
  if (begun !== undefined) return begun;
  const variants = variantsOf(own, root);
  if (variants[0] !== undefined) return blank(variants[0].schema, root);
  const field = fieldOf(own, undefined, root);
  if (field.kind === "choice") return field.options[0]?.value ?? null;
  const blanks: Record<string, Json> = { text: "", number: 0, boolean: false, choices: [], array: [], object: {}, null: null };
  return blanks[field.kind] ?? null;
}

/** The value of a text typed into a number field: a number if it is one, else the text. */
export function typedNumber(text: string): Json | undefined {
  if (text.trim() === "") return undefined;
  const number = Number(text);
  return Number.isFinite(number) && /^\s*[-+]?(\d|\.\d)/.test(text) && !/[xob]/i.test(text) ? number : text;
}

/** A copy of a value with one member or item changed; undefined removes it. */
export function changed(value: Json | undefined, name: string | number, part: Json | undefined): Json {
  if (Array.isArray(value)) {
    const items = [...value];
    if (part === undefined) items.splice(Number(name), 1);
    else items[Number(name)] = part;
    return items;
  }
  const { [name]: _, ...others } = isObject(value) ? (value as Record<string, Json>) : {};
  if (part === undefined) return others;
  return isObject(value) && Object.hasOwn(value, name) ? { ...value, [name]: part } : { ...others, [name]: part };
}

/** A member's name in a JSON pointer (RFC 6901). */
export function escaped(name: string | number): string {
  return String(name).replaceAll("~", "~0").replaceAll("/", "~1");
}

/** An own member of an object: `constructor` of an empty object is undefined. */
export function own<T>(object: Readonly<Record<string, T>> | undefined, name: string): T | undefined {
  return object !== undefined && Object.hasOwn(object, name) ? object[name] : undefined;
}

export function isObject(value: unknown): value is Record<string, any> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

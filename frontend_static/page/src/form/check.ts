/**
 * Validation of a value against a JSON Schema, with messages for people; pure. A server's schema may take forever, so the
 * page calls this only in a worker (`checker.ts`).
 */

import { Validator, type Schema as CheckedSchema, type SchemaDraft } from "@cfworker/json-schema";
import { escaped, isObject, own, type Json, type Schema } from "./schema.js";

/** Keywords whose error only says that something inside them is wrong. */
const OUTER = new Set(["properties", "items", "prefixItems", "additionalProperties", "patternProperties", "allOf", "$ref", "if", "then", "else", "dependentSchemas", "dependencies", "additionalItems", "unevaluatedItems", "unevaluatedProperties"]);
/** Alternatives of a choice that one message names. */
const MAX_ALTERNATIVES = 4;
const DRAFTS: readonly [RegExp, SchemaDraft][] = [[/draft-0?4/, "4"], [/draft-0?[67]/, "7"], [/2019-09/, "2019-09"]];

/** The schema cannot be used to check anything. */
export class BadSchema extends Error {
  override readonly name = "BadSchema";
}

/** One error of the validator; `location` is the keyword's place in the schema. */
interface Fault {
  readonly pointer: string;
  readonly keyword: string;
  readonly location: string;
  readonly error: string;
}

/** Messages by JSON pointer. */
type Messages = Map<string, string>;

/**
 * Validate a value: messages by JSON pointer, `""` for the whole.
 *
 * @throws BadSchema the schema cannot be used.
 */
export function errorsOf(schema: Schema, value: Json, root: Schema): Messages {
  const faults = checked(schema, value, root).map(({ instanceLocation, keyword, keywordLocation, error }) => ({
    pointer: decodeURI(instanceLocation.replace(/^#/, "")),
    keyword,
    location: keywordLocation,
    error,
  }));
  return messagesOf(faults);
}

/** Keywords whose values are not schemas. */
const VALUES = new Set(["const", "enum", "default", "examples"]);
/** Keywords whose members are schemas under arbitrary names. */
const NAMED = new Set(["properties", "$defs", "definitions", "dependentSchemas"]);

/**
 * Remove patterns that are not valid in JavaScript, so that the rest of a schema can be checked; returns them as `left`.
 * Servers write patterns in the dialect of Python or Rust.
 */
export function understood(schema: Schema): { readonly schema: Schema; readonly left: readonly string[] } {
  const left = new Set<string>();
  const compiles = (pattern: string): boolean => {
    try {
      return new RegExp(pattern, "u") !== undefined;
    } catch {
      left.add(pattern);
      return false;
    }
  };
  const part = (value: unknown): unknown => (Array.isArray(value) ? value.map(part) : isObject(value) ? members(value) : value);
  const each = (value: object): object => Object.fromEntries(Object.entries(value).map(([name, one]) => [name, part(one)]));
  const members = (value: object): object => {
    const kept = Object.entries(value).filter(([name, one]) => name !== "pattern" || typeof one !== "string" || compiles(one));
    return Object.fromEntries(kept.map(([name, one]) => [name, VALUES.has(name) ? one : NAMED.has(name) && isObject(one) ? each(one) : part(one)]));
  };
  return { schema: members(schema) as Schema, left: [...left] };
}

function messagesOf(faults: readonly Fault[]): Messages {
  const result: Messages = new Map();
  const outer: Messages = new Map();
  for (let at = 0; at < faults.length; at += 1) {
    const fault = faults[at] as Fault;
    const within = isChoice(fault) ? inside(faults, at) : [];
    at += within.length;
    const messages = isChoice(fault) ? ofChoice(fault, within) : new Map([messageOf(fault)]);
    const target = OUTER.has(fault.keyword) ? outer : result;
    for (const [pointer, message] of messages) if (!target.has(pointer)) target.set(pointer, message);
  }
  // Something inside is wrong, and no other error says what.
  for (const [pointer, message] of outer) {
    if (![...result.keys()].some((other) => other === pointer || other.startsWith(`${pointer}/`))) result.set(pointer, message);
  }
  return result;
}

function isChoice({ keyword }: Fault): boolean {
  return keyword === "anyOf" || keyword === "oneOf";
}

/** The errors inside the choice at index `at`; the validator lists them right after it, and `false` without a location. */
function inside(faults: readonly Fault[], at: number): readonly Fault[] {
  const { location } = faults[at] as Fault;
  const rest = faults.slice(at + 1);
  const end = rest.findIndex((one) => !one.location.startsWith(`${location}/`) && one.keyword !== "false");
  return end < 0 ? rest : rest.slice(0, end);
}

/** No alternative of a choice matches, or too many do. If only one can have been meant, its errors are shown; else one message about all. */
function ofChoice({ pointer, location, error }: Fault, inner: readonly Fault[]): Messages {
  const matches = Number(/\((\d+) matches/.exec(error)?.[1] ?? 0);
  if (matches > 1) return new Map([[pointer, `matches ${matches} of the alternatives, but must match exactly one`]]);
  const ways = new Map<string, Fault[]>();
  for (const fault of inner) {
    const way = fault.location.slice(location.length + 1).split("/", 1)[0] ?? "";
    ways.set(way, [...(ways.get(way) ?? []), fault]);
  }
  const all = [...ways.values()];
  const meant = all.filter((faults) => !faults.some((fault) => rulesOut(fault, pointer)));
  if (meant.length === 1) return messagesOf(meant[0] ?? []);
  return new Map([[pointer, eitherOf(meant.length > 0 ? meant : all, pointer)]]);
}

/** Whether an error shows that another alternative was meant: this one has another type, or another distinguishing constant. */
function rulesOut({ pointer, keyword }: Fault, at: string): boolean {
  if (pointer === at) return ["type", "const", "enum", "false"].includes(keyword);
  return keyword === "const" && pointer.startsWith(`${at}/`) && !pointer.includes("/", at.length + 1);
}

function eitherOf(ways: readonly (readonly Fault[])[], at: string): string {
  const flat = ways.flat().filter(({ keyword }) => !OUTER.has(keyword));
  const types = flat.map(({ error }) => TYPE.exec(error)).filter((type) => type !== null);
  if (types.length === flat.length && types.length > 0) return `must be ${[...new Set(types.flatMap((type) => type[2]?.split('", "')))].join(" or ")}, not ${types[0]?.[1]}`;
  if (flat.every(({ keyword, pointer }) => keyword === "required" && pointer === at)) return `must have ${some(ways.map((faults) => faults.filter(({ keyword }) => keyword === "required").map(({ error }) => nameIn(error)).join(" and ")))}`;
  return some(ways.map((faults) => [...messagesOf(faults)].map(([pointer, message]) => `${pointer.slice(at.length + 1)} ${message}`.trim()).join(" and ")));
}

function some(ways: readonly string[]): string {
  const different = [...new Set(ways)];
  const more = different.length - MAX_ALTERNATIVES;
  return [...different.slice(0, MAX_ALTERNATIVES), ...(more > 0 ? [`one of ${more} more alternatives`] : [])].join(", or ");
}

function checked(schema: Schema, value: Json, root: Schema) {
  const draft = DRAFTS.find(([pattern]) => pattern.test(String(root["$schema"])))?.[1] ?? "2020-12";
  const definitions = schema === root ? {} : { $defs: root["$defs"], definitions: root["definitions"] };
  const used = Object.fromEntries(Object.entries({ ...definitions, ...schema }).filter(([, part]) => part !== undefined));
  try {
    return new Validator(bare(used) as CheckedSchema, draft, false).validate(bare(value)).errors;
  } catch (error) {
    throw new BadSchema(unusable(error instanceof Error ? error.message : String(error)));
  }
}

/** The same JSON without prototypes: the validator would find members such as `constructor` there. */
function bare(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(bare);
  if (!isObject(value)) return value;
  const made = Object.create(null) as Record<string, unknown>;
  for (const [name, part] of Object.entries(value)) made[name] = bare(part);
  return made;
}

/** Why the validator cannot use a schema. */
function unusable(message: string): string {
  const reference = /^Unresolved \$ref "(.*?)"\./.exec(message)?.[1];
  if (reference !== undefined) return `its reference "${reference}" does not resolve`;
  const pattern = /^Invalid regular expression: \/(.*)\/\w*: /s.exec(message)?.[1]; // of patternProperties
  return pattern === undefined ? message : `its pattern "${pattern}" is not valid in JavaScript`;
}

const TYPE = /type "(.*?)" is invalid\. Expected "(.*)"/;

/** The validator's errors as messages beside a field, from its text and the last number in it. */
const PLAIN: Readonly<Record<string, (error: string, number: string) => string>> = {
  false: () => "is not allowed",
  not: () => "is excluded by the schema",
  const: (error) => error.replace(/^Instance does not match (.*)\.$/s, "must be $1"),
  enum: (error) => `must be one of ${(JSON.parse(error.slice(error.indexOf("["), -1)) as Json[]).map((one) => JSON.stringify(one)).join(", ")}`,
  minProperties: (_, number) => `must have at least ${counted(number, "member")}`,
  maxProperties: (_, number) => `must have at most ${counted(number, "member")}`,
  propertyNames: (error) => `has a member with an invalid name: ${nameIn(error)}`,
  minItems: (_, number) => `must have at least ${counted(number, "item")}`,
  maxItems: (_, number) => `must have at most ${counted(number, "item")}`,
  uniqueItems: (error) => error.replace(/^.* (\d+) and (\d+)\.$/, (_, one, two) => `items ${Number(one) + 1} and ${Number(two) + 1} are equal`),
  contains: () => "lacks a required item",
  minLength: (_, number) => `must have at least ${counted(number, "character")}`,
  maxLength: (_, number) => `must have at most ${counted(number, "character")}`,
  minimum: (error, number) => (error.includes("or equal") ? `must be more than ${number}` : `must be at least ${number}`),
  maximum: (error, number) => (error.includes("or equal") ? `must be less than ${number}` : `must be at most ${number}`),
  exclusiveMinimum: (_, number) => `must be more than ${number}`,
  exclusiveMaximum: (_, number) => `must be less than ${number}`,
  multipleOf: (_, number) => `must be a multiple of ${number}`,
  pattern: () => "does not match the pattern",
  format: (error) => `is not in the format ${nameIn(error)}`,
};

/** The pointer where an error is shown, and its message. */
function messageOf({ pointer, keyword, error }: Fault): [string, string] {
  const name = nameIn(error);
  if (keyword === "required") return [`${pointer}/${escaped(name)}`, "is required"];
  const [, given, needed = ""] = /has "(.*)" but does not have "(.*)"\.$/.exec(error) ?? [];
  if (given !== undefined) return [`${pointer}/${escaped(needed)}`, `is required together with ${given}`];
  const type = TYPE.exec(error);
  if (type !== null) return [pointer, `must be ${type[2]?.replaceAll('", "', " or ")}, not ${type[1]}`];
  const number = /(-?\d[-+.\de]*?)[^\d]*$/.exec(error)?.[1] ?? "";
  return [pointer, own(PLAIN, keyword)?.(error, number) ?? error.replace(/^Instance /, "").replace(/\.$/, "")];
}

/** The text between quotation marks in an error of the validator. */
function nameIn(error: string): string {
  return /"(.*)"/s.exec(error)?.[1] ?? "";
}

function counted(number: string, thing: string): string {
  return `${number} ${thing}${number === "1" ? "" : "s"}`;
}

/**
 * Whether a value fits a JSON Schema; pure. A server's schema may take for ever: a page calls this in a worker alone, see
 * `checker.ts`.
 */

import { Validator, type Schema as CheckedSchema, type SchemaDraft } from "@cfworker/json-schema";
import { escaped, isObject, type Json, type Schema } from "./schema.js";

/** Keywords whose error only says that something inside of them is wrong. */
const OUTER = new Set(["properties", "items", "prefixItems", "additionalProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref", "if", "then", "else", "required", "dependentSchemas"]);
const DRAFTS: readonly [RegExp, SchemaDraft][] = [[/draft-0?4/, "4"], [/draft-0?[67]/, "7"], [/2019-09/, "2019-09"]];

/** The schema cannot be used to check anything. */
export class BadSchema extends Error {
  override readonly name = "BadSchema";
}

/**
 * What is wrong with a value: words by JSON pointer, `""` for the whole.
 *
 * @throws BadSchema
 */
export function errorsOf(schema: Schema, value: Json, root: Schema): Map<string, string> {
  const found = new Map<string, string>();
  const outer = new Map<string, string>();
  for (const { instanceLocation, keyword, error } of checked(schema, value, root)) {
    const pointer = decodeURI(instanceLocation.replace(/^#/, ""));
    const words = plain(error);
    if (keyword === "required") missing(error, pointer, found);
    else if (OUTER.has(keyword)) outer.set(pointer, outer.get(pointer) ?? words);
    else if (!found.has(pointer)) found.set(pointer, words);
  }
  // Something is wrong within, and nothing said what.
  for (const [pointer, words] of outer) {
    if (![...found.keys()].some((inner) => inner === pointer || inner.startsWith(`${pointer}/`))) found.set(pointer, words);
  }
  return found;
}

function checked(schema: Schema, value: Json, root: Schema) {
  const draft = DRAFTS.find(([pattern]) => pattern.test(String(root["$schema"])))?.[1] ?? "2020-12";
  const definitions = schema === root ? {} : { $defs: root["$defs"], definitions: root["definitions"] };
  const used = Object.fromEntries(Object.entries({ ...definitions, ...schema }).filter(([, part]) => part !== undefined));
  try {
    return new Validator(bare(used) as CheckedSchema, draft, false).validate(bare(value)).errors;
  } catch (error) {
    throw new BadSchema(error instanceof Error ? error.message : String(error));
  }
}

/** The same JSON without prototypes, in which the validator would find members named `constructor` or `toString`. */
function bare(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(bare);
  if (!isObject(value)) return value;
  const made = Object.create(null) as Record<string, unknown>;
  for (const [name, part] of Object.entries(value)) made[name] = bare(part);
  return made;
}

/** What the validator says, to a person at a field. */
function plain(error: string): string {
  const type = /type "(.*?)" is invalid\. Expected "(.*)"/.exec(error);
  if (type !== null) return `must be ${type[2]?.replaceAll('", "', " or ")}, not ${type[1]}`;
  return error.replace(/^Instance /, "").replace(/^String /, "the text ").replace(/\.$/, "");
}

function missing(error: string, pointer: string, found: Map<string, string>): void {
  const name = /required property "(.*)"/.exec(error)?.[1];
  if (name !== undefined) found.set(`${pointer}/${escaped(name)}`, "is required");
}

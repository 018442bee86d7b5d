/** Mend the items of lists that the SDK refuses, or omit them. Pure; mirrors `mcp_ws_ide/core/list_items.py`. */

import { isObject } from "./binding.js";

type Members = Record<string, unknown>;
/** The parts of a result that have a fault, by the fault. */
export type Faults = Map<string, string[]>;
type Check = (value: unknown) => boolean;
export type Checks = Readonly<Record<string, Check>>;

const IDENTITY: Readonly<Record<string, string>> = { tools: "name", prompts: "name", resources: "uri", resourceTemplates: "uriTemplate" };

export const isText: Check = (value) => typeof value === "string";
const isFlag: Check = (value) => typeof value === "boolean";
const isTexts: Check = (value) => Array.isArray(value) && value.every(isText);
const each = (checks: Checks, required: readonly string[] = []): Check => {
  return (value) => isObject(value) && required.every((name) => name in value) && fits(value, checks);
};
const eachOf = (check: Check): Check => (value) => Array.isArray(value) && value.every(check);
const oneOf = (...values: readonly unknown[]): Check => (value) => values.includes(value);

/** Whether each member that has a check passes it. */
export function fits(members: Members, checks: Checks): boolean {
  return Object.entries(checks).every(([name, check]) => !(name in members) || check(members[name]));
}

const isIcon = each({ src: isText, mimeType: isText, sizes: isTexts, theme: oneOf("light", "dark") }, ["src"]);
export const isAnnotations = each({
  audience: eachOf(oneOf("user", "assistant")),
  priority: (value) => typeof value === "number" && value >= 0 && value <= 1,
  lastModified: (value) => isText(value) && /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:?\d\d)$/.test(value as string),
});
const isHints = each({ title: isText, readOnlyHint: isFlag, destructiveHint: isFlag, idempotentHint: isFlag, openWorldHint: isFlag });
const isArgument = each({ name: isText, description: isText, required: isFlag }, ["name"]);
const isSchema = each({ type: oneOf("object"), properties: (value) => isObject(value) && Object.values(value).every(isObject), required: isTexts }, ["type"]);

const COMMON: Checks = { title: isText, description: isText, icons: eachOf(isIcon), _meta: isObject };
const OPTIONAL: Readonly<Record<string, Checks>> = {
  tools: { ...COMMON, annotations: isHints, execution: each({ taskSupport: oneOf("required", "optional", "forbidden") }), outputSchema: isObject },
  prompts: { ...COMMON, arguments: eachOf(isArgument) },
  resources: { ...COMMON, mimeType: isText, size: Number.isInteger, annotations: isAnnotations },
  resourceTemplates: { ...COMMON, mimeType: isText, annotations: isAnnotations },
};

/** Note that a part of a result has a fault. */
export function addFault(faults: Faults, part: string, fault: string): void {
  if (fault) faults.set(fault, [...(faults.get(fault) ?? []), part]);
}

/** Mend the list under `key` of a result. */
export function mendList(key: string, members: Members, faults: Faults, strict: boolean): void {
  mendCursor(key, members, faults);
  if ("_meta" in members && !isObject(members["_meta"])) {
    delete members["_meta"];
    addFault(faults, key, "a _meta that is not an object was ignored");
  }
  const given = members[key];
  const others = Object.keys(members).filter((name) => ![key, "nextCursor", "_meta", "resultType", "ttlMs", "cacheScope"].includes(name));
  if (Array.isArray(given)) {
    const checks = OPTIONAL[key] ?? {};
    const used = strict && key === "tools" ? { ...checks, outputSchema: isSchema } : checks;
    members[key] = given.flatMap((item, at) => {
      const [mended, fault] = mendItem(key, item, used);
      addFault(faults, (isObject(item) && isText(item[IDENTITY[key] ?? ""]) && JSON.stringify(item[IDENTITY[key] ?? ""])) || `number ${at + 1}`, fault);
      return mended === undefined ? [] : [mended];
    });
  } else if ((given === undefined || given === null || isEmpty(given)) && others.length === 0 && (members["resultType"] ?? "complete") === "complete") {
    members[key] = [];
    addFault(faults, key, "a result without a list was read as one without items");
  }
}

function isEmpty(value: unknown): boolean {
  return isObject(value) && Object.keys(value).length === 0;
}

function mendCursor(key: string, members: Members, faults: Faults): void {
  const cursor = members["nextCursor"];
  if (!("nextCursor" in members) || isText(cursor)) return;
  delete members["nextCursor"];
  if (typeof cursor === "number") members["nextCursor"] = String(cursor);
  addFault(faults, key, `a nextCursor that is ${typeof cursor === "number" ? "a number became a string" : "not a string was ignored"}`);
}

/** An item as the SDK reads it, undefined if it cannot, and what was wrong with it; empty for nothing. */
function mendItem(key: string, item: unknown, checks: Checks): [unknown, string] {
  const member = IDENTITY[key] ?? "name";
  const valid = (value: Members): boolean => isText(value["name"]) && isText(value[member]) && (key !== "tools" || isSchema(value["inputSchema"])) && fits(value, checks);
  if (isObject(item) && valid(item)) return [item, ""];
  if (!isObject(item) || !isText(item[member]) || item[member] === "") return [undefined, `omitted, because its ${member} is not a string`];
  const members: Members = Object.fromEntries(Object.entries(item).filter(([, value]) => value !== null));
  const faults: string[] = [];
  if (!("name" in members)) {
    members["name"] = members[member];
    faults.push(`it has no name; its ${member} is shown instead`);
  }
  if (!isText(members["name"]) || members["name"] === "") return [undefined, "omitted, because its name is not a string"];
  if (key === "tools" && !isSchema(members["inputSchema"])) {
    if (!mayBeSchema(members["inputSchema"])) return [undefined, "omitted, because its inputSchema is not an object"];
    members["inputSchema"] = usableSchema(members["inputSchema"]);
    faults.push("its inputSchema was completed to one of an object");
  }
  faults.push(...mendOptional(members, checks));
  if (!valid(members)) return [undefined, "omitted, because its inputSchema cannot be read"];
  return [members, faults.join("; ") || "members that are null were ignored"];
}

/** Whether a value is an object, or stands for an empty one; `[]` is how PHP writes one. */
function mayBeSchema(value: unknown): boolean {
  return value === undefined || value === null || isObject(value) || (Array.isArray(value) && value.length === 0);
}

function usableSchema(given: unknown): Members {
  const rest: Members = isObject(given) ? { ...given } : {};
  delete rest["type"];
  for (const name of ["properties", "required"]) if (rest[name] === null) delete rest[name];
  const { properties } = rest;
  if (Array.isArray(properties) && properties.length === 0) rest["properties"] = {};
  else if (isObject(properties)) rest["properties"] = Object.fromEntries(Object.entries(properties).map(([name, value]) => [name, usableProperty(value)]));
  return { type: "object", ...rest };
}

/** The schema of one argument as an object: the SDK refuses the booleans of JSON Schema. */
function usableProperty(given: unknown): unknown {
  if (given === false) return { not: {} };
  return given === true || given === null || (Array.isArray(given) && given.length === 0) ? {} : given;
}

/** Remove what the SDK refuses of the optional members; returns what was removed. */
export function mendOptional(members: Members, checks: Checks): string[] {
  const faults: string[] = [];
  for (const [name, check] of Object.entries(checks)) {
    const given = members[name];
    if (!(name in members) || check(given)) continue;
    const isOutput = name === "outputSchema" && isObject(given) && "properties" in given && [undefined, null, "object"].includes(given["type"] as null);
    const mended = isOutput ? usableSchema(given) : withoutNulls(given);
    if (check(mended) && Object.keys(mended as object).length > 0) {
      members[name] = mended;
      faults.push(`its ${name} was completed`);
    } else {
      delete members[name];
      faults.push(`its ${name} was ignored, because clients could not read it`);
    }
  }
  return faults;
}

function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).flatMap(([name, item]) => (item === null ? [] : [[name, withoutNulls(item)]])));
}

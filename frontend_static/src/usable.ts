/**
 * Results of a server that is no gateway, as the SDK can read them (docs/reference/reading.md). Pure.
 *
 * The SDK validates a list or a result as a whole: one item that it refuses costs it all items. An item that means one thing
 * is mended, one without a name is omitted from its list, and any other content item becomes a text that shows it. Mirrors
 * `mcp_ws_ide/core/usable_answers.py`; both run `tests/vectors/results.json`.
 */

import { isObject } from "./binding.js";
import { mendItems, readContents, readItem, readPromptMessage } from "./content.js";
import { addFault, mendList, type Faults } from "./lists.js";

type Members = Record<string, unknown>;

/** Member of `_meta` with the servers whose part of a result was changed, and the reasons. */
const UNAVAILABLE_KEY = "mcp-ws-ide/unavailable";
const MAX_NOTE = 500;
const LISTS: Readonly<Record<string, string>> = {
  "tools/list": "tools",
  "prompts/list": "prompts",
  "resources/list": "resources",
  "resources/templates/list": "resourceTemplates",
};
/** Members of the results that stand for one which comes later. */
const OTHERS = ["inputRequests", "task"];

/**
 * The result of a request as the SDK reads it: the same object unless something was wrong.
 *
 * @param method the method that was called.
 * @param server the name under which changes are noted in `_meta`.
 * @param strict whether the client is of the handshake era.
 */
export function usable(method: string, result: unknown, server: string, strict: boolean): unknown {
  if (!isObject(result)) return result;
  const members: Members = { ...result };
  const faults: Faults = new Map();
  const key = LISTS[method];
  if (key !== undefined) mendList(key, members, faults, strict);
  else if (!isCall(method) || !isComplete(members)) return result;
  else CALLS[method](members, faults, strict);
  if (faults.size === 0) return result;
  if (!isObject(members["_meta"])) delete members["_meta"];
  const texts = [...faults].map(([fault, parts]) => `${key ?? method}: ${named(parts)}: ${fault}`);
  const note = { [server]: texts.join("; ").slice(0, MAX_NOTE) };
  return { ...members, _meta: { ...(members["_meta"] as Members | undefined), [UNAVAILABLE_KEY]: note } };
}

function named(parts: readonly string[]): string {
  const more = parts.length > 3 ? ` and ${parts.length - 3} more` : "";
  return parts.slice(0, 3).join(", ") + more;
}

function isComplete(members: Members): boolean {
  return (members["resultType"] ?? "complete") === "complete" && !OTHERS.some((name) => name in members);
}

const CALLS = {
  "tools/call": mendToolResult,
  "tasks/result": mendToolResult,
  "prompts/get": mendPrompt,
  "resources/read": mendContents,
  "completion/complete": mendCompletion,
  initialize: mendHandshake,
} satisfies Record<string, (members: Members, faults: Faults, strict: boolean) => void>;

function isCall(method: string): method is keyof typeof CALLS {
  return method in CALLS;
}

function mendToolResult(members: Members, faults: Faults, strict: boolean): void {
  mendErrorFlag(members, faults);
  const structured = members["structuredContent"];
  const isOdd = "structuredContent" in members && !isObject(structured);
  if (strict && isOdd) {
    delete members["structuredContent"];
    addFault(faults, "structuredContent", `it was removed, because ${structured === null ? "it is null" : "it is not an object"}`);
  }
  const content = members["content"];
  if (content === undefined || content === null) {
    const shown = inPlaceOfContent(members, structured);
    members["content"] = shown;
    addFault(faults, "content", `it is missing${shown.length > 0 ? ", the result is shown as text" : ""}`);
    return;
  }
  const isEmpty = Array.isArray(content) && content.length === 0;
  if (strict && isOdd && structured !== null && isEmpty) members["content"] = [{ type: "text", text: JSON.stringify(structured) }];
  mendItems("content", members, faults, readItem);
}

/** The items of a result without content: its structured content, or whatever else it has, as text. */
function inPlaceOfContent(members: Members, structured: unknown): unknown[] {
  if (structured !== undefined && structured !== null) return [{ type: "text", text: JSON.stringify(structured) }];
  const rest = Object.entries(members).filter(([name]) => !["content", "isError", "_meta", "resultType"].includes(name));
  if (rest.length === 0) return [];
  const item = ["type", "text", "data", "mimeType", "resource", "annotations"];
  if (rest.every(([name]) => item.includes(name))) return readItem(Object.fromEntries(rest)).shown;
  return [{ type: "text", text: JSON.stringify(Object.fromEntries(rest)) }];
}

function mendErrorFlag(members: Members, faults: Faults): void {
  const given = members["isError"];
  if (given === undefined || typeof given === "boolean") return;
  const failed = typeof given === "string" ? !["", "false", "no", "0", "none", "null"].includes(given.trim().toLowerCase()) : !isFalsy(given);
  members["isError"] = failed;
  addFault(faults, "isError", `it was read as ${failed}`);
}

function isFalsy(value: unknown): boolean {
  return !value || (Array.isArray(value) && value.length === 0) || (isObject(value) && Object.keys(value).length === 0);
}

function mendPrompt(members: Members, faults: Faults): void {
  if ("description" in members && typeof members["description"] !== "string") {
    delete members["description"];
    addFault(faults, "description", "it was ignored, because it is not a string");
  }
  mendItems("messages", members, faults, readPromptMessage);
}

function mendContents(members: Members, faults: Faults): void {
  if (!("contents" in members) && "content" in members) {
    members["contents"] = members["content"];
    delete members["content"];
    addFault(faults, "content", "it was read as contents");
  }
  mendItems("contents", members, faults, readContents);
}

/** Completions in one result. */
const MAX_VALUES = 100;

function mendCompletion(members: Members, faults: Faults): void {
  const given = members["completion"];
  const completion = isObject(given) ? given : {};
  const values = Array.isArray(completion["values"]) ? completion["values"] : [];
  const texts = values.filter((value) => value !== null && typeof value !== "object").map((value) => (typeof value === "string" ? value : String(value)));
  const kept: Members = { values: texts.slice(0, MAX_VALUES) };
  if (Number.isInteger(completion["total"])) kept["total"] = completion["total"];
  if (typeof completion["hasMore"] === "boolean") kept["hasMore"] = completion["hasMore"];
  if (texts.length > MAX_VALUES) {
    kept["hasMore"] = true;
    addFault(faults, "completion", `values after the first ${MAX_VALUES} were omitted`);
  } else if (!isObject(given) || !sameMembers(kept, completion)) {
    addFault(faults, "completion", "what clients could not read was omitted");
  }
  if (faults.size > 0) members["completion"] = kept;
}

/** Whether each member that was given in a checked form is kept unchanged; members without a meaning do not count. */
function sameMembers(kept: Members, given: Members): boolean {
  const names = ["values", "total", "hasMore"].filter((name) => name in given || name in kept);
  return names.every((name) => JSON.stringify(kept[name]) === JSON.stringify(given[name]));
}

/** The protocol version of a server that names none: the one with the fewest features. */
const OLDEST = "2024-11-05";

function mendHandshake(members: Members, faults: Faults): void {
  if (typeof members["protocolVersion"] !== "string") {
    members["protocolVersion"] = OLDEST;
    addFault(faults, "protocolVersion", `it was read as ${OLDEST}, because it is not a string`);
  }
  const offers = isObject(members["capabilities"]) ? members["capabilities"] : {};
  const offered = Object.fromEntries(Object.entries(offers).flatMap(([name, offer]) => (offer === null || offer === false ? [] : [[name, usableOffer(offer)]])));
  if (!isObject(members["capabilities"]) || JSON.stringify(offered) !== JSON.stringify(offers)) {
    members["capabilities"] = offered;
    addFault(faults, "capabilities", "what clients could not read was completed or ignored");
  }
  mendServerInfo(members, faults);
  if ("instructions" in members && typeof members["instructions"] !== "string") {
    delete members["instructions"];
    addFault(faults, "instructions", "it was ignored, because it is not a string");
  }
}

/** A capability: an object, whose members of the wrong type are left out. */
function usableOffer(given: unknown): Members {
  const flags = ["listChanged", "subscribe"];
  const members = isObject(given) ? Object.entries(given) : [];
  return Object.fromEntries(members.filter(([name, value]) => !flags.includes(name) || typeof value === "boolean"));
}

function mendServerInfo(members: Members, faults: Faults): void {
  const given = members["serverInfo"];
  const info: Members = typeof given === "string" ? { name: given } : isObject(given) ? given : {};
  const usable: Members = { ...info };
  if ("title" in usable && typeof usable["title"] !== "string") delete usable["title"];
  for (const name of ["name", "version"]) {
    const value = usable[name];
    if (typeof value !== "string") usable[name] = value === undefined || value === null ? "unknown" : JSON.stringify(value);
  }
  if (isObject(given) && JSON.stringify(usable) === JSON.stringify(given)) return;
  members["serverInfo"] = usable;
  addFault(faults, "serverInfo", "it was completed with a name and a version");
}

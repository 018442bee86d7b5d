/**
 * Definitions and results that do not conform to MCP: they are shown nevertheless, with a remark.
 *
 * Knows the SDK's schemas and nothing of requests.
 */

import { specTypeSchemas } from "@modelcontextprotocol/client";
import { isObject } from "../form/schema.js";

type TypeName = "Tool" | "Resource" | "ResourceTemplate" | "Prompt" | "CallToolResult" | "ReadResourceResult" | "GetPromptResult";

/** Faults named in one remark. */
const MAX_FAULTS = 3;

/** How a value deviates from MCP; empty where it conforms. */
export function faultsOf(type: TypeName, value: unknown): string {
  const checked = specTypeSchemas[type]["~standard"].validate(value) as { issues?: readonly Issue[] };
  const faults = (checked.issues ?? []).map(({ path = [], message }) => `${placeOf(path) || "(root)"}: ${plain(message)}`);
  const more = faults.length - MAX_FAULTS;
  return faults.slice(0, MAX_FAULTS).join("; ") + (more > 0 ? `; and ${more} more` : "");
}

interface Issue {
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[];
  readonly message: string;
}

function placeOf(path: NonNullable<Issue["path"]>): string {
  return path.reduce((made: string, part) => {
    const name = typeof part === "object" ? part.key : part;
    return typeof name === "number" ? `${made}[${name}]` : `${made}${made && "."}${String(name)}`;
  }, "");
}

function plain(message: string): string {
  if (message === "Invalid input") return "not one of the types that MCP defines";
  return message.replace(/^Invalid (input|option): /, "").replace(/^Invalid /, "not a valid ");
}

/** Whether an answer arrived that the SDK rejected as invalid. */
export function refusesAnswer(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code === "INVALID_RESULT" || code === "UNSUPPORTED_RESULT_TYPE";
}

/** A remark on an answer that the SDK rejected. */
export function remarkOn(error: Error, type: TypeName, answer: unknown): string {
  const said = error.message.replace(/^Invalid result for [^:]*: /, "");
  const faults = faultsOf(type, answer) || (/[[{]/.test(said) ? "" : said);
  return `This result does not conform to MCP${faults && `: ${faults}`}. It is shown as received.`;
}

/** The items of a list that have a usable key, and a message about the others. */
export function usable(items: readonly unknown[], what: string, key: string): { items: readonly any[]; error: string } {
  const good = items.filter((item) => isObject(item) && typeof item[key] === "string");
  const bad = items.flatMap((item, index) => (good.includes(item) ? [] : [`number ${index + 1} ${isObject(item) ? `has no ${key}` : "is not an object"}`]));
  const error = bad.length === 0 ? "" : `${bad.length} of ${items.length} ${what} cannot be shown: ${bad.slice(0, MAX_FAULTS).join(", ")}${bad.length > MAX_FAULTS ? " …" : ""}.`;
  return { items: good, error };
}

/** What the gateway left out of a list or a result, or changed in it, and why: one text for each server of the response. */
export function notesOf(answer: unknown): string {
  const meta = isObject(answer) && isObject(answer._meta) ? answer._meta : {};
  const notes = meta["mcp-ws-ide/unavailable"];
  return isObject(notes) ? Object.entries(notes).map(([server, note]) => `${server}: ${textOf(note)}.`).join(" ") : "";
}

/** A text member of a definition; empty where it is not a text. */
export function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

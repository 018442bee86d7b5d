/**
 * What a server sent that is not as MCP has it: shown all the same, with a remark in words.
 *
 * Knows the SDK's schemas; knows nothing of requests.
 */

import { specTypeSchemas } from "@modelcontextprotocol/client";
import { isObject } from "../form/schema.js";

type TypeName = "Tool" | "Resource" | "ResourceTemplate" | "Prompt" | "CallToolResult" | "ReadResourceResult" | "GetPromptResult";

const MOST_FAULTS = 3;

/** In what a value is not as MCP has it; empty where it is. */
export function faultsOf(type: TypeName, value: unknown): string {
  const checked = specTypeSchemas[type]["~standard"].validate(value) as { issues?: readonly Issue[] };
  const found = (checked.issues ?? []).map(({ path = [], message }) => `${placeOf(path) || "the whole"}: ${plain(message)}`);
  const more = found.length - MOST_FAULTS;
  return found.slice(0, MOST_FAULTS).join("; ") + (more > 0 ? `; and ${more} more` : "");
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
  if (message === "Invalid input") return "it is none of the kinds that MCP knows";
  return message.replace(/^Invalid (input|option): /, "").replace(/^Invalid /, "it is no valid ");
}

/** Whether an answer came, and the SDK refused what it says. */
export function refusesAnswer(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code === "INVALID_RESULT" || code === "UNSUPPORTED_RESULT_TYPE";
}

/** A remark on an answer that was refused. */
export function remarkOn(error: Error, type: TypeName, answer: unknown): string {
  const said = error.message.replace(/^Invalid result for [^:]*: /, "");
  const faults = faultsOf(type, answer) || (/[[{]/.test(said) ? "" : said);
  return `This answer is not as MCP has it${faults && `: ${faults}`}. It is shown as it came.`;
}

/** The items of a list that can be told apart, and words about those that cannot. */
export function usable(items: readonly unknown[], what: string, key: string): { items: readonly any[]; error: string } {
  const good = items.filter((item) => isObject(item) && typeof item[key] === "string");
  const bad = items.flatMap((item, index) => (good.includes(item) ? [] : [`number ${index + 1} ${isObject(item) ? `has no ${key}` : "is no object"}`]));
  const error = bad.length === 0 ? "" : `${bad.length} of ${items.length} ${what} cannot be shown: ${bad.slice(0, MOST_FAULTS).join(", ")}${bad.length > MOST_FAULTS ? " …" : ""}.`;
  return { items: good, error };
}

/** A text of a definition; empty where it is none. */
export function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

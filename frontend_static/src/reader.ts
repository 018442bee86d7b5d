/**
 * Read what a server wrote where it is not exactly one JSON-RPC message (docs/reference/reading.md). Pure.
 *
 * What has one meaning is mended. For everything else it tells which request it may answer.
 */

import { isObject, parseJson } from "./binding.js";

/** What was read of a frame. */
export interface Reading {
  /** Messages for the SDK. */
  readonly messages: readonly Record<string, unknown>[];
  /** Whether something was there that cannot be read. */
  readonly unreadable: boolean;
  /** The id that it names, as far as that can be determined. */
  readonly id?: string | number;
}

/** Characters at either end of a text that are searched for the id of an answer. */
const ENDS = 300;
const ID = /"id"\s*:\s*(-?\d+|"(?:[^"\\]|\\.)*")/;
const ID_LAST = /"id"\s*:\s*(-?\d+|"(?:[^"\\]|\\.)*")\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$/;

/** Whether a value is a message that needs no mending. */
export function isCanonical(value: unknown): value is Record<string, unknown> {
  if (!isObject(value) || value["jsonrpc"] !== "2.0") return false;
  return "method" in value || (value["id"] !== null && value["id"] !== undefined && "result" in value !== "error" in value);
}

/** Read a frame. */
export function read(text: string): Reading {
  const value = parseJson(text.replace(/^\uFEFF/, "").trim());
  const items = Array.isArray(value) ? value : [value];
  const messages = items.map(mended).filter((message) => message !== undefined);
  if (messages.length === items.length && items.length > 0) return { messages, unreadable: false };
  const id = value === undefined ? idOf(text) : undefined;
  return { messages, unreadable: true, ...(id === undefined ? {} : { id }) };
}

/** The message that a value means; undefined where it means none. */
function mended(value: unknown): Record<string, unknown> | undefined {
  if (!isObject(value)) return undefined;
  const message: Record<string, unknown> = { ...value };
  for (const name of ["params", "method"]) if (message[name] === null) delete message[name];
  if ("method" in message) return message["jsonrpc"] === "2.0" ? message : undefined;
  if (message["error"] === null && "result" in message) delete message["error"];
  else if (message["result"] === null && "error" in message) delete message["result"];
  if ("result" in message === "error" in message || !("id" in message)) return undefined;
  if (typeof message["error"] === "string") message["error"] = { code: -32603, message: message["error"] };
  return { ...message, jsonrpc: "2.0" };
}

function idOf(text: string): string | number | undefined {
  const found = ID.exec(text.slice(0, ENDS)) ?? ID_LAST.exec(text.slice(-ENDS));
  return found?.[1] === undefined ? undefined : (parseJson(found[1]) as string | number | undefined);
}

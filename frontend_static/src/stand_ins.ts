/**
 * Text that a server sends in place of a message, where each message has a frame or an event of its own. Pure.
 *
 * Tells a failed response from what only keeps a stream open. Mirrors `mcp_ws_ide/core/stand_ins.py`.
 */

import { parseJson } from "./binding.js";

/** Milliseconds for a request to be answered after what stands in place of a message, and may be its response. */
export const SUSPICION = 3_500;
/** Error codes with which careless servers answer notifications. */
export const TO_NOTIFICATIONS: ReadonlySet<unknown> = new Set([-32601, -32600, -32602]);
/** Names of events with which servers end a response; others (ping, progress, …) show that more follows. */
const FINAL_NAMES: ReadonlySet<string> = new Set(["message", "error", "exception", "result", "response", "done", "end", "complete"]);
/** What servers write to keep a connection open. */
const ALIVE = /\b(?:ping|pong|keep.?alive|heart.?beat)\b/i;
/** Short text about what a server is doing, after which a response may come much later. */
const STATUS =
  /^\W*(?:(?:connect|open|start|init|process|work|run|wait|load|queu|think|execut|subscri)(?:ed|n?ing|e|s)?|ready|hello|welcome|ok|accepted|pending|in progress|progress|please|still)\b.{0,60}$/i;

/** Whether an event that is no message stands in place of a response, not to keep the stream open. */
export function replacesResponse(name: string, text: string): boolean {
  if (!FINAL_NAMES.has(name) || ALIVE.test(text.slice(0, 100))) return false;
  if (text.includes("\0") || name !== "message" || text === "[DONE]" || text === "null") return true;
  if (/^[{["]/.test(text)) return text !== "{}" && parseJson(text) !== undefined;
  return /\p{L}/u.test(text) && !STATUS.test(text);
}

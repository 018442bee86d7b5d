/**
 * Read what a server wrote where it is not exactly one JSON-RPC message (docs/reference/reading.md). Pure.
 *
 * What has one meaning is mended. For everything else it tells whether it may be an answer, and to which request. Mirrors
 * `mcp_ws_ide/core/reader.py`.
 */

import { isObject, parseJson } from "./binding.js";

/** What may be a response, and cannot be read: the id that it names, as far as that can be determined. */
export interface Fault {
  readonly id?: string | number;
}

/** What was read of a frame. What is neither of the two is text between messages. */
export interface Reading {
  /** Messages for the SDK. */
  readonly messages: readonly Message[];
  readonly faults: readonly Fault[];
}

export type Message = Record<string, unknown>;

const INTERNAL_ERROR = -32603;
/** Characters at either end of a text that are searched for the id of an answer. */
const ENDS = 300;
/** Characters that an error quotes. */
const QUOTED = 200;
const ID = /"id"\s*:\s*(-?\d+|"(?:[^"\\]|\\.)*")/;
const ID_LAST = /"id"\s*:\s*(-?\d+|"(?:[^"\\]|\\.)*")\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$/;
/** A string, which may be cut, or a number that JSON does not have. */
const STRING_OR_NON_FINITE = /"(?:[^"\\]|\\.)*(?:"|\\?$)|-?(?:NaN|nan|[Ii]nfinity|[Ii]nf)\b/gs;
/** How a text in another encoding than UTF-8 begins, in hexadecimal digits: a byte order mark, or a brace in its width. */
const ENCODINGS = [
  ["fffe0000", "utf-32le"],
  ["0000feff", "utf-32be"],
  ["fffe", "utf-16le"],
  ["feff", "utf-16be"],
  ["7b000000", "utf-32le"],
  ["0000007b", "utf-32be"],
  ["7b00", "utf-16le"],
  ["007b00", "utf-16be"],
] as const;
const MESSAGE_START = '{"jsonrpc"';
/** Members of a log record, which may look like a response. */
const OF_LOGS = ["level", "lvl", "severity", "levelname", "loglevel", "@timestamp", "logger"];
/** The members of the results of MCP: one that each has, a list of objects or an object, and those beside it. */
const RESULTS: Readonly<Record<string, readonly string[]>> = {
  content: ["isError", "structuredContent"],
  contents: [],
  messages: ["description"],
  tools: ["nextCursor", "ttlMs", "cacheScope"],
  prompts: ["nextCursor", "ttlMs", "cacheScope"],
  resources: ["nextCursor", "ttlMs", "cacheScope"],
  resourceTemplates: ["nextCursor", "ttlMs", "cacheScope"],
  capabilities: ["protocolVersion", "supportedVersions", "serverInfo", "instructions"],
  inputRequests: ["requestState"],
};

/** Whether a value is a message that needs no mending. */
export function isCanonical(value: unknown): value is Message {
  if (!isObject(value) || value["jsonrpc"] !== "2.0") return false;
  if ("method" in value) return !("result" in value || "error" in value);
  if (value["id"] === null || value["id"] === undefined || "result" in value === "error" in value) return false;
  return "result" in value ? isObject(value["result"]) : isError(value["error"]);
}

/** Read a frame. */
export function read(text: string): Reading {
  const bare = text.replace(/^[\s\0]*\uFEFF?/, "").replace(/[\s\0]+$/, "");
  const exact = parseJson(bare);
  const value = exact === undefined ? parseJson(repaired(bare)) : exact;
  if (value === undefined) return readBroken(bare);
  if (typeof value === "string") return value.includes("jsonrpc") ? read(value) : { messages: [], faults: [] };
  let items: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (items.length === 1 && Array.isArray(items[0])) items = items[0];
  const messages: Message[] = [];
  const faults: Fault[] = [];
  for (const item of items) {
    const message = mended(item);
    if (message !== undefined) messages.push(message);
    else if (isObject(item) && mayAnswer(item)) faults.push(isId(item["id"]) ? { id: item["id"] } : {});
  }
  return { messages, faults };
}

/** A text with `null` for NaN and the infinities, as Python, JavaScript and C write them, and raw control characters in strings escaped. */
function repaired(text: string): string {
  if (!/^[{[]/.test(text)) return "";
  return text.replace(STRING_OR_NON_FINITE, (token) => (token.startsWith('"') ? token.replace(/[\x00-\x1f]/g, escaped) : "null"));
}

function escaped(control: string): string {
  return `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** The text of a binary frame: UTF-8, or UTF-16 or UTF-32 where it begins so (RFC 4627 section 3). */
export function textOf(data: ArrayBuffer | ArrayBufferView): string {
  const bytes = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
  const start = [...bytes.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const [, encoding = "utf-8"] = ENCODINGS.find(([begin]) => start.startsWith(begin)) ?? [];
  if (!encoding.startsWith("utf-32")) return new TextDecoder(encoding).decode(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const points = Array.from({ length: bytes.length >> 2 }, (_, at) => view.getUint32(4 * at, encoding === "utf-32le"));
  return points.map((point) => (point < 0x110000 ? String.fromCodePoint(point) : "\uFFFD")).join("");
}

/** Read a text that is not JSON: several messages, a message after text, or a broken one. */
function readBroken(text: string): Reading {
  const start = text.indexOf(MESSAGE_START);
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  if (lines.length > 1 && lines.some((line) => isObject(parseJson(line)))) {
    const readings = lines.map(read);
    return { messages: readings.flatMap(({ messages }) => messages), faults: readings.flatMap(({ faults }) => faults) };
  }
  if (start > 0 && !text.startsWith("{") && !text.startsWith("[")) {
    const { messages, faults } = read(text.slice(start));
    return { messages: messages.filter((message) => !("method" in message)), faults }; // a log may quote what was sent
  }
  const id = idOf(text);
  const answers = /"(?:result|error)"\s*:/.test(text);
  const begun = /^\{\s*"(?:id|result|error)"/.test(text);
  const may = text.includes("jsonrpc") || (answers && id !== undefined) || begun;
  if (!may || (!answers && /"method"\s*:/.test(text))) return { messages: [], faults: [] };
  return { messages: [], faults: [id === undefined ? {} : { id }] };
}

/** The message that a value means; undefined where it means none. */
function mended(value: unknown): Message | undefined {
  if (!isObject(value)) return undefined;
  const message: Message = { ...value };
  for (const name of ["params", "method"]) if (message[name] === null) delete message[name];
  if ("method" in message && "result" in message !== "error" in message && isId(message["id"])) {
    delete message["method"]; // a response that was written into a copy of the request
    delete message["params"];
  }
  if ("method" in message) {
    for (const name of ["result", "error"]) if (message[name] === null) delete message[name];
    return message["jsonrpc"] === "2.0" && !("result" in message || "error" in message) ? message : undefined;
  }
  if (message["error"] === null && "result" in message) delete message["error"];
  else if (message["result"] === null && "error" in message) delete message["result"];
  if ("result" in message === "error" in message || !("id" in message)) return undefined;
  if (message["jsonrpc"] === undefined && OF_LOGS.some((name) => name in message)) return undefined;
  if ("error" in message) message["error"] = usableError(message["error"]);
  else if (message["result"] === null) message["result"] = {};
  else if (!isObject(message["result"])) return undefined;
  return { ...message, jsonrpc: "2.0" };
}

function isError(value: unknown): boolean {
  return isObject(value) && Number.isInteger(value["code"]) && typeof value["message"] === "string";
}

/** An error with a whole number as code and a string as message. */
function usableError(error: unknown): unknown {
  if (isError(error)) return error;
  const given = isObject(error) ? error : {};
  const number = typeof given["code"] === "string" ? Number(given["code"]) : given["code"];
  const said = isObject(error) ? given["message"] : error;
  const message = typeof said === "string" ? said : JSON.stringify(error).slice(0, QUOTED);
  return { ...given, code: Number.isInteger(number) ? number : INTERNAL_ERROR, message };
}

/** Whether an object that is no message may be meant as a response: it names JSON-RPC or an answer, or is a bare result. */
function mayAnswer(item: Message): boolean {
  const answers = "result" in item || "error" in item;
  if ("method" in item && !answers) return false;
  if ("jsonrpc" in item) return true;
  if (OF_LOGS.some((name) => name in item)) return false;
  return (answers && isId(item["id"])) || isBareAnswer(item);
}

function isBareAnswer(item: Message): boolean {
  const names = Object.keys(item).filter((name) => !["_meta", "id", "resultType"].includes(name));
  if (names.length === 1 && names[0] === "result") return isObject(item["result"]);
  if (names.length === 1 && names[0] === "error") return isError(item["error"]);
  return Object.entries(RESULTS).some(([name, others]) => {
    const value = item[name];
    const fits = isObject(value) || (Array.isArray(value) && (value.length === 0 || isObject(value[0])));
    return fits && names.every((other) => other === name || others.includes(other));
  });
}

/** Whether a value can be the id of a request. */
export function isId(value: unknown): value is string | number {
  return typeof value === "string" || typeof value === "number";
}

function idOf(text: string): string | number | undefined {
  const found = ID.exec(text.slice(0, ENDS)) ?? ID_LAST.exec(text.slice(-ENDS));
  return found?.[1] === undefined ? undefined : (parseJson(found[1]) as string | number | undefined);
}

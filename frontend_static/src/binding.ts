/**
 * The wire contract with a gateway (docs/reference/binding.md): subprotocols, close codes, control frames.
 *
 * Pure: knows nothing of sockets and sessions. Mirrors `mcp_ws_ide/core/binding.py`.
 */

export const SUBPROTOCOL_RESUME = "mcp.resume.v1";
export const SUBPROTOCOL_MCP = "mcp";
const AUTH_PREFIX = "mcp.auth.";

/** Close codes (RFC 6455 section 7.4 and docs/reference/binding.md section 9). */
export const CloseCode = {
  NORMAL: 1000,
  GOING_AWAY: 1001,
  PROTOCOL_ERROR: 1002,
  UNSUPPORTED_DATA: 1003,
  ABNORMAL: 1006,
  INVALID_TEXT: 1007,
  TOO_BIG: 1009,
  /** This client abandons a link. 1000 would end the session, and a page may send no other code below 3000. */
  DROPPED: 4000,
  NO_HELLO: 4400,
  REVOKED: 4403,
  SUPERSEDED: 4409,
  UPSTREAM_ENDED: 4502,
} as const;

/** Close codes after which reconnecting would end in the same way, or is not wanted. */
export const FINAL_CODES: ReadonlySet<number> = new Set([
  CloseCode.NORMAL,
  CloseCode.PROTOCOL_ERROR,
  CloseCode.UNSUPPORTED_DATA,
  CloseCode.INVALID_TEXT,
  CloseCode.TOO_BIG,
  CloseCode.NO_HELLO,
  CloseCode.REVOKED,
  CloseCode.SUPERSEDED,
  CloseCode.UPSTREAM_ENDED,
]);

/** Error code of the answers that this client creates when link and session are lost. */
export const SESSION_LOST = -31006;

/** Error code for exceeding a limit. */
export const LIMIT_EXCEEDED = -31003;

/** How much unacknowledged data each side buffers: frames, and their bytes. */
export interface Window {
  readonly frames: number;
  readonly bytes: number;
}

export const DEFAULT_WINDOW: Window = { frames: 4096, bytes: 4 << 20 };

/** A control frame: a JSON object with the member `mcp.ws` and without `jsonrpc`. Not counted as data. */
export type Control =
  | { readonly "mcp.ws": "open" }
  | { readonly "mcp.ws": "resume"; readonly token: string; readonly recv: number }
  | {
      readonly "mcp.ws": "opened";
      readonly session: string;
      readonly token: string;
      /** Grace period in seconds: how long a detached session is kept. */
      readonly grace: number;
      readonly window: Window;
      /** Longest message that the gateway accepts, in bytes. */
      readonly max_message_bytes?: number | null;
    }
  | {
      readonly "mcp.ws": "resumed";
      readonly recv: number;
      readonly token: string;
      /** Whether the gateway accepts nothing more: the session ends. */
      readonly last?: boolean | null;
    }
  | { readonly "mcp.ws": "gone"; readonly reason?: string }
  | { readonly "mcp.ws": "ack"; readonly recv: number }
  | { readonly "mcp.ws": "gap"; readonly dropped: number }
  | { readonly "mcp.ws": "ping" }
  | { readonly "mcp.ws": "pong" };

/** A control frame that is unknown, or has a missing or ill-typed member. */
export class ControlError extends Error {
  override readonly name = "ControlError";
}

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === "string";
const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isNumber: Check = (value) => typeof value === "number";
const isOptionalFlag: Check = (value) => value === undefined || value === null || typeof value === "boolean";
const isOptionalText: Check = (value) => value === undefined || value === null || isText(value);
const isOptionalCount: Check = (value) => value === undefined || value === null || isCount(value);
const isWindow: Check = (value) => isObject(value) && isCount(value["frames"]) && isCount(value["bytes"]);

const MEMBERS: Readonly<Record<Control["mcp.ws"], Readonly<Record<string, Check>>>> = {
  open: {},
  resume: { token: isText, recv: isCount },
  opened: { session: isText, token: isText, grace: isNumber, window: isWindow, max_message_bytes: isOptionalCount },
  resumed: { recv: isCount, token: isText, last: isOptionalFlag },
  gone: { reason: isOptionalText },
  ack: { recv: isCount },
  gap: { dropped: isCount },
  ping: {},
  pong: {},
};

/** Whether a value is a JSON object. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value of a JSON text; undefined where it is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Read a frame as a control frame; undefined for a data frame, valid message or not. A frame that spells `mcp.ws` with an
 * escape is data.
 *
 * @param text the frame.
 * @param value the same, parsed.
 * @throws ControlError the control frame is unknown, or a member is missing or ill-typed.
 */
export function asControl(text: string, value: unknown): Control | undefined {
  if (!text.includes('"mcp.ws"') || !isObject(value) || !("mcp.ws" in value) || "jsonrpc" in value) return undefined;
  const kind = value["mcp.ws"];
  if (typeof kind !== "string" || !Object.hasOwn(MEMBERS, kind)) {
    throw new ControlError(`unknown control frame ${JSON.stringify(kind).slice(0, 40)}`);
  }
  for (const [member, check] of Object.entries(MEMBERS[kind as Control["mcp.ws"]])) {
    if (!check(value[member])) throw new ControlError(`control frame "${kind}" has no valid member "${member}"`);
  }
  return value as Control;
}

/** The text of a control frame. */
export function encodeControl(control: Control): string {
  return JSON.stringify(control);
}

/** The subprotocol entry that carries a credential: `mcp.auth.` and its unpadded base64url (docs/reference/binding.md section 3). */
export function authSubprotocol(token: string): string {
  const binary = Array.from(new TextEncoder().encode(token), (byte) => String.fromCharCode(byte)).join("");
  return AUTH_PREFIX + btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

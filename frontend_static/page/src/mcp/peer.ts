/** What the parts of a connection share: its client, what is known of the server, and the log. */

import type { Client } from "@modelcontextprotocol/client";
import type { Signal } from "@preact/signals";
import type { TransportName } from "../../../src/index.js";
import type { Log } from "./log.js";
import type { Wire } from "./wire.js";

/** Milliseconds for the handshake, lists and other short requests. */
export const REQUEST_TIMEOUT = 60_000;

/** What a server said about itself when the client connected. */
export interface Info {
  readonly name: string;
  readonly version: string;
  readonly protocol: string;
  readonly era: "modern" | "legacy";
  readonly capabilities: Record<string, any>;
  readonly instructions: string;
  readonly transport: TransportName;
  /** Transports that were tried first, each with the reason why it did not work. */
  readonly refused: Readonly<Partial<Record<TransportName, string>>>;
}

export interface Peer {
  readonly name: string;
  /** Undefined while not connected. */
  readonly client: Client | undefined;
  readonly wire: Wire | undefined;
  readonly info: Signal<Info | undefined>;
  readonly log: Log;
}

/** A key by which a request is recognized across a reload. */
export function newKey(): string {
  return crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
}

/** The message of anything that was thrown, in one line where the SDK lists what is wrong with a message as JSON. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const [, head = "", list = ""] = /^([^[{]+): (\[[^]*\])$/.exec(error.message) ?? [];
  try {
    return list === "" ? error.message || error.name : `${head}: ${deepest(JSON.parse(list) as Issue[])}`;
  } catch {
    return error.message;
  }
}

/** A fault as Zod reports it; of a union, `errors` has the faults of each alternative. */
interface Issue {
  readonly path?: readonly PropertyKey[];
  readonly message?: string;
  readonly errors?: readonly (readonly Issue[])[];
}

/** The fault that lies deepest, with its place: the alternative that was meant is the one of which most fits. */
function deepest(issues: readonly Issue[]): string {
  const all = (of: readonly Issue[], at: readonly PropertyKey[]): { path: readonly PropertyKey[]; message: string }[] =>
    of.flatMap(({ path = [], message = "", errors = [] }) => [{ path: [...at, ...path], message }, ...all(errors.flat(), [...at, ...path])]);
  const { path, message } = all(issues, []).reduce((best, one) => (one.path.length > best.path.length ? one : best));
  return `${path.map(String).join(".") || "(root)"}: ${message.replace(/^Invalid (input|option): /, "")}`;
}

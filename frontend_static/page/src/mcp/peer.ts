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

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}

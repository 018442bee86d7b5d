/** What the page connects to. */

import type { TransportName } from "../../../src/states.js";
import { baseUrl } from "../api.js";

export type Era = "auto" | "modern" | "legacy";

/** Revision of the modern era that is asked for by name. */
export const MODERN = "2026-07-28";

export interface Target {
  /** Name in the page's address. */
  readonly name: string;
  /** Address of the MCP endpoint; empty: the gateway's server of that name. */
  readonly url: string;
  readonly transports: readonly TransportName[];
  readonly era: Era;
}

/** Those that resume come first. */
export const ORDER: readonly TransportName[] = ["websocket", "poll", "http"];

/** The gateway's server of a name. */
export function gatewayTarget(name: string): Target {
  return { name, url: "", transports: ORDER, era: "auto" };
}

export function endpointOf({ name, url }: Target): string {
  return url || new URL(`${baseUrl}mcp-ws/servers/${encodeURIComponent(name)}`, location.href).href;
}

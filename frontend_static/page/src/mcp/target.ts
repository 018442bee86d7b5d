/** What the page connects to: an endpoint, with the transports and era to try. */

import type { TransportName } from "../../../src/states.js";
import { baseUrl } from "../api.js";

export type Era = "auto" | "modern" | "legacy";

/** MCP revision of the modern era. */
export const MODERN = "2026-07-28";

export interface Target {
  /** Name on this page, as in its routes. */
  readonly name: string;
  /** URL of the MCP endpoint; empty: this gateway's server of that name. */
  readonly url: string;
  readonly transports: readonly TransportName[];
  readonly era: Era;
}

/** Transports in the order to try them: those that resume come first. */
export const ORDER: readonly TransportName[] = ["websocket", "poll", "http"];

/** The target for a server of this gateway. */
export function gatewayTarget(name: string): Target {
  return { name, url: "", transports: ORDER, era: "auto" };
}

/** Whether it is a server of this gateway, be it under another name. */
export function isOwn(target: Target): boolean {
  return endpointOf(target).startsWith(endpointOf({ name: "", url: "" }));
}

export function endpointOf({ name, url }: Pick<Target, "name" | "url">): string {
  return url || new URL(`${baseUrl}mcp-ws/servers/${encodeURIComponent(name)}`, location.href).href;
}

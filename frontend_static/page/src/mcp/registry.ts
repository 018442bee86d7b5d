/** The connections of this tab, for those parts of the page that do without the MCP client. */

import { signal } from "@preact/signals";
import type { Connection } from "./connection.js";

/** All connections, in the order in which they were opened. */
export const connections = signal<readonly Connection[]>([]);

/** The connection of a name, if there is one. */
export function connectionOf(name: string): Connection | undefined {
  return connections.value.find((connection) => connection.name === name);
}

/** Where sessionStorage keeps sessions over a reload. Frames of one tab share it: each has a name of its own. */
export const SAVED = `mcp-ws-sessions${window.name ? `-${window.name}` : ""}`;

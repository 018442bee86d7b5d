/** The connections of this tab, for parts of the page that do not load the MCP client. */

import { signal } from "@preact/signals";
import type { Connection } from "./connection.js";

/** All connections, in the order in which they were opened. */
export const connections = signal<readonly Connection[]>([]);

/** The connection of a name, if there is one. */
export function connectionOf(name: string): Connection | undefined {
  return connections.value.find((connection) => connection.name === name);
}

/** Key in sessionStorage of the sessions to resume after a reload. Frames of a tab share the storage, so it includes the frame's name. */
export const SAVED = `mcp-ws-sessions${window.name ? `-${window.name}` : ""}`;
/** Key in sessionStorage of the hash to return to after a login, in which the address loses it. */
export const VIEW = `${SAVED}-view`;

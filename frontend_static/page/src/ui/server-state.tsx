/** The state of a server as a badge. */

import type { Server } from "../api.js";
import { Badge } from "./parts.js";

const COLOURS: Record<string, "good" | "warn" | "bad"> = { running: "good", failed: "bad", stopped: "warn", disabled: "warn" };

export function ServerState({ server }: { server: Server }) {
  if (server.awaits_consent) return <Badge kind="warn">needs consent</Badge>;
  return <Badge kind={COLOURS[server.state] ?? ""}>{server.state}</Badge>;
}

/** Whether a client can connect to it now. */
export function isUsable({ state }: Server): boolean {
  return state !== "disabled" && state !== "stopped";
}

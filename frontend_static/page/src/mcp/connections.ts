/**
 * The servers this tab is connected to, and how they survive a reload.
 *
 * What a session needs to go on is written into the tab's sessionStorage when the page ends and taken out when it is loaded
 * again: while the page lives nothing is there, so a duplicated tab finds nothing to steal. A lock by the session's id makes
 * sure of that. A tab that does not come back within {@link LEFT} has its sessions ended by the gateway.
 */

import { rest } from "../api.js";
import { Connection, type SavedConnection } from "./connection.js";
import { connections, SAVED } from "./registry.js";
import { gatewayTarget, type Target } from "./target.js";

/** Seconds after which the gateway ends what nobody came back to. */
const LEFT = 30;
/** Milliseconds to wait for the lock of a session, which the page before this one may still hold. */
const LOCKED = 3_000;

/** Open a connection, or take the one that is there. */
export function open(target: Target, token?: string): Connection {
  const known = connections.peek().find(({ name }) => name === target.name);
  if (known !== undefined) return known;
  const made = add(new Connection(target));
  void made.connect(undefined, token);
  return made;
}

/** Open a server of the gateway by its name. */
export function openServer(name: string): Connection {
  return open(gatewayTarget(name));
}

function add(connection: Connection): Connection {
  connections.value = [...connections.peek(), connection];
  connection.session.subscribe((session) => hold(session));
  return connection;
}

/** End a connection and forget it. */
export async function remove(connection: Connection): Promise<void> {
  connections.value = connections.peek().filter((other) => other !== connection);
  await connection.disconnect();
}

// --- over a reload ------------------------------------------------------------------------------

const held = new Set<string>();

/** Hold the lock of a session as long as this page lives. */
function hold(session: string): void {
  if (session === "" || held.has(session) || navigator.locks === undefined) return;
  held.add(session);
  void navigator.locks.request(lockOf(session), () => new Promise(() => undefined)).catch(() => held.delete(session));
}

function lockOf(session: string): string {
  return `mcp-ws-session-${session}`;
}

/** Whether no other tab has the session. */
async function isFree(session: string): Promise<boolean> {
  if (navigator.locks === undefined) return true; // a page without https: there are no locks
  try {
    const signal = AbortSignal.timeout(LOCKED);
    await navigator.locks.request(lockOf(session), { signal }, () => undefined);
    return true;
  } catch {
    return false;
  }
}

/** Write down what goes on after a reload; what does not fit ends. */
function leave(event: PageTransitionEvent): void {
  if (event.persisted) return; // kept as it is, and shown again
  const saved = connections.peek().flatMap((connection) => connection.suspend() ?? []);
  if (saved.length === 0) return;
  try {
    sessionStorage.setItem(SAVED, JSON.stringify(saved));
  } catch {
    // Storage is full or forbidden: the sessions are over all the same.
  }
  for (const { session, target } of saved) {
    if (target.url !== "") continue; // another gateway: its time of grace applies
    rest(`sessions/${session.session}?after=${LEFT}`, { method: "DELETE", keepalive: true }).catch(() => undefined);
  }
}

/** Take over what an earlier load of this tab left. */
export async function restore(): Promise<void> {
  const found = taken();
  await Promise.all(
    found.map(async (saved) => {
      const connection = add(new Connection(saved.target));
      const free = await isFree(saved.session.session);
      await connection.connect(free ? saved : undefined);
    }),
  );
}

function taken(): readonly SavedConnection[] {
  try {
    const text = sessionStorage.getItem(SAVED);
    sessionStorage.removeItem(SAVED);
    const found = JSON.parse(text ?? "[]") as readonly SavedConnection[];
    return found.filter(({ version }) => version === 1);
  } catch {
    return [];
  }
}

addEventListener("pagehide", leave, { capture: true });

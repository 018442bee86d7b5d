/**
 * The servers that this tab is connected to, and how they survive a reload.
 *
 * What is needed to resume a session is written to the tab's sessionStorage when the page ends and removed when it loads
 * again: while the page lives nothing is stored, so a duplicated tab finds no session to take. A lock named after the session
 * ensures that. The gateway ends the sessions of a tab that is not back within {@link RESUME_WITHIN}; not those whose
 * credential it refuses, which last for their grace period.
 */

import { rest } from "../api.js";
import { Connection, type SavedConnection } from "./connection.js";
import { connections, SAVED, VIEW } from "./registry.js";
import { gatewayTarget, type Target } from "./target.js";

/** Seconds after which the gateway ends sessions that were left and not resumed: JupyterLab behind a hub can take a minute to load. */
const RESUME_WITHIN = 120;
/** Milliseconds to wait for the lock of a session, which the previous load may still hold. */
const LOCK_TIMEOUT = 3_000;

/** Open a connection, or return the open one of that name. */
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

/** Hold the lock of a session while this page lives. */
function hold(session: string): void {
  if (session === "" || held.has(session) || navigator.locks === undefined) return;
  held.add(session);
  void navigator.locks.request(lockOf(session), () => new Promise(() => undefined)).catch(() => held.delete(session));
}

function lockOf(session: string): string {
  return `mcp-ws-session-${session}`;
}

/** Whether no other tab holds the session. */
async function isFree(session: string): Promise<boolean> {
  if (navigator.locks === undefined) return true; // without https there are no locks
  try {
    const signal = AbortSignal.timeout(LOCK_TIMEOUT);
    await navigator.locks.request(lockOf(session), { signal }, () => undefined);
    return true;
  } catch {
    return false;
  }
}

/** Store what is needed to resume after a reload; sessions that do not fit end. */
function leave(event: PageTransitionEvent): void {
  if (event.persisted) return; // kept in memory, and may be shown again
  const saved = connections.peek().flatMap((connection) => connection.suspend() ?? []);
  try {
    if (connections.peek().some(({ refused }) => refused)) sessionStorage.setItem(VIEW, location.hash);
    if (saved.length > 0) sessionStorage.setItem(SAVED, JSON.stringify(saved));
  } catch {
    // Storage is full or forbidden: the sessions cannot be resumed.
  }
  for (const { session, target } of saved) {
    if (target.url !== "") continue; // another gateway: its own grace period applies
    rest(`sessions/${session.session}?after=${RESUME_WITHIN}`, { method: "DELETE", keepalive: true }).catch(() => undefined);
  }
}

/** Resume what the previous load of this tab left. */
export async function restore(): Promise<void> {
  const left = takeSaved();
  await Promise.all(
    left.map(async (saved) => {
      const connection = add(new Connection(saved.target));
      const free = await isFree(saved.session.session);
      await connection.connect(free ? saved : undefined);
    }),
  );
}

function takeSaved(): readonly SavedConnection[] {
  try {
    const text = sessionStorage.getItem(SAVED);
    sessionStorage.removeItem(SAVED);
    const saved = JSON.parse(text ?? "[]") as readonly SavedConnection[];
    return saved.filter(({ version }) => version === 1);
  } catch {
    return [];
  }
}

addEventListener("pagehide", leave, { capture: true });

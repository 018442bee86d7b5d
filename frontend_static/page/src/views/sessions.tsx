/** The caller's sessions, and what becomes of their links. */

import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { ApiError, rest, type Session } from "../api.js";
import { bytes, clock, duration } from "../format.js";
import { sessions, usePolled } from "../polled.js";
import { href } from "../route.js";
import { Tap, type TapRecord } from "../tap.js";
import { Badge, Banner, Dialog, Empty, Filter } from "../ui/parts.js";

/** Events that are held. */
const MOST_EVENTS = 200;
const events = signal<readonly TapRecord[]>([]);
const tap = new Tap({ kind: "event" }, (lines) => {
  const fresh = lines.filter((line) => line !== "").map((line) => JSON.parse(line) as TapRecord);
  events.value = [...events.peek(), ...fresh].slice(-MOST_EVENTS);
  void sessions.refresh();
});

export default function Sessions() {
  const { value, error } = usePolled(sessions);
  useEffect(() => tap.watch(), []);
  const [filter, setFilter] = useState("");
  const [ending, setEnding] = useState<Session | undefined>();
  const wanted = filter.toLowerCase();
  const shown = value?.filter((session) => `${session.server} ${session.id} ${session.user_agent} ${session.remote}`.toLowerCase().includes(wanted));
  return (
    <section class="view" aria-label="Sessions">
      {error && <Banner kind="bad">{error.message}</Banner>}
      <div class="row wrap">
        <Filter label="Filter sessions" value={filter} onInput={setFilter} />
        <span class="muted">{value === undefined ? "" : value.length === 1 ? "1 session" : `${value.length} sessions`}</span>
      </div>
      {value?.length === 0 && <Empty>You have no session. Connect to a server, here or with any MCP client.</Empty>}
      {shown !== undefined && shown.length > 0 && <Table sessions={shown} onEnd={setEnding} />}
      <h2>What happened</h2>
      {tap.state.value.kind === "refused" && <Banner kind="warn">The gateway does not show it: {(tap.state.value as { words: string }).words}</Banner>}
      {events.value.length === 0 && <p class="muted">Nothing since this was opened.</p>}
      <ul class="log events">
        {[...events.value].reverse().map((event) => (
          <Event key={`${event.seq} ${event.time}`} event={event} />
        ))}
      </ul>
      {ending && <End session={ending} onClose={() => setEnding(undefined)} />}
    </section>
  );
}

function Table({ sessions, onEnd }: { sessions: readonly Session[]; onEnd: (session: Session) => void }) {
  const now = Date.now() / 1000;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Table of sessions">
      <table class="data sessions">
        <thead>
          <tr>
            <th>Server</th>
            <th>Session</th>
            <th>Client</th>
            <th>Era</th>
            <th>Link</th>
            <th class="number">In flight</th>
            <th class="number">Queue</th>
            <th class="number">To the server</th>
            <th class="number">To the client</th>
            <th>Since</th>
            <th>
              <span class="visually-hidden">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {sessions.map((session) => (
            <tr key={session.id}>
              <td>
                <a href={href(["servers", session.server])}>{session.server}</a>
              </td>
              <td class="mono" title={session.id}>
                {session.id.slice(0, 8)}
              </td>
              <td title={`${session.user_agent} from ${session.remote}`}>{clientOf(session)}</td>
              <td>{session.era}</td>
              <td>
                <LinkState session={session} />
              </td>
              <td class="number">{session.in_flight}</td>
              <td class="number">{session.queued_bytes ? bytes(session.queued_bytes) : ""}</td>
              <td class="number" title={bytes(session.bytes.in)}>
                {session.messages.in.toLocaleString()}
              </td>
              <td class="number" title={bytes(session.bytes.out)}>
                {session.messages.out.toLocaleString()}
              </td>
              <td title={new Date(session.created * 1000).toLocaleString()}>{duration(now - session.created)}</td>
              <td>
                <div class="row">
                  <a href={href(["traffic"], { filter: `session:${session.id.slice(0, 8)}` })}>Traffic</a>
                  <button type="button" class="danger" aria-label={`End the session ${session.id.slice(0, 8)} of ${session.server}`} onClick={() => onEnd(session)}>
                    End
                  </button>
                </div>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The client in short: a browser by its name, a program by how it calls itself. */
function clientOf({ user_agent, remote }: Session): string {
  const browser = /\b(Firefox|Edg|OPR|HeadlessChrome|Chrome|Version)\/(\d+)/.exec(user_agent.includes("Mozilla/") ? user_agent : "");
  if (browser !== null) return `${NAMES[browser[1] ?? ""] ?? browser[1]} ${browser[2]}`;
  return user_agent || remote;
}

const NAMES: Record<string, string> = { Edg: "Edge", OPR: "Opera", HeadlessChrome: "Chrome", Version: "Safari" };

function LinkState({ session }: { session: Session }) {
  const words = session.link === "http" ? "HTTP" : session.subprotocol || session.link;
  if (session.attached) return <Badge kind="good">{words}</Badge>;
  return <Badge kind="warn">{session.resumable ? "away, may resume" : "away"}</Badge>;
}

const TROUBLE = ["link_lost", "upstream_closed", "dropped", "fault"];

function Event({ event }: { event: TapRecord }) {
  const name = event.event ?? event.kind;
  return (
    <li>
      <time class="muted mono">{clock(event.time)}</time>
      <Badge kind={TROUBLE.includes(name) || event.kind === "gap" ? "warn" : name === "resumed" ? "good" : ""}>{name.replace(/_/g, " ")}</Badge>
      <span class="words">
        {event.server} {event.session && <span class="mono muted">{event.session.slice(0, 8)} </span>}
        <span class="muted">{event.detail}</span>
      </span>
    </li>
  );
}

function End({ session, onClose }: { session: Session; onClose: () => void }) {
  const [wrong, setWrong] = useState("");
  const end = async (): Promise<void> => {
    try {
      await rest(`sessions/${session.id}`, { method: "DELETE" });
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) return setWrong(String((error as Error).message));
    }
    await sessions.refresh();
    onClose();
  };
  return (
    <Dialog title="End the session?" onClose={onClose}>
      <div class="stack">
        <p>
          Session <code>{session.id.slice(0, 8)}</code> of {session.server}, {clientOf(session)}. Its requests are cancelled, and a process of its own ends.
        </p>
        {wrong && <Banner kind="bad">{wrong}</Banner>}
        <div class="row">
          <button type="button" class="danger" onClick={() => void end()}>
            End the session
          </button>
          <button type="button" onClick={onClose}>
            Keep it
          </button>
        </div>
      </div>
    </Dialog>
  );
}

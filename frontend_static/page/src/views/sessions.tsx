/** The caller's sessions, and what becomes of their links. */

import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { ApiError, rest, type Session } from "../api.js";
import { bytes, clock, duration } from "../format.js";
import { sessions, usePolled } from "../polled.js";
import { href } from "../route.js";
import { Tap, type TapRecord } from "../tap.js";
import { Badge, Banner, Confirm, Empty, Filter, matches, WideTable } from "../ui/parts.js";

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
  const shown = value?.filter((session) => matches(filter, session.server, session.id, session.user_agent, session.remote));
  return (
    <section class="view" aria-label="Sessions">
      {error && <Banner kind="bad">{error.message}</Banner>}
      <div class="row wrap">
        <Filter label="Filter sessions" value={filter} onInput={setFilter} />
        <span class="muted">{value === undefined ? "" : value.length === 1 ? "1 session" : `${value.length} sessions`}</span>
      </div>
      {value === undefined && !error && <Empty>Asking …</Empty>}
      {shown?.length === 0 && value?.length !== 0 && <Empty>None of them matches.</Empty>}
      {value?.length === 0 && <Empty>You have no session. Connect to a server, here or with any MCP client.</Empty>}
      {shown !== undefined && shown.length > 0 && (
        <WideTable label="Table of sessions" kind="sessions" columns={COLUMNS}>
          {shown.map((session) => (
            <Line key={session.id} session={session} onEnd={setEnding} />
          ))}
        </WideTable>
      )}
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

const COLUMNS = ["Server", "Session", "Client", "Era", "Link", "#In flight", "#Queue", "#To the server", "#To the client", "Since", ""];

function Line({ session, onEnd }: { session: Session; onEnd: (session: Session) => void }) {
  return (
    <tr>
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
      <td title={new Date(session.created * 1000).toLocaleString()}>{duration(Date.now() / 1000 - session.created)}</td>
      <td>
        <div class="row">
          <a href={href(["traffic"], { filter: `session:${session.id.slice(0, 8)}` })}>Traffic</a>
          <button type="button" class="danger" aria-label={`End the session ${session.id.slice(0, 8)} of ${session.server}`} onClick={() => onEnd(session)}>
            End
          </button>
        </div>
      </td>
    </tr>
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
  const end = async (): Promise<void> => {
    try {
      await rest(`sessions/${session.id}`, { method: "DELETE" });
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error;
    }
    await sessions.refresh();
  };
  return (
    <Confirm title="End the session?" yes="End the session" act={end} onClose={onClose}>
      Session <code>{session.id.slice(0, 8)}</code> of {session.server}, {clientOf(session)}. Its requests are cancelled, and a process of its own ends.
    </Confirm>
  );
}

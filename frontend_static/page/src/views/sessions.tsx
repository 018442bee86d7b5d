/** The user's sessions, and what happens to their links. */

import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { ApiError, rest, type Session } from "../api.js";
import { bytes, clock, duration, eraName } from "../format.js";
import { sessions, usePolled } from "../polled.js";
import { href } from "../route.js";
import { Tap, type TapRecord } from "../tap.js";
import { isAlarming } from "../traffic/row.js";
import { Confirm } from "../ui/dialog.js";
import { Badge, Banner } from "../ui/parts.js";
import { FilteredTable } from "../ui/table.js";
import { Gateways } from "./gateways.js";

/** Events kept, the newest. */
const MAX_EVENTS = 200;
const events = signal<readonly TapRecord[]>([]);
const tap = new Tap({ kind: "event" }, (lines) => {
  const fresh = lines.filter((line) => line !== "").map((line) => JSON.parse(line) as TapRecord);
  events.value = [...events.peek(), ...fresh].slice(-MAX_EVENTS);
  void sessions.refresh();
});

export default function Sessions() {
  const { value, error } = usePolled(sessions);
  useEffect(() => tap.watch(), []);
  const [ending, setEnding] = useState<Session | undefined>();
  return (
    <section class="view" aria-label="Sessions">
      <FilteredTable
        label="sessions"
        columns={COLUMNS}
        items={value}
        error={error?.message ?? ""}
        textsOf={({ server, id, user_agent, remote }) => [server, id, user_agent, remote]}
        empty="You have no sessions. Connect to a server, here or with any MCP client."
        tools={<span class="muted">{value === undefined ? "" : value.length === 1 ? "1 session" : `${value.length} sessions`}</span>}
        row={(session) => <Line key={session.id} session={session} onEnd={setEnding} />}
      />
      <Gateways />
      <Events />
      {ending && <End session={ending} onClose={() => setEnding(undefined)} />}
    </section>
  );
}

/** What happened to the links of the sessions since this tab first watched. */
function Events() {
  const state = tap.state.value;
  return (
    <>
      <h2>Events</h2>
      {state.kind === "refused" && <Banner kind="warn">The gateway does not show events: {state.reason}</Banner>}
      {events.value.length === 0 && <p class="muted">No events since this page was opened.</p>}
      <ul class="log events">
        {[...events.value].reverse().map((event) => (
          <Event key={`${event.seq} ${event.time}`} event={event} />
        ))}
      </ul>
    </>
  );
}

const COLUMNS = ["Server", "Session", "Client", "Era", "Link", "#In flight", "#Queued", "#To server", "#To client", "Age", ""];

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
      <td>{eraName(session.era)}</td>
      <td>
        <LinkState session={session} />
        {session.instance && (
          <a class="mono" title={`Served by gateway ${session.instance}`} href={href(["traffic"], { filter: `gateway:${session.instance.slice(0, 8)}` })}>
            {session.instance.slice(0, 4)}
          </a>
        )}
        {session.restored && <Badge title="It began before a restart of the gateway">restored</Badge>}
      </td>
      <td class="number">{session.in_flight}</td>
      <td class="number">{session.queued_bytes ? bytes(session.queued_bytes) : ""}</td>
      <td class="number" title={bytes(session.bytes.in)}>
        {session.messages.in.toLocaleString()}
      </td>
      <td class="number" title={bytes(session.bytes.out)}>
        {session.messages.out.toLocaleString()}
      </td>
      <td class="nowrap" title={new Date(session.created * 1000).toLocaleString()}>{duration(sessions.at - session.created)}</td>
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

/** The client in short: the name of a browser, or what a program calls itself. */
function clientOf({ user_agent, remote }: Session): string {
  const browser = /\b(Firefox|Edg|OPR|HeadlessChrome|Chrome|Version)\/(\d+)/.exec(user_agent.includes("Mozilla/") ? user_agent : "");
  if (browser !== null) return `${NAMES[browser[1] ?? ""] ?? browser[1]} ${browser[2]}`;
  return user_agent || remote;
}

const NAMES: Record<string, string> = { Edg: "Edge", OPR: "Opera", HeadlessChrome: "Chrome", Version: "Safari" };

function LinkState({ session }: { session: Session }) {
  const link = session.link === "http" ? "HTTP" : session.subprotocol || session.link;
  if (session.attached) return <Badge kind="good">{link}</Badge>;
  return <Badge kind="warn">{session.resumable ? "detached, may resume" : "detached"}</Badge>;
}

function Event({ event }: { event: TapRecord }) {
  const name = event.event ?? event.kind;
  return (
    <li>
      <time class="muted mono">{clock(event.time)}</time>
      <Badge kind={isAlarming(event) || event.kind === "gap" ? "warn" : name === "resumed" || name === "restored" ? "good" : ""}>{name.replace(/_/g, " ")}</Badge>
      <span class="message">
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
    <Confirm title="End the session?" yes="End session" act={end} onClose={onClose}>
      Session <code>{session.id.slice(0, 8)}</code> of {session.server}, {clientOf(session)}. Its open requests are cancelled, and its private process, if any, exits.
    </Confirm>
  );
}

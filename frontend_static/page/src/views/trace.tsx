/** What happened while a call ran: its messages, the log, and what the server wrote to stderr. */

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { rest } from "../api.js";
import { clock } from "../format.js";
import type { Call } from "../mcp/call.js";
import type { Connection } from "../mcp/connection.js";
import { titleOf } from "../mcp/frames.js";
import { href } from "../route.js";
import { JsonTree } from "../ui/json.js";
import { Badge } from "../ui/parts.js";
import type { StderrPage } from "./stderr.js";

/** Milliseconds before and after a call within which stderr counts as the call's: its lines come by another way. */
const MARGIN = 300;

export default function Trace({ call, connection }: { call: Call; connection: Connection }) {
  const ended = call.state.value.kind === "running" ? undefined : call.ended;
  const frames = connection.frames.between(call.began, ended);
  const log = connection.log.entries.value.filter(({ time, kind }) => kind !== "link" && time >= call.began && time <= (ended ?? Infinity));
  return (
    <div class="trace stack">
      <Part title="Messages" empty={frames.length === 0 && "They are no longer kept."}>
        {frames.map((frame) => (
          <details key={frame.number} class="frame">
            <summary>
              <Time at={frame.time} /> <span aria-label={frame.direction === "out" ? "sent" : "received"}>{frame.direction === "out" ? "→" : "←"}</span> <span class="mono">{titleOf(frame, frames)}</span>
            </summary>
            <JsonTree value={frame.message} open={2} />
          </details>
        ))}
      </Part>
      <Part title="Log" empty={log.length === 0 && "The server logged nothing meanwhile."}>
        {log.map((entry) => (
          <p key={entry.number}>
            <Time at={entry.time} /> <Badge>{entry.level || entry.kind}</Badge> {entry.message} {entry.data === undefined ? "" : <span class="mono">{typeof entry.data === "string" ? entry.data : JSON.stringify(entry.data)}</span>}
          </p>
        ))}
      </Part>
      {connection.target.url === "" && <StderrOf name={connection.name} began={call.began - MARGIN} ended={ended === undefined ? Infinity : ended + MARGIN} />}
    </div>
  );
}

function Part({ title, empty, children }: { title: string; /** What to say where there is nothing; false where there is. */ empty: string | false; children: ComponentChildren }) {
  return (
    <section aria-label={title}>
      <h4>{title}</h4>
      {empty === false ? children : <p class="muted">{empty}</p>}
    </section>
  );
}

function Time({ at }: { at: number }) {
  return <time class="muted mono">{clock(at / 1_000, true)}</time>;
}

/** The lines of stderr between two times. @param ended Infinity while the call runs. */
function StderrOf({ name, began, ended }: { name: string; began: number; ended: number }) {
  const [lines, setLines] = useState<StderrPage["lines"]>([]);
  useEffect(() => {
    const stop = new AbortController();
    rest<StderrPage>(`servers/${encodeURIComponent(name)}/stderr?after=0`, { signal: stop.signal }).then(
      (page) => setLines(page.lines.filter(({ time }) => time * 1_000 >= began && time * 1_000 <= ended)),
      () => undefined, // the view of the server says what is wrong
    );
    return () => stop.abort();
  }, [name, began, ended]);
  return (
    <Part title="stderr" empty={false}>
      {lines.length === 0 ? (
        <p class="muted">The server wrote nothing to stderr meanwhile.</p>
      ) : (
        <pre class="stderr" tabIndex={0} aria-label="stderr during this call">
          {lines.map(({ time, text }) => `${clock(time, true)} ${text}\n`).join("")}
        </pre>
      )}
      <p>
        <a href={href(["servers", name], { show: "stderr" })}>All of stderr</a>
      </p>
    </Part>
  );
}

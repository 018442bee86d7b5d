/** The log of a connection: the server's messages and notifications, and events of the link. */

import { useState } from "preact/hooks";
import type { Connection } from "../mcp/connection.js";
import type { Entry } from "../mcp/log.js";
import { JsonTree } from "../ui/json.js";
import { Badge, Empty, Filter } from "../ui/parts.js";
import { EraNote } from "./about.js";

const LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

export function Log({ connection }: { connection: Connection }) {
  const [filter, setFilter] = useState("");
  const entries = connection.log.entries.value;
  const wanted = filter.toLowerCase();
  const shown = entries.filter((entry) => textOf(entry).toLowerCase().includes(wanted)).reverse();
  return (
    <section class="view" aria-label="Log">
      <div class="row wrap">
        <Filter label="Filter the log" value={filter} onInput={setFilter} />
        <label class="inline">
          Log level{" "}
          <select value={connection.level.value} disabled={!takesLevel(connection)} onChange={(event) => void connection.setLevel(event.currentTarget.value)}>
            <option value="">{asksEach(connection) ? "no log messages" : "server default"}</option>
            {LEVELS.map((level) => (
              <option key={level}>{level}</option>
            ))}
          </select>
        </label>
        <span class="spring" />
        <button type="button" onClick={() => (connection.log.clear())}>
          Clear
        </button>
      </div>
      {connection.log.dropped.value > 0 && <p class="muted">{connection.log.dropped.value.toLocaleString()} older entries were dropped.</p>}
      {asksEach(connection) && connection.level.value === "" && <p class="muted">In this revision of MCP, a server sends log messages only for calls that request a level. Select a level, then call.</p>}
      <EraNote connection={connection} />
      {shown.length === 0 && <Empty>{entries.length === 0 ? "The log is empty." : "No entries match the filter."}</Empty>}
      <ul class="log">
        {shown.map((entry) => (
          <li key={entry.number}>
            <time class="muted mono">{new Date(entry.time).toLocaleTimeString([], { hour12: false })}</time>
            <Badge kind={kindOf(entry)}>{entry.level || entry.kind}</Badge>
            <span class="message">
              {entry.message} {entry.data !== undefined && <Data data={entry.data} />}
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Whether log messages are requested with each call (modern era). */
function asksEach(connection: Connection): boolean {
  return connection.info.value?.era === "modern";
}

/** Whether the server accepts a log level: in the handshake era only with the capability `logging`. */
function takesLevel(connection: Connection): boolean {
  return asksEach(connection) || connection.info.value?.capabilities["logging"] !== undefined;
}

function Data({ data }: { data: unknown }) {
  return typeof data === "string" ? <span class="mono">{data}</span> : <JsonTree value={data} open={1} />;
}

function textOf({ message, level, kind, data }: Entry): string {
  return `${kind} ${level} ${message} ${data === undefined ? "" : JSON.stringify(data)}`;
}

function kindOf({ kind, level }: Entry): "" | "bad" | "warn" | "accent" {
  if (kind === "error" || ["error", "critical", "alert", "emergency"].includes(level)) return "bad";
  if (level === "warning") return "warn";
  return kind === "change" ? "accent" : "";
}

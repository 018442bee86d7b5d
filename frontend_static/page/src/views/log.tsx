/** What the server said without being asked, and what became of the link. */

import { useState } from "preact/hooks";
import type { Connection, Entry } from "../mcp/connection.js";
import { JsonTree } from "../ui/json.js";
import { Badge, Empty, Filter } from "../ui/parts.js";

const LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

export function Log({ connection }: { connection: Connection }) {
  const [filter, setFilter] = useState("");
  const entries = connection.entries.value;
  const wanted = filter.toLowerCase();
  const shown = entries.filter((entry) => textOf(entry).toLowerCase().includes(wanted)).reverse();
  return (
    <section class="view" aria-label="Log">
      <div class="row wrap">
        <Filter label="Filter the log" value={filter} onInput={setFilter} />
        <label class="inline">
          Log level{" "}
          <select value={connection.level.value} disabled={!takesLevel(connection)} onChange={(event) => void connection.setLevel(event.currentTarget.value)}>
            <option value="">{asksEach(connection) ? "none is asked for" : "as the server likes"}</option>
            {LEVELS.map((level) => (
              <option key={level}>{level}</option>
            ))}
          </select>
        </label>
        <span class="spring" />
        <button type="button" onClick={() => (connection.entries.value = [])}>
          Clear
        </button>
      </div>
      {connection.droppedEntries.value > 0 && <p class="muted">{connection.droppedEntries.value} older entries were dropped.</p>}
      {asksEach(connection) && connection.level.value === "" && <p class="muted">In this revision of MCP a server logs nothing for a call that asks for no level: choose one, and call after that.</p>}
      {shown.length === 0 && <Empty>{entries.length === 0 ? "Nothing here." : `None of ${entries.length} matches.`}</Empty>}
      <ul class="log">
        {shown.map((entry) => (
          <li key={entry.number}>
            <time class="muted mono">{new Date(entry.time).toLocaleTimeString([], { hour12: false })}</time>
            <Badge kind={kindOf(entry)}>{entry.level || entry.kind}</Badge>
            <span class="words">
              {entry.words} {entry.data !== undefined && <Data data={entry.data} />}
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** In the modern era each call asks for its own messages, and gets none otherwise. */
function asksEach(connection: Connection): boolean {
  return connection.info.value?.era === "modern";
}

/** Before that era, the server offers to be told. */
function takesLevel(connection: Connection): boolean {
  return asksEach(connection) || connection.info.value?.capabilities["logging"] !== undefined;
}

function Data({ data }: { data: unknown }) {
  return typeof data === "string" ? <span class="mono">{data}</span> : <JsonTree value={data} open={1} />;
}

function textOf({ words, level, kind, data }: Entry): string {
  return `${kind} ${level} ${words} ${data === undefined ? "" : JSON.stringify(data)}`;
}

function kindOf({ kind, level }: Entry): "" | "bad" | "warn" | "accent" {
  if (kind === "error" || ["error", "critical", "alert", "emergency"].includes(level)) return "bad";
  if (level === "warning") return "warn";
  return kind === "change" ? "accent" : "";
}

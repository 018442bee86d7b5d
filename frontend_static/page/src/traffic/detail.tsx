/** One row in full: its facts, the message as a tree or text, and the request or answer that belongs to it. */

import { useState } from "preact/hooks";
import { bytes, clock, milliseconds } from "../format.js";
import { href } from "../route.js";
import { Icon } from "../ui/icons.js";
import { JsonTree } from "../ui/json.js";
import { Badge, CopyButton } from "../ui/parts.js";
import { parsed, type Row } from "./row.js";

export function Detail({ row, onClose, onJump }: { row: Row; onClose: () => void; onJump: (row: Row) => void }) {
  const { pair } = row;
  const answer = row.record.kind === "response" || row.record.kind === "error";
  const [first, second] = answer && pair !== undefined ? [pair, row] : [row, pair];
  return (
    <aside class="traffic-detail" aria-label="Message">
      <header class="row wrap">
        <h2 class="mono">{row.method || row.record.kind}</h2>
        {row.target && <span class="mono">{row.target}</span>}
        <StatusBadge row={row} />
        <span class="spring" />
        {pair !== undefined && (
          <button type="button" onClick={() => onJump(pair)}>
            {answer ? "Go to request" : "Go to response"} <kbd>x</kbd>
          </button>
        )}
        <button type="button" class="quiet" aria-label="Close message" title="Close (Esc)" onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      <Facts row={row} />
      <Message row={first} title={second === undefined ? "" : "Request"} />
      {second !== undefined && <Message row={second} title={second.record.kind === "error" ? "Error" : "Response"} />}
    </aside>
  );
}

function Facts({ row }: { row: Row }) {
  const { record, latency } = row;
  const facts: [string, string][] = [
    ["time", clock(record.time, true)],
    ["server", record.server],
    ["leg", record.leg === null ? "" : `${record.leg}, ${record.direction === "in" ? "to" : "from"} the gateway`],
    ["id", row.id],
    ["size", record.size ? bytes(record.size) : ""],
    ["latency", latency === undefined ? "" : milliseconds(latency)],
    ["gateway", record.gateway ?? ""],
    ["record", String(record.seq)],
  ];
  const session = record.session ?? record.origin_session;
  return (
    <dl class="facts">
      {facts.map(([name, value]) => value && (
        <div key={name}>
          <dt>{name}</dt>
          <dd class="mono">{value}</dd>
        </div>
      ))}
      {session && (
        <div>
          <dt>session</dt>
          <dd>
            <a class="mono" href={href(["traffic"], { filter: `session:${session.slice(0, 8)}` })}>
              {session.slice(0, 8)}
            </a>
          </dd>
        </div>
      )}
    </dl>
  );
}

function Message({ row, title }: { row: Row; title: string }) {
  const [plain, setPlain] = useState(false);
  const { record } = row;
  const text = record.raw ?? record.detail ?? "";
  const value = record.raw === null || record.truncated ? undefined : parsed(record.raw);
  const tree = value !== undefined && record.kind !== "noise";
  return (
    <section class="message">
      <div class="row">
        {title && <h3>{title}</h3>}
        {record.truncated && <Badge kind="warn">truncated by the gateway</Badge>}
        <span class="spring" />
        {tree && (
          <button type="button" class="quiet" aria-pressed={plain} onClick={() => setPlain(!plain)}>
            text
          </button>
        )}
        <CopyButton text={() => text} label={`Copy ${title.toLowerCase() || "message"}`} />
      </div>
      {tree && !plain ? <JsonTree value={value} open={6} /> : <pre tabIndex={0}>{text || "(empty)"}</pre>}
    </section>
  );
}

const KINDS = { pending: "accent", ok: "good", failed: "bad", error: "bad", cancelled: "warn", lost: "bad", input: "accent", unknown: "warn" } as const;

/** Status of a call; nothing for other rows. */
export function StatusBadge({ row: { status } }: { row: Row }) {
  return status === "" ? null : <Badge kind={KINDS[status]}>{status}</Badge>;
}

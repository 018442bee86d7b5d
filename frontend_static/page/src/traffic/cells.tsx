/** The cells of one row in the list of messages, and the heads above them. */

import { bytes, clock, milliseconds } from "../format.js";
import type { Row } from "./row.js";

/** Leg and direction of a message. */
const ARROWS = { "client server": "→", "client client": "←", "upstream server": "⇒", "upstream client": "⇐" } as const;
export const LEGEND = "→ ← between client and gateway · ⇒ ⇐ between gateway and server";

export function Columns() {
  return (
    <div class="traffic-row traffic-head" aria-hidden="true">
      <span>time</span>
      <span>server</span>
      <span>session</span>
      <span />
      <span>method</span>
      <span>id</span>
      <span>status</span>
      <span class="number">latency</span>
      <span class="number">size</span>
    </div>
  );
}

export function Cells({ row, onOpen }: { row: Row; onOpen: () => void }) {
  const { record, toward } = row;
  if (row.kind === "gap") return <span class="whole">⚠ {record.detail}</span>;
  return (
    <>
      <span class="muted">{clock(record.time, true)}</span>
      <span>{record.server}</span>
      <span class="muted">{(record.session ?? record.origin_session ?? "").slice(0, 8)}</span>
      <span title={toward === "" ? "" : `${record.leg} leg, to the ${toward}`}>{toward === "" || record.leg === null ? "" : ARROWS[`${record.leg} ${toward}`]}</span>
      <span class="what" onDblClick={onOpen}>
        {row.method || record.kind}
        {row.target && <b> {row.target}</b>}
        {row.kind === "noise" && <span class="muted"> {record.raw}</span>}
        {record.detail && <span class="muted"> {record.detail}</span>}
      </span>
      <span class="muted">{row.id}</span>
      <span class={`status ${row.status}`}>{row.status || (row.kind === "notification" ? "ntf" : "")}</span>
      <span class="number">{row.latency === undefined ? "" : milliseconds(row.latency)}</span>
      <span class="number muted">{record.size ? bytes(record.size) : ""}</span>
    </>
  );
}

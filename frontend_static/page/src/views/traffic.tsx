/** What passes the gateway, live, from its tap. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { announce } from "../announce.js";
import { bytes, clock, milliseconds } from "../format.js";
import { useKeys } from "../keys.js";
import { go, route } from "../route.js";
import { saveFile } from "../save.js";
import type { TapState } from "../tap.js";
import { Detail } from "../traffic/detail.js";
import { FilterError, parseFilter, type Test } from "../traffic/filter.js";
import { rows, tap } from "../traffic/held.js";
import { VirtualList } from "../traffic/list.js";
import { isTrouble, lineOf, textOf, type Row } from "../traffic/row.js";
import { Banner, Empty } from "../ui/parts.js";

/** How a message went. */
const ARROWS = { "client server": "→", "client client": "←", "upstream server": "⇒", "upstream client": "⇐" } as const;
const LEGEND = "→ ← between client and gateway · ⇒ ⇐ between gateway and server";

export default function Traffic() {
  useEffect(() => tap.watch(), []);
  const [filter, setFilter] = useState(route.peek().query["filter"] ?? "");
  const [paused, setPaused] = useState<readonly Row[] | undefined>();
  const [follow, setFollow] = useState(true);
  const [chosen, setChosen] = useState<Row | undefined>();
  const [open, setOpen] = useState(false);
  const [find, setFind] = useState("");
  const filterField = useRef<HTMLInputElement>(null);
  const findField = useRef<HTMLInputElement>(null);
  const asked = route.value.query["filter"] ?? "";
  useEffect(() => setFilter(asked), [asked]);

  const { test, error } = useMemo(() => understood(filter), [filter]);
  const last = useRef<Test>(() => true);
  if (test !== undefined) last.current = test;
  const version = rows.version.value;
  const all = paused ?? rows.all;
  const shown = useMemo(() => all.filter(last.current), [version, paused, test]);
  const at = chosen === undefined ? -1 : indexOf(shown, chosen);

  const choose = (row: Row | undefined): void => {
    setChosen(row);
    if (row !== undefined) setFollow(false);
  };
  const jump = (row: Row): void => {
    if (indexOf(shown, row) < 0) {
      setFilter("");
      go(["traffic"], {}, true);
      announce("the filter was cleared to show it");
    }
    choose(row);
  };
  const seek = (step: 1 | -1): void => {
    const wanted = find.toLowerCase();
    if (wanted === "") return;
    for (let index = (at < 0 ? (step > 0 ? -1 : shown.length) : at) + step; index >= 0 && index < shown.length; index += step) {
      const row = shown[index] as Row;
      if (`${row.method}\n${row.target}\n${textOf(row)}`.toLowerCase().includes(wanted)) return choose(row);
    }
    announce(`no ${step > 0 ? "later" : "earlier"} message has ${find}`);
  };
  const pause = (): void => {
    setPaused(paused === undefined ? rows.all.slice() : undefined);
    announce(paused === undefined ? "paused" : "going on");
  };
  const clear = (): void => {
    rows.clear();
    setPaused(undefined);
    setChosen(undefined);
    setOpen(false);
    setFollow(true);
  };
  useKeys(
    () => [
      { key: "/", words: "filter the traffic", run: () => filterField.current?.focus() },
      { key: "Ctrl+f", words: "find a text", run: () => findField.current?.select() },
      { key: "n", words: "next match", run: () => seek(1) },
      { key: "N", words: "previous match", run: () => seek(-1) },
      { key: "p", words: "pause, go on", run: pause },
      { key: "f", words: "follow the newest", run: () => setFollow(true) },
      { key: "c", words: "clear", run: clear },
      { key: "e", words: "export what is shown", run: () => download(shown) },
      { key: "x", words: "from a request to its answer, and back", run: () => (chosen?.pair === undefined ? false : jump(chosen.pair)) },
      { key: "Enter", words: "open the message", run: (event) => (chosen === undefined || event.target instanceof HTMLButtonElement || event.target instanceof HTMLAnchorElement ? false : setOpen(true)) },
      { key: "Escape", words: "close the message", run: () => (open ? setOpen(false) : false) },
    ],
    [chosen, open, paused, shown, find, at],
  );

  const apply = (): void => {
    if (test !== undefined) go(["traffic"], { filter }, true);
  };
  const news = paused === undefined ? 0 : Math.max(0, (rows.all.at(-1)?.number ?? 0) - (paused.at(-1)?.number ?? 0));
  return (
    <section class="traffic" aria-label="Traffic">
      <div class="row wrap traffic-tools">
        <TapLine state={tap.state.value} paused={paused !== undefined} />
        <div class="filter-box">
          <input
            ref={filterField}
            type="search"
            class="mono"
            aria-label="Filter the traffic"
            aria-invalid={error !== undefined}
            aria-describedby={error === undefined ? undefined : "filter-error"}
            placeholder="tool:run* status:failed lat:>500  /"
            spellcheck={false}
            value={filter}
            onInput={(event) => setFilter(event.currentTarget.value)}
            onChange={apply}
            onKeyDown={(event) => {
              if (event.key === "Enter") apply();
              if (event.key !== "Escape") return;
              event.preventDefault();
              if (filter === "") return event.currentTarget.blur();
              setFilter("");
              go(["traffic"], {}, true);
            }}
          />
        </div>
        <input
          ref={findField}
          type="search"
          class="find"
          aria-label="Find a text"
          placeholder="find  Ctrl+F"
          spellcheck={false}
          value={find}
          onInput={(event) => setFind(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter") seek(event.shiftKey ? -1 : 1);
            if (event.key === "Escape") (setFind(""), event.currentTarget.blur(), event.preventDefault());
          }}
        />
        <button type="button" aria-pressed={paused !== undefined} onClick={pause}>
          {paused === undefined ? "Pause" : `Go on${news > 0 ? ` (${news.toLocaleString()} new)` : ""}`}
        </button>
        <button type="button" onClick={clear}>
          Clear
        </button>
        <button type="button" disabled={shown.length === 0} onClick={() => download(shown)}>
          Export
        </button>
      </div>
      {error !== undefined && <Mistake text={filter} error={error} />}
      <p class="muted traffic-count" title={LEGEND}>
        {shown.length === all.length ? `${all.length.toLocaleString()} messages` : `${shown.length.toLocaleString()} of ${all.length.toLocaleString()} messages`}
        {rows.dropped > 0 && ` · ${rows.dropped.toLocaleString()} older ones have given way`}
        {" · "}
        {LEGEND}
      </p>
      <div class={`traffic-panes ${open && chosen !== undefined ? "open" : ""}`}>
        <div class="traffic-list">
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
          {shown.length === 0 && <Empty>{all.length === 0 ? "Nothing has passed since this was opened. Use a server, and its messages appear here." : "Nothing that is held matches the filter."}</Empty>}
          <VirtualList
            label="Messages"
            items={shown}
            chosen={at}
            onChoose={(index) => {
              if (chosen === shown[index] && open) return;
              choose(shown[index]);
            }}
            follow={follow && paused === undefined}
            onFollow={setFollow}
            keyOf={(row) => row.number}
            classOf={(row) => `traffic-row ${isTrouble(row) ? "trouble" : ""} ${row.record.kind === "gap" ? "gap" : ""} ${at >= 0 && chosen?.pair === row ? "pair" : ""}`}
          >
            {(row) => <Cells row={row} onOpen={() => setOpen(true)} />}
          </VirtualList>
        </div>
        {open && chosen !== undefined && <Detail key={chosen.number} row={chosen} onClose={() => setOpen(false)} onJump={jump} />}
      </div>
    </section>
  );
}

function understood(filter: string): { test?: Test; error?: FilterError } {
  try {
    return { test: parseFilter(filter) };
  } catch (error) {
    if (error instanceof FilterError) return { error };
    throw error;
  }
}

/** Rows are in the order of their numbers. */
function indexOf(shown: readonly Row[], row: Row): number {
  let low = 0;
  let high = shown.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((shown[middle] as Row).number < row.number) low = middle + 1;
    else high = middle;
  }
  return shown[low] === row ? low : -1;
}

function Cells({ row, onOpen }: { row: Row; onOpen: () => void }) {
  const { record } = row;
  const { toward } = row;
  const arrow = toward === "" || record.leg === null ? "" : ARROWS[`${record.leg} ${toward}`];
  if (record.kind === "gap") {
    return <span class="whole">⚠ {record.detail}</span>;
  }
  return (
    <>
      <span class="muted">{clock(record.time, true)}</span>
      <span>{record.server}</span>
      <span class="muted">{(record.session ?? record.origin_session ?? "").slice(0, 8)}</span>
      <span title={record.leg === null ? "" : `${record.leg}, toward the ${toward}`}>{arrow}</span>
      <span class="what" onDblClick={onOpen}>
        {row.method || record.kind}
        {row.target && <b> {row.target}</b>}
        {record.kind === "noise" && <span class="muted"> {record.raw}</span>}
        {record.detail && <span class="muted"> {record.detail}</span>}
      </span>
      <span class="muted">{row.id}</span>
      <span class={`status ${row.status}`}>{row.status || (record.kind === "response" ? "" : record.kind === "notification" ? "ntf" : "")}</span>
      <span class="number">{row.latency === undefined ? "" : milliseconds(row.latency)}</span>
      <span class="number muted">{record.size ? bytes(record.size) : ""}</span>
    </>
  );
}

function Mistake({ text, error }: { text: string; error: FilterError }) {
  const at = Math.min(error.position, text.length);
  return (
    <div class="banner bad mistake" id="filter-error" role="alert">
      <code>
        {text.slice(0, at)}
        <mark>{text.slice(at, at + 1) || "␣"}</mark>
        {text.slice(at + 1)}
      </code>{" "}
      character {at + 1}: {error.message}
    </div>
  );
}

function TapLine({ state, paused }: { state: TapState; paused: boolean }) {
  const [, tick] = useState(0);
  useEffect(() => {
    if (state.kind !== "waiting") return;
    const timer = setInterval(() => tick(Date.now()), 500);
    return () => clearInterval(timer);
  }, [state]);
  if (state.kind === "refused") return <Banner kind="bad">The gateway does not show its traffic: {state.words}</Banner>;
  const colour = state.kind === "live" ? (paused ? "warn" : "good") : "warn";
  return (
    <span class="state" data-tap={state.kind}>
      <span class={`dot ${colour}`} aria-hidden="true" />
      {state.kind === "live" && (paused ? "paused" : "live")}
      {(state.kind === "connecting" || state.kind === "off") && "connecting …"}
      {state.kind === "waiting" && (
        <>
          {state.words}; again in {Math.max(0, Math.ceil((state.at - Date.now()) / 1000))} s{" "}
          <button type="button" onClick={() => tap.retry()}>
            Now
          </button>
        </>
      )}
    </span>
  );
}

/** A recording that `mcp-ws-inspect open` reads. */
function download(shown: readonly Row[]): void {
  const header = { format: "mcp-ws-recording", version: 1, time: shown[0]?.record.time ?? Date.now() / 1000, gateway: new URL(".", location.href.split("#")[0]).href.replace(/mcp-ws\/$/, ""), instance: tap.instance || null, program: "mcp-ws-ide page" };
  const lines = [JSON.stringify(header), ...shown.map(lineOf)];
  saveFile(`mcp-traffic-${new Date().toISOString().slice(0, 19).replace(/[:T]/g, "-")}.jsonl`, new Blob(lines.map((line) => `${line}\n`)), "application/x-ndjson");
  announce(`${shown.length} messages exported`);
}

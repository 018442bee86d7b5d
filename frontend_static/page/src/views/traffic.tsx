/** The live traffic of the gateway: list, filter, search and export. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { announce } from "../announce.js";
import { useKeys } from "../keys.js";
import { go, route } from "../route.js";
import { Detail } from "../traffic/detail.js";
import { exportRows } from "../traffic/export.js";
import { FilterError, parseFilter, type Test } from "../traffic/filter.js";
import { rows, tap } from "../traffic/held.js";
import { VirtualList } from "../traffic/list.js";
import { isTrouble, textOf, type Row } from "../traffic/row.js";
import { Cells, Columns, LEGEND } from "../traffic/cells.js";
import { TapLine } from "../traffic/tap-line.js";
import { Empty } from "../ui/parts.js";

export default function Traffic() {
  useEffect(() => tap.watch(), []);
  const filter = useFilter();
  const list = useList(filter);
  const find = useFind(list.shown, list.at, list.choose);
  useTrafficKeys(filter, list, find);
  const { shown, all, at, chosen, open, paused } = list;
  return (
    <section class="traffic" aria-label="Traffic">
      <div class="row wrap traffic-tools">
        <TapLine paused={paused !== undefined} />
        <FilterField filter={filter} />
        <FindField find={find} />
        <Buttons list={list} />
      </div>
      {filter.error !== undefined && <Mistake text={filter.text} error={filter.error} />}
      <Count shown={shown.length} all={all.length} />
      <div class={`traffic-panes ${open && chosen !== undefined ? "open" : ""}`}>
        <div class="traffic-list">
          <Columns />
          {shown.length === 0 && <Empty>{all.length === 0 ? "No traffic since this page was opened. Use a server, and its messages appear here." : "No messages match the filter."}</Empty>}
          <VirtualList
            label="Messages"
            items={shown}
            chosen={at}
            onChoose={(index) => {
              const row = shown[index];
              if (row !== undefined && !(chosen === row && open)) list.choose(row);
            }}
            follow={list.follow && paused === undefined}
            onFollow={list.setFollow}
            keyOf={(row) => row.number}
            classOf={(row) => `traffic-row ${isTrouble(row) ? "trouble" : ""} ${row.kind === "gap" ? "gap" : ""} ${at >= 0 && chosen?.pair === row ? "pair" : ""}`}
          >
            {(row) => <Cells row={row} onOpen={() => list.setOpen(true)} />}
          </VirtualList>
        </div>
        {open && chosen !== undefined && <Detail key={chosen.number} row={chosen} onClose={() => list.setOpen(false)} onJump={list.jump} />}
      </div>
    </section>
  );
}

type Filter = ReturnType<typeof useFilter>;
type List = ReturnType<typeof useList>;
type Find = ReturnType<typeof useFind>;

function useTrafficKeys(filter: Filter, list: List, find: Find): void {
  const { chosen, open, paused, shown, at } = list;
  const isButton = ({ target }: KeyboardEvent): boolean => target instanceof HTMLButtonElement || target instanceof HTMLAnchorElement;
  useKeys(
    () => [
      { key: "/", label: "filter the traffic", run: () => filter.field.current?.focus() },
      { key: "Ctrl+f", label: "find text", run: () => find.field.current?.select() },
      { key: "n", label: "next match", run: () => find.seek(1) },
      { key: "N", label: "previous match", run: () => find.seek(-1) },
      { key: "p", label: "pause or resume", run: list.pause },
      { key: "f", label: "follow the newest message", run: () => list.setFollow(true) },
      { key: "c", label: "clear", run: list.clear },
      { key: "e", label: "export the messages shown", run: () => exportRows(shown) },
      { key: "x", label: "jump between request and response", run: () => (chosen?.pair === undefined ? false : list.jump(chosen.pair)) },
      { key: "Enter", label: "open the message", run: (event) => (chosen === undefined || isButton(event) ? false : list.setOpen(true)) },
      { key: "Escape", label: "close the message", run: () => (open ? list.setOpen(false) : false) },
    ],
    [chosen, open, paused, shown, find.text, at],
  );
}

// --- the list ------------------------------------------------------------------------------------

/** The rows that the filter lets through, the chosen one, and whether the list is paused or follows the newest row. */
function useList(filter: Filter) {
  const [paused, setPaused] = useState<readonly Row[] | undefined>();
  const [follow, setFollow] = useState(true);
  const [chosen, setChosen] = useState<Row | undefined>();
  const [open, setOpen] = useState(false);
  const all = paused ?? rows.all;
  const version = rows.version.value;
  const shown = useMemo(() => all.filter(filter.test), [version, paused, filter.test]);
  const at = chosen === undefined ? -1 : indexOf(shown, chosen);
  const choose = (row: Row): void => {
    setChosen(row);
    setFollow(false);
  };
  const jump = (row: Row): void => {
    if (indexOf(shown, row) < 0) {
      filter.clear();
      announce("the filter was cleared to show this message");
    }
    choose(row);
  };
  const pause = (): void => {
    setPaused(paused === undefined ? rows.all.slice() : undefined);
    announce(paused === undefined ? "paused" : "resumed");
  };
  const clear = (): void => {
    rows.clear();
    setPaused(undefined);
    setChosen(undefined);
    setOpen(false);
    setFollow(true);
  };
  return { all, shown, at, chosen, open, paused, follow, setFollow, setOpen, choose, jump, pause, clear };
}

/** The row's index, or -1. Rows are sorted by number. */
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

// --- filter --------------------------------------------------------------------------------------

/** The filter: its text as typed, kept in the address once applied, and its test. */
function useFilter() {
  const applied = route.value.query["filter"] ?? "";
  const [text, setText] = useState(applied);
  useEffect(() => setText(applied), [applied]);
  const field = useRef<HTMLInputElement>(null);
  const { test, error } = useMemo(() => understood(text), [text]);
  // While the text has a mistake, the last valid filter stays in force.
  const last = useRef<Test>(() => true);
  if (test !== undefined) last.current = test;
  const apply = (): void => {
    if (test !== undefined) go(["traffic"], { filter: text }, true);
  };
  const clear = (): void => {
    setText("");
    go(["traffic"], {}, true);
  };
  return { text, setText, test: last.current, error, field, apply, clear };
}

function understood(text: string): { test?: Test; error?: FilterError } {
  try {
    return { test: parseFilter(text) };
  } catch (error) {
    if (error instanceof FilterError) return { error };
    throw error;
  }
}

function FilterField({ filter }: { filter: Filter }) {
  const onKeyDown = (event: KeyboardEvent & { currentTarget: HTMLInputElement }): void => {
    if (event.key === "Enter") filter.apply();
    if (event.key !== "Escape") return;
    event.preventDefault();
    if (filter.text === "") event.currentTarget.blur();
    else filter.clear();
  };
  return (
    <div class="filter-box">
      <input
        ref={filter.field}
        type="search"
        class="mono"
        aria-label="Filter the traffic"
        aria-invalid={filter.error !== undefined}
        aria-describedby={filter.error === undefined ? undefined : "filter-error"}
        placeholder="tool:run* status:failed lat:>500  /"
        spellcheck={false}
        value={filter.text}
        onInput={(event) => filter.setText(event.currentTarget.value)}
        onChange={filter.apply}
        onKeyDown={onKeyDown}
      />
    </div>
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

// --- search --------------------------------------------------------------------------------------

/** Text search among the rows shown, from the chosen one onwards. */
function useFind(shown: readonly Row[], at: number, choose: (row: Row) => void) {
  const [text, setText] = useState("");
  const field = useRef<HTMLInputElement>(null);
  const seek = (step: 1 | -1): void => {
    const wanted = text.toLowerCase();
    if (wanted === "") return;
    const start = at < 0 ? (step > 0 ? -1 : shown.length) : at;
    for (let index = start + step; index >= 0 && index < shown.length; index += step) {
      const row = shown[index] as Row;
      if (`${row.method}\n${row.target}\n${textOf(row)}`.toLowerCase().includes(wanted)) return choose(row);
    }
    announce(`no ${step > 0 ? "later" : "earlier"} message contains ${text}`);
  };
  return { text, setText, field, seek };
}

function FindField({ find }: { find: Find }) {
  const onKeyDown = (event: KeyboardEvent & { currentTarget: HTMLInputElement }): void => {
    if (event.key === "Enter") find.seek(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") (find.setText(""), event.currentTarget.blur(), event.preventDefault());
  };
  return <input ref={find.field} type="search" class="find" aria-label="Find text" placeholder="find  Ctrl+F" spellcheck={false} value={find.text} onInput={(event) => find.setText(event.currentTarget.value)} onKeyDown={onKeyDown} />;
}

// --- the rest of the header ----------------------------------------------------------------------

function Buttons({ list: { paused, shown, pause, clear } }: { list: List }) {
  const news = paused === undefined ? 0 : Math.max(0, (rows.all.at(-1)?.number ?? 0) - (paused.at(-1)?.number ?? 0));
  return (
    <>
      <button type="button" aria-pressed={paused !== undefined} onClick={pause}>
        {paused === undefined ? "Pause" : `Resume${news > 0 ? ` (${news.toLocaleString()} new)` : ""}`}
      </button>
      <button type="button" onClick={clear}>
        Clear
      </button>
      <button type="button" disabled={shown.length === 0} onClick={() => exportRows(shown)}>
        Export
      </button>
    </>
  );
}

function Count({ shown, all }: { shown: number; all: number }) {
  const count = shown === all ? `${all.toLocaleString()} messages` : `${shown.toLocaleString()} of ${all.toLocaleString()} messages`;
  return (
    <p class="muted traffic-count" title={LEGEND}>
      {count}
      {rows.dropped > 0 && ` · ${rows.dropped.toLocaleString()} older messages were dropped`}
      {" · "}
      {LEGEND}
    </p>
  );
}

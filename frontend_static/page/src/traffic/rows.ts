/** What passed, as far as it is held: bounded, each answer beside its request. Knows nothing of how it is shown. */

import { signal } from "@preact/signals";
import type { TapRecord } from "../tap.js";

/** Rows that are held; the oldest give way. */
export const MOST_ROWS = 20_000;
/** Characters of their texts that are held. */
export const MOST_CHARACTERS = 32 << 20;
/** How many go at a time. */
const SLICE = 500;
const MOST_OPEN = 4096;

export type Status = "" | "pending" | "ok" | "failed" | "error" | "lost";

export interface Row {
  /** Counts the rows of this page from 1. */
  readonly number: number;
  readonly record: TapRecord;
  /** The id as JSON, exactly as it came; empty without one. */
  readonly id: string;
  /** Tool, prompt or resource; an answer has that of its request. */
  readonly target: string;
  readonly method: string;
  /** The request of an answer, the answer of a request. */
  pair: Row | undefined;
  status: Status;
  /** Milliseconds from the request to its answer. */
  latency: number | undefined;
}

const ID = /"id":("(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*),"size":/;
const TROUBLE = new Set(["dropped", "link_lost", "upstream_closed", "log_level_stripped", "fault"]);

export class Rows {
  /** Counts up whenever something was added, dropped or cleared. */
  readonly version = signal(0);
  /** Rows that gave way to newer ones, and records the gateway says are missing. */
  dropped = 0;
  #rows: Row[] = [];
  #characters = 0;
  #open = new Map<string, Row>();
  #count = 0;

  get all(): readonly Row[] {
    return this.#rows;
  }

  /** Take in records as the tap sends them. */
  add(lines: readonly string[]): void {
    for (const line of lines) if (line) this.#add(line);
    if (this.#rows.length > MOST_ROWS || this.#characters > MOST_CHARACTERS) this.#makeRoom();
    this.version.value += 1;
  }

  clear(): void {
    this.#rows = [];
    this.#characters = 0;
    this.#open.clear();
    this.dropped = 0;
    this.version.value += 1;
  }

  #add(line: string): void {
    const record = JSON.parse(line) as TapRecord;
    const id = record.id === null || record.id === undefined ? "" : (ID.exec(line)?.[1] ?? JSON.stringify(record.id));
    const request = isAnswer(record) ? this.#requestOf(record, id) : undefined;
    this.#count += 1;
    const row: Row = {
      number: this.#count,
      record,
      id,
      method: record.method ?? record.event ?? request?.method ?? "",
      target: request?.target ?? targetOf(record),
      pair: request,
      status: "",
      latency: undefined,
    };
    if (request !== undefined) settle(request, row);
    else if (record.kind === "request" && id) this.#remember(row);
    if (record.event === "link_closed") this.#lose((open) => open.record.session === record.session && open.record.leg === "client");
    if (record.event === "upstream_closed") this.#lose((open) => open.record.leg === "upstream" && open.record.server === record.server && open.record.session === record.session);
    this.#rows.push(row);
    this.#characters += line.length;
  }

  #requestOf(record: TapRecord, id: string): Row | undefined {
    const key = keyOf(record, id, record.direction === "in" ? "out" : "in");
    const request = this.#open.get(key);
    this.#open.delete(key);
    return request;
  }

  #remember(row: Row): void {
    row.status = "pending";
    if (this.#open.size >= MOST_OPEN) this.#open.delete(this.#open.keys().next().value ?? "");
    this.#open.set(keyOf(row.record, row.id, row.record.direction ?? ""), row);
  }

  #lose(of: (open: Row) => boolean): void {
    for (const [key, row] of this.#open) {
      if (!of(row)) continue;
      row.status = "lost";
      this.#open.delete(key);
    }
  }

  #makeRoom(): void {
    let count = 0;
    while (this.#rows.length - count > MOST_ROWS || (this.#characters > MOST_CHARACTERS && count < this.#rows.length - 1) || (count % SLICE !== 0 && count < this.#rows.length - 1)) {
      const { record } = this.#rows[count] as Row;
      this.#characters -= sizeOf(record);
      count += 1;
    }
    for (const row of this.#rows.slice(0, count)) if (row.pair !== undefined) row.pair.pair = undefined;
    this.#rows = this.#rows.slice(count);
    this.dropped += count;
  }
}

/** About as long as its line. */
function sizeOf(record: TapRecord): number {
  return (record.raw?.length ?? 0) + 300;
}

function isAnswer({ kind, id, method }: TapRecord): boolean {
  return (kind === "response" || kind === "error") && id !== null && id !== undefined && method === null;
}

function keyOf({ server, session, leg }: TapRecord, id: string, direction: string): string {
  return `${server}\n${session ?? ""}\n${leg ?? ""}\n${direction}\n${id}`;
}

function settle(request: Row, answer: Row): void {
  request.pair = answer;
  const latency = (answer.record.mono - request.record.mono) * 1000;
  request.latency = answer.latency = latency;
  request.status = answer.status = answer.record.kind === "error" ? "error" : isFailure(answer.record) ? "failed" : "ok";
}

/** A result of a tool that says that it failed. */
function isFailure({ raw }: TapRecord): boolean {
  return raw !== null && /"isError"\s*:\s*true/.test(raw);
}

/** Whether somebody who looks for what went wrong wants to see it. */
export function isTrouble({ record, status }: Row): boolean {
  if (record.kind === "error" || record.kind === "malformed" || record.kind === "gap") return true;
  return status === "failed" || status === "error" || status === "lost" || TROUBLE.has(record.event ?? "");
}

function targetOf({ kind, method, raw, truncated }: TapRecord): string {
  if (kind !== "request" || raw === null || truncated || !/^(tools\/call|prompts\/get|resources\/)/.test(method ?? "")) return "";
  const params = (parsed(raw) as { params?: { name?: unknown; uri?: unknown } } | undefined)?.params;
  return typeof params?.name === "string" ? params.name : typeof params?.uri === "string" ? params.uri : "";
}

/** A text as JSON; undefined where it is none. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const rawJson = (JSON as unknown as { rawJSON?: (text: string) => unknown }).rawJSON;

/** The record as a line of a recording, its id as it came. */
export function lineOf({ record, id }: Row): string {
  return JSON.stringify({ ...record, id: id && rawJson !== undefined ? rawJson(id) : record.id });
}

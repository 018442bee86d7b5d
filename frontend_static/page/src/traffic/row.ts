/** One row of the traffic view: a tap record and what pairing finds out about it. Knows neither filters nor the view. */

import type { TapRecord } from "../tap.js";

export const KINDS = ["request", "response", "error", "notification", "malformed", "noise", "event", "gap"] as const;
export type Kind = (typeof KINDS)[number];

/** What became of a request. Its answer carries the same status. */
export const STATUSES = ["pending", "ok", "failed", "error", "cancelled", "lost", "input", "unknown"] as const;
export type Status = (typeof STATUSES)[number];

export interface Row {
  /** Position in this tab's traffic, from 1. */
  readonly number: number;
  readonly record: TapRecord;
  readonly kind: Kind;
  /** The side a message is sent to; empty for events. */
  readonly toward: "server" | "client" | "";
  /** The id as JSON, exactly as received; empty without one. */
  readonly id: string;
  /** Tool, prompt or resource; an answer has that of its request. */
  target: string;
  /** The method or the event's name; an answer has that of its request. */
  method: string;
  /** The request of an answer, the answer of a request. */
  pair: Row | undefined;
  /** Whether it belongs to an earlier request: progress, cancellation, subscription, next round of questions. */
  linked: boolean;
  status: Status | "";
  /** Milliseconds from the request to its answer. */
  latency: number | undefined;
}

/** A message as JSON; empty where it was cut, withheld or is not a JSON object. */
export type Content = Readonly<Record<string, unknown>>;

const ID = /"id":("(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*),"size":/;
const TROUBLE = new Set(["dropped", "link_lost", "upstream_closed", "fault", "intermediary"]);
/** Members of `params` that name the subject of a request. */
const TARGETS = ["name", "uri", "taskId"];

/** The row of one line of the tap, not yet paired. */
export function rowOf(line: string, number: number): Row {
  const record = JSON.parse(line) as TapRecord;
  return {
    number,
    record,
    kind: KINDS.find((kind) => kind === record.kind) ?? "event",
    toward: towardOf(record),
    id: record.id === null || record.id === undefined ? "" : (ID.exec(line)?.[1] ?? JSON.stringify(record.id)),
    target: "",
    method: record.method ?? record.event ?? "",
    pair: undefined,
    linked: false,
    status: "",
    latency: undefined,
  };
}

function towardOf({ leg, direction }: TapRecord): Row["toward"] {
  if (leg === null || direction === null) return "";
  return (leg === "client") === (direction === "in") ? "server" : "client";
}

/** The message of a row; `{}` where it was cut, withheld or is not a JSON object. */
export function contentOf({ record, kind }: Row): Content {
  if (record.raw === null || record.truncated || kind === "noise" || kind === "event") return {};
  const content = parsed(record.raw);
  return isObject(content) ? content : {};
}

/** The member below `path`; undefined where a part of the path is missing or not an object. */
export function memberOf(content: unknown, ...path: readonly string[]): unknown {
  let value = content;
  for (const name of path) value = isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
  return value;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The tool, prompt, resource or task that a request or notification names. */
export function targetOf(content: Content): string {
  for (const name of TARGETS) {
    const value = memberOf(content, "params", name);
    if (typeof value === "string") return value;
  }
  return "";
}

/** Whether an event is a problem; the end of a link whose client goes away (1001), like a closed tab, is none. */
export function isAlarming({ event, detail }: Pick<TapRecord, "event" | "detail">): boolean {
  return TROUBLE.has(event ?? "") && !(event === "link_lost" && /^1001\b/.test(detail ?? ""));
}

/** Whether a row shows a problem: an error, a failed or lost call, a malformed message, a gap or an alarming event. */
export function isTrouble({ record, kind, status }: Row): boolean {
  if (kind === "error" || kind === "malformed" || kind === "gap") return true;
  return status === "failed" || status === "error" || status === "lost" || isAlarming(record);
}

/** The text of a message, or the details of an event. */
export function textOf({ record }: Row): string {
  return record.raw ?? record.detail ?? "";
}

/** A text as JSON; undefined if it is not JSON. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const rawJson = (JSON as unknown as { rawJSON?: (text: string) => unknown }).rawJSON;

/** The record as a line of a recording, its id exactly as received. */
export function lineOf({ record, id }: Row): string {
  return JSON.stringify({ ...record, id: id && rawJson !== undefined ? rawJson(id) : record.id });
}

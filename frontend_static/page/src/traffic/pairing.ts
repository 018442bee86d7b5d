/**
 * Which rows belong together: answers to requests, progress, cancellations, subscriptions and rounds of questions.
 *
 * The same rules as `inspector/model/pairing.py`; both are tested against tests/vectors/filters.json. A request is known
 * by scope (session, else server at its gateway), leg, asking side and typed id: both sides of a link may use one id at the same time.
 */

import { memberOf, type Content, type Row, type Status } from "./row.js";

/** Requests, progress tokens and request states remembered, each; the oldest are forgotten first. */
const MAX_REMEMBERED = 4096;
const SUBSCRIPTION_ID = "io.modelcontextprotocol/subscriptionId";

class Recent extends Map<string, Row> {
  put(key: string, row: Row): void {
    this.set(key, row);
    if (this.size > MAX_REMEMBERED) this.delete(this.keys().next().value ?? "");
  }
}

export class Pairing {
  /** Requests without an answer, oldest first. */
  #open = new Recent();
  #tokens = new Recent();
  #states = new Recent();
  /** Requests that were answered with a task. */
  #tasks = new Recent();

  /** Link one row; rows must come in order. */
  add(row: Row, content: Content): void {
    switch (row.kind) {
      case "request":
        return this.#request(row, content);
      case "response":
      case "error":
        return this.#answer(row, content);
      case "notification":
        return this.#notification(row, content);
      case "event":
        return this.#event(row);
      case "gap":
        // An answer may be among the missing records.
        for (const request of this.#open.values()) if (request.status === "pending") request.status = "unknown";
    }
  }

  #request(row: Row, content: Content): void {
    if (row.toward === "" || row.id === "") return;
    row.status = "pending";
    this.#open.put(keyOf(row, row.toward, idKey(row.id)), row);
    const token = valueKey(memberOf(content, "params", "_meta", "progressToken"));
    if (token !== "") this.#tokens.put(keyOf(row, row.toward, token), row);
    const state = memberOf(content, "params", "requestState");
    if (typeof state === "string" && this.#states.has(stateKey(row, state))) row.linked = true;
    if (this.#creator(row, content) !== undefined) row.linked = true;
  }

  /** The request that was answered with the task that a message names. */
  #creator(row: Row, content: Content): Row | undefined {
    const task = memberOf(content, "params", "taskId");
    return typeof task === "string" ? this.#tasks.get(stateKey(row, task)) : undefined;
  }

  #answer(row: Row, content: Content): void {
    if (row.toward === "") return;
    row.status = statusOf(row, content);
    if (row.id === "") return;
    const key = keyOf(row, otherSide(row), idKey(row.id));
    const request = this.#open.get(key);
    if (request === undefined) return;
    this.#open.delete(key);
    settle(request, row);
    const state = memberOf(content, "result", "requestState");
    if (typeof state === "string") this.#states.put(stateKey(request, state), request);
    const task = memberOf(content, "result", "taskId");
    if (typeof task === "string" && memberOf(content, "result", "resultType") === "task") this.#tasks.put(stateKey(request, task), request);
  }

  #notification(row: Row, content: Content): void {
    const request = this.#requestOf(row, content);
    if (request === undefined) return;
    row.linked = true;
    row.target ||= request.target;
    if (row.method === "notifications/cancelled") request.status = "cancelled";
  }

  /** The request that a notification is about. */
  #requestOf(row: Row, content: Content): Row | undefined {
    if (row.toward === "") return undefined;
    const params = memberOf(content, "params");
    if (row.method === "notifications/progress") return this.#tokens.get(keyOf(row, otherSide(row), valueKey(memberOf(params, "progressToken"))));
    if (row.method === "notifications/cancelled") {
      // A sender cancels its own request; a server also ends a subscription.
      const id = valueKey(memberOf(params, "requestId"));
      return this.#open.get(keyOf(row, row.toward, id)) ?? this.#open.get(keyOf(row, otherSide(row), id));
    }
    return this.#creator(row, content) ?? this.#open.get(keyOf(row, otherSide(row), valueKey(memberOf(params, "_meta", SUBSCRIPTION_ID))));
  }

  #event({ record }: Row): void {
    const bothLegs = record.event === "link_closed";
    if (!bothLegs && record.event !== "upstream_closed") return;
    for (const [key, request] of this.#open) {
      if (scopeOf(request) !== scopeOf({ record }) || (!bothLegs && request.record.leg === "client")) continue;
      if (request.status === "pending") request.status = "lost";
      this.#open.delete(key);
    }
  }
}

function scopeOf({ record }: Pick<Row, "record">): string {
  return record.session ?? `\0${record.server}\0${record.gateway ?? ""}`;
}

/** @param side the side that the request was sent to. */
function keyOf(row: Row, side: Row["toward"], id: string): string {
  return `${scopeOf(row)}\n${row.record.leg}\n${side}\n${id}`;
}

function stateKey({ record }: Row, state: string): string {
  return `${record.server}\n${record.leg}\n${state}`;
}

function otherSide({ toward }: Row): Row["toward"] {
  return toward === "server" ? "client" : "server";
}

/** Ids equal as JSON-RPC compares them: `7` and `7.0` are one id, `"7"` another; large numbers keep all their digits. */
function idKey(id: string): string {
  const number = Number(id);
  return !id.startsWith('"') && Number.isSafeInteger(number) ? String(number) : id;
}

/** The same of a value that is parsed already; empty for anything but a string or a number. */
function valueKey(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? JSON.stringify(value) : "";
}

function statusOf({ kind }: Row, content: Content): Status {
  if (kind === "error") return "error";
  if (memberOf(content, "result", "resultType") === "input_required") return "input";
  return memberOf(content, "result", "isError") === true ? "failed" : "ok";
}

function settle(request: Row, answer: Row): void {
  request.pair = answer;
  answer.pair = request;
  answer.method = request.method;
  answer.target = request.target;
  answer.latency = request.latency = Math.max(0, (answer.record.mono - request.record.mono) * 1000);
  if (request.status !== "cancelled") request.status = answer.status;
}

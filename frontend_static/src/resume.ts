/**
 * A client's side of a resumable session (`mcp.resume.v1`, docs/reference/binding.md section 6).
 *
 * Pure: frames go in; frames to send and messages to deliver come out. Rules:
 *
 * 1. Data leaves the buffer only when the gateway has acknowledged it.
 * 2. A request that a loss leaves without an answer fails with an explicit `data.outcome`: `not_sent` (safe to retry) or
 *    `unknown` (it may have run).
 *
 * Mirrors `ClientEnd` of `mcp_ws_ide/core/resume.py`; both run `tests/vectors/client.json`.
 */

import {
  asControl,
  ControlError,
  DEFAULT_WINDOW,
  encodeControl,
  isObject,
  parseJson,
  SESSION_LOST,
  type Control,
  type Window,
} from "./binding.js";
import { byteLength, PositionError, ReliableChannel } from "./channel.js";
import { isCanonical, isId as isRequestId, read, type Fault, type Message } from "./reader.js";
import { replacesResponse, TO_NOTIFICATIONS } from "./stand_ins.js";
import type { usable } from "./usable.js";

/** The gateway broke the protocol. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** What a frame from the gateway changed, apart from delivering data. */
export type Event = "opened" | "resumed" | "gone" | "gap" | "pong" | "nothing";

/** The result of processing a frame. */
export interface Received {
  /** The data frame; undefined for a control frame. */
  readonly data?: string;
  /** The data frame as JSON; undefined where it is not JSON. */
  readonly message?: unknown;
  /** Whether the data frame is not one canonical message, or names no open request: see {@link ClientEnd.readable}. */
  readonly odd?: boolean;
  /** Frames to send now. */
  readonly write: readonly string[];
  readonly event: Event;
}

export type RequestId = string | number;

/** The error that answers a request whose answer was lost. */
export interface LostAnswer {
  readonly jsonrpc: "2.0";
  readonly id: RequestId;
  readonly error: {
    readonly code: number;
    readonly message: string;
    readonly data: { readonly outcome: "not_sent" | "unknown" };
  };
}

const PARSE_ERROR = -32700;
const INTERNAL_ERROR = -32603;
/** Characters quoted of a frame that cannot be read. */
const QUOTED = 120;
/** Ids of ended requests that are kept, to tell a late response from one with a wrong id. */
const MAX_ENDED = 64;

/** What a peer of plain `mcp` wrote in place of a message, which may be the response to an open request. */
export interface Doubt {
  /** Keys of the requests that were open then. */
  readonly open: readonly string[];
  /** The error with which they fail. */
  readonly error: unknown;
  /** Whether it is the response to one of them. */
  readonly certain: boolean;
}

/** A request without an answer, and its position among the sent frames. */
interface Waiting {
  readonly id: RequestId;
  position: number;
  /** The method, empty in a session that was continued; only needed where the peer is no gateway. */
  readonly method: string;
}

/**
 * What another page needs to resume a session, as plain JSON. It contains the resume token and unacknowledged messages:
 * treat it like a credential, and use it once.
 */
export interface SessionSnapshot {
  readonly version: 1;
  /** The session's public id. */
  readonly session: string;
  readonly token: string;
  /** Grace period in seconds: how long the session is kept without a link. */
  readonly grace: number;
  readonly window: Window;
  /** Longest message that the gateway accepts, in bytes. */
  readonly maxMessageBytes?: number;
  /** Messages of this side that were acknowledged, and messages received from the other side. */
  readonly acknowledged: number;
  readonly received: number;
  /** Messages of this side that were not acknowledged, oldest first. */
  readonly kept: readonly string[];
  readonly legacy: boolean;
  /** Requests without an answer. */
  readonly waiting: readonly RequestId[];
  /** Messages received and not delivered yet. */
  readonly arrived?: readonly unknown[];
}

/** Whether a value is a snapshot of this version; it may come from storage. */
export function isSnapshot(value: unknown): value is SessionSnapshot {
  if (!isObject(value) || value["version"] !== 1 || !isObject(value["window"])) return false;
  const { session, token, legacy, kept, waiting, arrived = [] } = value;
  const counts = [value["acknowledged"], value["received"], value["grace"], value["window"]["frames"], value["window"]["bytes"]];
  return (
    [session, token].every((text) => typeof text === "string" && text !== "") &&
    typeof legacy === "boolean" &&
    counts.every((count) => typeof count === "number" && count >= 0) &&
    Array.isArray(kept) && kept.every((text) => typeof text === "string") &&
    Array.isArray(waiting) && waiting.every(isRequestId) &&
    Array.isArray(arrived)
  );
}

const NOTHING: Received = { write: [], event: "nothing" };

/**
 * Use: after connecting, send {@link hello}; pass frames to {@link receive} and messages to {@link send}; after a loss, call
 * {@link lostLink}; to end, {@link giveUp}.
 */
export class ClientEnd {
  channel = new ReliableChannel(DEFAULT_WINDOW);
  /** The session's public id. */
  session = "";
  /** Grace period in seconds: how long the session is kept without a link. */
  grace = 0;
  /** Longest message that the gateway accepts, in bytes; infinite where it announced none. */
  maxMessageBytes = Infinity;
  /** Whether the link is open for data frames. */
  live = false;
  /** Whether the client has sent `initialize`: then a new session cannot replace this one. */
  legacy = false;
  /** Whether the server does not resume: what is sent counts as delivered. */
  plain = false;
  /** The server's address, for notes in its results. */
  where = "";
  /** Makes results of a server that is no gateway readable; a gateway does that itself. */
  #mend: typeof usable | undefined;
  /** Frames sent again at the last resume. */
  replayed = 0;
  /** Messages that the last `gap` frame replaced. */
  gap = 0;
  /** Reason of the last `gone` frame. */
  goneReason = "";
  #waiting = new Map<string, Waiting>();
  /** Requests that ended last. */
  #ended: string[] = [];
  #hasCancelled = false;
  #doubt: Doubt | undefined;
  #token = "";
  #written = 0;
  /** Whether the gateway accepts nothing more: what it has not received was not processed. */
  #refused = false;

  /** Continue a session that was left with {@link snapshot}. */
  static continued(saved: SessionSnapshot): ClientEnd {
    const end = new ClientEnd();
    end.session = saved.session;
    end.#token = saved.token;
    end.grace = saved.grace;
    end.maxMessageBytes = saved.maxMessageBytes ?? Infinity;
    end.legacy = saved.legacy;
    end.channel = ReliableChannel.continued(saved.window, saved.acknowledged, saved.received, saved.kept);
    end.#written = end.channel.sent;
    for (const id of saved.waiting) end.#waiting.set(keyOf(id), { id, position: 0, method: "" });
    return end;
  }

  /** What another client needs to resume this session; undefined where it cannot be resumed. */
  snapshot(): SessionSnapshot | undefined {
    if (!this.resumable) return undefined;
    const { session, grace, legacy, channel, maxMessageBytes } = this;
    return {
      version: 1,
      session,
      token: this.#token,
      grace,
      window: channel.window,
      ...(maxMessageBytes === Infinity ? {} : { maxMessageBytes }),
      acknowledged: channel.base,
      received: channel.received,
      kept: channel.kept,
      legacy,
      waiting: [...this.#waiting.values()].map(({ id }) => id),
    };
  }

  /** Whether there is a session to resume. */
  get resumable(): boolean {
    return this.#token !== "";
  }

  /** Requests without an answer. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** The first frame on a new link. */
  hello(): string {
    if (!this.resumable) return encodeControl({ "mcp.ws": "open" });
    return encodeControl({ "mcp.ws": "resume", token: this.#token, recv: this.channel.received });
  }

  /**
   * Accept a message from the SDK.
   *
   * @param message the parsed `text`, where the caller has it.
   * @returns whether to send it now; else it is kept until there is a link.
   */
  send(text: string, message: unknown = parseJson(text)): boolean {
    this.channel.push(text);
    this.#noteRequest(message);
    if (!this.live || this.#refused) return false;
    this.#noteWritten();
    return true;
  }

  #noteWritten(): void {
    this.#written = this.channel.sent;
    if (this.plain) this.channel.acknowledge(this.#written);
  }

  /**
   * The peer speaks plain `mcp`: no hello, no counters. Returns the queued messages, to be sent now.
   *
   * @param mend returns a result as the SDK can read it; without it, results stay as they are.
   */
  startPlain(mend?: typeof usable): string[] {
    this.plain = this.live = true;
    this.#mend = mend;
    const queued = this.channel.replayAfter(this.channel.base);
    this.#noteWritten();
    return queued;
  }

  #noteRequest(message: unknown): void {
    if (!isObject(message)) return; // the gateway answers it with an error
    const { id, method, params } = message;
    if (typeof method !== "string") return;
    if (isRequestId(id)) {
      this.#waiting.set(keyOf(id), { id, position: this.channel.sent, method });
      this.legacy ||= method === "initialize";
    } else if (method === "notifications/cancelled" && isObject(params) && isRequestId(params["requestId"])) {
      this.#hasCancelled = true;
      this.#forget(keyOf(params["requestId"]));
    }
  }

  /**
   * Process a frame from the gateway.
   *
   * @throws Violation the gateway broke the protocol.
   */
  receive(text: string): Received {
    const message = parseJson(text);
    const control = this.plain ? undefined : checked(text, message);
    if (control !== undefined) return this.#control(control);
    if (!this.live) throw new Violation("the gateway sent data before 'opened' or 'resumed'");
    const waiting = isCanonical(message) && !("method" in message) ? this.#answered(message) : undefined;
    const odd = !isCanonical(message) || (waiting === undefined && !("method" in message));
    if (this.plain) return { ...NOTHING, data: text, message: waiting ? this.#usable(waiting, message as Message) : message, odd };
    const write = this.channel.accept(byteLength(text)) ? [this.channel.takeAck()] : [];
    return { data: text, message, odd, write, event: "nothing" };
  }

  /** The request that a response answers, which is no longer open; undefined if it names none. */
  #answered(response: Message): Waiting | undefined {
    const { id } = response;
    const waiting = isRequestId(id) ? this.#waiting.get(keyOf(id)) : undefined;
    if (waiting !== undefined) this.#forget(keyOf(waiting.id));
    return waiting;
  }

  /** A response of a server that is no gateway, with the result as the SDK can read it. */
  #usable({ id, method }: Waiting, response: Message): Message {
    if (!this.plain || this.#mend === undefined || !("result" in response)) return { ...response, id };
    return { ...response, id, result: this.#mend(method, response["result"], this.where, this.legacy) };
  }

  #forget(key: string): void {
    if (!this.#waiting.delete(key) || !this.plain) return; // a gateway gives no wrong ids
    this.#ended.push(key);
    if (this.#ended.length > MAX_ENDED) this.#ended.shift();
  }

  /**
   * What the SDK is to be given for a data frame that is {@link Received.odd}. A request whose answer cannot be read fails;
   * so does each open one if that names no request, or says that the server could not read one. What stands in place of a message raises a {@link takeDoubt | doubt}.
   */
  readable(text: string): unknown[] {
    const { messages, faults } = read(text);
    const made: unknown[] = messages.flatMap((message) => this.#paired(message));
    for (const fault of faults) made.push(...this.#failed(fault, text));
    if (messages.length + faults.length === 0 && replacesResponse("message", text.trim())) {
      this.#noteDoubt(unknownOutcome(`the server sent what is not a JSON-RPC message: ${quoted(text)}`), false);
    }
    return made;
  }

  #noteDoubt(error: unknown, certain: boolean): void {
    if (this.#waiting.size > 0) this.#doubt = { open: [...this.#waiting.keys()], error, certain };
  }

  /** The doubt about what was last read, if it stands in place of a message; see {@link settle}. */
  takeDoubt(): Doubt | undefined {
    const doubt = this.#doubt;
    this.#doubt = undefined;
    return doubt;
  }

  /**
   * The errors for the SDK, {@link SUSPICION} after a doubt arose. If one of the requests that were open has been answered
   * since, the doubt was about that one.
   */
  settle(doubt: Doubt): unknown[] {
    const left = doubt.open.filter((key) => this.#waiting.has(key));
    if (!doubt.certain && left.length !== doubt.open.length) return [];
    return left.map((key) => this.#fails(this.#waiting.get(key) as Waiting, doubt.error));
  }

  #paired(message: Message): unknown[] {
    const { id, error } = message;
    if ("method" in message) return [message];
    if (isObject(error) && error["code"] === PARSE_ERROR && id === null) return this.#endOpen(error);
    const named = this.#named(id);
    if (named === undefined) return this.#misnamed(message);
    this.#forget(keyOf(named.id));
    return [this.#usable(named, message)];
  }

  /** The open request that an id names, also as text instead of a number. */
  #named(id: unknown): Waiting | undefined {
    if (!isRequestId(id)) return undefined;
    return this.#waiting.get(keyOf(id)) ?? [...this.#waiting.values()].find((waiting) => String(waiting.id) === String(id));
  }

  /** Handle a response of a server that is no gateway, whose id names no open request. */
  #misnamed(message: Message): unknown[] {
    const { id, error } = message;
    if (!this.plain || this.#waiting.size === 0 || (isRequestId(id) && this.#ended.includes(keyOf(id)))) return [message];
    const notified = id === null && isObject(error) && TO_NOTIFICATIONS.has(error["code"]);
    if (this.#waiting.size === 1 && !this.#hasCancelled && !notified) {
      const [only] = this.#waiting.values();
      this.#waiting.clear();
      return [this.#usable(only as Waiting, message)];
    }
    const said = `the server answered with the id ${JSON.stringify(id)}, which names no open request`;
    this.#noteDoubt(error ?? unknownOutcome(said), !notified);
    return [];
  }

  #failed(fault: Fault, text: string): unknown[] {
    const error = unknownOutcome(`the server's response is not a JSON-RPC message: ${quoted(text)}`);
    const named = this.#named(fault.id);
    return named === undefined ? this.#endOpen(error) : [this.#fails(named, error)];
  }

  /** Fail every open request. */
  #endOpen(error: unknown): unknown[] {
    return [...this.#waiting.values()].map((waiting) => this.#fails(waiting, error));
  }

  #fails(waiting: Waiting, error: unknown): unknown {
    this.#forget(keyOf(waiting.id));
    return { jsonrpc: "2.0", id: waiting.id, error };
  }

  #control(control: Control): Received {
    switch (control["mcp.ws"]) {
      case "opened":
        return this.#opened(control);
      case "resumed":
        return this.#resumed(control);
      case "gone":
        this.goneReason = control.reason || "no reason was given";
        return { write: [], event: "gone" };
      case "gap":
        this.gap = control.dropped;
        this.channel.accept(0, control.dropped);
        return { write: [this.channel.takeAck()], event: "gap" };
      case "ack":
        positioned(() => this.channel.acknowledge(control.recv));
        return NOTHING;
      case "ping":
        return { write: [encodeControl({ "mcp.ws": "pong" })], event: "nothing" };
      case "pong":
        return { write: [], event: "pong" };
      default:
        throw new Violation(`control frame "${control["mcp.ws"]}" is not allowed here`);
    }
  }

  #opened(control: Control & { "mcp.ws": "opened" }): Received {
    if (this.resumable) throw new Violation("the gateway sent 'opened', but the session was already open");
    this.session = control.session;
    this.#token = control.token;
    this.grace = control.grace;
    this.maxMessageBytes = control.max_message_bytes ?? Infinity;
    this.channel.window = control.window;
    return { write: this.#goLive(this.channel.replayAfter(0)), event: "opened" };
  }

  #resumed(control: Control & { "mcp.ws": "resumed" }): Received {
    if (!this.resumable || this.live) throw new Violation("the gateway sent 'resumed', but no 'resume' had been sent");
    const replay = positioned(() => this.channel.replayAfter(control.recv));
    this.#token = control.token;
    this.#refused = control.last ?? false;
    const queued = this.#goLive(this.#refused ? [] : replay);
    if (this.#refused) this.#written = control.recv;
    this.replayed = queued.length;
    // At least one frame, to confirm the new token.
    return { write: [this.channel.takeAck(), ...queued], event: "resumed" };
  }

  #goLive(queued: string[]): string[] {
    this.live = true;
    this.#written = this.channel.sent;
    return queued;
  }

  /** The link was lost; messages are kept for the next one. */
  lostLink(): void {
    this.live = false;
  }

  /**
   * The session is gone, and a new one can replace it (there was no handshake). Messages never sent are kept for the new
   * session; for other open requests, the outcome is unknown.
   *
   * @returns the answers to deliver to the SDK.
   */
  startOver(reason: string): LostAnswer[] {
    const answers = this.#fail(reason, true);
    const unwritten = this.channel.sent - this.#written;
    const kept = unwritten > 0 ? this.channel.replayAfter(this.channel.base).slice(-unwritten) : [];
    this.channel = new ReliableChannel(this.channel.window);
    for (const data of kept) this.channel.push(data);
    for (const waiting of this.#waiting.values()) waiting.position -= this.#written;
    this.#token = "";
    this.#written = 0;
    this.live = this.plain = this.#refused = false;
    return answers;
  }

  /** No answer will arrive any more: returns an error for each open request, to be delivered to the SDK. */
  giveUp(reason: string): LostAnswer[] {
    this.live = false;
    return this.#fail(reason, false);
  }

  #fail(reason: string, onlyWritten: boolean): LostAnswer[] {
    const answers: LostAnswer[] = [];
    for (const [key, { id, position }] of this.#waiting) {
      const written = position <= this.#written;
      if (onlyWritten && !written) continue;
      this.#waiting.delete(key);
      const data = { outcome: written ? "unknown" : "not_sent" } as const;
      answers.push({ jsonrpc: "2.0", id, error: { code: SESSION_LOST, message: reason, data } });
    }
    return answers;
  }
}

function unknownOutcome(message: string): unknown {
  return { code: INTERNAL_ERROR, message, data: { outcome: "unknown" } };
}

function quoted(text: string): string {
  return text.length > QUOTED ? `${text.slice(0, QUOTED)}…` : text;
}

/** A key under which `7` and `"7"` differ. */
function keyOf(id: RequestId): string {
  return `${typeof id} ${id}`;
}

function checked(text: string, message: unknown): Control | undefined {
  try {
    return asControl(text, message);
  } catch (error) {
    throw error instanceof ControlError ? new Violation(error.message) : error;
  }
}

function positioned<T>(step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw error instanceof PositionError ? new Violation(error.message) : error;
  }
}

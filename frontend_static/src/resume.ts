/**
 * A client's end of a resumable session (`mcp.resume.v1`, docs/binding.md section 6).
 *
 * Pure: frames go in; frames to write and messages to hand on come out. Rules:
 *
 * 1. Data leaves the buffer only when the gateway has acknowledged it.
 * 2. What cannot be promised is said: a request that a loss leaves unanswered gets an error with `data.outcome`:
 *    `not_sent` (safe to retry) or `unknown` (it may have run).
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

/** The gateway broke the protocol. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** What a frame from the gateway changed, besides data. */
export type Event = "opened" | "resumed" | "gone" | "gap" | "pong" | "nothing";

/** What became of a frame. */
export interface Received {
  /** The data frame; undefined where it was a control frame. */
  readonly data?: string;
  /** What the data frame holds as JSON; undefined where it is none. */
  readonly message?: unknown;
  /** What to write now. */
  readonly write: readonly string[];
  readonly event: Event;
}

export type RequestId = string | number;

/** An error answer this end writes because a loss left a request without one. */
export interface LostAnswer {
  readonly jsonrpc: "2.0";
  readonly id: RequestId;
  readonly error: {
    readonly code: number;
    readonly message: string;
    readonly data: { readonly outcome: "not_sent" | "unknown" };
  };
}

/** A request without an answer, and its position among the frames. */
interface Waiting {
  readonly id: RequestId;
  position: number;
}

/**
 * What a session needs to go on in another page: plain JSON. It holds the token that resumes the session, and messages that
 * were not acknowledged: keep it as secret as a credential, and use it once.
 */
export interface SessionSnapshot {
  readonly version: 1;
  /** The session's public id. */
  readonly session: string;
  readonly token: string;
  /** Seconds that the session lives without a link. */
  readonly grace: number;
  readonly window: Window;
  /** Longest message that the gateway takes, in bytes. */
  readonly maxMessageBytes?: number;
  /** Messages of this side that were acknowledged, and of the other side that were taken. */
  readonly acknowledged: number;
  readonly received: number;
  /** Messages of this side that were not acknowledged. */
  readonly kept: readonly string[];
  readonly legacy: boolean;
  /** Requests without an answer. */
  readonly waiting: readonly RequestId[];
  /** Messages for this side that were taken, and are still to be handed on. */
  readonly arrived?: readonly unknown[];
}

/** Whether a value, which somebody kept meanwhile, is a snapshot of this version. */
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
 * Use: after connecting, write {@link hello}; feed frames to {@link receive}; send messages through {@link send}; after a
 * loss, {@link lostLink}; to end, {@link giveUp}.
 */
export class ClientEnd {
  channel = new ReliableChannel(DEFAULT_WINDOW);
  /** The session's public id. */
  session = "";
  /** Seconds that the session lives without a link. */
  grace = 0;
  /** Longest message that the gateway takes, in bytes, where it said so. */
  maxMessageBytes = Infinity;
  /** Whether data frames may be written now. */
  live = false;
  /** Whether the client has sent `initialize`: then no other session can take over. */
  legacy = false;
  /** Whether the gateway does not resume: what is written counts as delivered. */
  plain = false;
  /** Frames written again at the last resume. */
  replayed = 0;
  /** Messages that the last `gap` frame stood for. */
  gap = 0;
  /** What the last `gone` frame said. */
  goneReason = "";
  #waiting = new Map<string, Waiting>();
  #token = "";
  #written = 0;

  /** The end of a session that was left with {@link snapshot}. */
  static continued(saved: SessionSnapshot): ClientEnd {
    const end = new ClientEnd();
    end.session = saved.session;
    end.#token = saved.token;
    end.grace = saved.grace;
    end.maxMessageBytes = saved.maxMessageBytes ?? Infinity;
    end.legacy = saved.legacy;
    end.channel = ReliableChannel.continued(saved.window, saved.acknowledged, saved.received, saved.kept);
    end.#written = end.channel.sent;
    for (const id of saved.waiting) end.#waiting.set(keyOf(id), { id, position: end.#written });
    return end;
  }

  /** How another end goes on with this session; undefined where there is nothing to go on with. */
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

  /** Whether there is a session to go on with. */
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
   * Take a message of the SDK.
   *
   * @param message what `text` holds, where that is known already.
   * @returns whether it is to be written now; else it is kept for later.
   */
  send(text: string, message: unknown = parseJson(text)): boolean {
    this.channel.push(text);
    this.#noteRequest(message);
    if (!this.live) return false;
    this.#noteWritten();
    return true;
  }

  #noteWritten(): void {
    this.#written = this.channel.sent;
    if (this.plain) this.channel.acknowledge(this.#written);
  }

  /** The peer speaks plain `mcp`: no hello, no counters. Returns what was queued, to be written now. */
  startPlain(): string[] {
    this.plain = this.live = true;
    const queued = this.channel.replayAfter(this.channel.base);
    this.#noteWritten();
    return queued;
  }

  #noteRequest(message: unknown): void {
    if (!isObject(message)) return; // the gateway answers it with an error of its own
    const { id, method, params } = message;
    if (typeof method !== "string") return;
    if (isRequestId(id)) {
      this.#waiting.set(keyOf(id), { id, position: this.channel.sent });
      this.legacy ||= method === "initialize";
    } else if (method === "notifications/cancelled" && isObject(params) && isRequestId(params["requestId"])) {
      this.#waiting.delete(keyOf(params["requestId"]));
    }
  }

  /**
   * A frame from the gateway.
   *
   * @throws Violation the gateway broke the protocol.
   */
  receive(text: string): Received {
    const message = parseJson(text);
    const control = this.plain ? undefined : checked(text, message);
    if (control !== undefined) return this.#control(control);
    if (!this.live) throw new Violation("data before opened or resumed");
    this.#noteAnswer(message);
    if (this.plain) return { ...NOTHING, data: text, message };
    const write = this.channel.accept(byteLength(text)) ? [this.channel.takeAck()] : [];
    return { data: text, message, write, event: "nothing" };
  }

  #noteAnswer(message: unknown): void {
    if (!isObject(message) || "method" in message || !isRequestId(message["id"])) return;
    this.#waiting.delete(keyOf(message["id"]));
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
        throw new Violation(`the control frame "${control["mcp.ws"]}" has no place here`);
    }
  }

  #opened(control: Control & { "mcp.ws": "opened" }): Received {
    if (this.resumable) throw new Violation("opened, but this session was open");
    this.session = control.session;
    this.#token = control.token;
    this.grace = control.grace;
    this.maxMessageBytes = control.max_message_bytes ?? Infinity;
    this.channel.window = control.window;
    return { write: this.#goLive(this.channel.replayAfter(0)), event: "opened" };
  }

  #resumed(control: Control & { "mcp.ws": "resumed" }): Received {
    if (!this.resumable || this.live) throw new Violation("resumed, but nothing was to be resumed");
    const replay = positioned(() => this.channel.replayAfter(control.recv));
    this.#token = control.token;
    this.replayed = replay.length;
    // At least one frame, which tells the gateway that the new token has arrived.
    return { write: [this.channel.takeAck(), ...this.#goLive(replay)], event: "resumed" };
  }

  #goLive(queued: string[]): string[] {
    this.live = true;
    this.#written = this.channel.sent;
    return queued;
  }

  /** The link is gone; messages are kept until the next one. */
  lostLink(): void {
    this.live = false;
  }

  /**
   * The session is gone, and the client can do with a new one (it has not shaken hands). What was never written is kept
   * for the new session; of everything else that waits, the outcome is unknown.
   *
   * @returns the answers to hand to the SDK.
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
    this.live = this.plain = false;
    return answers;
  }

  /** Nothing will come any more: the answers to hand to the SDK, one for each request without one. */
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

function isRequestId(value: unknown): value is RequestId {
  return typeof value === "string" || typeof value === "number";
}

/** `7` is not `"7"`. */
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

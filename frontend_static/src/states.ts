/** The states and events of a transport. */

import type { Unauthorized } from "./errors.js";

/**
 * The state of a transport, as its `state` and in each event `state`; only `suspend()` sets it without an event. Times are in
 * milliseconds.
 */
export type TransportState =
  /** The first link is being made. */
  | { readonly kind: "connecting" }
  /**
   * A session was opened, or `resumed`. If an earlier session was open and this one is not resumed, the earlier one is lost.
   * `session` is its public id, empty where it is not resumable; `replayed` counts the messages of this side that were sent
   * again.
   */
  | {
      readonly kind: "open";
      readonly resumable: boolean;
      readonly session: string;
      readonly resumed: boolean;
      readonly replayed: number;
    }
  /** The link was lost. Attempt number `attempt` (from 1) follows in `delay`, or as soon as the page wakes or is online. */
  | { readonly kind: "reconnecting"; readonly attempt: number; readonly delay: number; readonly reason: string }
  /**
   * The transport has ended. `code` is the close code of the last link (RFC 6455 section 7.4). `error` is set unless `close()`
   * or `suspend()` was called; every open request has then received an error with `data.outcome`.
   */
  | { readonly kind: "closed"; readonly code: number; readonly reason: string; readonly error?: Error };

/** The transport entered a state. */
export class StateEvent extends Event {
  constructor(readonly state: TransportState) {
    super("state");
  }
}

/** The gateway dropped this many progress or log messages while the link was down. */
export class GapEvent extends Event {
  constructor(readonly dropped: number) {
    super("gap");
  }
}

/**
 * There is a reason to think that the link is dead, such as a lost network; a ping was sent. Dispatched again with false
 * once the gateway has answered; a new state ends the doubt as well.
 */
export class DoubtEvent extends Event {
  constructor(readonly doubted: boolean) {
    super("doubt");
  }
}

/**
 * The gateway refused the credential while the transport was reconnecting. A listener that calls `suspend()` keeps the session
 * and its open requests, to be resumed with another credential; otherwise the transport ends.
 */
export class UnauthorizedEvent extends Event {
  constructor(readonly error: Unauthorized) {
    super("unauthorized");
  }
}

/** The transport chosen for an `http(s)://` address, and why each one before it did not work. */
export interface Negotiated {
  readonly transport: TransportName;
  readonly refused: Readonly<Partial<Record<TransportName, string>>>;
  /** Codes of what proxies did to the others (mcp_ws_ide/core/intermediaries.py), for `POST mcp-ws/api/network`. */
  readonly noticed: readonly string[];
}

export type TransportName = "http" | "websocket" | "poll";

/** A transport was chosen. */
export class NegotiatedEvent extends Event {
  constructor(readonly negotiated: Negotiated) {
    super("negotiated");
  }
}

/** The events of a transport, by type. */
export interface TransportEvents {
  state: StateEvent;
  gap: GapEvent;
  doubt: DoubtEvent;
  unauthorized: UnauthorizedEvent;
  negotiated: NegotiatedEvent;
}

/** An event target with typed listeners. */
export class TransportEventTarget extends EventTarget {
  override addEventListener<Type extends keyof TransportEvents>(
    type: Type,
    listener: (event: TransportEvents[Type]) => void,
    options?: AddEventListenerOptions | boolean,
  ): void;
  override addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: AddEventListenerOptions | boolean,
  ): void;
  override addEventListener(type: string, listener: any, options?: AddEventListenerOptions | boolean): void {
    super.addEventListener(type, listener, options);
  }
}

/** What a transport tells about its link. */

/** The newest one is the transport's `state`; each is told as an event `state`, but for the end by `suspend()`. Times are in milliseconds. */
export type TransportState =
  /** The first link is being made. */
  | { readonly kind: "connecting" }
  /**
   * A session has begun, or, where `resumed`, goes on. One that is not resumed and follows another says that the session
   * before it is lost. `session` is its public id, empty where it is not resumable; `replayed` counts the messages of
   * this side that were sent again.
   */
  | {
      readonly kind: "open";
      readonly resumable: boolean;
      readonly session: string;
      readonly resumed: boolean;
      readonly replayed: number;
    }
  /** The link is lost. Attempt number `attempt` (from 1) follows in `delay`, or as soon as the page wakes or is online. */
  | { readonly kind: "reconnecting"; readonly attempt: number; readonly delay: number; readonly reason: string }
  /**
   * It is over. `code` is how the last link ended (RFC 6455 section 7.4); `error` is there unless `close()` or
   * `suspend()` was called: then every open request has got an answer with `data.outcome`.
   */
  | { readonly kind: "closed"; readonly code: number; readonly reason: string; readonly error?: Error };

/** The transport has entered a state. */
export class StateEvent extends Event {
  constructor(readonly state: TransportState) {
    super("state");
  }
}

/** So many progress or log messages gave way while the link was down. */
export class GapEvent extends Event {
  constructor(readonly dropped: number) {
    super("gap");
  }
}

/**
 * There is a reason to think that the link is dead, such as a network that went: the gateway is asked. Told again with
 * false once it has answered; a new state settles it as well.
 */
export class DoubtEvent extends Event {
  constructor(readonly doubted: boolean) {
    super("doubt");
  }
}

/** What was chosen for an `http(s)://` address, and why each one before it was not. */
export interface Negotiated {
  readonly transport: TransportName;
  readonly refused: Readonly<Partial<Record<TransportName, string>>>;
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
  negotiated: NegotiatedEvent;
}

/** A target of these events, whose listeners are given their types. */
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

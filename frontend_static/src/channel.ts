/**
 * Exactly-once delivery over successive links: a client's counters and its buffer of unacknowledged frames.
 *
 * Pure (docs/reference/binding.md section 6). Positions are implicit: the n-th data frame of a direction has position n;
 * the frame itself does not carry it. Invariants:
 *
 * 1. `base` ≤ what the peer has acknowledged ≤ `sent`; the buffer holds the frames of positions `base + 1` … `sent`.
 * 2. A frame leaves the buffer only when the peer has acknowledged it.
 * 3. `received` counts data frames after they were processed, so that what is acknowledged was processed.
 *
 * Mirrors `mcp_ws_ide/core/channel.py`, without gaps toward the peer: a client never drops what it has accepted.
 */

import { encodeControl, type Window } from "./binding.js";

/** Unacknowledged data frames after which a side acknowledges at once. */
const ACK_FRAMES = 8;
/** Unacknowledged data frames after which an acknowledgement is sent along with outgoing data. */
export const ACK_WITH_DATA = 7;
/** A side also acknowledges at once after this fraction (1/n) of the window's bytes. */
const ACK_SHARE = 8;

const encoder = new TextEncoder();

/** Bytes of a text in UTF-8. */
export function byteLength(text: string): number {
  return encoder.encode(text).byteLength;
}

/** The peer named an impossible position: it acknowledged what was never sent, or requested what it had acknowledged. */
export class PositionError extends Error {
  override readonly name = "PositionError";
}

interface Kept {
  readonly data: string;
  readonly bytes: number;
}

export class ReliableChannel {
  /** Frames of this side that the peer has acknowledged. */
  base = 0;
  /** Data frames of this side, in total. */
  sent = 0;
  /** Data frames received from the peer, in total. */
  received = 0;
  /** The count acknowledged to the peer last. */
  acked = 0;
  unackedBytes = 0;
  #receivedBytes = 0;
  #kept: Kept[] = [];
  #window: Window;

  /** @param window how much unacknowledged data this side keeps. */
  constructor(window: Window) {
    this.#window = window;
  }

  /**
   * A channel that continues where another one of the same session stopped.
   *
   * @param kept its unacknowledged frames, the oldest first.
   */
  static continued(window: Window, base: number, received: number, kept: readonly string[]): ReliableChannel {
    const channel = new ReliableChannel(window);
    channel.base = channel.sent = base;
    channel.received = received;
    for (const data of kept) channel.push(data);
    return channel;
  }

  /** The frames that the peer has not acknowledged, oldest first. */
  get kept(): string[] {
    return Array.from(this.#kept, ({ data }) => data);
  }

  get window(): Window {
    return this.#window;
  }

  /** The window; it also determines after how many bytes an acknowledgement is due. */
  set window(window: Window) {
    this.#window = window;
  }

  /** Frames of this side that the peer has not acknowledged. */
  get unacked(): number {
    return this.sent - this.base;
  }

  /** Whether the window is full. */
  get full(): boolean {
    return this.#kept.length >= this.#window.frames || this.unackedBytes >= this.#window.bytes;
  }

  /** Add the next data frame to the buffer. The caller checks that there is space. */
  push(data: string): void {
    const bytes = byteLength(data);
    this.#kept.push({ data, bytes });
    this.unackedBytes += bytes;
    this.sent += 1;
  }

  /**
   * The peer has processed `recv` frames: drop them. A count lower than an earlier one is stale, not an error.
   *
   * @throws PositionError the count exceeds the frames sent.
   */
  acknowledge(recv: number): void {
    if (recv > this.sent) throw new PositionError(`the peer acknowledged ${recv} frames, but only ${this.sent} were sent`);
    const done = recv - this.base;
    if (done <= 0) return;
    for (const { bytes } of this.#kept.splice(0, done)) this.unackedBytes -= bytes;
    this.base = recv;
  }

  /**
   * The frames that the peer has not received, to be sent on a new link.
   *
   * @throws PositionError the peer received more than was sent, or less than it acknowledged.
   */
  replayAfter(recv: number): string[] {
    if (recv < this.base) throw new PositionError(`frames after ${recv} cannot be replayed: ${this.base} were acknowledged and are no longer kept`);
    this.acknowledge(recv);
    return this.#kept.map(({ data }) => data);
  }

  /**
   * Count a data frame of `bytes` bytes that was processed, or a gap of `weight` frames.
   *
   * @returns whether it should be acknowledged now rather than within a second.
   */
  accept(bytes: number, weight = 1): boolean {
    this.received += weight;
    this.#receivedBytes += bytes;
    return this.received - this.acked >= ACK_FRAMES || this.#receivedBytes * ACK_SHARE >= this.#window.bytes;
  }

  /** Whether a received frame is not acknowledged yet. */
  get owesAck(): boolean {
    return this.received > this.acked;
  }

  /** Whether an acknowledgement is due along with data that is sent now. */
  get owesAckWithData(): boolean {
    return this.received - this.acked >= ACK_WITH_DATA;
  }

  /** The acknowledgement to send now. */
  takeAck(): string {
    this.acked = this.received;
    this.#receivedBytes = 0;
    return encodeControl({ "mcp.ws": "ack", recv: this.received });
  }
}

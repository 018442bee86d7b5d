/**
 * What a session sends: messages through the window, those that wait for space in it, and acknowledgements.
 *
 * {@link ClientEnd} counts and keeps the messages; this module decides when each goes to the link.
 */

import { isObject, LIMIT_EXCEEDED } from "./binding.js";
import { byteLength } from "./channel.js";
import { MessageTooLarge } from "./errors.js";
import type { Link } from "./link.js";
import type { ClientEnd } from "./resume.js";

/** Milliseconds that received messages stay unacknowledged, at most. */
const ACK_INTERVAL = 1_000;

/** A message that waits for space in the window. */
interface Parked {
  readonly text: string;
  readonly message: unknown;
  readonly sent: () => void;
  readonly failed: (error: Error) => void;
}

export class Outbox {
  readonly #end: () => ClientEnd;
  #link: Link | undefined;
  #parked: Parked[] = [];
  #ackTimer: ReturnType<typeof setTimeout> | undefined;

  /** @param end returns the session's current end; a started-over transport has a new one. */
  constructor(end: () => ClientEnd) {
    this.#end = end;
  }

  /** How many messages wait for space in the window. */
  get waiting(): number {
    return this.#parked.length;
  }

  /** Send on this link from now on. */
  attach(link: Link): void {
    this.#link = link;
  }

  /** The link was lost: messages are kept for the next one. */
  detach(): void {
    this.#link = undefined;
    clearTimeout(this.#ackTimer);
    this.#ackTimer = undefined;
  }

  /**
   * Send a message now, or as soon as there is a link. Waits while the window is full.
   *
   * @throws MessageTooLarge the gateway would end the session over it. An oversized response is replaced by an error.
   */
  send(message: unknown): Promise<void> {
    const text = JSON.stringify(message);
    const { maxMessageBytes: limit, channel } = this.#end();
    const size = text.length > limit / 3 ? byteLength(text) : 0; // only counted where it may exceed the limit
    if (size > limit) return this.#refuse(message, size, limit);
    if (this.#parked.length > 0 || channel.full) {
      return new Promise((sent, failed) => this.#parked.push({ text, message, sent, failed }));
    }
    this.#write(text, message);
    return Promise.resolve();
  }

  #refuse(message: unknown, size: number, limit: number): Promise<void> {
    const reason = `the message has ${size} bytes; the gateway accepts at most ${limit} (max_message_bytes)`;
    if (!isObject(message) || "method" in message || "error" in message) return Promise.reject(new MessageTooLarge(reason));
    const data = { limit: "max_message_bytes", outcome: "not_sent" };
    return this.send({ jsonrpc: "2.0", id: message["id"], error: { code: LIMIT_EXCEEDED, message: reason, data } });
  }

  #write(text: string, message: unknown): void {
    const end = this.#end();
    const link = this.#link;
    if (!end.send(text, message) || link === undefined) return;
    if (end.channel.owesAckWithData && !end.plain) link.send(end.channel.takeAck());
    link.send(text);
  }

  /** The window may have space: send messages that wait for it. */
  makeRoom(): void {
    while (this.#parked.length > 0 && !this.#end().channel.full) {
      const { text, message, sent } = this.#parked.shift() as Parked;
      this.#write(text, message);
      sent();
    }
  }

  /** Hand over the waiting messages beyond the window, for a session that ends: they are answered, or part of its snapshot. */
  handOver(): void {
    for (const { text, message, sent } of this.#parked.splice(0)) {
      this.#end().send(text, message);
      sent();
    }
  }

  /** Fail the waiting messages. */
  fail(error: Error): void {
    for (const { failed } of this.#parked.splice(0)) failed(error);
  }

  /** Acknowledge received messages within {@link ACK_INTERVAL}, unless something else does. */
  scheduleAck(): void {
    const end = this.#end();
    if (this.#ackTimer !== undefined || end.plain || !end.channel.owesAck) return;
    this.#ackTimer = setTimeout(() => {
      this.#ackTimer = undefined;
      if (end.live && end.channel.owesAck) this.#link?.send(end.channel.takeAck());
    }, ACK_INTERVAL);
  }
}

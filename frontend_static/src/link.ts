/** What a link is to a session: text frames both ways, until it ends. */

import type { ConnectError } from "./errors.js";

/** How a link ended. */
export interface LinkEnd {
  /** RFC 6455 section 7.4; 1006 where the connection broke. */
  readonly code: number;
  readonly reason: string;
  /** What refused the first frame, where that is known. */
  readonly error?: ConnectError;
}

/** Who is told of a link's frames, in order, and of its end, once and last. */
export interface LinkListener {
  frame(text: string): void;
  ended(end: LinkEnd): void;
}

/** One connection to a gateway. What arrives before somebody listens is kept. */
export abstract class Link {
  /** Whether `mcp.resume.v1` was agreed upon. */
  abstract readonly resumes: boolean;
  /** Whether it finds out by itself that the other end does not answer any more. */
  abstract readonly noticesSilence: boolean;
  #listener: LinkListener | undefined;
  #early: string[] = [];
  #end: LinkEnd | undefined;

  /** Send one frame. Never throws: a link that cannot send ends. */
  abstract send(frame: string): void;

  /** End it; code 1000 ends the session as well. */
  abstract close(code: number, reason: string): void;

  /** From now on `listener` is told, and nobody else; undefined: nobody is. */
  listen(listener: LinkListener | undefined): void {
    this.#listener = listener;
    // The listener may hand over to another one at any frame.
    while (this.#listener !== undefined && this.#early.length > 0) this.#listener.frame(this.#early.shift() as string);
    if (this.#end !== undefined) this.#tellEnd(this.#end);
  }

  /** A frame arrived. */
  protected deliver(text: string): void {
    if (this.#end !== undefined) return;
    if (this.#listener === undefined) this.#early.push(text);
    else this.#listener.frame(text);
  }

  /** It is over; what comes afterwards does not count. */
  protected finish(end: LinkEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#tellEnd(end);
  }

  #tellEnd(end: LinkEnd): void {
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.ended(end);
  }
}

/** What kind of link is wanted. */
export interface Wish {
  /** Whether to prefer one that resumes. */
  readonly resume: boolean;
  /** Whether nothing else will do, since a session is to be resumed. */
  readonly nothingElse: boolean;
  /** Aborted when nobody waits for the link any more; its reason is an error. */
  readonly signal: AbortSignal;
}

/** Makes links to one endpoint. */
export interface Opener {
  /** The address for messages. */
  readonly where: string;
  /** Milliseconds for a connection and its handshake. */
  readonly openTimeout: number;
  /** @throws ConnectError there is no link, with the reason. */
  open(wish: Wish): Promise<Link>;
}

/** A link's end in words. */
export function wordsOfEnd(end: LinkEnd): string {
  return `${end.code} ${end.reason}`.trim();
}

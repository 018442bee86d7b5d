/** A link as a session sees it: text frames in both directions, until it ends. */

import { CloseCode } from "./binding.js";
import type { ConnectError } from "./errors.js";

/** How a link ended. */
export interface LinkEnd {
  /** Close code (RFC 6455 section 7.4); 1006 where the connection broke. */
  readonly code: number;
  readonly reason: string;
  /** Why the first frame was refused, where that is known. */
  readonly error?: ConnectError;
}

/** Receives a link's frames in order, and last its end, once. */
export interface LinkListener {
  frame(text: string): void;
  ended(end: LinkEnd): void;
}

/** One connection to a gateway. Frames that arrive before there is a listener are kept for it. */
export abstract class Link {
  /** Whether `mcp.resume.v1` was negotiated. */
  abstract readonly resumes: boolean;
  /** Whether it notices by itself that the other side no longer answers. */
  abstract readonly noticesSilence: boolean;
  #listener: LinkListener | undefined;
  #early: string[] = [];
  #end: LinkEnd | undefined;

  /** Send one frame. Never throws: a link that cannot send ends. */
  abstract send(frame: string): void;

  /** Close the link; code 1000 ends the session as well. */
  abstract close(code: number, reason: string): void;

  /** Replace the listener; undefined: frames are kept until there is one. */
  listen(listener: LinkListener | undefined): void {
    this.#listener = listener;
    // A listener may install another one at any frame.
    while (this.#listener !== undefined && this.#early.length > 0) this.#listener.frame(this.#early.shift() as string);
    if (this.#end !== undefined) this.#tellEnd(this.#end);
  }

  /** For subclasses: a frame arrived. */
  protected deliver(text: string): void {
    if (this.#end !== undefined) return;
    if (this.#listener === undefined) this.#early.push(text);
    else this.#listener.frame(text);
  }

  /** For subclasses: the link has ended; later frames are ignored. */
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

/** The kind of link that is wanted. */
export interface Wish {
  /** Whether to prefer one that resumes. */
  readonly resume: boolean;
  /** Whether only such a link will do, since a session is to be resumed. */
  readonly nothingElse: boolean;
  /** Aborted when the link is no longer wanted; its reason is an error. */
  readonly signal: AbortSignal;
}

/** Makes links to one endpoint. */
export interface Opener {
  /** The endpoint's address, for error messages. */
  readonly where: string;
  /** Milliseconds for a connection and its handshake. */
  readonly openTimeout: number;
  /** @throws ConnectError the link could not be made. */
  open(wish: Wish): Promise<Link>;
}

/** A link's end as text: code and reason. */
export function describeEnd(end: LinkEnd): string {
  return `${end.code} ${end.reason}`.trim();
}

/** Close a link with 1000 and wait for its end, at most `timeout` milliseconds; frames that arrive meanwhile are dropped. */
export function closeAndWait(link: Link, timeout: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, timeout);
    link.listen({
      frame: () => undefined,
      ended: () => {
        clearTimeout(timer);
        resolve();
      },
    });
    link.close(CloseCode.NORMAL, "");
  });
}

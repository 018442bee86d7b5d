/** Opening WebSockets, with an explanation for every way in which that fails. */

import { CloseCode, isObject, parseJson, SUBPROTOCOL_MCP, SUBPROTOCOL_RESUME } from "./binding.js";
import { isOurs, type Endpoint } from "./endpoint.js";
import { ConnectError, messageOf } from "./errors.js";
import { Link, type Opener, type Wish } from "./link.js";
import { textOf } from "./reader.js";

/** What is needed of a WebSocket: the standard class and that of the package `ws` both have it. */
export interface WebSocketLike {
  binaryType: string;
  readonly protocol: string;
  send(data: string): void;
  close(code?: number, reason?: string): void;
  // Methods, so that the event types of every implementation fit.
  addEventListener(type: "open", listener: () => void): void;
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: "error", listener: (event: unknown) => void): void;
  addEventListener(type: "close", listener: (event: { readonly code: number; readonly reason: string }) => void): void;
}

export type WebSocketFactory = (url: string, protocols: string[]) => WebSocketLike;

/** Endpoints that refused the subprotocol `mcp.resume.v1`; remembered while the page lives. */
const refusedResume = new Set<string>();

export class WebSocketOpener implements Opener {
  readonly #endpoint: Endpoint;
  readonly #create: WebSocketFactory;

  /**
   * @param openTimeout milliseconds for a connection and its handshake.
   * @param create used in place of the global `WebSocket`.
   */
  constructor(
    endpoint: Endpoint,
    readonly openTimeout: number,
    create?: WebSocketFactory,
  ) {
    this.#endpoint = endpoint;
    this.#create = create ?? ((url, protocols) => new WebSocket(url, protocols));
  }

  get where(): string {
    return this.#endpoint.where;
  }

  async open(wish: Wish): Promise<Link> {
    const offers = this.#offers(wish);
    for (const [number, offered] of offers.entries()) {
      try {
        const link = await this.#open(offered, wish.signal);
        if (number > 0 && offers[0]?.includes(SUBPROTOCOL_RESUME)) refusedResume.add(this.#endpoint.key);
        return link;
      } catch (error) {
        if (!(error instanceof HandshakeFailed)) throw error;
        const reason = await this.#reasonFor(error, wish.signal);
        if (reason !== undefined) throw reason;
      }
    }
    throw new ConnectError(`${this.where} does not answer as a WebSocket server`);
  }

  #offers({ resume, nothingElse }: Wish): string[][] {
    if (nothingElse) return [[SUBPROTOCOL_RESUME]];
    const plain = [[SUBPROTOCOL_MCP], []];
    if (!resume || refusedResume.has(this.#endpoint.key)) return plain;
    return [[SUBPROTOCOL_RESUME, SUBPROTOCOL_MCP], ...plain];
  }

  async #open(offered: readonly string[], signal: AbortSignal): Promise<Link> {
    const { url, protocols } = await this.#endpoint.socket();
    signal.throwIfAborted();
    let socket: WebSocketLike;
    try {
      socket = this.#create(url.href, [...offered, ...protocols]);
    } catch (error) {
      throw new ConnectError(`${this.where} cannot be opened by this page: ${messageOf(error)}`);
    }
    return this.#opened(socket, signal);
  }

  #opened(socket: WebSocketLike, signal: AbortSignal): Promise<Link> {
    return new Promise((resolve, reject) => {
      let settled = false;
      const timer = setTimeout(() => {
        fail(new ConnectError(`${this.where} did not answer within ${this.openTimeout / 1000} s`));
      }, this.openTimeout);
      const aborted = (): void => fail(signal.reason);
      const settle = (): void => {
        settled = true;
        clearTimeout(timer);
        signal.removeEventListener("abort", aborted);
      };
      const fail = (error: unknown): void => {
        if (settled) return; // closing a socket that never opened dispatches another error
        settle();
        reject(error);
        socket.close();
      };
      signal.addEventListener("abort", aborted);
      const link = new WebSocketLink(socket);
      socket.addEventListener("open", () => {
        settle();
        resolve(link);
      });
      // Either event ends the attempt: Node 22 dispatches an error and no close.
      socket.addEventListener("error", (event) => fail(new HandshakeFailed(detailOf(event))));
      socket.addEventListener("close", ({ reason }) => fail(new HandshakeFailed(reason)));
    });
  }

  /**
   * Why a handshake failed. Browsers do not say, so the same endpoint is requested over HTTP.
   *
   * @returns undefined where the subprotocols may be the reason: a server other than this gateway may require others.
   */
  async #reasonFor(failure: HandshakeFailed, signal: AbortSignal): Promise<ConnectError | undefined> {
    const within = AbortSignal.any([signal, AbortSignal.timeout(this.openTimeout)]);
    try {
      const headers = { ...(await this.#endpoint.headers()), Accept: "application/json" };
      const response = await this.#endpoint.reach(() => this.#endpoint.probe({ headers, signal: within }));
      const body = await this.#endpoint.reach(() => response.text());
      if (isProbed(body)) return new ConnectError(`${this.where}: ${BLOCKED}${failure.details}`).because("websocket_blocked");
      return isOurs(body) ? this.#endpoint.refusal(response.status, body, response.statusText) : undefined;
    } catch (error) {
      return error as ConnectError;
    }
  }
}

const BLOCKED = "the gateway answers, but the WebSocket handshake failed; something on the network path may block WebSocket";

/** Whether an answer is the probe's of this gateway, which admitted the request. */
function isProbed(body: string): boolean {
  const answer = parseJson(body);
  return isObject(answer) && Array.isArray(answer["transports"]);
}

/** The WebSocket did not open. */
class HandshakeFailed extends Error {
  get details(): string {
    return this.message ? ` (${this.message})` : "";
  }
}

/** The error's detail: Node gives one, browsers none. */
function detailOf(event: unknown): string {
  const { message, error } = event as { message?: unknown; error?: unknown };
  if (error instanceof Error) return messageOf(error);
  return typeof message === "string" ? message : "";
}

/** One WebSocket. */
class WebSocketLink extends Link {
  readonly noticesSilence = false;
  readonly #socket: WebSocketLike;

  constructor(socket: WebSocketLike) {
    super();
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => this.#message(data));
    socket.addEventListener("close", ({ code, reason }) => this.finish({ code, reason }));
  }

  get resumes(): boolean {
    return this.#socket.protocol === SUBPROTOCOL_RESUME;
  }

  send(frame: string): void {
    this.#socket.send(frame); // silently dropped while the socket is closing; the close event follows
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, fitting(reason));
  }

  #message(data: unknown): void {
    if (typeof data === "string") return this.deliver(data);
    // A server that is no gateway may send its messages so.
    if (!this.resumes && (data instanceof ArrayBuffer || ArrayBuffer.isView(data))) return this.deliver(textOf(data));
    this.close(CloseCode.DROPPED, "binary message");
    this.finish({ code: CloseCode.UNSUPPORTED_DATA, reason: "the peer sent a binary message" });
  }
}

/** Shorten a reason to the 123 bytes of a close frame (RFC 6455 section 5.5), whatever the characters. */
function fitting(reason: string): string {
  return reason.slice(0, 40);
}

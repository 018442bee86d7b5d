/**
 * From an `http(s)://` address to a transport that works on this network (docs/binding.md section 12).
 *
 * Chosen once, before anything is sent, and kept: a session never changes its transport, and no request is under way
 * when one is chosen.
 */

import { Endpoint, isOurs, NO_PROBE } from "./endpoint.js";
import { ConnectError, SessionGone, Unauthorized, UnknownServer, wordsOf } from "./errors.js";
import type { SessionSnapshot } from "./resume.js";
import type { SessionTransport } from "./session.js";
import {
  DoubtEvent,
  GapEvent,
  NegotiatedEvent,
  StateEvent,
  type Negotiated,
  TransportEventTarget,
  type TransportName,
  type TransportState,
} from "./states.js";
import { PollClientTransport, WebSocketClientTransport, type WebSocketTransportOptions } from "./transport.js";

/** What can be negotiated, in the order in which it is tried unless told otherwise. */
export const TRANSPORTS: readonly TransportName[] = ["http", "websocket", "poll"];
/** Milliseconds in which the first event of an event stream must arrive. */
const FIRST_EVENT = 3_000;
/** Milliseconds for each attempt, unless told otherwise. */
const NEGOTIATING_TIMEOUT = 10_000;

/** What this module needs of a transport of either SDK. */
export interface AnyTransport {
  start(): Promise<void>;
  send(message: any, options?: any): Promise<void>;
  close(): Promise<void>;
  onmessage?: ((message: any, extra?: any) => void) | undefined;
  onclose?: (() => void) | undefined;
  onerror?: ((error: Error) => void) | undefined;
  sessionId?: string | undefined;
  readonly hasPerRequestStream?: boolean;
  setProtocolVersion?: ((version: string) => void) | undefined;
  setSupportedProtocolVersions?: ((versions: string[]) => void) | undefined;
}

/** `StreamableHTTPClientTransport` of either SDK. */
export type StreamableHttp = new (url: URL, options: { fetch: (url: any, init?: any) => Promise<Response> }) => AnyTransport;

/** A session, and the transport that carried it. */
export type NegotiatedSnapshot = SessionSnapshot & { readonly transport: TransportName };

export interface NegotiatingOptions extends Omit<WebSocketTransportOptions, "resume"> {
  /** Go on with a session that another page left with `suspend()`, on the transport that carried it. */
  readonly resume?: NegotiatedSnapshot | undefined;
  /** Which transports to try, in this order. Only `websocket` and `poll` resume. */
  readonly transports?: readonly TransportName[] | undefined;
  /** `StreamableHTTPClientTransport` of the SDK in use; without it `http` cannot be chosen. */
  readonly streamableHttp?: StreamableHttp | undefined;
  /** Told what was chosen; the same as the event `negotiated`. */
  readonly onNegotiated?: ((negotiated: Negotiated) => void) | undefined;
}

export class NegotiatingTransport extends TransportEventTarget {
  onmessage?: ((message: any, extra?: any) => void) | undefined;
  onclose?: (() => void) | undefined;
  onerror?: ((error: Error) => void) | undefined;
  /** What was chosen, and why not the others. */
  negotiated: Negotiated | undefined;
  readonly #endpoint: Endpoint;
  readonly #options: NegotiatingOptions;
  readonly #transports: readonly TransportName[];
  #active: AnyTransport | undefined;
  /** The one that is being tried, or in use. */
  #candidate: AnyTransport | undefined;
  #closed = false;
  #starting = false;
  #supported: string[] | undefined;

  /**
   * @param url `http://` or `https://` address of an MCP endpoint; in a page it may be relative.
   * @throws ConnectError it is no such address, or the transports are none.
   */
  constructor(url: string | URL, options: NegotiatingOptions = {}) {
    super();
    this.#options = { openTimeout: NEGOTIATING_TIMEOUT, ...options };
    this.#endpoint = new Endpoint(url, options);
    if (options.resume && !TRANSPORTS.includes(options.resume.transport)) {
      throw new ConnectError("what was given as resume names no transport: only suspend() of this class returns what it can resume");
    }
    this.#transports = options.resume ? [options.resume.transport] : (options.transports ?? TRANSPORTS);
    const unknown = this.#transports.filter((name) => !TRANSPORTS.includes(name));
    if (unknown.length > 0 || this.#transports.length === 0) {
      throw new ConnectError(`unknown transports [${unknown}]; name some of ${TRANSPORTS.join(", ")}`);
    }
  }

  /** The transport in use, where it is one that resumes. */
  get active(): SessionTransport | undefined {
    return this.negotiated?.transport === "http" ? undefined : (this.#active as SessionTransport | undefined);
  }

  /** The newest state of {@link active}. */
  get state(): TransportState | undefined {
    return this.active?.state;
  }

  get sessionId(): string | undefined {
    return this.#active?.sessionId;
  }

  /** Whether closing a request's stream cancels it, as with HTTP of 2026-07-28; the SDK 2.x asks. */
  get hasPerRequestStream(): boolean {
    return this.#active?.hasPerRequestStream ?? false;
  }

  setProtocolVersion(version: string): void {
    this.#active?.setProtocolVersion?.(version);
  }

  setSupportedProtocolVersions(versions: string[]): void {
    this.#supported = versions;
  }

  /**
   * Try one transport after the other.
   *
   * @throws ConnectError with the reason of each, or the one of all; Unauthorized or UnknownServer where that is what all say.
   */
  async start(): Promise<void> {
    if (this.#starting) throw new Error("this transport is started already; Client.connect() starts it by itself");
    this.#starting = true;
    const refused = new Map<TransportName, ConnectError>();
    for (const name of this.#transports) {
      try {
        await this.#try(name);
      } catch (error) {
        if (this.#closed) throw error;
        refused.set(name, error instanceof ConnectError ? error : new ConnectError(wordsOf(error)));
        if (name === "http" && refused.get(name)?.final) break; // nobody stands between us and whoever says so
        continue;
      }
      return this.#chosen(name, refused);
    }
    this.#starting = false;
    throw nothingWorks(refused);
  }

  #chosen(transport: TransportName, refused: ReadonlyMap<TransportName, ConnectError>): void {
    const reasons = Object.fromEntries([...refused].map(([name, error]) => [name, error.message]));
    this.negotiated = { transport, refused: reasons };
    this.#options.onNegotiated?.(this.negotiated);
    this.dispatchEvent(new NegotiatedEvent(this.negotiated));
  }

  async #try(name: TransportName): Promise<void> {
    const candidate = name === "http" ? await this.#http() : this.#resumable(name);
    candidate.onmessage = (message, extra) => this.onmessage?.(message, extra);
    candidate.onerror = (error) => this.onerror?.(error);
    candidate.onclose = () => this.onclose?.();
    this.#candidate = candidate;
    if (this.#closed) throw new ConnectError("the transport was closed");
    if (this.#supported !== undefined) candidate.setSupportedProtocolVersions?.(this.#supported);
    await candidate.start();
    this.#active = candidate;
  }

  #resumable(name: TransportName): AnyTransport {
    const url = this.#endpoint.httpUrl();
    const onState = (state: TransportState): void => {
      if (state.kind === "closed" && this.#active === undefined) return; // refused: another one is tried
      this.#options.onState?.(state);
      this.dispatchEvent(new StateEvent(state));
    };
    const options = { ...this.#options, onState };
    if (name === "websocket") return this.#tellsOn(new WebSocketClientTransport(url, options));
    if (this.#options.ticket !== undefined && this.#options.token === undefined && this.#options.ticket !== true) {
      throw new ConnectError("a ticket opens one request, and poll needs many: pass a token, or use the page's cookie");
    }
    return this.#tellsOn(new PollClientTransport(url, options));
  }

  /** Whoever listens to this transport hears the chosen one. */
  #tellsOn(transport: SessionTransport): SessionTransport {
    transport.addEventListener("gap", ({ dropped }) => this.dispatchEvent(new GapEvent(dropped)));
    transport.addEventListener("doubt", ({ doubted }) => this.dispatchEvent(new DoubtEvent(doubted)));
    return transport;
  }

  async #http(): Promise<AnyTransport> {
    const { streamableHttp: StreamableHttp } = this.#options;
    if (StreamableHttp === undefined) {
      throw new ConnectError("no Streamable HTTP was given: pass the SDK's StreamableHTTPClientTransport as streamableHttp");
    }
    await this.#probe();
    const endpoint = this.#endpoint;
    const fetch = async (url: URL | string, init: RequestInit = {}): Promise<Response> => {
      const headers = new Headers(init.headers);
      for (const [name, value] of Object.entries(await endpoint.headers())) headers.set(name, value);
      return endpoint.fetch(new URL(url), { ...init, headers });
    };
    return new StreamableHttp(endpoint.httpUrl(), { fetch });
  }

  /**
   * Whether an event reaches us at once. A server that knows no probe is believed to serve HTTP.
   *
   * @throws ConnectError it does not, or the gateway refused us.
   */
  async #probe(): Promise<void> {
    const headers = { ...(await this.#endpoint.headers()), Accept: "text/event-stream" };
    const patience = AbortSignal.timeout(FIRST_EVENT);
    const done = new AbortController();
    const init = { headers, signal: AbortSignal.any([patience, done.signal]) };
    try {
      await this.#endpoint.reach(() => this.#firstEvent(init));
    } catch (error) {
      if (!patience.aborted) throw error;
      const seconds = FIRST_EVENT / 1000;
      throw new ConnectError(`no event of a stream arrived within ${seconds} s: something on the way buffers it`);
    } finally {
      done.abort();
    }
  }

  async #firstEvent(init: RequestInit): Promise<void> {
    const response = await this.#endpoint.probe(init);
    if (response.status !== 200) return this.#refusedProbe(response.status, await response.text(), response.statusText);
    if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
      throw new ConnectError("something on the way answers in the gateway's place");
    }
    const event = await response.body?.getReader().read();
    if (event?.done ?? true) throw new ConnectError("the stream ended without an event: something on the way cuts it");
  }

  #refusedProbe(status: number, body: string, phrase: string): void {
    if (isOurs(body)) throw this.#endpoint.refusal(status, body, phrase);
    if (NO_PROBE.has(status)) return; // those are a server's without a probe
    throw new ConnectError(`${this.#endpoint.where} answered ${status}: ${phrase || "no reason was given"}`);
  }

  /** As `suspend()` of the transport in use; undefined where that does not resume. */
  suspend(): NegotiatedSnapshot | undefined {
    const snapshot = this.active?.suspend();
    if (snapshot === undefined || this.negotiated === undefined) return undefined;
    return { ...snapshot, transport: this.negotiated.transport };
  }

  /** @throws Error nothing was chosen yet, or the chosen transport is closed. */
  send(message: unknown, options?: unknown): Promise<void> {
    if (this.#active === undefined) return Promise.reject(new Error("the transport is not started"));
    return this.#active.send(message, options);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#candidate?.close();
  }
}

function nothingWorks(refused: ReadonlyMap<TransportName, ConnectError>): ConnectError {
  const errors = [...refused.values()];
  const said = [...refused].map(([name, error]) => `${name}: ${error.message}`);
  const alike = new Set(errors.map((error) => error.message)).size === 1;
  const words = alike ? (errors[0] as ConnectError).message : said.join("; ");
  if (errors.every((error) => error instanceof Unauthorized)) return new Unauthorized(words);
  if (errors.every((error) => error instanceof UnknownServer)) return new UnknownServer(words);
  if (errors.every((error) => error instanceof SessionGone)) return new SessionGone(words);
  return new ConnectError(words);
}

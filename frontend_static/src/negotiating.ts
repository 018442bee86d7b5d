/**
 * From an `http(s)://` address to a transport that works on this network (docs/reference/binding.md section 12).
 *
 * The choice is made once, before anything is sent: a session never changes its transport, and no request is open when one
 * is chosen.
 */

import { ADDRESS_CURE, Endpoint, isOurs, NO_PROBE } from "./endpoint.js";
import { ConnectError, SessionGone, Unauthorized, UnknownServer, messageOf } from "./errors.js";
import { ofStatus } from "./intermediaries.js";
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
  UnauthorizedEvent,
} from "./states.js";
import { PollClientTransport, WebSocketClientTransport, type WebSocketTransportOptions } from "./transport.js";

/** The transports, in the default order of trying them. */
export const TRANSPORTS: readonly TransportName[] = ["http", "websocket", "poll"];
/** Milliseconds within which the first event of an event stream must arrive. */
const FIRST_EVENT = 3_000;
/** Milliseconds for each attempt; the default. */
const NEGOTIATING_TIMEOUT = 10_000;

/** What this module needs of a transport of either SDK major. */
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

/** `StreamableHTTPClientTransport` of either SDK major. */
export type StreamableHttp = new (url: URL, options: { fetch: (url: any, init?: any) => Promise<Response> }) => AnyTransport;

/** A suspended session, and the transport that carried it. */
export type NegotiatedSnapshot = SessionSnapshot & { readonly transport: TransportName };

export interface NegotiatingOptions extends Omit<WebSocketTransportOptions, "resume"> {
  /** Resume a session that another page left with `suspend()`, on the transport that carried it. */
  readonly resume?: NegotiatedSnapshot | undefined;
  /** Which transports to try, in this order. Only `websocket` and `poll` resume. */
  readonly transports?: readonly TransportName[] | undefined;
  /** `StreamableHTTPClientTransport` of the SDK in use; required for `http`. */
  readonly streamableHttp?: StreamableHttp | undefined;
  /** Called with the choice; the same as the event `negotiated`. */
  readonly onNegotiated?: ((negotiated: Negotiated) => void) | undefined;
}

/** An MCP transport that tries several kinds of link and uses the first that works. */
export class NegotiatingTransport extends TransportEventTarget {
  onmessage?: ((message: any, extra?: any) => void) | undefined;
  onclose?: (() => void) | undefined;
  onerror?: ((error: Error) => void) | undefined;
  /** The chosen transport, and why those before it did not work; undefined until then. */
  negotiated: Negotiated | undefined;
  readonly #endpoint: Endpoint;
  readonly #options: NegotiatingOptions;
  readonly #transports: readonly TransportName[];
  #active: AnyTransport | undefined;
  /** The transport being tried or in use. */
  #candidate: AnyTransport | undefined;
  #closed = false;
  #starting = false;
  #supported: string[] | undefined;

  /**
   * @param url `http://` or `https://` address of an MCP endpoint; in a page it may be relative.
   * @throws ConnectError the address or the list of transports is not valid.
   */
  constructor(url: string | URL, options: NegotiatingOptions = {}) {
    super();
    this.#options = { openTimeout: NEGOTIATING_TIMEOUT, ...options };
    this.#endpoint = new Endpoint(url, options);
    if (options.resume && !TRANSPORTS.includes(options.resume.transport)) {
      throw new ConnectError("the option resume names no transport; pass a snapshot from suspend() of this class");
    }
    this.#transports = options.resume ? [options.resume.transport] : (options.transports ?? TRANSPORTS);
    const unknown = this.#transports.filter((name) => !TRANSPORTS.includes(name));
    if (unknown.length > 0 || this.#transports.length === 0) {
      throw new ConnectError(`unknown transports [${unknown}]; known transports: ${TRANSPORTS.join(", ")}`);
    }
  }

  /** The transport in use, if it is one that resumes. */
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

  /** Whether closing a request's stream cancels the request (HTTP of 2026-07-28); the SDK 2.x reads this. */
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
   * @throws ConnectError all failed, with the reason of each; Unauthorized, UnknownServer or SessionGone where all failed so.
   */
  async start(): Promise<void> {
    if (this.#starting) throw new Error("the transport is already started; Client.connect() starts it, so do not call start()");
    this.#starting = true;
    const refused = new Map<TransportName, ConnectError>();
    for (const name of this.#transports) {
      try {
        await this.#try(name);
      } catch (error) {
        if (this.#closed) throw error;
        refused.set(name, error instanceof ConnectError ? error : new ConnectError(messageOf(error)));
        if (name === "http" && refused.get(name)?.final) break; // a final answer over plain HTTP comes from the gateway itself
        continue;
      }
      return this.#chosen(name, refused);
    }
    this.#starting = false;
    throw noneWorks(refused);
  }

  #chosen(transport: TransportName, refused: ReadonlyMap<TransportName, ConnectError>): void {
    const reasons = Object.fromEntries([...refused].map(([name, error]) => [name, error.message]));
    const noticed = [...new Set([...refused.values()].map((error) => error.noticed).filter(Boolean))];
    this.negotiated = { transport, refused: reasons, noticed };
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
      if (state.kind === "closed" && this.#active === undefined) return; // failed: the next one is tried
      this.#options.onState?.(state);
      this.dispatchEvent(new StateEvent(state));
    };
    const options = { ...this.#options, onState };
    if (name === "websocket") return this.#forwarding(new WebSocketClientTransport(url, options));
    if (this.#options.ticket !== undefined && this.#options.token === undefined && this.#options.ticket !== true) {
      throw new ConnectError("a ticket is valid for one request, but poll needs many; pass a token, or use the page's cookie");
    }
    return this.#forwarding(new PollClientTransport(url, options));
  }

  /** Dispatch the chosen transport's events on this one. */
  #forwarding(transport: SessionTransport): SessionTransport {
    transport.addEventListener("gap", ({ dropped }) => this.dispatchEvent(new GapEvent(dropped)));
    transport.addEventListener("doubt", ({ doubted }) => this.dispatchEvent(new DoubtEvent(doubted)));
    transport.addEventListener("unauthorized", ({ error }) => this.dispatchEvent(new UnauthorizedEvent(error)));
    return transport;
  }

  async #http(): Promise<AnyTransport> {
    const { streamableHttp: StreamableHttp } = this.#options;
    if (StreamableHttp === undefined) {
      throw new ConnectError("the option streamableHttp is missing; pass the SDK's StreamableHTTPClientTransport");
    }
    const isGateway = await this.#probe();
    const endpoint = this.#endpoint;
    const fetch = async (url: URL | string, init: RequestInit = {}): Promise<Response> => {
      const headers = new Headers(init.headers);
      for (const [name, value] of Object.entries(await endpoint.headers())) headers.set(name, value);
      const response = await endpoint.fetch(new URL(url), { ...init, headers });
      const foreign = isGateway || init.method !== "POST" ? undefined : await endpoint.notMcp(response);
      if (foreign !== undefined) throw foreign; // the SDK would name the content type alone
      if (!isGateway && response.ok && init.method === "POST") {
        const { readableResponse } = await import("./foreign.js"); // clients of a gateway do not load it
        return readableResponse(response, init.body);
      }
      const { status } = response;
      if (status !== 401 && status !== 403 && (!isGateway || status < 400 || init.method !== "POST")) return response;
      const body = await response.clone().text(); // the gateway's own errors are of JSON-RPC
      if (status !== 401 && status !== 403 && (body.includes('"jsonrpc"') || ofStatus(status, body) === undefined)) return response;
      throw endpoint.refusal(status, body, response.statusText); // the SDK would give the status and the page's markup
    };
    return new StreamableHttp(endpoint.httpUrl(), { fetch });
  }

  /**
   * Check that events of a stream arrive without delay. A server without a probe is taken to serve HTTP.
   *
   * @returns whether there is a probe, as gateways have.
   * @throws ConnectError they do not, or the gateway refused the request.
   */
  async #probe(): Promise<boolean> {
    const headers = { ...(await this.#endpoint.headers()), Accept: "text/event-stream" };
    const timeout = AbortSignal.timeout(FIRST_EVENT);
    const done = new AbortController();
    const init = { headers, signal: AbortSignal.any([timeout, done.signal]) };
    try {
      return await this.#endpoint.reach(() => this.#firstEvent(init));
    } catch (error) {
      if (!timeout.aborted) throw error;
      const seconds = FIRST_EVENT / 1000;
      throw new ConnectError(`no event arrived within ${seconds} s: something on the network path buffers event streams`).because("buffered");
    } finally {
      done.abort();
    }
  }

  async #firstEvent(init: RequestInit): Promise<boolean> {
    const response = await this.#endpoint.probe(init);
    if (response.status !== 200) {
      this.#refusedProbe(response.status, await response.text(), response.statusText);
      return false;
    }
    if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
      if (response.headers.get("Content-Type")?.startsWith("application/json") && (await response.text()).includes('"jsonrpc"')) return false;
      throw (await this.#foreignPage(response)) ?? new ConnectError("something on the network path answers in place of the gateway");
    }
    const event = await response.body?.getReader().read();
    if (event?.done ?? true) throw new ConnectError("the stream ended without an event: something on the network path cuts event streams");
    return true;
  }

  /** The error for a web page at an address that cannot be a gateway's. */
  async #foreignPage(response: Response): Promise<ConnectError | undefined> {
    return this.#endpoint.isOfGateway ? undefined : this.#endpoint.notMcp(response);
  }

  #refusedProbe(status: number, body: string, phrase: string): void {
    if (isOurs(body)) throw this.#endpoint.refusal(status, body, phrase);
    if (ofStatus(status, body) === undefined && (NO_PROBE.has(status) || status < 300)) return; // a server without a probe
    if (ofStatus(status, body) !== undefined) throw this.#endpoint.refusal(status, body, phrase);
    throw new ConnectError(`${this.#endpoint.where} answered ${status}: ${phrase || "no reason was given"}`);
  }

  /** Suspend the transport in use; undefined where it does not resume. */
  suspend(): NegotiatedSnapshot | undefined {
    const snapshot = this.active?.suspend();
    if (snapshot === undefined || this.negotiated === undefined) return undefined;
    return { ...snapshot, transport: this.negotiated.transport };
  }

  /** @throws Error the transport is not started, or is closed. */
  send(message: unknown, options?: unknown): Promise<void> {
    if (this.#active === undefined) return Promise.reject(new Error("the transport is not started"));
    return this.#active.send(message, options);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#candidate?.close();
  }
}

function noneWorks(refused: ReadonlyMap<TransportName, ConnectError>): ConnectError {
  const errors = [...refused.values()];
  const reasons = [...refused].map(([name, error]) => `${name}: ${error.message}`);
  const alike = new Set(errors.map((error) => error.message)).size === 1;
  const joined = alike ? (errors[0] as ConnectError).message : reasons.join("; ");
  const reason = joined.includes(ADDRESS_CURE) ? `${joined.replaceAll(ADDRESS_CURE, "")}${ADDRESS_CURE}` : joined;
  if (errors.every((error) => error instanceof Unauthorized)) return new Unauthorized(reason);
  if (errors.every((error) => error instanceof UnknownServer)) return new UnknownServer(reason);
  if (errors.every((error) => error instanceof SessionGone)) return new SessionGone(reason);
  return new ConnectError(reason);
}

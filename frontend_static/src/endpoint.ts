/**
 * One MCP endpoint and the credential for it: addresses, subprotocols, headers (docs/binding.md section 3).
 *
 * Knows how a request is made, not what it is for.
 */

import { authSubprotocol, isObject, parseJson } from "./binding.js";
import { ConnectError, Unauthorized, UnknownServer, wordsOf } from "./errors.js";

/** A credential, or a function that gives a fresh one for each link. */
export type Token = string | (() => string | Promise<string>);

/** How a client presents itself. Without any of these a page of the same origin uses its cookie. */
export interface Credentials {
  /** A Jupyter or gateway token: sent as subprotocol with WebSocket, in the `Authorization` header otherwise. */
  readonly token?: Token | undefined;
  /**
   * One-time tickets in place of a subprotocol: `true` asks the gateway for one before each link, with the token or the
   * cookie; a function gives one. Only for WebSocket: a ticket opens one request.
   */
  readonly ticket?: true | (() => string | Promise<string>) | undefined;
  /** Further headers of every HTTP request; a page cannot set any for WebSocket. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** In place of the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined;
}

const PRINTABLE = /^[\x20-\x7e]*$/;

export class Endpoint {
  readonly #url: URL;
  readonly #credentials: Credentials;

  /**
   * @param url address of an MCP endpoint, `ws(s)://` or `http(s)://`; in a page it may be relative.
   * @throws ConnectError it is no such address.
   */
  constructor(url: string | URL, credentials: Credentials) {
    this.#url = parsed(url);
    this.#credentials = credentials;
  }

  /** The address for messages: a query may hold a token. */
  get where(): string {
    return `${this.#url.protocol}//${this.#url.host}${this.#url.pathname}`;
  }

  /** The address over HTTP, or that of something below it. */
  httpUrl(below = ""): URL {
    const url = withScheme(this.#url, "http");
    if (below) url.pathname = `${url.pathname.replace(/\/+$/, "")}/${below}`;
    return url;
  }

  /** What identifies the endpoint, without any credential of this client's. */
  get key(): string {
    return this.#url.href;
  }

  /**
   * The address and the credential among the subprotocols of a new WebSocket.
   *
   * @throws ConnectError the credential cannot be had.
   */
  async socket(): Promise<{ url: URL; protocols: string[] }> {
    const url = withScheme(this.#url, "ws");
    if (this.#credentials.ticket !== undefined) {
      url.searchParams.set("ticket", await this.#ticket());
      return { url, protocols: [] };
    }
    const token = await this.#token();
    return { url, protocols: token ? [authSubprotocol(token)] : [] };
  }

  /**
   * The headers of one HTTP request: credential, what Jupyter asks of a page that has only a cookie, and the caller's own.
   *
   * @throws ConnectError the credential cannot be had, or a value cannot be sent.
   */
  async headers(): Promise<Record<string, string>> {
    const headers: Record<string, string> = { ...this.#credentials.headers };
    const token = await this.#token();
    const xsrf = token ? undefined : xsrfCookie();
    if (token) headers["Authorization"] = `Bearer ${token}`;
    if (xsrf) headers["X-XSRFToken"] = xsrf;
    for (const [name, value] of Object.entries(headers)) this.#checkPrintable(name, value);
    return headers;
  }

  /**
   * `fetch`, with the page's cookies where the origin is its own.
   *
   * @throws ConnectError it was redirected, which a gateway never does, unless the caller deals with that.
   */
  async fetch(url: URL, init: RequestInit): Promise<Response> {
    const fetch = this.#credentials.fetch ?? globalThis.fetch;
    const response = await fetch(url, { credentials: "same-origin", redirect: "manual", cache: "no-store", ...init });
    const redirected = response.type === "opaqueredirect" || (response.status >= 300 && response.status < 400);
    if (!redirected || init.redirect !== undefined) return response;
    throw new ConnectError(`${this.where} is redirected: a login has expired, or the server behind a proxy is stopped`);
  }

  /** Ask the probe; with POST, which calls are made of, where something forbids GET. */
  async probe(init: RequestInit): Promise<Response> {
    const url = this.httpUrl("probe");
    const response = await this.fetch(url, init);
    if (!NO_PROBE.has(response.status) || isOurs(await response.clone().text())) return response;
    return this.fetch(url, { ...init, method: "POST" });
  }

  async #token(): Promise<string> {
    const { token = "" } = this.#credentials;
    const value = typeof token === "string" ? token : await this.#ask("token", token);
    this.#checkPrintable("the token", value);
    return value;
  }

  async #ticket(): Promise<string> {
    const { ticket } = this.#credentials;
    return typeof ticket === "function" ? this.#ask("ticket", ticket) : this.#requestTicket();
  }

  async #ask(what: string, source: () => string | Promise<string>): Promise<string> {
    try {
      return await source();
    } catch (error) {
      // Whoever gives credentials may be out of reach for the same reason as the gateway is: worth another attempt.
      throw new ConnectError(`no ${what} for ${this.where}: ${wordsOf(error)}`);
    }
  }

  async #requestTicket(): Promise<string> {
    const [base, server] = split(this.#url);
    if (base === undefined) throw new ConnectError(`${this.where} is no address of a gateway, which would give tickets`);
    const url = this.httpUrl();
    url.pathname = `${base}/mcp-ws/api/tickets`;
    url.search = "";
    const headers = { ...(await this.headers()), "Content-Type": "application/json" };
    const body = JSON.stringify({ server });
    const response = await this.reach(() => this.fetch(url, { method: "POST", headers, body }));
    const text = await this.reach(() => response.text());
    const answer = parseJson(text);
    if (response.ok && isObject(answer) && typeof answer["ticket"] === "string") return answer["ticket"];
    throw this.refusal(response.status, text, response.statusText);
  }

  /**
   * The outcome of a request that may fail on the way.
   *
   * @throws ConnectError it did.
   */
  async reach<T>(request: () => Promise<T>): Promise<T> {
    try {
      return await request();
    } catch (error) {
      if (error instanceof ConnectError) throw error;
      throw new ConnectError(`${this.where} cannot be reached: ${wordsOf(error)}${foreignHint(this.#url)}`);
    }
  }

  /** An HTTP answer that is a refusal, as the error to throw. */
  refusal(status: number, body: string, phrase: string): ConnectError {
    const answer = parseJson(body);
    const said = isObject(answer) && typeof answer["message"] === "string" ? answer["message"].slice(0, 500) : "";
    const words = said || phrase || "no reason was given";
    if (status === 401 || status === 403) {
      return new Unauthorized(`${this.where} refused the credential (${status}): ${words}`);
    }
    if (status === 404) return new UnknownServer(`${this.where} is unknown (404): ${words}`);
    return new ConnectError(`${this.where} answered ${status}: ${words}`);
  }

  #checkPrintable(name: string, value: string): void {
    // Checked here, since engines repeat the value in their errors.
    if (PRINTABLE.test(value)) return;
    throw new ConnectError(`the value of ${name} for ${this.where} is not one line of printable ASCII text`);
  }
}

/** What a server without a probe answers to a GET, or a network that forbids it. */
export const NO_PROBE: ReadonlySet<number> = new Set([400, 404, 405, 406, 415]);

/** Whether an error answer has the shape of a gateway's. */
export function isOurs(body: string): boolean {
  const answer = parseJson(body);
  return isObject(answer) && "message" in answer && "status" in answer;
}

function parsed(url: string | URL): URL {
  const text = String(url);
  const shown = text.replace(/\?.*$/s, "");
  let result: URL;
  try {
    result = new URL(text, globalThis.location?.href);
  } catch {
    throw new ConnectError(`"${shown}" is no address`);
  }
  if (!/^(ws|http)s?:$/.test(result.protocol)) {
    throw new ConnectError(`"${shown}" is no ws://, wss://, http:// or https:// address`);
  }
  result.hash = "";
  return result;
}

function withScheme(url: URL, scheme: "ws" | "http"): URL {
  const secure = url.protocol === "wss:" || url.protocol === "https:";
  return new URL(`${scheme}${secure ? "s" : ""}:${url.href.slice(url.protocol.length)}`);
}

/** `{base}/mcp-ws/servers/{name}` as base and name. */
function split(url: URL): [base: string | undefined, server: string] {
  const found = /^(.*)\/mcp-ws\/servers\/([^/]+)\/?$/.exec(url.pathname);
  return [found?.[1], decodeURIComponent(found?.[2] ?? "")];
}

function xsrfCookie(): string | undefined {
  const found = /(?:^|; )_xsrf=([^;]*)/.exec(globalThis.document?.cookie ?? "");
  return found?.[1];
}

/** A browser does not tell a page why a request to another origin failed. */
function foreignHint(url: URL): string {
  const here = globalThis.location?.origin;
  if (here === undefined || here === withScheme(url, "http").origin) return "";
  return `, or does not admit pages of ${here} (ServerApp.allow_origin)`;
}

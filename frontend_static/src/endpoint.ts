/**
 * One MCP endpoint and the credential for it: addresses, subprotocols, headers (docs/reference/binding.md section 3).
 *
 * Knows how requests are made, and nothing of their purpose.
 */

import { authSubprotocol, isObject, parseJson } from "./binding.js";
import { ConnectError, Unauthorized, UnknownServer, messageOf } from "./errors.js";
import { ofStatus } from "./intermediaries.js";

/** A credential, or a function that returns a fresh one for each link. */
export type Token = string | (() => string | Promise<string>);

/** The client's credentials. Without any of these, a page of the same origin uses its cookie. */
export interface Credentials {
  /** A Jupyter or gateway token: sent as subprotocol with WebSocket, in the `Authorization` header otherwise. */
  readonly token?: Token | undefined;
  /**
   * Single-use tickets in place of a subprotocol: `true` requests one from the gateway before each link, with the token or
   * cookie; a function returns one. For WebSocket only: a ticket opens one request.
   */
  readonly ticket?: true | (() => string | Promise<string>) | undefined;
  /** Additional headers of every HTTP request; a page cannot set headers of a WebSocket. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Used in place of the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined;
}

/** What precedes the name of a server in its address behind a gateway. */
const ENDPOINTS = "/mcp-ws/servers/";
/** What to do about an answer at any other address. */
export const ADDRESS_CURE = `; the address of a server behind a gateway ends in ${ENDPOINTS}NAME`;

const PRINTABLE = /^[\x20-\x7e]*$/;

export class Endpoint {
  readonly #url: URL;
  readonly #credentials: Credentials;

  /**
   * @param url address of an MCP endpoint, `ws(s)://` or `http(s)://`; in a page it may be relative.
   * @throws ConnectError the address is not valid.
   */
  constructor(url: string | URL, credentials: Credentials) {
    this.#url = parsed(url);
    this.#credentials = credentials;
  }

  /** The address for error messages, without its query, which may hold a token. */
  get where(): string {
    return `${this.#url.protocol}//${this.#url.host}${this.#url.pathname}`;
  }

  /** Whether the address may be that of a server behind a gateway. */
  get isOfGateway(): boolean {
    return this.#url.pathname.includes(ENDPOINTS);
  }

  /** The address over HTTP, or that of a path below it. */
  httpUrl(below = ""): URL {
    const url = withScheme(this.#url, "http");
    if (below) url.pathname = `${url.pathname.replace(/\/+$/, "")}/${below}`;
    return url;
  }

  /** Identifies the endpoint, without this client's credentials. */
  get key(): string {
    return this.#url.href;
  }

  /**
   * The address of a new WebSocket, and the subprotocol that carries the credential.
   *
   * @throws ConnectError the credential could not be obtained.
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
   * The headers of one HTTP request: credential, the XSRF token that Jupyter requires with a cookie, and the caller's own.
   *
   * @throws ConnectError the credential could not be obtained, or a value is not a valid header.
   */
  async headers(): Promise<Record<string, string>> {
    const headers: Record<string, string> = { ...this.#credentials.headers };
    const token = await this.#token();
    const xsrf = token ? undefined : xsrfCookie();
    if (token) headers["Authorization"] = `Bearer ${token}`;
    if (xsrf) headers["X-XSRFToken"] = xsrf;
    for (const [name, value] of Object.entries(headers)) this.#checkPrintable(`the header ${name}`, value);
    return headers;
  }

  /**
   * `fetch`, with the page's cookies for its own origin.
   *
   * @throws ConnectError the answer is a redirect, which a gateway never sends, unless `init` handles redirects.
   */
  async fetch(url: URL, init: RequestInit): Promise<Response> {
    const fetch = this.#credentials.fetch ?? globalThis.fetch;
    const response = await fetch(url, { credentials: "same-origin", redirect: "manual", cache: "no-store", ...init });
    const redirected = response.type === "opaqueredirect" || (response.status >= 300 && response.status < 400);
    if (!redirected || init.redirect !== undefined) return response;
    throw new ConnectError(`${this.where} is redirected: the login has expired, or the server behind a proxy is not running`);
  }

  /** Request the probe; with POST, as calls do, where something forbids GET. */
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
      // The source of credentials may be unreachable for the same reason as the gateway: worth retrying.
      throw new ConnectError(`could not obtain the ${what} for ${this.where}: ${messageOf(error)}`);
    }
  }

  async #requestTicket(): Promise<string> {
    const [base, server] = split(this.#url);
    if (base === undefined) throw new ConnectError(`${this.where} is not the address of a gateway, so it issues no tickets`);
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
   * Run a request, turning network failures into ConnectError.
   *
   * @throws ConnectError the endpoint cannot be reached.
   */
  async reach<T>(request: () => Promise<T>): Promise<T> {
    try {
      return await request();
    } catch (error) {
      if (error instanceof ConnectError) throw error;
      throw new ConnectError(`${this.where} cannot be reached: ${messageOf(error)}${foreignHint(this.#url)}`);
    }
  }

  /** The error for an HTTP answer that is a refusal; it names the hop that answered. */
  refusal(status: number, body: string, phrase: string): ConnectError {
    const answer = parseJson(body);
    const message = isObject(answer) && typeof answer["message"] === "string" ? answer["message"].slice(0, 500) : "";
    const kind = status === 401 || status === 403 ? Unauthorized : status === 404 ? UnknownServer : ConnectError;
    const hop = hopOf(body, message);
    const noticed = hop === "other" ? ofStatus(status, body) : undefined;
    const said = message || `${phrase || "no reason was given"}${hop === "other" ? quoted(body) : ""}`;
    const reason = explained(status, said, hop, this.isOfGateway, noticed?.cure);
    return new kind(`${this.where}${reason}`).because(noticed?.code ?? "");
  }

  /**
   * The error for an answer that no MCP server gives to a message: a web page, or an error of Jupyter. Undefined for any
   * other answer.
   */
  async notMcp(response: Response): Promise<ConnectError | undefined> {
    const media = response.headers.get("Content-Type")?.split(";")[0]?.trim().toLowerCase() ?? "";
    const page = media === "text/html";
    if (!page && (media !== "application/json" || response.ok)) return undefined;
    const body = await response.clone().text();
    const answer = parseJson(body);
    const ofJupyter = page ? /jupyter/i.test(body) : isObject(answer) && "message" in answer && !("jsonrpc" in answer);
    if (!ofJupyter && !(page && response.ok)) return undefined;
    const who = ofJupyter ? "Jupyter" : "what answers there";
    return new ConnectError(`${this.where} is not an MCP endpoint: ${who} answered ${response.status} with ${media}${ADDRESS_CURE}`);
  }

  #checkPrintable(name: string, value: string): void {
    // Checked here, since engines repeat the value in their errors.
    if (PRINTABLE.test(value)) return;
    throw new ConnectError(`${name} for ${this.where} is not one line of printable ASCII text`);
  }
}

/** Status codes of servers without a probe, and of networks that forbid GET. */
export const NO_PROBE: ReadonlySet<number> = new Set([400, 404, 405, 406, 415]);

const SAID: Readonly<Record<number, string>> = {
  401: "refused the credential (401)",
  403: "refused the request (403)",
  404: "does not exist (404)",
};

type Hop = "gateway" | "jupyter" | "other";

/** Who answered, as far as the body tells. */
function hopOf(body: string, message: string): Hop {
  if (isOurs(body)) return "gateway";
  return message !== "" || /jupyter/i.test(body) ? "jupyter" : "other";
}

/** The beginning of a body for the end of a sentence; of a web page its title. */
function quoted(body: string): string {
  const title = /<title[^<>]{0,200}>([^<]{1,200})/i.exec(body)?.[1]?.replace(/\s+/g, " ").trim();
  if (/^\s*</.test(body)) return title ? `, a web page titled "${title}"` : "";
  const text = body.slice(0, 300).replace(/\s+/g, " ").trim();
  return text && `, "${text}"`;
}

function explained(status: number, reason: string, hop: Hop, ofGateway: boolean, ofProxy: string | undefined): string {
  if (hop === "gateway") return ` ${SAID[status] ?? `answered ${status}`}: ${reason}`;
  if (hop === "other") {
    const cure = ofProxy ?? "check the address, and the proxies on the way";
    return `: something other than the gateway answered ${status}: ${reason}; ${cure}`;
  }
  const installed = status === 404 ? "; check that mcp-ws-ide is installed and enabled there, and the base URL" : "";
  const cure = ofGateway ? installed : ADDRESS_CURE;
  return `: Jupyter, not its gateway, answered ${status}: ${reason}${cure}`;
}

/** Whether an error answer has the form of a gateway's. */
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
    throw new ConnectError(`"${shown}" is not a valid address`);
  }
  if (!/^(ws|http)s?:$/.test(result.protocol)) {
    throw new ConnectError(`"${shown}" is not a ws://, wss://, http:// or https:// address`);
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

/** A hint for requests to another origin: a browser does not tell a page why they failed. */
function foreignHint(url: URL): string {
  const here = globalThis.location?.origin;
  if (here === undefined || here === withScheme(url, "http").origin) return "";
  return `, or does not allow pages of ${here} (ServerApp.allow_origin)`;
}

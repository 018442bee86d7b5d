/** REST of the gateway that served the page (handlers/api/openapi.json), typed. Credential: the page's cookie. */

import { ofStatus } from "../../src/intermediaries.js";

/** Milliseconds that the answer to a GET may take. Other requests may wait for a server to start. */
const ANSWER_TIME = 30_000;

/** Path of the Jupyter server, with a slash at its end. */
export const baseUrl = document.documentElement.dataset["baseUrl"] ?? "/";

export interface Process {
  /** Null for a remote server. */
  readonly pid: number | null;
  readonly era: string;
  readonly shared: boolean;
  readonly sessions: number;
  readonly started: number;
  /** Resident bytes and processor seconds, with children; null unless requested with `usage=1`. */
  readonly memory: number | null;
  readonly cpu: number | null;
}

export interface Server {
  /** The address, as in URLs; made from `title` where that cannot stand in one. */
  readonly name: string;
  /** The name as configured. */
  readonly title: string;
  readonly transport: string;
  readonly era: string;
  readonly state: string;
  readonly reason: string;
  readonly source: string;
  readonly sharing: string;
  readonly command: readonly string[];
  readonly sessions: number;
  readonly processes: readonly Process[];
  readonly restarts: number;
  readonly address: string;
  readonly last_exit: { readonly at: number; readonly reason: string } | null;
  /** Why its entry cannot be edited here; empty if it can. */
  readonly read_only: string;
  readonly awaits_consent: boolean;
}

export interface Problem {
  readonly source: string;
  readonly key: string;
  readonly reason: string;
  readonly severity: "error" | "notice";
}

/** What a proxy between clients and gateway does. */
export interface Interference {
  readonly code: string;
  readonly message: string;
  readonly cure: string;
  /** Whether a request with a valid credential showed it; if not, the message says so. */
  readonly verified: boolean;
  readonly count: number;
  /** Unix times. */
  readonly first: number;
  readonly last: number;
}

export interface Servers {
  readonly servers: readonly Server[];
  readonly problems: readonly Problem[];
  /** What was noticed within the last hour. */
  readonly network: readonly Interference[];
  /** Names of Jupyter's variables that no process gets unless its entry lists them. */
  readonly withheld: readonly string[];
  readonly editing: { readonly file: string; readonly refused: string };
}

export interface Session {
  readonly id: string;
  /** The gateway that serves it; empty if there is only one, or none serves it now. */
  readonly instance: string;
  readonly server: string;
  readonly principal: string;
  readonly era: string;
  readonly created: number;
  readonly remote: string;
  readonly subprotocol: string;
  readonly user_agent: string;
  readonly link: string;
  readonly attached: boolean;
  readonly resumable: boolean;
  /** Whether it began before a restart of the gateway. */
  readonly restored: boolean;
  readonly queued_bytes: number;
  readonly in_flight: number;
  /** Seconds until it ends unless its client resumes it; null while it has a link. */
  readonly expires_in: number | null;
  readonly messages: { readonly in: number; readonly out: number };
  readonly bytes: { readonly in: number; readonly out: number };
}

/** A gateway that shares its sessions with others. */
export interface Instance {
  readonly id: string;
  readonly version: string;
  /** Unix time. */
  readonly started: number;
  readonly sessions: number;
  /** Sessions that have a link. */
  readonly links: number;
  readonly processes: number;
  readonly draining: boolean;
  /** While it drains: sessions that it still gives away, or that finish their requests. */
  readonly to_drain: number;
  /** Address at which the others reach it. */
  readonly peer: string;
  /** Whether it answered this request. */
  readonly self: boolean;
  /** Why it does not answer the gateway that answered this request; empty if it does. */
  readonly problem: string;
}

/** The gateway refused a request; `message` is its reason. `status` 0: the gateway could not be reached. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  constructor(
    readonly status: number,
    message: string,
    readonly body: unknown = undefined,
  ) {
    super(message);
  }
}

export interface RequestOptions {
  readonly method?: "GET" | "POST" | "PUT" | "DELETE";
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** Whether the request outlives the page. */
  readonly keepalive?: boolean;
}

/**
 * Send a request to the gateway's REST API.
 *
 * @param path below `mcp-ws/api/`; the caller encodes names in it.
 * @throws ApiError the gateway refused the request or cannot be reached.
 */
export async function rest<T = unknown>(path: string, options: RequestOptions = {}): Promise<T> {
  return (await answerOf(path, options)).body as T;
}

/** The same, with the headers of the answer. */
export async function answerOf(path: string, options: RequestOptions = {}): Promise<{ body: unknown; headers: Headers }> {
  const { method = "GET", body, headers, ...rest } = options;
  const init: RequestInit = {
    ...rest,
    method,
    credentials: "same-origin",
    cache: "no-store",
    headers: { "X-XSRFToken": xsrfCookie(), ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  };
  const { response, text } = await answered(`${baseUrl}mcp-ws/api/${path}`, init);
  const answer = text ? parsed(text) : {};
  if (response.ok && answer !== undefined && !response.redirected) return { body: answer, headers: response.headers };
  if (response.redirected || (response.ok && answer === undefined)) {
    throw new ApiError(401, "the login has expired; reload the page to log in again");
  }
  const interference = answer === undefined ? ofStatus(response.status) : undefined;
  if (interference) {
    reportNoticed([interference.code]);
    throw new ApiError(response.status, `something other than the gateway answered ${response.status}; ${interference.cure}`);
  }
  throw new ApiError(response.status, messageIn(answer) || response.statusText || `status ${response.status}`, answer);
}

/** Fetch a response with its body. A GET that takes longer than {@link ANSWER_TIME} fails: a network that drops packets would hold it for minutes. */
async function answered(url: string, init: RequestInit): Promise<{ response: Response; text: string }> {
  const late = new AbortController();
  const limited = init.method === "GET" && !init.signal;
  const timer = limited ? setTimeout(() => late.abort(), ANSWER_TIME) : undefined;
  try {
    const response = await fetch(url, limited ? { ...init, signal: late.signal } : init);
    return { response, text: await response.text() };
  } catch (error) {
    if (init.signal?.aborted) throw error;
    if (late.signal.aborted) throw new ApiError(0, `Jupyter has not answered for ${ANSWER_TIME / 1_000} s: check the network`);
    const unknown = init.method === "GET" ? "" : ", so it is unknown whether it has done this; look before you try again";
    throw new ApiError(0, `Jupyter does not answer${unknown}: check that it runs, and your network`);
  } finally {
    clearTimeout(timer);
  }
}

/** Tell the gateway what proxies did to this page, so that it is named everywhere. */
export function reportNoticed(codes: readonly string[]): void {
  if (codes.length === 0) return;
  const headers = { "X-XSRFToken": xsrfCookie(), "Content-Type": "application/json" };
  const body = JSON.stringify({ codes });
  void fetch(`${baseUrl}mcp-ws/api/network`, { method: "POST", credentials: "same-origin", headers, body }).catch(() => undefined);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function messageIn(answer: unknown): string {
  const message = (answer as { message?: unknown } | undefined)?.message;
  return typeof message === "string" ? message : "";
}

function xsrfCookie(): string {
  return /(?:^|; )_xsrf=([^;]*)/.exec(document.cookie)?.[1] ?? "";
}

/**
 * A link made of POST requests (docs/reference/binding.md section 11).
 *
 * One POST carries what this side sends; another is held by the gateway until it has something to send. A failed POST is
 * repeated, since the gateway knows which frames it has received; if that fails too, the link is lost and the session
 * resumes on another.
 */

import { CloseCode, isObject, parseJson } from "./binding.js";
import { byteLength } from "./channel.js";
import type { Endpoint } from "./endpoint.js";
import { ConnectError } from "./errors.js";
import { Link, type LinkEnd, type Opener } from "./link.js";
import { POST_RETRY_DELAYS } from "./reconnect.js";

/** Bytes above which no further frame is added to a body. */
const BODY_BYTES = 1 << 20;
/** Milliseconds without an answer after which a POST has failed; the gateway holds a POST for up to 25 s. */
const ANSWER_TIMEOUT = 45_000;
/** Status codes of proxies that timed out or lost their upstream: worth repeating. */
const TRANSIENT: ReadonlySet<number> = new Set([429, 502, 503, 504, 520, 521, 522, 523, 524, 527, 530]);
/** Status codes that the same frames would get again, on any link. */
const REFUSED: ReadonlySet<number> = new Set([400, 411, 413, 414, 415, 431, 494]);
/** Status codes of a link that another one can replace. */
const OTHER_LINK: ReadonlySet<number> = new Set([408, 409, 410, 425, 429]);

export class PollOpener implements Opener {
  readonly #endpoint: Endpoint;

  constructor(
    endpoint: Endpoint,
    readonly openTimeout: number,
  ) {
    this.#endpoint = endpoint;
  }

  get where(): string {
    return this.#endpoint.where;
  }

  /** A link on which nothing was sent yet; a refusal comes with its first frame. */
  async open(): Promise<Link> {
    const headers = { ...(await this.#endpoint.headers()), "Content-Type": "application/x-ndjson" };
    return new PollLink(this.#endpoint, headers);
  }
}

/** One HTTP response, read. */
interface Response {
  readonly status: number;
  readonly text: string;
  readonly phrase: string;
}

/** One answer, parsed. */
interface Answer {
  readonly link: string;
  /** Frames that the gateway sent on this link before these. */
  readonly sent: number;
  readonly frames: readonly string[];
  readonly end: LinkEnd | undefined;
}

class PollLink extends Link {
  readonly resumes = true;
  readonly noticesSilence = true;
  readonly #endpoint: Endpoint;
  readonly #headers: Record<string, string>;
  readonly #stop = new AbortController();
  #id = "";
  #outbox: string[] = [];
  #sending = false;
  #sent = 0;
  #received = 0;
  /** Whether a POST after the first one has passed. */
  #proven = false;

  constructor(endpoint: Endpoint, headers: Record<string, string>) {
    super();
    this.#endpoint = endpoint;
    this.#headers = headers;
  }

  send(frame: string): void {
    this.#outbox.push(frame); // one line: JSON.stringify escapes line breaks
    if (!this.#sending) void this.#empty();
  }

  async #empty(): Promise<void> {
    this.#sending = true;
    if (this.#id === "") await this.#open();
    while (this.#outbox.length > 0 && !this.#over) await this.#sendSome();
    this.#sending = false;
  }

  get #over(): boolean {
    return this.#stop.signal.aborted;
  }

  async #open(): Promise<void> {
    const hello = this.#outbox.shift() as string;
    try {
      const { status, text, phrase } = await this.#endpoint.reach(() => this.#fetch(hello));
      if (status !== 200) throw this.#endpoint.refusal(status, text, phrase);
      this.#sent = 1;
      this.#take(text);
      if (this.#id === "") {
        throw new ConnectError(`${this.#endpoint.where} is not a poll endpoint; it answered ${text.slice(0, 100)}`);
      }
    } catch (error) {
      return this.#break({ code: CloseCode.ABNORMAL, reason: "", error: error as ConnectError });
    }
    void this.#hold();
  }

  async #sendSome(): Promise<void> {
    const frames: string[] = [];
    for (let size = 0; this.#outbox.length > 0 && size < BODY_BYTES; size += byteLength(frames.at(-1) as string)) {
      frames.push(this.#outbox.shift() as string);
    }
    const answer = await this.#post([this.#head(), ...frames].join("\n"));
    this.#sent += frames.length;
    if (answer !== undefined) this.#take(answer, false);
  }

  /** Keep one POST open for the gateway's frames. */
  async #hold(): Promise<void> {
    while (!this.#over) {
      const answer = await this.#post(this.#head());
      if (answer !== undefined) this.#take(answer);
    }
  }

  #head(): string {
    return JSON.stringify({ "mcp.ws": "poll", link: this.#id, sent: this.#sent, recv: this.#received });
  }

  async #fetch(body: string): Promise<Response> {
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(ANSWER_TIMEOUT)]);
    const url = this.#endpoint.httpUrl("poll");
    const response = await this.#endpoint.fetch(url, { method: "POST", headers: this.#headers, body, signal });
    return { status: response.status, text: await response.text(), phrase: response.statusText };
  }

  /** POST, repeated after transient failures. Undefined where the link is lost. */
  async #post(body: string): Promise<string | undefined> {
    let answer: Response | undefined;
    for (const delay of [0, ...POST_RETRY_DELAYS]) {
      await new Promise((resolve) => setTimeout(resolve, delay));
      if (this.#over) return undefined;
      answer = await this.#fetch(body).catch(() => undefined);
      if (answer?.status === 200) {
        this.#proven = true;
        return answer.text;
      }
      if (answer !== undefined && !TRANSIENT.has(answer.status)) break;
    }
    this.#break(this.#brokenBy(answer));
    return undefined;
  }

  /**
   * The close code and reason to use if repeating the POST does not help. With 1006 the session tries another link, whose
   * opening POST shows whether the credential or the server is refused. If opening POSTs pass and later ones are refused,
   * another link would fail in the same way.
   */
  #brokenBy(answer: Response | undefined): LinkEnd {
    if (answer === undefined) return { code: CloseCode.ABNORMAL, reason: "" };
    const { status } = answer;
    const reason = `a POST was refused: ${this.#endpoint.refusal(status, answer.text, answer.phrase).message}`;
    if (REFUSED.has(status)) return { code: status === 413 ? CloseCode.TOO_BIG : CloseCode.PROTOCOL_ERROR, reason };
    const final = !this.#proven && status >= 400 && status < 500 && !OTHER_LINK.has(status);
    return { code: final ? CloseCode.REVOKED : CloseCode.ABNORMAL, reason };
  }

  /** @param whole whether all frames sent so far must have arrived; not so while a held POST is open. */
  #take(text: string, whole = true): void {
    const answer = parseAnswer(text);
    if (answer === undefined) return this.#break({ code: CloseCode.ABNORMAL, reason: "the gateway sent a malformed response" });
    this.#id = answer.link;
    if (!whole && answer.frames.length === 0 && answer.end === undefined) return;
    if (answer.sent > this.#received) {
      return this.#break({ code: CloseCode.ABNORMAL, reason: "a response with frames was lost" });
    }
    const fresh = answer.frames.slice(this.#received - answer.sent);
    this.#received += fresh.length;
    for (const frame of fresh) this.deliver(frame);
    if (answer.end !== undefined) this.#leave(answer.end);
  }

  /** Confirm the gateway's close, or send this side's. */
  #leave(end: LinkEnd): void {
    if (this.#over) return;
    const frames = this.#outbox.splice(0);
    const goodbye = JSON.stringify({ "mcp.ws": "close", code: end.code, reason: end.reason });
    const body = [this.#head(), ...(this.#sending ? [] : frames), goodbye].join("\n");
    this.#stop.abort();
    const url = this.#endpoint.httpUrl("poll");
    const sent = this.#endpoint.fetch(url, { method: "POST", headers: this.#headers, body, keepalive: true });
    void sent.catch(() => undefined).then(() => this.finish(end)); // the gateway notices the silence
  }

  #break(end: LinkEnd): void {
    this.#stop.abort();
    this.finish(end);
  }

  close(code: number, reason: string): void {
    if (this.#id === "") return this.#break({ code, reason });
    this.#leave({ code, reason });
  }
}

function parseAnswer(text: string): Answer | undefined {
  const [first = "", ...frames] = text.split("\n").filter((line) => line.trim() !== "");
  const head = parseJson(first);
  if (!isObject(head) || head["mcp.ws"] !== "poll") return undefined;
  const { link, sent } = head;
  if (typeof link !== "string" || !Number.isSafeInteger(sent)) return undefined;
  const end = endOf(frames.at(-1) ?? "");
  return { link, sent: sent as number, frames: end === undefined ? frames : frames.slice(0, -1), end };
}

function endOf(line: string): LinkEnd | undefined {
  if (!/^\s*\{\s*"mcp\.ws"\s*:\s*"close"/.test(line)) return undefined;
  const value = parseJson(line);
  if (!isObject(value) || typeof value["code"] !== "number") return undefined;
  return { code: value["code"], reason: typeof value["reason"] === "string" ? value["reason"] : "" };
}

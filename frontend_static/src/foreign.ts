/**
 * Responses of Streamable HTTP servers that are no gateway, as the SDK can read them (docs/reference/reading.md).
 *
 * The SDK leaves a request open after a body or an event that it cannot read. Here each request of a POST gets a response:
 * the server's own where that can be read, else an error that quotes what the server wrote. Knows one POST at a time.
 */

import { isObject, parseJson } from "./binding.js";
import { isId, read, type Message } from "./reader.js";
import { replacesResponse } from "./stand_ins.js";
import { usable } from "./usable.js";

/** Milliseconds of silence after part of a body or an event, or after one that cannot be read; then no more is waited for. */
const SILENCE = 2_500;
/** Characters that an error quotes. */
const QUOTED = 200;
/** Member of `_meta` in each request of 2026-07-28. */
const VERSION_KEY = "io.modelcontextprotocol/protocolVersion";
const INTERNAL_ERROR = -32603;
const EVENT_STREAM = "text/event-stream";
/**
 * The response to a POST, in which every request of its body is answered.
 *
 * @param posted the body of the POST, as JSON.
 */
export async function readableResponse(response: Response, posted: unknown): Promise<Response> {
  const requests = new OpenRequests(posted, response.url.replace(/\?.*$/s, ""));
  if (!response.ok || !requests.open) return response;
  const headers = new Headers(response.headers);
  headers.delete("Content-Length");
  headers.delete("Content-Encoding");
  if (response.headers.get("Content-Type")?.includes(EVENT_STREAM) && response.body !== null) {
    return new Response(eventsOf(new Chunks(response.body), requests), { status: 200, headers });
  }
  const text = await wholeBody(response);
  const messages = [...requests.take(text), ...requests.fail(text.trim() || `${response.status} without a body`)];
  headers.set("Content-Type", "application/json");
  return new Response(JSON.stringify(messages.length === 1 ? messages[0] : messages), { status: 200, headers });
}

/** A request of a POST. */
interface Sent {
  readonly id: string | number;
  readonly method: string;
  /** Whether it is of the handshake era. */
  readonly strict: boolean;
}

/** The requests of one POST that have no response yet. */
class OpenRequests {
  readonly #open: Sent[];
  /** The server's address, for notes in its results. */
  readonly #where: string;

  constructor(posted: unknown, where: string) {
    const text = typeof posted === "string" ? parseJson(posted) : undefined;
    const messages: unknown[] = Array.isArray(text) ? text : [text];
    this.#open = messages.filter(isObject).flatMap(({ id, method, params }) => {
      const meta = isObject(params) ? params["_meta"] : undefined;
      const strict = !(isObject(meta) && VERSION_KEY in meta);
      return typeof method === "string" && isId(id) ? [{ id, method, strict }] : [];
    });
    this.#where = where;
  }

  get open(): boolean {
    return this.#open.length > 0;
  }

  /** What can be read of a text; a response under a wrong id is that to the only open request. */
  take(text: string): Message[] {
    return read(text).messages.flatMap((message) => {
      if ("method" in message) return [message];
      const named = this.#open.findIndex(({ id }) => String(id) === String(message["id"]));
      const at = named < 0 && this.#open.length === 1 ? 0 : named;
      const [sent] = at < 0 ? [] : this.#open.splice(at, 1);
      if (sent === undefined) return [];
      const { id, method, strict } = sent;
      return ["result" in message ? { ...message, id, result: usable(method, message["result"], this.#where, strict) } : { ...message, id }];
    });
  }

  /** An error for each request that is still open. */
  fail(written: string): Message[] {
    const shown = written.length > QUOTED ? `${written.slice(0, QUOTED)}…` : written;
    const message = `the server's response is not a JSON-RPC message: ${shown}`;
    const error = { code: INTERNAL_ERROR, message, data: { outcome: "unknown" } };
    return this.#open.splice(0).map(({ id }) => ({ jsonrpc: "2.0", id, error }));
  }
}

/** The text of a body, piece by piece. */
class Chunks {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();
  #next: Promise<{ done: boolean; value?: Uint8Array | undefined }> | undefined;

  constructor(body: ReadableStream<Uint8Array>) {
    this.#reader = body.getReader();
  }

  /** The next piece; `null` at the end, and `undefined` after a silence, for which only an `impatient` caller waits. */
  async next(impatient: boolean): Promise<string | null | undefined> {
    this.#next ??= this.#reader.read();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const silence = new Promise<undefined>((resolve) => {
      if (impatient) timer = setTimeout(() => resolve(undefined), SILENCE);
    });
    const read = await Promise.race([this.#next, silence]);
    clearTimeout(timer);
    if (read === undefined) return undefined;
    this.#next = undefined;
    return read.done ? null : this.#decoder.decode(read.value, { stream: true });
  }

  cancel(): void {
    this.#reader.cancel().catch(() => undefined);
  }
}

/** A body until its end, or a silence after it has begun. */
async function wholeBody(response: Response): Promise<string> {
  if (response.body === null) return "";
  const chunks = new Chunks(response.body);
  let text = "";
  for (let piece = await chunks.next(false); typeof piece === "string"; piece = await chunks.next(true)) text += piece;
  chunks.cancel();
  return text;
}

/** The events of a stream, each with one message that the SDK reads. */
function eventsOf(chunks: Chunks, requests: OpenRequests): ReadableStream<Uint8Array> {
  const events = new Events(requests);
  const encoder = new TextEncoder();
  return new ReadableStream({
    async pull(controller) {
      const piece = await chunks.next(events.unsettled);
      const text = typeof piece === "string" ? events.add(piece) : events.settle(piece === null);
      if (text) controller.enqueue(encoder.encode(text));
      if (piece === null) controller.close();
      else if (!text) await this.pull?.(controller);
    },
    cancel: () => chunks.cancel(),
  });
}

/** Reads the events of one stream. */
class Events {
  readonly #requests: OpenRequests;
  #rest = "";
  #lines: string[] = [];
  /** What stood in place of a response. */
  #doubtful = "";
  /** Whether the SDK may resume the stream, which has ids. */
  #resumable = false;

  constructor(requests: OpenRequests) {
    this.#requests = requests;
  }

  /** Whether part of an event was written, or something that may stand in place of a response. */
  get unsettled(): boolean {
    return this.#requests.open && (this.#rest !== "" || this.#lines.length > 0 || this.#doubtful !== "");
  }

  /** Read a piece of the stream; returns the events that are complete. */
  add(piece: string): string {
    const lines = (this.#rest + piece).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    let text = "";
    for (const line of lines) {
      if (line !== "") this.#lines.push(line);
      else text += this.#event();
    }
    return text;
  }

  /** Read what has no end, after a silence or at the end of the stream; the requests that are still open may fail. */
  settle(ended: boolean): string {
    if (this.#rest) this.#lines.push(this.#rest);
    this.#rest = "";
    const text = this.#lines.length > 0 ? this.#event() : "";
    const failed = this.#doubtful !== "" || (ended && !this.#resumable);
    const written = this.#doubtful || "the event stream ended without one";
    return text + (failed ? this.#requests.fail(written).map(asEvent).join("") : "");
  }

  #event(): string {
    const lines = this.#lines.splice(0);
    const fields = lines.filter((line) => /^(?:id|retry):/.test(line));
    this.#resumable ||= fields.some((line) => line.startsWith("id:"));
    const others = fields.map((line) => `${line}\n`).join("");
    const data = lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5).replace(/^ /, ""));
    const bare = lines.filter((line) => /^[{[]/.test(line));
    const text = (data.length > 0 ? data : bare).join("\n");
    if (text.trim() === "") return others && `${others}data:\n\n`;
    const messages = this.#requests.take(text);
    if (messages.length === 0) this.#doubt(text, lines);
    return messages.length > 0 ? others + messages.map(asEvent).join("") : others && `${others}data:\n\n`;
  }

  #doubt(text: string, lines: string[]): void {
    const name = lines.find((line) => line.startsWith("event:"))?.slice(6).trim() ?? "message";
    const { messages, faults } = read(text);
    const failed = faults.length > 0 || (messages.length === 0 && replacesResponse(name, text.trim()));
    this.#doubtful = failed ? text : this.#doubtful;
  }
}

function asEvent(message: Message): string {
  return `event: message\ndata: ${JSON.stringify(message)}\n\n`;
}

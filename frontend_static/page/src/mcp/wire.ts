/**
 * A layer between the SDK's client and a transport that lets a client created after a reload continue the session of the
 * client before it.
 *
 * The session still has the old client's requests. Ids of the new client are therefore moved beyond the old ones; a call
 * without an answer is adopted (the new client's request for it is not sent, but receives the answer); questions of the
 * server without an answer are delivered again; and the handshake is answered from memory. Without saved state it only
 * passes messages through.
 */

import type { AnyTransport } from "../../../src/negotiating.js";
import { isObject } from "../form/schema.js";

type Id = string | number;

interface Message {
  id?: Id;
  method?: string;
  params?: Record<string, any>;
  result?: Record<string, any>;
  error?: unknown;
}

/** Member of `_meta` that identifies a call across a reload; removed before a message leaves the page. */
export const CALL = "mcp-ws-ide/call";
/** Member of `_meta` with which a client declines the gateway's bridge (docs/reference/eras.md). */
const BRIDGE = "mcp-ws-ide/bridge";
const SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId";

/** State that the next client needs. */
export interface WireSnapshot {
  /** The lowest numeric id that is not used yet. */
  readonly next: number;
  /** The server's answer to `initialize`, in a session that began with one. */
  readonly initialized: Record<string, unknown> | undefined;
  /** Open requests by call. `asked`: the answer received, where that is a question the user has not answered. */
  readonly calls: Readonly<Record<string, { readonly id: Id; readonly asked?: Message }>>;
  /** Requests from the server without an answer. */
  readonly asked: readonly Message[];
  /** Subscriptions of the old client, to be cancelled. */
  readonly listens: readonly Id[];
}

export class Wire implements AnyTransport {
  onmessage?: ((message: any, extra?: any) => void) | undefined;
  onclose?: (() => void) | undefined;
  onerror?: ((error: Error) => void) | undefined;
  /** Called with every message before it is sent or delivered. */
  onframe?: ((direction: "in" | "out", message: Message) => void) | undefined;
  /** Whether to ask for a handshake where the server has only that era, in place of the gateway's bridge. */
  declinesBridge = false;
  readonly #inner: AnyTransport;
  readonly #saved: WireSnapshot | undefined;
  readonly #first: number;
  #next: number;
  #initialized: Record<string, unknown> | undefined;
  #initializeId: Id | undefined;
  #toClient = new Map<Id, Id>();
  #toWire = new Map<Id, Id>();
  #calls = new Map<string, { id: Id; asked?: Message }>();
  #adopted: Map<string, { readonly id: Id; readonly asked?: Message }>;
  #asked = new Map<Id, Message>();
  #answers = new Map<string, unknown>();
  #replaying: boolean;

  constructor(inner: AnyTransport, saved?: WireSnapshot) {
    this.#inner = inner;
    this.#saved = saved;
    this.#first = this.#next = saved?.next ?? 0;
    this.#initialized = saved?.initialized;
    this.#replaying = saved?.initialized !== undefined;
    this.#adopted = new Map(Object.entries(saved?.calls ?? {}));
    inner.onmessage = (message, extra) => this.#received(message, extra);
    inner.onclose = () => this.onclose?.();
    inner.onerror = (error) => this.onerror?.(error);
  }

  get sessionId(): string | undefined {
    return this.#inner.sessionId;
  }

  get hasPerRequestStream(): boolean {
    return this.#inner.hasPerRequestStream ?? false;
  }

  setProtocolVersion(version: string): void {
    this.#inner.setProtocolVersion?.(version);
  }

  setSupportedProtocolVersions(versions: string[]): void {
    this.#inner.setSupportedProtocolVersions?.(versions);
  }

  async start(): Promise<void> {
    await this.#inner.start();
    for (const id of this.#saved?.listens ?? []) {
      const params = { requestId: id, reason: "the page was reloaded" };
      await this.#inner.send({ jsonrpc: "2.0", method: "notifications/cancelled", params });
    }
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  /** Deliver the server's unanswered requests again; call this once the client is connected. */
  askAgain(): void {
    for (const message of this.#saved?.asked ?? []) this.#received(message);
  }

  /** Take the newest result of a call, as received. */
  takeAnswer(key: string): unknown {
    const answer = this.#answers.get(key);
    this.#answers.delete(key);
    return answer;
  }

  /** @param running keys of the calls without an answer. */
  snapshot(running: ReadonlySet<string>): WireSnapshot {
    return {
      next: this.#next,
      initialized: this.#initialized,
      calls: Object.fromEntries([...this.#adopted, ...this.#calls].filter(([key]) => running.has(key))),
      asked: [...this.#asked.values()],
      listens: [...this.#toClient].filter(([, id]) => typeof id === "string" && id.startsWith("listen:")).map(([id]) => id),
    };
  }

  // --- to the server ----------------------------------------------------------------------------

  send(message: any, options?: any): Promise<void> {
    const outgoing = this.#outgoing(message as Message);
    if (outgoing === undefined) return Promise.resolve();
    this.onframe?.("out", outgoing);
    return this.#inner.send(outgoing, options);
  }

  /** The message to send; undefined where it was handled here. */
  #outgoing(message: Message): Message | undefined {
    if (message.method === undefined) {
      this.#asked.delete(message.id as Id);
      return message;
    }
    if (message.id === undefined) return this.#outgoingNotification(message);
    if (message.method === "initialize") {
      if (this.#replaying) return this.#answer({ ...reply(message), result: this.#initialized as Record<string, any> });
      this.#initializeId = message.id;
    }
    const { key, rest } = withoutCall(message);
    const adopted = key === undefined ? undefined : this.#adopted.get(key);
    if (key !== undefined && adopted !== undefined) return this.#adopt(key, adopted, message.id);
    return this.#outgoingRequest(rest, key);
  }

  #outgoingNotification(message: Message): Message | undefined {
    if (message.method === "notifications/initialized" && this.#replaying) {
      this.#replaying = false;
      return undefined;
    }
    const requestId = message.params?.["requestId"];
    if (message.method !== "notifications/cancelled" || requestId === undefined) return message;
    const id = this.#toWire.get(requestId) ?? requestId;
    this.#forget(id);
    return { ...message, params: { ...message.params, requestId: id } };
  }

  #outgoingRequest(message: Message, key: string | undefined): Message {
    const mine = message.id as Id;
    const id = typeof mine === "number" ? mine + this.#first : `${mine}~${this.#first}`;
    if (typeof id === "number") this.#next = Math.max(this.#next, id + 1);
    this.#know(mine, id);
    if (key !== undefined) this.#calls.set(key, { id });
    const meta = message.params?.["_meta"];
    if (message.method === "server/discover" && this.declinesBridge) return { ...message, id, params: { ...message.params, _meta: { ...meta, [BRIDGE]: false } } };
    if (meta?.progressToken !== mine) return { ...message, id };
    return { ...message, id, params: { ...message.params, _meta: { ...meta, progressToken: id } } };
  }

  #know(mine: Id, id: Id): void {
    this.#toClient.set(id, mine);
    this.#toWire.set(mine, id);
  }

  #adopt(key: string, { id, asked }: { readonly id: Id; readonly asked?: Message }, mine: Id): undefined {
    this.#adopted.delete(key);
    this.#know(mine, id);
    this.#calls.set(key, { id });
    if (asked !== undefined) queueMicrotask(() => this.#received(asked));
  }

  #answer(message: Message): undefined {
    queueMicrotask(() => this.onmessage?.(message));
  }

  // --- from the server --------------------------------------------------------------------------

  #received(message: Message, extra?: unknown): void {
    this.onframe?.("in", message);
    const incoming = this.#incoming(message);
    if (incoming !== undefined) this.onmessage?.(askable(incoming), extra);
  }

  #incoming(message: Message): Message | undefined {
    if (message.method === undefined) return this.#incomingAnswer(message);
    if (message.id !== undefined) {
      this.#asked.set(message.id, message);
      return message;
    }
    return this.#incomingNotification(message);
  }

  /** An answer to no open request is dropped (the request was cancelled), or kept for a call that is not adopted yet. */
  #incomingAnswer(message: Message): Message | undefined {
    const id = message.id as Id;
    const mine = this.#toClient.get(id);
    if (mine === undefined) return this.#keepForAdoption(id, message);
    if (mine === this.#initializeId) this.#initialized = message.result;
    const question = message.result?.["resultType"] === "input_required" ? message : undefined;
    const call = [...this.#calls].find(([, open]) => open.id === id);
    this.#forget(id);
    if (call !== undefined && message.error === undefined) this.#answers.set(call[0], message.result);
    if (call !== undefined && question !== undefined) this.#calls.set(call[0], { id, asked: question });
    return { ...message, id: mine };
  }

  #keepForAdoption(id: Id, message: Message): undefined {
    for (const [key, open] of this.#adopted) if (open.id === id) this.#adopted.set(key, { id, asked: message });
  }

  #forget(id: Id): void {
    const mine = this.#toClient.get(id);
    this.#toClient.delete(id);
    if (mine !== undefined) this.#toWire.delete(mine);
    for (const [key, open] of this.#calls) if (open.id === id) this.#calls.delete(key);
  }

  #incomingNotification(message: Message): Message | undefined {
    const params = message.params ?? {};
    if (message.method === "notifications/progress") {
      const token = this.#toClient.get(params["progressToken"]);
      return token === undefined ? undefined : { ...message, params: { ...params, progressToken: token } };
    }
    if (message.method === "notifications/cancelled") {
      this.#asked.delete(params["requestId"]);
      const id = this.#toClient.get(params["requestId"]) ?? params["requestId"];
      return { ...message, params: { ...params, requestId: id } };
    }
    const mine = this.#toClient.get(params["_meta"]?.[SUBSCRIPTION]);
    if (mine === undefined) return message;
    return { ...message, params: { ...params, _meta: { ...params["_meta"], [SUBSCRIPTION]: mine } } };
  }
}

/** Member of `_meta` that holds the schema of a question, in the page only. */
const SCHEMA = "mcp-ws-ide/schema";

/** A message whose questions have an empty schema, since the SDK refuses those with a schema that MCP does not allow. */
function askable(message: Message): Message {
  const { method, params, result } = message;
  const open = (asked: any): any => (isObject(asked) && asked["requestedSchema"] !== undefined ? { ...asked, requestedSchema: { type: "object", properties: {} }, _meta: { ...(asked["_meta"] as object), [SCHEMA]: asked["requestedSchema"] } } : asked);
  if (method === "elicitation/create") return { ...message, params: open(params) };
  const asked = result?.["inputRequests"];
  if (!isObject(asked)) return message;
  const inputRequests = Object.fromEntries(Object.entries(asked).map(([name, one]: [string, any]) => [name, one?.method === "elicitation/create" ? { ...one, params: open(one.params) } : one]));
  return { ...message, result: { ...result, inputRequests } };
}

/** The schema of a question as the server sent it. */
export function schemaOfQuestion(params: any): any {
  return params?._meta?.[SCHEMA] ?? params?.requestedSchema ?? {};
}

function reply(message: Message): Message {
  return { jsonrpc: "2.0", id: message.id } as Message;
}

/** A message without the key of its call, and that key. */
function withoutCall(message: Message): { key: string | undefined; rest: Message } {
  const meta = message.params?.["_meta"] as Record<string, unknown> | undefined;
  const key = meta?.[CALL];
  if (meta === undefined || typeof key !== "string") return { key: undefined, rest: message };
  const { [CALL]: _, ...others } = meta;
  const { _meta, ...params } = message.params as Record<string, unknown>;
  return { key, rest: { ...message, params: Object.keys(others).length > 0 ? { ...params, _meta: others } : params } };
}

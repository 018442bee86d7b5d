/**
 * One server as a client of it: the official SDK over a transport of ours.
 *
 * Owns the client, what it listed, calls, questions, log. Knows nothing of how any of it looks.
 */

import {
  Client,
  LOG_LEVEL_META_KEY,
  StreamableHTTPClientTransport,
  type LoggingLevel,
  type McpSubscription,
  type Prompt,
  type Resource,
  type ResourceTemplateType,
  type Root,
  type Tool,
} from "@modelcontextprotocol/client";
import { signal, type Signal } from "@preact/signals";
import { NegotiatingTransport, type NegotiatedSnapshot, type TransportName, type TransportState } from "../../../src/index.js";
import { announce } from "../announce.js";
import type { Json } from "../form/schema.js";
import { Call, type CallKind, type Progress, type SavedCall } from "./calls.js";
import { refusesAnswer, remarkOn, usable } from "./lenient.js";
import { Questions } from "./questions.js";
import { endpointOf, MODERN, type Target } from "./target.js";
import { CALL, Wire, type WireSnapshot } from "./wire.js";

/** Milliseconds of the longest timer: a call is over when the user says so, or the server. */
const NO_TIMEOUT = 2 ** 31 - 1;
/** Milliseconds for the handshake and for lists. */
const PATIENCE = 60_000;
/** Milliseconds between two attempts to come back, at most: somebody looks at the page, and waits. */
const MOST_DELAY = 10_000;
const MOST_CALLS = 50;
const MOST_ENTRIES = 500;

export type LinkState =
  | { readonly kind: "idle" }
  | { readonly kind: "connecting"; readonly words: string }
  /** `doubted`: the link may be dead, and the gateway was asked. */
  | { readonly kind: "connected"; readonly resumed: boolean; readonly doubted: boolean }
  | { readonly kind: "reconnecting"; readonly attempt: number; readonly at: number; readonly reason: string }
  | { readonly kind: "closed"; readonly code: number; readonly words: string; readonly wanted: boolean; readonly refused: boolean };

export interface Info {
  readonly name: string;
  readonly version: string;
  readonly protocol: string;
  readonly era: "modern" | "legacy";
  readonly capabilities: Record<string, any>;
  readonly instructions: string;
  readonly transport: TransportName;
  readonly refused: Readonly<Partial<Record<TransportName, string>>>;
}

/** A list of the server's; undefined until it was asked for. */
export interface Listed<T> {
  readonly items: readonly T[] | undefined;
  readonly error: string;
}

export interface Entry {
  readonly number: number;
  readonly time: number;
  readonly kind: "log" | "change" | "link" | "error";
  readonly level: string;
  readonly words: string;
  readonly data?: unknown;
}

/** What was typed for a tool: a value, or a text that is no object yet. */
export interface Draft {
  readonly value: Json;
  readonly text: string | undefined;
}

/** What is kept of a connection over a reload. */
export interface SavedConnection {
  readonly version: 1;
  readonly target: Target;
  readonly session: NegotiatedSnapshot;
  readonly wire: WireSnapshot;
  readonly discover: unknown;
  readonly calls: readonly SavedCall[];
  readonly watched: readonly string[];
  readonly level: string;
  readonly roots: readonly Root[];
  readonly drafts: readonly (readonly [string, Draft])[];
}

const NOTHING: Listed<never> = { items: undefined, error: "" };
export type ListName = "tools" | "resources" | "templates" | "prompts";

const LISTS = {
  tools: { method: "tools/list", member: "tools", capability: "tools", key: "name" },
  resources: { method: "resources/list", member: "resources", capability: "resources", key: "uri" },
  templates: { method: "resources/templates/list", member: "resourceTemplates", capability: "resources", key: "uriTemplate" },
  prompts: { method: "prompts/list", member: "prompts", capability: "prompts", key: "name" },
} as const;
type ListMethod = (typeof LISTS)[ListName]["method"];
const MOST_PAGES = 64;
const RESULTS = { tool: "CallToolResult", prompt: "GetPromptResult", resource: "ReadResourceResult" } as const;

function newKey(): string {
  return crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
}

export class Connection {
  readonly state: Signal<LinkState> = signal({ kind: "idle" });
  readonly info: Signal<Info | undefined> = signal(undefined);
  readonly tools: Signal<Listed<Tool>> = signal(NOTHING);
  readonly resources: Signal<Listed<Resource>> = signal(NOTHING);
  readonly templates: Signal<Listed<ResourceTemplateType>> = signal(NOTHING);
  readonly prompts: Signal<Listed<Prompt>> = signal(NOTHING);
  readonly calls: Signal<readonly Call[]> = signal([]);
  readonly entries: Signal<readonly Entry[]> = signal([]);
  readonly droppedEntries = signal(0);
  readonly questions = new Questions();
  readonly roots: Signal<readonly Root[]> = signal([]);
  /** Least level of log messages that is asked for; empty: none is asked for, and what comes is up to the era. */
  readonly level = signal("");
  /** Resources that are watched, with the number of their updates. */
  readonly watched: Signal<ReadonlyMap<string, number>> = signal(new Map());
  readonly session = signal("");
  /** What was typed for tools, by their names; kept over a reload. */
  readonly drafts = new Map<string, Draft>();
  #client: Client | undefined;
  #transport: NegotiatingTransport | undefined;
  #wire: Wire | undefined;
  #listening: McpSubscription | undefined;
  #numbers = 0;
  #epoch = 0;

  constructor(public target: Target) {}

  get name(): string {
    return this.target.name;
  }

  // --- connecting -------------------------------------------------------------------------------

  /**
   * Connect, or go on with what was saved; where that is over, anew.
   *
   * @param token only for this connection; it is not kept anywhere.
   */
  async connect(saved?: SavedConnection, token?: string): Promise<void> {
    this.#epoch += 1;
    const mine = this.#epoch;
    this.#forgetLists();
    this.state.value = { kind: "connecting", words: saved ? "resuming" : "connecting" };
    for (const [name, draft] of saved?.drafts ?? []) this.drafts.set(name, draft);
    try {
      await this.#open(mine, saved, token);
    } catch (error) {
      if (mine !== this.#epoch) return;
      if (saved === undefined) return this.#failed(error);
      this.#loseCalls(saved, wordsOf(error));
      await this.connect(undefined, token);
    }
  }

  async #open(mine: number, saved: SavedConnection | undefined, token: string | undefined): Promise<void> {
    const transport = new NegotiatingTransport(endpointOf(this.target), {
      transports: this.target.transports,
      streamableHttp: StreamableHTTPClientTransport,
      reconnect: { maxDelay: MOST_DELAY },
      ...(token ? { token } : {}),
      ...(saved ? { resume: saved.session } : {}),
    });
    const wire = new Wire(transport, saved?.wire);
    this.#transport = transport;
    this.#wire = wire;
    transport.addEventListener("state", ({ state }) => mine === this.#epoch && this.#link(state));
    transport.addEventListener("doubt", ({ doubted }) => mine === this.#epoch && this.#doubted(doubted));
    transport.addEventListener("gap", ({ dropped }) => this.note("link", `${dropped} progress or log messages were dropped while the link was down`));
    const client = this.#newClient(wire);
    if (saved?.discover) await client.connect(wire, { prior: { kind: "modern", discover: saved.discover as any }, timeout: PATIENCE });
    else await client.connect(wire, { timeout: PATIENCE });
    if (mine !== this.#epoch) return void client.close();
    this.#client = client;
    this.#greeted(client, transport, saved !== undefined);
    if (saved) this.#goOn(saved, wire);
    await this.listAll();
    void this.#listen();
  }

  #newClient(wire: Wire): Client {
    const { era } = this.target;
    const versionNegotiation = { mode: era === "modern" ? { pin: MODERN } : era } as const;
    const capabilities = { elicitation: { form: {}, url: {} }, sampling: {}, roots: { listChanged: true } };
    const client = new Client({ name: "mcp-ws-ide page", version: "1" }, { capabilities, versionNegotiation, inputRequired: { maxRounds: 100 } });
    client.onerror = (error) => this.note("error", error.message);
    client.onclose = () => client === this.#client && this.#closed();
    client.setRequestHandler("roots/list", () => ({ roots: [...this.roots.peek()] }));
    client.setRequestHandler("elicitation/create", ({ params }, { mcpReq }) => {
      const kind = params.mode === "url" ? "url" : "form";
      return this.#asked(kind, params, mcpReq.signal);
    });
    client.setRequestHandler("sampling/createMessage", ({ params }, { mcpReq }) => this.#asked("sampling", params, mcpReq.signal));
    client.setNotificationHandler("notifications/message", ({ params }) => this.note("log", params.logger ?? "", params.data, params.level));
    client.setNotificationHandler("notifications/tools/list_changed", () => this.#changed("tools"));
    client.setNotificationHandler("notifications/prompts/list_changed", () => this.#changed("prompts"));
    client.setNotificationHandler("notifications/resources/list_changed", () => this.#changed("resources"));
    client.setNotificationHandler("notifications/resources/updated", ({ params }) => this.#updated(params.uri));
    client.fallbackNotificationHandler = async (notification) => this.note("change", notification.method, notification.params);
    void wire;
    return client;
  }

  #asked(kind: "form" | "url" | "sampling", params: unknown, given: AbortSignal): Promise<any> {
    announce(`${this.name} asks ${kind === "sampling" ? "for an answer of a model" : "you something"}`);
    return this.questions.ask(kind, params, given);
  }

  #link(state: TransportState): void {
    if (state.kind === "open") {
      this.session.value = state.session;
      if (state.resumed) this.note("link", `resumed, ${state.replayed} messages sent again`);
      if (this.#client === undefined) this.state.value = { kind: "connecting", words: "shaking hands" };
      else if (state.resumed) this.#connected(true);
      else this.#begunAnew();
    } else if (state.kind === "reconnecting") {
      const { attempt, delay, reason } = state;
      if (attempt === 1) this.note("link", `the link is lost: ${reason}`);
      this.state.value = { kind: "reconnecting", attempt, at: Date.now() + delay, reason };
    } else if (state.kind === "closed") {
      const refused = ["Unauthorized"].includes(state.error?.name ?? "") || state.code === 4401 || state.code === 4403;
      this.#end({ kind: "closed", code: state.code, words: state.reason, wanted: state.error === undefined, refused });
    }
  }

  #doubted(doubted: boolean): void {
    const state = this.state.peek();
    if (state.kind === "connected") this.state.value = { ...state, doubted };
  }

  /** The session was lost, and the client goes on in a new one, which knows nothing of what the old one was told. */
  #begunAnew(): void {
    this.note("link", "the session before is lost; this is a new one");
    this.#connected(false);
    void this.listAll().then(() => this.#listen());
  }

  #greeted(client: Client, transport: NegotiatingTransport, resumed: boolean): void {
    const server = client.getServerVersion();
    this.info.value = {
      name: server?.title || server?.name || "",
      version: server?.version ?? "",
      protocol: client.getNegotiatedProtocolVersion() ?? "",
      era: client.getProtocolEra() ?? "legacy",
      capabilities: client.getServerCapabilities() ?? {},
      instructions: client.getInstructions() ?? "",
      transport: transport.negotiated?.transport ?? "http",
      refused: transport.negotiated?.refused ?? {},
    };
    this.#connected(resumed);
  }

  #connected(resumed: boolean): void {
    this.state.value = { kind: "connected", resumed, doubted: false };
    announce(`${resumed ? "connected again" : "connected"} to ${this.name}`);
  }

  #failed(error: unknown): void {
    const state = this.state.peek();
    this.#client = undefined;
    if (state.kind === "closed" && !state.wanted) return this.#end({ ...state, words: state.words || wordsOf(error) });
    const refused = (error as Error | undefined)?.name === "Unauthorized";
    this.#end({ kind: "closed", code: 1006, words: wordsOf(error), wanted: false, refused });
    this.#epoch += 1; // what the transport says of being closed is no news
    void this.#transport?.close();
  }

  #closed(): void {
    if (this.state.peek().kind !== "closed") this.#end({ kind: "closed", code: 1006, words: "the connection has ended", wanted: false, refused: false });
  }

  #end(state: LinkState & { kind: "closed" }): void {
    this.state.value = state;
    this.#client = undefined;
    this.#listening = undefined;
    this.questions.clear();
    this.note("link", `closed (${state.code}) ${state.words}`.trim());
    announce(`${this.name} is closed: ${state.words || state.code}`);
  }

  /** End the session. */
  async disconnect(): Promise<void> {
    const client = this.#client;
    this.#epoch += 1; // what the transport says from here on is no news
    this.#end({ kind: "closed", code: 1000, words: "", wanted: true, refused: false });
    if (client === undefined) await this.#transport?.close();
    else await client.close();
  }

  /** Try at once instead of waiting for the next attempt. */
  tryNow(): void {
    this.#transport?.active?.tryNow();
  }

  // --- over a reload ----------------------------------------------------------------------------

  /** Leave the session to the next load of the page; undefined where it cannot go on. */
  suspend(): SavedConnection | undefined {
    const wire = this.#wire;
    const client = this.#client;
    if (wire === undefined || client === undefined) return undefined;
    const running = this.calls.peek().filter((call) => call.running);
    const kept = wire.snapshot(new Set(running.map(({ key }) => key)));
    const discover = client.getDiscoverResult();
    if (discover === undefined && kept.initialized === undefined) return undefined;
    const session = this.#transport?.suspend();
    if (session === undefined) return undefined;
    return {
      version: 1,
      target: this.target,
      session,
      wire: kept,
      discover,
      calls: running.map((call) => call.saved()),
      watched: [...this.watched.peek().keys()],
      level: this.level.peek(),
      roots: this.roots.peek(),
      drafts: [...this.drafts],
    };
  }

  #goOn(saved: SavedConnection, wire: Wire): void {
    this.roots.value = saved.roots;
    this.level.value = saved.level;
    this.watched.value = new Map(saved.watched.map((uri) => [uri, 0]));
    for (const call of saved.calls) void this.#run(new Call(call.key, call.kind, call.name, call.args, call));
    wire.askAgain();
  }

  #loseCalls(saved: SavedConnection, words: string): void {
    for (const { key, kind, name, args, ...rest } of saved.calls) {
      const call = new Call(key, kind, name, args, { key, kind, name, args, ...rest });
      call.end({ kind: "failed", words: `lost at the reload, and may have run: ${words}` });
      this.#add(call);
    }
  }

  // --- lists ------------------------------------------------------------------------------------

  #forgetLists(): void {
    this.info.value = undefined;
    for (const list of [this.tools, this.resources, this.templates, this.prompts]) list.value = NOTHING;
  }

  async listAll(): Promise<void> {
    await Promise.all([this.list("tools"), this.list("resources"), this.list("templates"), this.list("prompts")]);
  }

  /** Ask for a list anew. */
  async list(name: ListName): Promise<void> {
    const client = this.#client;
    if (client === undefined) return;
    const list = this[name] as Signal<Listed<any>>;
    try {
      list.value = await this.#pages(client, name);
    } catch (error) {
      if (client === this.#client) list.value = { items: list.peek().items ?? [], error: wordsOf(error) };
    }
  }

  /** The whole list, item by item as it came: a faulty one does not hide the others. */
  async #pages(client: Client, name: ListName): Promise<Listed<any>> {
    const { method, member, capability, key } = LISTS[name];
    const items: unknown[] = [];
    if (!this.info.peek()?.capabilities[capability]) return { items, error: "" };
    let cursor: string | undefined;
    for (let page = 0; page < MOST_PAGES; page += 1) {
      const answer = await this.#page(client, method, cursor);
      if (!Array.isArray(answer?.[member])) throw new Error(`The answer to ${method} holds no list.`);
      items.push(...answer[member]);
      if (typeof answer.nextCursor !== "string") return usable(items, name, key);
      cursor = answer.nextCursor;
    }
    return { ...usable(items, name, key), error: `These are the first ${MOST_PAGES} pages; the server names further ones.` };
  }

  async #page(client: Client, method: ListMethod, cursor: string | undefined): Promise<any> {
    const wire = this.#wire;
    const key = newKey();
    const params = { ...(cursor === undefined ? {} : { cursor }), _meta: { [CALL]: key } };
    try {
      const result = await client.request({ method, params }, { timeout: PATIENCE });
      return wire?.takeAnswer(key) ?? result;
    } catch (error) {
      const answer = wire?.takeAnswer(key);
      if (answer === undefined || !refusesAnswer(error)) throw error;
      return answer;
    }
  }

  #changed(name: "tools" | "resources" | "prompts"): void {
    this.note("change", `the list of ${name} has changed`);
    void this.list(name);
    if (name === "resources") void this.list("templates");
  }

  // --- calls ------------------------------------------------------------------------------------

  /** Start a call; it ends by itself, whatever becomes of it. */
  call(kind: CallKind, name: string, args: any): Call {
    const call = new Call(newKey(), kind, name, args);
    void this.#run(call);
    return call;
  }

  #add(call: Call): void {
    const all = [call, ...this.calls.peek()];
    const old = all.slice(MOST_CALLS).filter((done) => !done.running);
    this.calls.value = all.filter((one) => !old.includes(one));
  }

  async #run(call: Call): Promise<void> {
    this.#add(call);
    const client = this.#client;
    const wire = this.#wire;
    if (client === undefined) return call.end({ kind: "failed", words: "not connected" });
    try {
      const result = await this.#request(client, call);
      call.end({ kind: "done", result });
      announce(`${call.name}: ${result.isError ? "the tool reports an error" : "done"}`);
    } catch (error) {
      const answer = wire?.takeAnswer(call.key);
      if (answer !== undefined && refusesAnswer(error)) {
        call.end({ kind: "done", result: answer, remark: remarkOn(error as Error, RESULTS[call.kind], answer) });
        return announce(`${call.name}: the answer is not as MCP has it`);
      }
      call.end({ kind: "failed", words: failureWords(error), data: (error as { data?: unknown }).data });
      if (call.state.peek().kind === "failed") announce(`${call.name}: failed`);
    } finally {
      wire?.takeAnswer(call.key);
    }
  }

  #request(client: Client, call: Call): Promise<any> {
    const level = this.level.peek();
    const modern = this.info.peek()?.era === "modern";
    const _meta = { [CALL]: call.key, ...(level && modern ? { [LOG_LEVEL_META_KEY]: level } : {}) };
    const options = {
      signal: call.stop.signal,
      timeout: NO_TIMEOUT,
      onprogress: (progress: Progress) => {
        // The SDK counts rounds of questions as progress; the questions themselves are to be seen.
        if (!progress.message?.startsWith("Fulfilling input required by ")) call.progress.value = progress;
      },
    };
    if (call.kind === "prompt") return client.getPrompt({ name: call.name, arguments: call.args, _meta }, options);
    if (call.kind === "resource") return client.readResource({ uri: call.name, _meta }, { ...options, cacheMode: "bypass" });
    const tool = this.tools.peek().items?.find(({ name }) => name === call.name);
    // Without its output schema: what does not fit it is shown with a remark, not withheld.
    const { outputSchema: _, ...toolDefinition } = tool ?? { name: call.name, inputSchema: { type: "object" } as const };
    return client.callTool({ name: call.name, arguments: call.args, _meta }, { ...options, toolDefinition });
  }

  /** Forget the calls that are over. */
  clearCalls(): void {
    this.calls.value = this.calls.peek().filter((call) => call.running);
  }

  /** Suggestions for an argument; none where the server has none. */
  async complete(ref: { type: "ref/prompt"; name: string } | { type: "ref/resource"; uri: string }, name: string, value: string, others: Record<string, string>): Promise<readonly string[]> {
    if (!this.info.peek()?.capabilities["completions"] || this.#client === undefined) return [];
    try {
      const context = Object.keys(others).length > 0 ? { context: { arguments: others } } : {};
      const answer = await this.#client.complete({ ref, argument: { name, value }, ...context }, { timeout: 5_000 });
      return answer.completion.values;
    } catch {
      return [];
    }
  }

  // --- the rest ---------------------------------------------------------------------------------

  /** Milliseconds until the server answered. */
  async ping(): Promise<number> {
    const began = performance.now();
    if (this.info.peek()?.era === "modern") await this.#client?.discover({ timeout: PATIENCE });
    else await this.#client?.ping({ timeout: PATIENCE });
    return performance.now() - began;
  }

  async setLevel(level: string): Promise<void> {
    this.level.value = level;
    if (level === "" || this.info.peek()?.era !== "legacy") return;
    try {
      await this.#client?.setLoggingLevel(level as LoggingLevel, { timeout: PATIENCE });
    } catch (error) {
      this.note("error", `the log level was not accepted: ${wordsOf(error)}`);
    }
  }

  async setRoots(roots: readonly Root[]): Promise<void> {
    this.roots.value = roots;
    if (this.info.peek()?.era === "legacy") await this.#client?.sendRootsListChanged().catch((error: unknown) => this.note("error", wordsOf(error)));
  }

  /** Watch a resource, or stop. */
  async watch(uri: string, on: boolean): Promise<void> {
    const watched = new Map(this.watched.peek());
    if (on) watched.set(uri, 0);
    else watched.delete(uri);
    this.watched.value = watched;
    try {
      if (this.info.peek()?.era === "modern") await this.#listen();
      else if (on) await this.#client?.subscribeResource({ uri }, { timeout: PATIENCE });
      else await this.#client?.unsubscribeResource({ uri }, { timeout: PATIENCE });
    } catch (error) {
      this.note("error", `${uri} cannot be watched: ${wordsOf(error)}`);
      watched.delete(uri);
      this.watched.value = new Map(watched);
    }
  }

  /** In the modern era changes are told to those who listen, for what they name. */
  async #listen(): Promise<void> {
    const info = this.info.peek();
    const client = this.#client;
    if (info?.era !== "modern" || client === undefined) return;
    const { tools, prompts, resources } = info.capabilities;
    const uris = [...this.watched.peek().keys()];
    const filter = {
      ...(tools?.listChanged && { toolsListChanged: true }),
      ...(prompts?.listChanged && { promptsListChanged: true }),
      ...(resources?.listChanged && { resourcesListChanged: true }),
      ...(uris.length > 0 && { resourceSubscriptions: uris }),
    };
    const before = this.#listening;
    this.#listening = undefined;
    if (Object.keys(filter).length > 0) {
      try {
        const listening = await client.listen(filter, { timeout: PATIENCE });
        this.#listening = listening;
        void listening.closed.then((cause) => cause !== "local" && listening === this.#listening && this.note("error", "the server stopped telling changes"));
      } catch (error) {
        if (client === this.#client) this.note("error", `changes are not told: ${wordsOf(error)}`);
      }
    }
    await before?.close();
  }

  #updated(uri: string): void {
    const watched = new Map(this.watched.peek());
    watched.set(uri, (watched.get(uri) ?? 0) + 1);
    this.watched.value = watched;
    this.note("change", `${uri} was updated`);
  }

  note(kind: Entry["kind"], words: string, data?: unknown, level = ""): void {
    this.#numbers += 1;
    const all = [...this.entries.peek(), { number: this.#numbers, time: Date.now(), kind, level, words, data }];
    if (all.length > MOST_ENTRIES) this.droppedEntries.value += all.length - MOST_ENTRIES;
    this.entries.value = all.slice(-MOST_ENTRIES);
  }
}

export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}

function failureWords(error: unknown): string {
  const { code } = error as { code?: unknown };
  const words = wordsOf(error);
  return typeof code === "number" ? `${words} (${code})` : words;
}

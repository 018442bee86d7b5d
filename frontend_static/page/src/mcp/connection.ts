/**
 * A connection to one server: the official MCP SDK's client over a transport of ours, kept alive over reloads.
 *
 * Owns the client and its state. Lists, calls, subscriptions, questions and the log are parts with modules of their own.
 * Knows nothing of how any of it looks.
 */

import { Client, StreamableHTTPClientTransport, type LoggingLevel, type Root } from "@modelcontextprotocol/client";
import { signal, type Signal } from "@preact/signals";
import { NegotiatingTransport, Unauthorized, type NegotiatedSnapshot, type TransportState } from "../../../src/index.js";
import { announce } from "../announce.js";
import { reportNoticed } from "../api.js";
import { APPS, APP_TYPE } from "../apps/resource.js";
import { Recent } from "../form/recent.js";
import type { Json } from "../form/schema.js";
import type { SavedCall } from "./call.js";
import { Calls } from "./calls.js";
import { closing, NEVER_OPEN } from "./closing.js";
import { Frames } from "./frames.js";
import { Lists } from "./lists.js";
import { Log } from "./log.js";
import { messageOf, REQUEST_TIMEOUT, type Info, type Peer } from "./peer.js";
import { Questions } from "./questions.js";
import { Subscriptions } from "./subscriptions.js";
import { TASKS } from "./tasks.js";
import { endpointOf, isOwn, MODERN, type Era, type Target } from "./target.js";
import { Wire, type WireSnapshot } from "./wire.js";

/** Milliseconds between two attempts to reconnect, at most. Shorter than the default: the user is waiting. */
const MAX_RECONNECT_DELAY = 10_000;
/** Milliseconds for suggestions of an argument. */
const COMPLETE_TIMEOUT = 5_000;
const CAPABILITIES = { elicitation: { form: {}, url: {} }, sampling: {}, roots: { listChanged: true }, extensions: { [TASKS]: {}, [APPS]: { mimeTypes: [APP_TYPE] } } };

export type LinkState =
  | { readonly kind: "idle" }
  | { readonly kind: "connecting"; readonly step: string }
  /** `doubted`: the link may be dead, and the gateway was asked. */
  | { readonly kind: "connected"; readonly resumed: boolean; readonly doubted: boolean }
  /** `at`: time of the next attempt, in milliseconds of `Date.now()`. */
  | { readonly kind: "reconnecting"; readonly attempt: number; readonly at: number; readonly reason: string }
  /** `wanted`: the user disconnected. `refused`: the credential was refused. */
  | { readonly kind: "closed"; readonly code: number; readonly reason: string; readonly wanted: boolean; readonly refused: boolean };

/** Arguments typed for a tool: a value, or a text that is not a JSON object yet. */
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
  readonly recent: readonly (readonly [string, readonly Json[]])[];
}

type Reference = { type: "ref/prompt"; name: string } | { type: "ref/resource"; uri: string };

export class Connection implements Peer {
  readonly state: Signal<LinkState> = signal({ kind: "idle" });
  readonly info: Signal<Info | undefined> = signal(undefined);
  readonly log = new Log();
  readonly frames = new Frames();
  readonly lists = new Lists(this);
  /** Minimum level of the log messages requested; empty: none are requested, and the server decides (handshake era). */
  readonly level = signal("");
  readonly calls = new Calls(this, this.lists, this.level, (method, params, given) => this.#answer(method, params, given));
  readonly subscriptions = new Subscriptions(this);
  readonly questions = new Questions();
  readonly roots: Signal<readonly Root[]> = signal([]);
  readonly session = signal("");
  /** Arguments typed so far, by tool, prompt or template; kept over a reload. */
  readonly drafts = new Map<string, Draft>();
  /** Values of earlier calls, by the name of their argument; kept over a reload. */
  recent = new Recent();
  #client: Client | undefined;
  #transport: NegotiatingTransport | undefined;
  #wire: Wire | undefined;
  /** A session that is not connected: its credential was refused, or it is being resumed. */
  #kept: SavedConnection | undefined;
  /** Counts attempts to connect; events of earlier ones are ignored. */
  #epoch = 0;

  constructor(public target: Target) {}

  get name(): string {
    return this.target.name;
  }

  /** Whether the credential was refused. */
  get refused(): boolean {
    const state = this.state.peek();
    return state.kind === "closed" && state.refused;
  }

  get client(): Client | undefined {
    return this.#client;
  }

  get wire(): Wire | undefined {
    return this.#wire;
  }

  // --- connecting -------------------------------------------------------------------------------

  /**
   * Connect, or resume a saved session; where that is gone, open a new one.
   *
   * @param saved without it, the session whose credential was refused, if any.
   * @param token for this connection only; it is not stored.
   */
  async connect(saved: SavedConnection | undefined = this.#kept, token?: string): Promise<void> {
    this.#kept = saved;
    this.#epoch += 1;
    const mine = this.#epoch;
    this.info.value = undefined;
    this.lists.forget();
    this.state.value = { kind: "connecting", step: saved ? "resuming" : "connecting" };
    for (const [name, draft] of saved?.drafts ?? []) this.drafts.set(name, draft);
    if (saved !== undefined) this.recent = new Recent(saved.recent);
    try {
      await this.#open(mine, saved, token);
    } catch (error) {
      if (mine !== this.#epoch) return;
      if (!(error instanceof Unauthorized)) this.#kept = undefined;
      if (saved === undefined || this.#kept) return this.#failed(error);
      for (const call of saved.calls) this.calls.lost(call, messageOf(error));
      await this.connect(undefined, token);
    }
  }

  async #open(mine: number, saved: SavedConnection | undefined, token: string | undefined): Promise<void> {
    const transport = this.#newTransport(mine, saved, token);
    const wire = new Wire(transport, saved?.wire);
    this.#transport = transport;
    this.#wire = wire;
    const era = eraOf(this.target, saved);
    wire.declinesBridge = era === "auto" && isOwn(this.target);
    wire.onframe = (direction, message) => this.frames.add(direction, message);
    const client = this.#newClient(era);
    if (saved?.discover) await client.connect(wire, { prior: { kind: "modern", discover: saved.discover as any }, timeout: REQUEST_TIMEOUT });
    else await client.connect(wire, { timeout: REQUEST_TIMEOUT });
    wire.declinesBridge = false;
    if (mine !== this.#epoch) return void client.close();
    this.#client = client;
    this.#kept = undefined;
    this.info.value = infoOf(client, transport);
    this.#connected(saved !== undefined);
    if (saved) this.#restore(saved, wire);
    await this.lists.loadAll();
    void this.subscriptions.listen();
  }

  #newTransport(mine: number, saved: SavedConnection | undefined, token: string | undefined): NegotiatingTransport {
    const transport = new NegotiatingTransport(endpointOf(this.target), {
      transports: this.target.transports,
      streamableHttp: StreamableHTTPClientTransport,
      reconnect: { maxDelay: MAX_RECONNECT_DELAY },
      ...(token ? { token } : {}),
      ...(saved ? { resume: saved.session } : {}),
    });
    transport.addEventListener("state", ({ state }) => mine === this.#epoch && this.#followLink(state));
    transport.addEventListener("doubt", ({ doubted }) => mine === this.#epoch && this.#followDoubt(doubted));
    transport.addEventListener("unauthorized", ({ error }) => mine === this.#epoch && this.#keep(error));
    transport.addEventListener("negotiated", ({ negotiated }) => this.target.url === "" && reportNoticed(negotiated.noticed));
    transport.addEventListener("gap", ({ dropped }) => this.log.add("link", `${dropped} progress or log messages were dropped while the link was down`));
    return transport;
  }

  #newClient(era: Era): Client {
    const versionNegotiation = { mode: era === "modern" ? { pin: MODERN } : era } as const;
    const client = new Client({ name: "mcp-ws-ide page", version: "1" }, { capabilities: CAPABILITIES, versionNegotiation, inputRequired: { maxRounds: 100 } });
    client.onerror = (error) => this.log.add("error", error.message);
    client.onclose = () => client === this.#client && this.#closed();
    client.setRequestHandler("roots/list", () => ({ roots: [...this.roots.peek()] }));
    client.setRequestHandler("elicitation/create", ({ params }, { mcpReq }) => this.#ask(params.mode === "url" ? "url" : "form", params, mcpReq.signal));
    client.setRequestHandler("sampling/createMessage", ({ params }, { mcpReq }) => this.#ask("sampling", params, mcpReq.signal));
    client.setNotificationHandler("notifications/message", ({ params }) => this.log.add("log", params.logger ?? "", params.data, params.level));
    client.setNotificationHandler("notifications/tools/list_changed", () => this.lists.changed("tools"));
    client.setNotificationHandler("notifications/prompts/list_changed", () => this.lists.changed("prompts"));
    client.setNotificationHandler("notifications/resources/list_changed", () => this.lists.changed("resources"));
    client.setNotificationHandler("notifications/resources/updated", ({ params }) => this.subscriptions.updated(params.uri));
    client.fallbackNotificationHandler = async (notification) => this.log.add("change", notification.method, notification.params);
    return client;
  }

  /** Answer a question that a task has, as the handlers of requests would. */
  async #answer(method: string, params: any, given: AbortSignal): Promise<unknown> {
    if (method === "roots/list") return { roots: [...this.roots.peek()] };
    if (method === "sampling/createMessage") return this.#ask("sampling", params, given);
    if (method === "elicitation/create") return this.#ask(params?.mode === "url" ? "url" : "form", params, given);
    throw new Error(`The task asks for ${method}, which this page does not answer.`);
  }

  #ask(kind: "form" | "url" | "sampling", params: unknown, given: AbortSignal): Promise<any> {
    announce(kind === "sampling" ? `${this.name} requests a model response` : `${this.name} asks you a question`);
    return this.questions.ask(kind, params, given);
  }

  // --- state ------------------------------------------------------------------------------------

  #followLink(state: TransportState): void {
    if (state.kind === "open") {
      this.session.value = state.session;
      if (state.resumed) this.log.add("link", `resumed; ${state.replayed} messages were sent again`);
      if (this.#client === undefined) this.state.value = { kind: "connecting", step: "initializing" };
      else if (state.resumed) this.#connected(true);
      else this.#startedOver();
    } else if (state.kind === "reconnecting") {
      const { attempt, delay, reason } = state;
      if (attempt === 1) this.log.add("link", `the link was lost: ${reason}`);
      this.state.value = { kind: "reconnecting", attempt, at: Date.now() + delay, reason };
    } else if (state.kind === "closed") {
      const refused = state.error instanceof Unauthorized || state.code === 4401 || state.code === 4403;
      this.#end({ kind: "closed", code: state.code, reason: state.reason, wanted: state.error === undefined, refused });
    }
  }

  #followDoubt(doubted: boolean): void {
    const state = this.state.peek();
    if (state.kind === "connected") this.state.value = { ...state, doubted };
  }

  /** The session is gone, and the client continues in a new one, which has none of its subscriptions. */
  #startedOver(): void {
    this.log.add("link", "the previous session is gone; this is a new one");
    this.#connected(false);
    void this.lists.loadAll().then(() => this.subscriptions.listen());
  }

  #connected(resumed: boolean): void {
    this.state.value = { kind: "connected", resumed, doubted: false };
    announce(`${resumed ? "reconnected" : "connected"} to ${this.name}`);
  }

  #failed(error: unknown): void {
    const state = this.state.peek();
    this.#client = undefined;
    if (state.kind === "closed" && !state.wanted) return this.#end({ ...state, reason: state.reason || messageOf(error) });
    const refused = error instanceof Unauthorized;
    this.#end({ kind: "closed", code: NEVER_OPEN, reason: messageOf(error), wanted: false, refused });
    this.#epoch += 1; // ignore the transport's report that it was closed
    void this.#transport?.close();
  }

  #closed(): void {
    if (this.state.peek().kind !== "closed") this.#end({ kind: "closed", code: 1006, reason: "the connection has ended", wanted: false, refused: false });
  }

  #end(state: LinkState & { kind: "closed" }): void {
    this.state.value = state;
    this.#client = undefined;
    this.subscriptions.ended();
    this.questions.clear();
    this.log.add("link", [closing(state.code, ""), state.reason].filter(Boolean).join(": "));
    announce(`${this.name} is closed: ${state.reason || state.code}`);
  }

  /** End the session. */
  async disconnect(): Promise<void> {
    const client = this.#client;
    this.#kept = undefined;
    this.#epoch += 1; // ignore what the transport reports from here on
    this.#end({ kind: "closed", code: 1000, reason: "", wanted: true, refused: false });
    if (client === undefined) await this.#transport?.close();
    else await client.close();
  }

  /** Reconnect now instead of waiting for the next attempt. */
  tryNow(): void {
    this.#transport?.active?.tryNow();
  }

  // --- over a reload ----------------------------------------------------------------------------

  /** Leave the session to the next load of the page; undefined where it cannot be resumed. */
  suspend(): SavedConnection | undefined {
    if (this.#kept) return { ...this.#kept, session: this.#transport?.suspend() ?? this.#kept.session, drafts: [...this.drafts] };
    const wire = this.#wire;
    const client = this.#client;
    if (wire === undefined || client === undefined) return undefined;
    const { running } = this.calls;
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
      watched: [...this.subscriptions.watched.peek().keys()],
      level: this.level.peek(),
      roots: this.roots.peek(),
      drafts: [...this.drafts],
      recent: this.recent.saved(),
    };
  }

  /** Keep the session, with its calls, until the user has logged in or given another token. */
  #keep({ message }: Error): void {
    this.#kept = this.suspend();
    if (this.#kept === undefined) return; // the transport reports its end
    this.#epoch += 1;
    this.#end({ kind: "closed", code: 1006, reason: message, wanted: false, refused: true });
  }

  #restore(saved: SavedConnection, wire: Wire): void {
    this.roots.value = saved.roots;
    this.level.value = saved.level;
    this.subscriptions.watched.value = new Map(saved.watched.map((uri) => [uri, 0]));
    for (const call of saved.calls) this.calls.resume(call);
    wire.askAgain();
  }

  // --- single requests --------------------------------------------------------------------------

  /** Suggestions for an argument; none where the server has none. */
  async complete(ref: Reference, name: string, value: string, others: Record<string, string>): Promise<readonly string[]> {
    if (!this.info.peek()?.capabilities["completions"] || this.#client === undefined) return [];
    try {
      const context = Object.keys(others).length > 0 ? { context: { arguments: others } } : {};
      const answer = await this.#client.complete({ ref, argument: { name, value }, ...context }, { timeout: COMPLETE_TIMEOUT });
      return answer.completion.values;
    } catch {
      return [];
    }
  }

  /** Milliseconds until the server answered. */
  async ping(): Promise<number> {
    const began = performance.now();
    if (this.info.peek()?.era === "modern") await this.#client?.discover({ timeout: REQUEST_TIMEOUT });
    else await this.#client?.ping({ timeout: REQUEST_TIMEOUT });
    return performance.now() - began;
  }

  async setLevel(level: string): Promise<void> {
    this.level.value = level;
    if (level === "" || this.info.peek()?.era !== "legacy") return;
    try {
      await this.#client?.setLoggingLevel(level as LoggingLevel, { timeout: REQUEST_TIMEOUT });
    } catch (error) {
      this.log.add("error", `the server refused the log level: ${messageOf(error)}`);
    }
  }

  async setRoots(roots: readonly Root[]): Promise<void> {
    this.roots.value = roots;
    if (this.info.peek()?.era === "legacy") await this.#client?.sendRootsListChanged().catch((error: unknown) => this.log.add("error", messageOf(error)));
  }
}

/** The era to speak: that of a saved session, or what the user chose. */
function eraOf({ era }: Target, saved: SavedConnection | undefined): Era {
  if (saved === undefined) return era;
  return saved.discover ? "modern" : "legacy";
}

function infoOf(client: Client, transport: NegotiatingTransport): Info {
  const server = client.getServerVersion();
  return {
    name: server?.title || server?.name || "",
    version: server?.version ?? "",
    protocol: client.getNegotiatedProtocolVersion() ?? "",
    era: client.getProtocolEra() ?? "legacy",
    capabilities: client.getServerCapabilities() ?? {},
    instructions: client.getInstructions() ?? "",
    transport: transport.negotiated?.transport ?? "http",
    refused: transport.negotiated?.refused ?? {},
  };
}

/** The gateway's tap (docs/guides/inspector.md): a live feed of records over a WebSocket that reconnects without gaps. */

import { signal, type Signal } from "@preact/signals";
import { watchPage } from "../../src/page.js";
import { ApiError, baseUrl, rest } from "./api.js";

/** One record, as the gateway sends it; tests/vectors/tap_record.json holds both sides to one table. */
export interface TapRecord {
  readonly seq: number;
  /** Epoch seconds. */
  readonly time: number;
  /** Monotonic seconds. */
  readonly mono: number;
  readonly server: string;
  readonly session: string | null;
  readonly leg: "client" | "upstream" | null;
  readonly direction: "in" | "out" | null;
  readonly kind: string;
  readonly method: string | null;
  readonly id: unknown;
  readonly size: number;
  readonly raw: string | null;
  readonly truncated: boolean;
  readonly event: string | null;
  readonly detail: string | null;
  readonly drops: number;
  readonly origin_session: string | null;
  readonly origin_id: unknown;
  /** The gateway that observed it, if several share an engine. */
  readonly gateway?: string;
  readonly instance?: string;
  readonly from?: number | null;
  readonly to?: number | null;
  readonly count?: number | null;
}

export type TapState =
  | { readonly kind: "off" }
  | { readonly kind: "connecting" }
  | { readonly kind: "live" }
  /** `at`: time of the next attempt, in milliseconds of `Date.now()`. */
  | { readonly kind: "waiting"; readonly attempt: number; readonly at: number; readonly reason: string }
  | { readonly kind: "refused"; readonly reason: string };

const PROTOCOL = "mcp.tap.v1";
/** Milliseconds before the first reconnect; doubled with each attempt, up to MAX_DELAY. */
const FIRST_DELAY = 500;
const MAX_DELAY = 15_000;
/** Milliseconds that a connection may take to open: a network that drops packets would hold it for minutes. */
const OPEN_TIME = 15_000;
/** Milliseconds without a record after which the connection is replaced: a browser does not notice that a network has dropped it. */
const SILENCE = 60_000;
/** The same where the page or its network was away. */
const SILENCE_AWAY = 20_000;

export class Tap {
  readonly state: Signal<TapState> = signal({ kind: "off" });
  #query: Record<string, string>;
  #take: (lines: readonly string[]) => void;
  #link: WebSocket | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #opening: ReturnType<typeof setTimeout> | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;
  /** When something came last. */
  #heard = 0;
  #unwatch: (() => void) | undefined;
  #attempt = 0;
  #after = 0;
  #instance = "";
  #watchers = 0;

  /**
   * @param query filters of the feed (docs/guides/inspector.md, Filters).
   * @param take receives the records in order, one JSON object a line.
   */
  constructor(query: Record<string, string>, take: (lines: readonly string[]) => void) {
    this.#query = query;
    this.#take = take;
  }

  /** Id of the gateway instance that numbers the records. */
  get instance(): string {
    return this.#instance;
  }

  /** Watch until the returned function is called. The next watcher continues from there. */
  watch(): () => void {
    this.#watchers += 1;
    if (this.#watchers === 1) {
      this.#open();
      this.#unwatch = watchPage({ wake: () => this.#awake(), doubt: () => undefined, leave: () => undefined });
    }
    return () => {
      this.#watchers -= 1;
      if (this.#watchers === 0) this.#close();
    };
  }

  /** Reconnect now. */
  retry(): void {
    if (this.#link !== undefined || this.#watchers === 0) return;
    clearTimeout(this.#timer);
    this.#open();
  }

  #open(): void {
    const position = this.#instance ? { after: String(this.#after), instance: this.#instance } : {};
    const search = new URLSearchParams({ ...this.#query, ...position });
    const url = new URL(`${baseUrl}mcp-ws/api/tap?${search}`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    this.state.value = { kind: "connecting" };
    const link = new WebSocket(url, PROTOCOL);
    this.#link = link;
    clearTimeout(this.#opening);
    this.#opening = setTimeout(() => this.#late(link), OPEN_TIME);
    link.onmessage = ({ data }) => this.#received(String(data));
    link.onclose = ({ code, reason }) => {
      if (this.#link === link) void this.#lost(code, reason);
    };
  }

  /** Give up a connection that has not opened, unless it has ended since. */
  #late(link: WebSocket): void {
    if (this.#link !== link || this.state.peek().kind !== "connecting") return;
    this.#wait(`Jupyter has not answered for ${OPEN_TIME / 1_000} s`);
    link.close();
  }

  /** The page or its network is back. */
  #awake(): void {
    if (this.state.peek().kind === "waiting") this.retry();
    else if (Date.now() - this.#heard > SILENCE_AWAY) this.#replace();
  }

  /** Replace a connection that may be dead; what it has not delivered comes over the next one. */
  #replace(): void {
    if (this.state.peek().kind !== "live" || document.hidden) return;
    const link = this.#link;
    this.#link = undefined;
    link?.close(1000);
    this.#open();
  }

  #received(text: string): void {
    this.#heard = Date.now();
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#replace(), SILENCE);
    const lines = text.split("\n");
    const last = JSON.parse(lines.at(-1) ?? "{}") as TapRecord;
    if (last.event === "attached" && last.instance !== undefined) {
      this.#attempt = 0;
      this.#instance = last.instance;
      this.#after = last.seq;
      this.state.value = { kind: "live" };
      return;
    }
    this.#after = last.seq;
    this.#take(lines);
  }

  async #lost(code: number, reason: string): Promise<void> {
    const wasLive = this.state.peek().kind === "live";
    this.#link = undefined;
    const message = reason || (wasLive ? `the connection was lost (${code})` : await refusal());
    if (this.#watchers === 0 || this.#link !== undefined) return;
    if (message.startsWith(REFUSED)) {
      this.state.value = { kind: "refused", reason: message.slice(REFUSED.length) };
      return;
    }
    this.#wait(message);
  }

  /** Connect again later. */
  #wait(reason: string): void {
    this.#link = undefined;
    this.#attempt += 1;
    const delay = Math.min(FIRST_DELAY * 2 ** (this.#attempt - 1), MAX_DELAY) * (0.5 + Math.random() / 2);
    this.state.value = { kind: "waiting", attempt: this.#attempt, at: Date.now() + delay, reason };
    this.#timer = setTimeout(() => this.#open(), delay);
  }

  #close(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#opening);
    clearTimeout(this.#silence);
    this.#unwatch?.();
    const link = this.#link;
    this.#link = undefined;
    link?.close(1000);
    this.state.value = { kind: "off" };
  }
}

const REFUSED = "refused: ";

/** Why a handshake failed. A browser does not say; a plain request to the same URL gets the same refusal. */
async function refusal(): Promise<string> {
  try {
    await rest("tap");
  } catch (error) {
    if (error instanceof ApiError && [401, 403].includes(error.status)) return REFUSED + error.message;
    if (error instanceof ApiError && error.status === 0) return error.message;
  }
  return "the WebSocket was refused: see Servers for problems that proxies cause";
}

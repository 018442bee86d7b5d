/**
 * A resumable session as a transport of the MCP SDKs.
 *
 * Owns the link, the timers and the callbacks. What is sent when, and what a loss means, is decided by
 * {@link ClientEnd}; how a link is made, by an {@link Opener}.
 */

import { CloseCode, encodeControl, FINAL_CODES, isObject, LIMIT_EXCEEDED } from "./binding.js";
import { byteLength } from "./channel.js";
import { ConnectError, ConnectionLost, MessageTooLarge, SessionGone, Unauthorized, wordsOf } from "./errors.js";
import { wordsOfEnd, type Link, type LinkEnd, type Opener } from "./link.js";
import { Liveness, PING_INTERVAL } from "./liveness.js";
import { watchPage } from "./page.js";
import { delayBefore, policyOf, type ReconnectPolicy } from "./reconnect.js";
import { ClientEnd, isSnapshot, type LostAnswer, type Received, type SessionSnapshot } from "./resume.js";
import { DoubtEvent, GapEvent, StateEvent, TransportEventTarget, type TransportState } from "./states.js";

/** Longest time, in milliseconds, that received messages stay unacknowledged. */
const ACK_INTERVAL = 1_000;
/** Milliseconds between two looks at whether the other end still answers. */
const TICK = 1_000;
/** Milliseconds after a page woke within which a loss that comes to light is one that happened while it slept. */
const JUST_WOKEN = 10_000;
/** Milliseconds after which a link that knows no control frames has evidently carried something. */
const PROVEN_AFTER = 2 * PING_INTERVAL;
/** Milliseconds that closing waits for the other end. */
const CLOSE_TIMEOUT = 2_000;

export interface SessionOptions {
  /** How to come back after a loss; `false` never does, and asks for plain `mcp`. */
  readonly reconnect?: Partial<ReconnectPolicy> | false | undefined;
  /**
   * Milliseconds of silence after which the gateway is asked whether it is there, and that its answer may take.
   * Default 20,000. Needs a session that resumes: a page cannot see the Pings of WebSocket itself.
   */
  readonly heartbeat?: number | undefined;
  /** Go on with a session that another page left with `suspend()`, instead of opening one. Used by the first `start()`. */
  readonly resume?: SessionSnapshot | undefined;
  /** Told of each new state; the same as the event `state`. */
  readonly onState?: ((state: TransportState) => void) | undefined;
}

/** A message that waits for room in the window. */
interface Parked {
  readonly text: string;
  readonly message: unknown;
  readonly sent: () => void;
  readonly failed: (error: Error) => void;
}

/** Something to hand on; `message` where it is one. */
interface Step {
  readonly message?: unknown;
  readonly run: () => void;
}

type Greeting = "opened" | "resumed" | "gone";

/**
 * Implements `Transport` of `@modelcontextprotocol/client` 2.x and of `@modelcontextprotocol/sdk` 1.x.
 *
 * While there is no link, messages are queued up to the window that the gateway announced (4,096 messages, 4 MiB);
 * beyond it `send` waits. Nothing is lost and nothing comes twice while the session lives. Where it is lost, each open
 * request gets an error answer whose `data.outcome` is `not_sent` or `unknown`.
 */
export class SessionTransport extends TransportEventTarget {
  // `any`: the message types of both SDK majors must fit, and neither is imported.
  onmessage?: ((message: any, extra?: any) => void) | undefined;
  onclose?: (() => void) | undefined;
  onerror?: ((error: Error) => void) | undefined;
  /** Never set: to the SDK 1.x it would mean that the handshake is over. See {@link session}. */
  sessionId?: string | undefined;
  /** What the SDK agreed upon with the server; for information. */
  protocolVersion: string | undefined;
  #state: TransportState = { kind: "closed", code: CloseCode.NORMAL, reason: "not started" };
  readonly #opener: Opener;
  readonly #policy: ReconnectPolicy | undefined;
  readonly #onState: ((state: TransportState) => void) | undefined;
  #end = new ClientEnd();
  #resume: SessionSnapshot | undefined;
  #link: Link | undefined;
  #running = false;
  #stop = new AbortController();
  #parked: Parked[] = [];
  #handing: Step[] = [];
  /** Messages that the session we go on with had taken, and not handed on. */
  #arrived: readonly unknown[] = [];
  #busy = false;
  #ackTimer: ReturnType<typeof setTimeout> | undefined;
  #ticker: ReturnType<typeof setInterval> | undefined;
  readonly #heartbeat: number;
  #liveness = new Liveness(0);
  #doubted = false;
  #wake: (() => void) | undefined;
  /** Attempts to come back since a link last carried something; 0 while none was needed. */
  #attempt = 0;
  #deadline = 0;
  #adoptedAt = 0;
  #wokenAt = -Infinity;
  #unwatch: (() => void) | undefined;

  constructor(opener: Opener, options: SessionOptions) {
    super();
    this.#opener = opener;
    this.#policy = policyOf(options.reconnect);
    this.#onState = options.onState;
    this.#resume = options.resume ?? undefined;
    this.#heartbeat = options.heartbeat ?? PING_INTERVAL;
    if (!(this.#heartbeat > 0)) throw new RangeError(`heartbeat must be positive, not ${this.#heartbeat} ms`);
  }

  /** The newest state. */
  get state(): TransportState {
    return this.#state;
  }

  /** The session's public id, as the inspector and the gateway's log name it; empty where it is not resumable. */
  get session(): string {
    return this.#end.session;
  }

  /** Messages that wait to be acknowledged by the gateway, or to be sent. */
  get pending(): number {
    return this.#end.channel.unacked + this.#parked.length;
  }

  setProtocolVersion(version: string): void {
    this.protocolVersion = version;
  }

  // --- starting ---------------------------------------------------------------------------------

  /**
   * Make the first link and open the session, or resume the one that was given.
   *
   * @throws Unauthorized 401 or 403; UnknownServer 404; SessionGone the given session cannot be resumed; ConnectError
   *   anything else. After an end it may be started again.
   */
  async start(): Promise<void> {
    if (this.#running) throw new Error("this transport is started already; Client.connect() starts it by itself");
    this.#running = true;
    this.#stop = new AbortController();
    this.#attempt = 0;
    this.#enter({ kind: "connecting" });
    try {
      this.#begin();
      if ((await this.#openLink()) === "gone") {
        throw new SessionGone(`the session at ${this.#opener.where} is gone: ${this.#end.goneReason}`);
      }
    } catch (error) {
      this.#running = false;
      this.#enter({ kind: "closed", code: CloseCode.ABNORMAL, reason: wordsOf(error), error: error as Error });
      throw error;
    }
    this.#unwatch = watchPage({
      wake: () => this.#woken(),
      doubt: () => this.#doubt(),
      leave: () => this.#link?.close(CloseCode.NORMAL, "the page ended"),
    });
  }

  /** @throws SessionGone what was given to go on with is no session of ours. */
  #begin(): void {
    const saved = this.#resume;
    this.#resume = undefined;
    this.#arrived = [];
    this.#end = new ClientEnd();
    if (saved === undefined) return;
    if (!isSnapshot(saved)) {
      throw new SessionGone("what was given as resume is no snapshot that suspend() of this version returns; start without it");
    }
    this.#end = ClientEnd.continued(saved);
    this.#arrived = saved.arrived ?? [];
  }

  #enter(state: TransportState): void {
    this.#state = state;
    this.#guarded(() => this.#onState?.(state));
    this.dispatchEvent(new StateEvent(state));
  }

  /** A mistake of somebody who is told must not end the session. */
  #guarded(tell: () => void): void {
    try {
      tell();
    } catch (error) {
      this.onerror?.(error instanceof Error ? error : new Error(String(error)));
    }
  }

  // --- links ------------------------------------------------------------------------------------

  /** A new link, the session opened or resumed on it, and everything replayed. */
  async #openLink(): Promise<Greeting> {
    const { signal } = this.#stop;
    const wish = { resume: this.#policy !== undefined, nothingElse: this.#end.resumable, signal };
    const link = await this.#opener.open(wish);
    if (signal.aborted) link.close(CloseCode.NORMAL, "");
    signal.throwIfAborted();
    return link.resumes ? this.#greet(link, signal) : this.#startPlain(link);
  }

  #startPlain(link: Link): Greeting {
    if (this.#end.resumable) {
      link.close(CloseCode.DROPPED, "it does not resume any more");
      throw new ConnectError(`${this.#opener.where} does not resume any more`);
    }
    const queued = this.#end.startPlain();
    this.#adopt(link, queued, { resumable: false, session: "", resumed: false, replayed: 0 });
    return "opened";
  }

  #greet(link: Link, signal: AbortSignal): Promise<Greeting> {
    const { where, openTimeout } = this.#opener;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => fail(`nothing came within ${openTimeout / 1000} s`), openTimeout);
      const aborted = (): void => fail("it was closed", CloseCode.NORMAL);
      signal.addEventListener("abort", aborted);
      const settle = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", aborted);
      };
      // 1000 would end the session, which may be attached already.
      const fail = (words: string, code: number = CloseCode.DROPPED, error?: Error): void => {
        settle();
        link.listen(undefined);
        link.close(code, words);
        reject(error ?? new ConnectError(`${where} opened no session: ${words}`));
      };
      link.listen({
        frame: (text) => {
          try {
            const event = this.#first(link, this.#end.receive(text));
            settle();
            resolve(event);
          } catch (error) {
            fail(wordsOf(error));
          }
        },
        ended: (end) => fail(`closed with ${wordsOfEnd(end)}`, CloseCode.DROPPED, end.error),
      });
      link.send(this.#end.hello());
    });
  }

  /** The gateway's first frame on a link. */
  #first(link: Link, { event, write }: Received): Greeting {
    const end = this.#end;
    if (event === "gone") {
      link.listen(undefined);
      link.close(CloseCode.DROPPED, "gone");
    } else if (event === "opened") {
      this.#adopt(link, write, { resumable: true, session: end.session, resumed: false, replayed: 0 });
    } else if (event === "resumed") {
      this.#adopt(link, write, { resumable: true, session: end.session, resumed: true, replayed: end.replayed });
    } else {
      throw new ConnectError("the gateway's first frame is neither opened nor resumed");
    }
    return event;
  }

  /** From now on this link carries the session. */
  #adopt(link: Link, write: readonly string[], open: Omit<TransportState & { kind: "open" }, "kind">): void {
    this.#link = link;
    this.#liveness = new Liveness(performance.now(), this.#heartbeat);
    if (open.resumable && !link.noticesSilence) this.#ticker = setInterval(() => this.#tick(), Math.min(TICK, this.#heartbeat / 2));
    this.#adoptedAt = performance.now();
    for (const frame of write) link.send(frame);
    if (this.#attempt > 0 && open.resumable) link.send(PING); // its answer shows that the link carries more than its greeting
    for (const message of this.#arrived) this.#handMessage(message);
    this.#arrived = [];
    link.listen({ frame: (text) => this.#receive(link, text), ended: (end) => this.#lost(end) });
    this.#enter({ kind: "open", ...open });
    this.#makeRoom();
  }

  #receive(link: Link, text: string): void {
    let received: Received;
    try {
      received = this.#end.receive(text);
    } catch (error) {
      return this.#drop(link, { code: CloseCode.PROTOCOL_ERROR, reason: wordsOf(error) });
    }
    this.#liveness.heard(performance.now(), received.event === "pong");
    if (received.event === "pong") this.#tellDoubt(false);
    if (received.event === "pong" || this.#end.plain) this.#attempt = 0;
    for (const frame of received.write) link.send(frame);
    if (received.event === "gap") this.dispatchEvent(new GapEvent(this.#end.gap));
    else if (received.data === undefined) this.#makeRoom();
    else this.#handOver(received.message, received.data);
    this.#scheduleAck();
  }

  #handOver(message: unknown, text: string): void {
    if (isObject(message) && message["jsonrpc"] === "2.0") this.#handMessage(message);
    else this.onerror?.(new Error(`the server sent no JSON-RPC message: ${text.slice(0, 100)}`));
  }

  #handMessage(message: unknown): void {
    this.#hand({ message, run: () => this.onmessage?.(message) });
  }

  /** Do one thing after the other, with a turn in between. */
  #hand(step: Step): void {
    this.#handing.push(step);
    if (!this.#busy) void this.#handAll();
  }

  /**
   * The SDKs take notifications a turn later than answers: of two messages that arrive at once, the answer would overtake
   * the progress before it, which then has nobody to go to.
   */
  async #handAll(): Promise<void> {
    this.#busy = true;
    for (let step = this.#handing.shift(); step !== undefined; step = this.#handing.shift()) {
      this.#guarded(step.run);
      await Promise.resolve();
    }
    this.#busy = false;
  }

  /** End a link without waiting for the other end, which may not be there; the session goes on. */
  #drop(link: Link, end: LinkEnd): void {
    link.listen(undefined);
    link.close(CloseCode.DROPPED, end.reason);
    this.#lost(end);
  }

  #lost(end: LinkEnd): void {
    if (this.#end.plain && performance.now() - this.#adoptedAt > PROVEN_AFTER) this.#attempt = 0;
    this.#detach();
    this.#comeBack(end).catch((error: unknown) => this.#giveUp(error, end.code));
  }

  #detach(): void {
    this.#end.lostLink();
    this.#link = undefined;
    this.#doubted = false; // the state that follows says more
    clearInterval(this.#ticker);
    clearTimeout(this.#ackTimer);
    this.#ackTimer = undefined;
  }

  // --- coming back ------------------------------------------------------------------------------

  /**
   * A new link for the session, or a new session if nothing was negotiated in the old one.
   *
   * @throws ConnectionLost it is hopeless, or takes too long.
   */
  async #comeBack(end: LinkEnd): Promise<void> {
    const policy = this.#policy;
    let reason = wordsOfEnd(end);
    if (policy === undefined || FINAL_CODES.has(end.code)) {
      throw new ConnectionLost(`${this.#opener.where} ended the link: ${reason}`);
    }
    if (this.#end.plain) this.#startOver(`the link was lost (${reason}), and the server cannot resume`);
    if (this.#attempt === 0) this.#deadline = performance.now() + policy.giveUpAfter;
    for (;;) {
      const attempt = (this.#attempt += 1);
      const delay = attempt === 1 && this.#justWoken ? 0 : delayBefore(attempt, policy);
      if (performance.now() + delay > this.#deadline) throw this.#tooLate(policy, reason);
      this.#enter({ kind: "reconnecting", attempt, delay, reason });
      if (await this.#pause(delay)) {
        this.#deadline = performance.now() + policy.giveUpAfter;
        this.#attempt = 1;
      }
      try {
        if ((await this.#openLink()) !== "gone") return;
      } catch (error) {
        this.#stop.signal.throwIfAborted();
        if (!(error instanceof ConnectError) || error.final) throw error; // trying again cannot heal that
        reason = error.message;
        continue;
      }
      this.#startOver(`the session is gone: ${this.#end.goneReason}`);
    }
  }

  /** Wait; returns whether something woke us before the time. */
  #pause(delay: number): Promise<boolean> {
    const { signal } = this.#stop;
    return new Promise((resolve, reject) => {
      const done = (woken: boolean): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", aborted);
        this.#wake = undefined;
        resolve(woken);
      };
      const aborted = (): void => {
        done(false);
        reject(signal.reason);
      };
      const timer = setTimeout(() => done(false), delay);
      signal.addEventListener("abort", aborted);
      if (signal.aborted) return aborted();
      this.#wake = () => done(true);
    });
  }

  #tooLate(policy: ReconnectPolicy, reason: string): ConnectionLost {
    const seconds = policy.giveUpAfter / 1000;
    return new ConnectionLost(`${this.#opener.where} was not reached again within ${seconds} s: ${reason}`);
  }

  #startOver(reason: string): void {
    if (this.#end.legacy) throw new ConnectionLost(reason); // only the session's owner can negotiate anew
    this.#answer(this.#end.startOver(reason));
  }

  #answer(answers: readonly LostAnswer[]): void {
    for (const answer of answers) this.#handMessage(answer);
  }

  #giveUp(cause: unknown, code: number): void {
    if (!this.#running) return; // closed meanwhile
    const reason = wordsOf(cause);
    // A refused credential stays what it is: only a new one heals that.
    const error = cause instanceof ConnectionLost || cause instanceof Unauthorized ? cause : new ConnectionLost(reason);
    this.#running = false;
    this.#unwatch?.();
    for (const { text, message, sent } of this.#parked.splice(0)) {
      this.#end.send(text, message); // gets an answer like the rest: it was not sent
      sent();
    }
    this.#answer(this.#end.giveUp(reason));
    const run = (): void => {
      this.onerror?.(error);
      this.#enter({ kind: "closed", code, reason, error });
      this.onclose?.();
    };
    this.#hand({ run });
  }

  /** While a lost link is waited for: try now rather than after the delay. */
  tryNow(): void {
    this.#wake?.();
  }

  // --- sending ----------------------------------------------------------------------------------

  /**
   * Send a message, now or when there is a link; waits while the window is full.
   *
   * @throws Error the transport is closed, or gets closed meanwhile.
   * @throws MessageTooLarge the gateway would end the session over it. In place of a response the server gets an error.
   */
  send(message: unknown, _options?: unknown): Promise<void> {
    if (!this.#running) return Promise.reject(new Error(`the transport is closed: ${this.#closedBecause()}`));
    const text = JSON.stringify(message);
    const limit = this.#end.maxMessageBytes;
    const size = text.length > limit / 3 ? byteLength(text) : 0; // counted only where it may matter
    if (size > limit) return this.#refuse(message, size);
    if (this.#parked.length > 0 || this.#end.channel.full) {
      return new Promise((sent, failed) => this.#parked.push({ text, message, sent, failed }));
    }
    this.#write(text, message);
    return Promise.resolve();
  }

  #refuse(message: unknown, size: number): Promise<void> {
    const words = `the message has ${size} bytes, and the gateway takes at most ${this.#end.maxMessageBytes} (max_message_bytes)`;
    if (!isObject(message) || "method" in message || "error" in message) return Promise.reject(new MessageTooLarge(words));
    const data = { limit: "max_message_bytes", outcome: "not_sent" };
    return this.send({ jsonrpc: "2.0", id: message["id"], error: { code: LIMIT_EXCEEDED, message: words, data } });
  }

  #closedBecause(): string {
    return this.#state.kind === "closed" ? this.#state.reason || "it was closed" : "it is not open";
  }

  #write(text: string, message: unknown): void {
    const { channel } = this.#end;
    const link = this.#link;
    if (!this.#end.send(text, message) || link === undefined) return;
    if (channel.owesAckWithData && !this.#end.plain) link.send(channel.takeAck());
    link.send(text);
  }

  #makeRoom(): void {
    while (this.#parked.length > 0 && !this.#end.channel.full) {
      const { text, message, sent } = this.#parked.shift() as Parked;
      this.#write(text, message);
      sent();
    }
  }

  #scheduleAck(): void {
    if (this.#ackTimer !== undefined || this.#end.plain || !this.#end.channel.owesAck) return;
    this.#ackTimer = setTimeout(() => {
      this.#ackTimer = undefined;
      if (this.#end.live && this.#end.channel.owesAck) this.#link?.send(this.#end.channel.takeAck());
    }, ACK_INTERVAL);
  }

  // --- whether the other end is there -------------------------------------------------------------

  #tick(): void {
    const link = this.#link;
    if (link === undefined) return;
    const verdict = this.#liveness.tick(performance.now());
    if (verdict === "ask") link.send(PING);
    if (verdict === "dead") this.#drop(link, { code: CloseCode.ABNORMAL, reason: "the gateway did not answer a ping" });
  }

  #doubt(): void {
    const link = this.#link;
    if (link === undefined || this.#end.plain || link.noticesSilence) return;
    this.#liveness.doubt(performance.now());
    link.send(PING);
    this.#tellDoubt(true);
  }

  #tellDoubt(doubted: boolean): void {
    if (doubted === this.#doubted) return;
    this.#doubted = doubted;
    this.dispatchEvent(new DoubtEvent(doubted));
  }

  get #justWoken(): boolean {
    return performance.now() - this.#wokenAt < JUST_WOKEN;
  }

  #woken(): void {
    this.#wokenAt = performance.now();
    this.#wake?.();
    this.#doubt();
  }

  // --- leaving ----------------------------------------------------------------------------------

  /**
   * Stop here without ending the session, so that another transport goes on with it (the option `resume`), within its time
   * of grace: for a page that ends. Nothing is sent, handed on or told afterwards, not even to `onclose`: what has arrived
   * and was not handed on is in the snapshot, and {@link state} is closed.
   *
   * @returns undefined where there is no session that could go on; then this transport is closed or goes on by itself.
   */
  suspend(): SessionSnapshot | undefined {
    if (!this.#running || !this.#end.resumable) return undefined;
    for (const { text, message } of this.#parked.splice(0)) this.#end.send(text, message);
    const arrived = [...this.#arrived, ...this.#handing.flatMap(({ message }) => (message === undefined ? [] : [message]))];
    const snapshot = { ...(this.#end.snapshot() as SessionSnapshot), arrived };
    const link = this.#link;
    this.#running = false;
    this.#unwatch?.();
    this.#handing = [];
    this.#arrived = [];
    this.#detach();
    this.#state = { kind: "closed", code: CloseCode.DROPPED, reason: "the session goes on elsewhere" };
    this.#stop.abort(new ConnectError("the session goes on elsewhere"));
    link?.listen(undefined);
    link?.close(CloseCode.DROPPED, "it goes on elsewhere");
    return snapshot;
  }

  /** Close with 1000, which ends the session; bounded by two seconds. What was sent before still goes out, by WebSocket. */
  async close(): Promise<void> {
    if (!this.#running) return;
    this.#running = false;
    const closed = new ConnectError("the transport was closed");
    this.#unwatch?.();
    for (const { failed } of this.#parked.splice(0)) failed(closed);
    this.#handing = [];
    const link = this.#link;
    this.#detach();
    this.#stop.abort(closed);
    if (link !== undefined) await farewell(link);
    this.#enter({ kind: "closed", code: CloseCode.NORMAL, reason: "" });
    this.onclose?.();
  }
}

const PING = encodeControl({ "mcp.ws": "ping" });

/** Close a link and wait for its end; frames that come meanwhile have nobody to go to. */
function farewell(link: Link): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, CLOSE_TIMEOUT);
    link.listen({
      frame: () => undefined,
      ended: () => {
        clearTimeout(timer);
        resolve();
      },
    });
    link.close(CloseCode.NORMAL, "");
  });
}

/**
 * A resumable session as a transport of the MCP SDKs.
 *
 * Owns the link and the callbacks. {@link ClientEnd} decides what is sent and what a loss means, an {@link Opener} makes
 * links, {@link Attempts} times reconnecting, {@link Heartbeat} detects dead links, {@link Outbox} sends and
 * {@link Delivery} delivers.
 */

import { CloseCode, encodeControl, FINAL_CODES } from "./binding.js";
import { Delivery } from "./delivery.js";
import { ConnectError, ConnectionLost, messageOf, SessionGone, Unauthorized } from "./errors.js";
import { greet, type Greeting } from "./greeting.js";
import { Heartbeat } from "./heartbeat.js";
import { closeAndWait, describeEnd, type Link, type LinkEnd, type Opener } from "./link.js";
import { PING_INTERVAL } from "./liveness.js";
import { Outbox } from "./outbox.js";
import { SUSPICION } from "./stand_ins.js";
import { watchPage } from "./page.js";
import { Attempts, policyOf, type ReconnectPolicy } from "./reconnect.js";
import { ClientEnd, isSnapshot, type LostAnswer, type Received, type SessionSnapshot } from "./resume.js";
import { DoubtEvent, GapEvent, StateEvent, TransportEventTarget, UnauthorizedEvent, type TransportState } from "./states.js";
import type { usable } from "./usable.js";

/** Milliseconds after a page woke up within which a loss is taken to have happened while it slept. */
const JUST_WOKEN = 10_000;
/** Milliseconds after which a plain link, which has no pings, counts as working. */
const PROVEN_AFTER = 2 * PING_INTERVAL;
/** Milliseconds that `close()` waits for the gateway. */
const CLOSE_TIMEOUT = 2_000;
const PING = encodeControl({ "mcp.ws": "ping" });

export interface SessionOptions {
  /** When to reconnect after a loss; `false`: never, and request plain `mcp`. */
  readonly reconnect?: Partial<ReconnectPolicy> | false | undefined;
  /**
   * Milliseconds of silence after which a ping is sent, and that its answer may take. Default 20,000. Requires a session
   * that resumes: a page cannot see WebSocket's own Pings.
   */
  readonly heartbeat?: number | undefined;
  /** Resume a session that another page left with `suspend()` instead of opening one. Used by the first `start()`. */
  readonly resume?: SessionSnapshot | undefined;
  /** Called with each new state; the same as the event `state`. */
  readonly onState?: ((state: TransportState) => void) | undefined;
}

/**
 * Implements `Transport` of `@modelcontextprotocol/client` 2.x and of `@modelcontextprotocol/sdk` 1.x.
 *
 * While there is no link, messages are queued up to the window that the gateway announced (4,096 messages, 4 MiB by
 * default); beyond it `send` waits. No message is lost or delivered twice while the session lives. When the session is
 * lost, each open request receives an error whose `data.outcome` is `not_sent` or `unknown`.
 */
export class SessionTransport extends TransportEventTarget {
  // `any`: the message types of both SDK majors must fit, and neither is imported.
  onmessage?: ((message: any, extra?: any) => void) | undefined;
  onclose?: (() => void) | undefined;
  onerror?: ((error: Error) => void) | undefined;
  /** Never set: the SDK 1.x would take it as a sign that the handshake is complete. See {@link session}. */
  sessionId?: string | undefined;
  /** The revision that the SDK negotiated with the server; for information. */
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
  /** Messages that the resumed session had received and not delivered. */
  #arrived: readonly unknown[] = [];
  readonly #outbox = new Outbox(() => this.#end);
  readonly #delivery = new Delivery((run) => this.#guarded(run));
  readonly #attempts = new Attempts();
  readonly #heartbeat: Heartbeat;
  #adoptedAt = 0;
  #wokenAt = -Infinity;
  #unwatch: (() => void) | undefined;

  constructor(opener: Opener, options: SessionOptions) {
    super();
    this.#opener = opener;
    this.#policy = policyOf(options.reconnect);
    this.#onState = options.onState;
    this.#resume = options.resume ?? undefined;
    this.#heartbeat = new Heartbeat(options.heartbeat ?? PING_INTERVAL, {
      ping: () => this.#link?.send(PING),
      dead: () => this.#link && this.#drop(this.#link, { code: CloseCode.ABNORMAL, reason: "the gateway did not answer a ping" }),
      doubt: (doubted) => this.dispatchEvent(new DoubtEvent(doubted)),
    });
  }

  /** The newest state. */
  get state(): TransportState {
    return this.#state;
  }

  /** The session's public id, as the inspector and the gateway's log show it; empty where it is not resumable. */
  get session(): string {
    return this.#end.session;
  }

  /** How many messages wait to be sent, or for the gateway's acknowledgement. */
  get pending(): number {
    return this.#end.channel.unacked + this.#outbox.waiting;
  }

  setProtocolVersion(version: string): void {
    this.protocolVersion = version;
  }

  // --- starting ---------------------------------------------------------------------------------

  /**
   * Make the first link and open the session, or resume the given one. A closed transport can be started again.
   *
   * @throws Unauthorized 401 or 403; UnknownServer 404; SessionGone the given session cannot be resumed; ConnectError
   *   any other failure.
   */
  async start(): Promise<void> {
    if (this.#running) throw new Error("the transport is already started; Client.connect() starts it, so do not call start()");
    this.#running = true;
    this.#stop = new AbortController();
    this.#attempts.reset();
    this.#enter({ kind: "connecting" });
    try {
      this.#begin();
      if ((await this.#openLink()) === "gone") {
        throw new SessionGone(`the session at ${this.#opener.where} is gone: ${this.#end.goneReason}`);
      }
    } catch (error) {
      this.#running = false;
      this.#enter({ kind: "closed", code: CloseCode.ABNORMAL, reason: messageOf(error), error: error as Error });
      throw error;
    }
    this.#unwatch = watchPage({
      wake: () => this.#woken(),
      doubt: () => this.#heartbeat.doubt(),
      leave: () => this.#link?.close(CloseCode.NORMAL, "the page was closed"),
    });
  }

  /** @throws SessionGone the option `resume` is not a snapshot of this version. */
  #begin(): void {
    const saved = this.#resume;
    this.#resume = undefined;
    this.#arrived = [];
    this.#end = new ClientEnd();
    if (saved === undefined) return;
    if (!isSnapshot(saved)) {
      throw new SessionGone("the option resume is not a snapshot from suspend() of this version; start without it");
    }
    this.#end = ClientEnd.continued(saved);
    this.#arrived = saved.arrived ?? [];
  }

  #enter(state: TransportState): void {
    this.#state = state;
    this.#guarded(() => this.#onState?.(state));
    this.dispatchEvent(new StateEvent(state));
  }

  /** An error in a callback must not end the session. */
  #guarded(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.onerror?.(error instanceof Error ? error : new Error(String(error)));
    }
  }

  // --- links ------------------------------------------------------------------------------------

  /** Make a link, open or resume the session on it, and replay. */
  async #openLink(): Promise<Greeting> {
    const { signal } = this.#stop;
    const wish = { resume: this.#policy !== undefined, nothingElse: this.#end.resumable, signal };
    const link = await this.#opener.open(wish);
    const foreign = link.resumes ? undefined : await import("./usable.js"); // clients of a gateway do not load it
    if (signal.aborted) link.close(CloseCode.NORMAL, "");
    signal.throwIfAborted();
    if (foreign !== undefined) return this.#startPlain(link, foreign.usable);
    const { where, openTimeout } = this.#opener;
    return greet(link, this.#end.hello(), { where, openTimeout, signal }, (text) => this.#first(link, this.#end.receive(text)));
  }

  #startPlain(link: Link, mend: typeof usable): Greeting {
    if (this.#end.resumable) {
      link.close(CloseCode.DROPPED, "the server no longer supports resume");
      throw new ConnectError(`${this.#opener.where} no longer supports resume`);
    }
    this.#end.where = this.#opener.where;
    const queued = this.#end.startPlain(mend);
    this.#adopt(link, queued, { resumable: false, session: "", resumed: false, replayed: 0 });
    return "opened";
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
      throw new ConnectError("the gateway's first frame is not 'opened', 'resumed' or 'gone'");
    }
    return event;
  }

  /** Use a link for the session from now on. */
  #adopt(link: Link, write: readonly string[], open: Omit<TransportState & { kind: "open" }, "kind">): void {
    this.#link = link;
    this.#outbox.attach(link);
    if (open.resumable && !link.noticesSilence) this.#heartbeat.start();
    this.#adoptedAt = performance.now();
    for (const frame of write) link.send(frame);
    if (this.#attempts.underWay && open.resumable) link.send(PING); // the pong shows that the link carries more than the greeting
    for (const message of this.#arrived) this.#deliver(message);
    this.#arrived = [];
    link.listen({ frame: (text) => this.#receive(link, text), ended: (end) => this.#lost(end) });
    this.#enter({ kind: "open", ...open });
    this.#outbox.makeRoom();
  }

  #receive(link: Link, text: string): void {
    let received: Received;
    try {
      received = this.#end.receive(text);
    } catch (error) {
      return this.#drop(link, { code: CloseCode.PROTOCOL_ERROR, reason: messageOf(error) });
    }
    this.#heartbeat.heard(received.event === "pong");
    if (received.event === "pong" || this.#end.plain) this.#attempts.reset();
    for (const frame of received.write) link.send(frame);
    if (received.event === "gap") this.dispatchEvent(new GapEvent(this.#end.gap));
    else if (received.data === undefined) this.#outbox.makeRoom();
    else if (received.odd === true) this.#takeOdd(received.data);
    else this.#deliver(received.message);
    this.#outbox.scheduleAck();
  }

  /** Take what is not one canonical message, or names no open request. */
  #takeOdd(text: string): void {
    const end = this.#end;
    const made = end.readable(text);
    for (const message of made) this.#deliver(message);
    const doubt = end.takeDoubt();
    const settle = (): void => {
      if (!this.#running || end !== this.#end) return;
      for (const message of end.settle(doubt!)) this.#deliver(message);
    };
    if (doubt !== undefined) setTimeout(settle, SUSPICION);
    if (made.length === 0 && doubt === undefined) {
      this.onerror?.(new Error(`the server sent a frame that is not a JSON-RPC message: ${text.slice(0, 100)}`));
    }
  }

  #deliver(message: unknown): void {
    this.#delivery.add({ message, run: () => this.onmessage?.(message) });
  }

  /** Abandon a link without waiting for the other side; the session continues. */
  #drop(link: Link, end: LinkEnd): void {
    link.listen(undefined);
    link.close(CloseCode.DROPPED, end.reason);
    this.#lost(end);
  }

  #lost(end: LinkEnd): void {
    if (this.#end.plain && performance.now() - this.#adoptedAt > PROVEN_AFTER) this.#attempts.reset();
    this.#detach();
    this.#reconnect(end).catch((error: unknown) => this.#giveUp(error, end.code));
  }

  #detach(): void {
    this.#end.lostLink();
    this.#link = undefined;
    this.#heartbeat.stop();
    this.#outbox.detach();
  }

  // --- reconnecting -----------------------------------------------------------------------------

  /**
   * Make a new link for the session, or open a new session if nothing was negotiated in the old one.
   *
   * @throws ConnectionLost retrying cannot help, or took too long.
   */
  async #reconnect(end: LinkEnd): Promise<void> {
    const policy = this.#policy;
    let reason = describeEnd(end);
    if (policy === undefined || FINAL_CODES.has(end.code)) {
      throw new ConnectionLost(`${this.#opener.where} ended the link: ${reason}`);
    }
    if (this.#end.plain) this.#startOver(`the link was lost (${reason}), and the server cannot resume sessions`);
    this.#attempts.begin(policy);
    for (;;) {
      const next = this.#attempts.next(policy, performance.now() - this.#wokenAt < JUST_WOKEN);
      if (next === undefined) throw this.#tooLate(policy, reason);
      this.#enter({ kind: "reconnecting", ...next, reason });
      await this.#attempts.wait(next.delay, policy, this.#stop.signal);
      try {
        if ((await this.#openLink()) !== "gone") return;
      } catch (error) {
        this.#stop.signal.throwIfAborted();
        if (!(error instanceof ConnectError) || error.final) throw error; // retrying cannot help
        reason = error.message;
        continue;
      }
      this.#startOver(`the session is gone: ${this.#end.goneReason}`);
    }
  }

  #tooLate(policy: ReconnectPolicy, reason: string): ConnectionLost {
    const seconds = policy.giveUpAfter / 1000;
    return new ConnectionLost(`${this.#opener.where} could not be reached again within ${seconds} s: ${reason}`);
  }

  #startOver(reason: string): void {
    if (this.#end.legacy) throw new ConnectionLost(reason); // only the application can repeat the handshake
    this.#answer(this.#end.startOver(reason));
  }

  #answer(answers: readonly LostAnswer[]): void {
    for (const answer of answers) this.#deliver(answer);
  }

  #giveUp(cause: unknown, code: number): void {
    if (this.#running && cause instanceof Unauthorized) this.dispatchEvent(new UnauthorizedEvent(cause));
    if (!this.#running) return; // closed meanwhile, or suspended by a listener
    const reason = messageOf(cause);
    // Unauthorized is kept: only a new credential helps, and the application must see that.
    const error = cause instanceof ConnectionLost || cause instanceof Unauthorized ? cause : new ConnectionLost(reason);
    this.#running = false;
    this.#unwatch?.();
    this.#outbox.handOver(); // answered like the rest, with outcome not_sent
    this.#answer(this.#end.giveUp(reason));
    const run = (): void => {
      this.onerror?.(error);
      this.#enter({ kind: "closed", code, reason, error });
      this.onclose?.();
    };
    this.#delivery.add({ run });
  }

  /** While reconnecting: make the next attempt now instead of after its delay. */
  tryNow(): void {
    this.#attempts.wake();
  }

  // --- sending ----------------------------------------------------------------------------------

  /**
   * Send a message now, or as soon as there is a link. Waits while the window is full.
   *
   * @throws Error the transport is closed, or is closed while this waits.
   * @throws MessageTooLarge the gateway would end the session over it. An oversized response is replaced by an error.
   */
  send(message: unknown, _options?: unknown): Promise<void> {
    if (!this.#running) return Promise.reject(new Error(`the transport is closed: ${this.#closedBecause()}`));
    return this.#outbox.send(message);
  }

  #closedBecause(): string {
    return this.#state.kind === "closed" ? this.#state.reason || "it was closed" : "it is not open";
  }

  #woken(): void {
    this.#wokenAt = performance.now();
    this.#attempts.wake();
    this.#heartbeat.doubt();
  }

  // --- leaving ----------------------------------------------------------------------------------

  /**
   * Stop without ending the session, so that another transport can resume it (option `resume`) within the grace period: for
   * a page that is about to end. Afterwards nothing is sent, delivered or reported, not even to `onclose`; messages received
   * and not delivered are part of the snapshot, and {@link state} is closed.
   *
   * @returns undefined where there is no session to resume; the transport then stays as it is.
   */
  suspend(): SessionSnapshot | undefined {
    if (!this.#running || !this.#end.resumable) return undefined;
    this.#outbox.handOver();
    const arrived = [...this.#arrived, ...this.#delivery.messages];
    const snapshot = { ...(this.#end.snapshot() as SessionSnapshot), arrived };
    const link = this.#link;
    this.#running = false;
    this.#unwatch?.();
    this.#delivery.clear();
    this.#arrived = [];
    this.#detach();
    this.#state = { kind: "closed", code: CloseCode.DROPPED, reason: "the session was suspended" };
    this.#stop.abort(new ConnectError("the session was suspended"));
    link?.listen(undefined);
    link?.close(CloseCode.DROPPED, "the session was suspended");
    return snapshot;
  }

  /** Close with 1000, which ends the session; takes two seconds at most. On a WebSocket, messages sent before are still delivered. */
  async close(): Promise<void> {
    if (!this.#running) return;
    this.#running = false;
    const closed = new ConnectError("the transport was closed");
    this.#unwatch?.();
    this.#outbox.fail(closed);
    this.#delivery.clear();
    const link = this.#link;
    this.#detach();
    this.#stop.abort(closed);
    if (link !== undefined) await closeAndWait(link, CLOSE_TIMEOUT);
    this.#enter({ kind: "closed", code: CloseCode.NORMAL, reason: "" });
    this.onclose?.();
  }
}

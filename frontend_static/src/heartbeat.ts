/**
 * Watches whether the gateway still answers on a link: sends pings, and reports doubts and a dead link.
 *
 * Owns the timer; {@link Liveness} decides. Does nothing for links that notice silence themselves or know no pings.
 */

import { Liveness } from "./liveness.js";

/** Milliseconds between two checks, at most. */
const TICK = 1_000;

export interface HeartbeatListener {
  /** A ping is due. */
  ping(): void;
  /** The gateway did not answer. */
  dead(): void;
  /** Whether there is a reason to think that the link is dead. */
  doubt(doubted: boolean): void;
}

export class Heartbeat {
  readonly #interval: number;
  readonly #listener: HeartbeatListener;
  #liveness: Liveness | undefined;
  #ticker: ReturnType<typeof setInterval> | undefined;
  #doubted = false;

  /**
   * @param interval milliseconds of silence after which a ping is sent, and that its answer may take.
   * @throws RangeError the interval is not positive.
   */
  constructor(interval: number, listener: HeartbeatListener) {
    if (!(interval > 0)) throw new RangeError(`heartbeat must be a positive number of milliseconds, not ${interval}`);
    this.#interval = interval;
    this.#listener = listener;
  }

  /** Watch a new link. */
  start(): void {
    this.#liveness = new Liveness(performance.now(), this.#interval);
    this.#ticker = setInterval(() => this.#tick(), Math.min(TICK, this.#interval / 2));
  }

  /** The link has ended. A doubt about it ends as well, and is not reported: the state that follows says more. */
  stop(): void {
    clearInterval(this.#ticker);
    this.#liveness = undefined;
    this.#doubted = false;
  }

  /** A frame arrived; `pong` where it answers a ping. */
  heard(pong: boolean): void {
    this.#liveness?.heard(performance.now(), pong);
    if (pong) this.#report(false);
  }

  /** There is a reason to think that the link is dead: send a ping now, and wait less for the answer. */
  doubt(): void {
    if (this.#liveness === undefined) return;
    this.#liveness.doubt(performance.now());
    this.#listener.ping();
    this.#report(true);
  }

  #tick(): void {
    const verdict = this.#liveness?.tick(performance.now());
    if (verdict === "ask") this.#listener.ping();
    if (verdict === "dead") this.#listener.dead();
  }

  #report(doubted: boolean): void {
    if (doubted === this.#doubted) return;
    this.#doubted = doubted;
    this.#listener.doubt(doubted);
  }
}

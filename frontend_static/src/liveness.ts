/**
 * Decides whether the other side still answers, where WebSocket's own Pings are not visible. Pure: time is an argument.
 *
 * After a silence a ping is due; a ping without an answer means a dead link. A clock that jumped (a frozen page, throttled
 * timers, a sleeping laptop) proves nothing: the answer may be queued behind the timer, so another ping is due.
 */

/** Milliseconds of silence after which a ping is due, and that its answer may take; the default. */
export const PING_INTERVAL = 20_000;
/** Milliseconds that an answer may take where there is a reason for doubt. */
export const DOUBT_TIMEOUT = 5_000;
/** Milliseconds between two ticks above which the page or machine must have slept. */
const SLEPT = 10_000;
/** Unanswered pings with sleep in between after which the link counts as dead. */
const MAX_PINGS = 3;

export type Verdict = "alive" | "ask" | "dead";

export class Liveness {
  #heard: number;
  #ticked: number;
  #deadline: number | undefined;
  #pings = 0;

  /** @param interval milliseconds of silence after which a ping is due, and that its answer may take. */
  constructor(
    now: number,
    readonly interval = PING_INTERVAL,
  ) {
    this.#heard = this.#ticked = now;
  }

  /**
   * A frame arrived; `answer` where it is the pong. Other frames may have been under way before the link died: the ping stays
   * open, with extra time for the frames queued behind it.
   */
  heard(now: number, answer: boolean): void {
    this.#heard = now;
    if (answer) this.#deadline = undefined;
    else if (this.#deadline !== undefined) this.#deadline = Math.max(this.#deadline, now + DOUBT_TIMEOUT);
    this.#pings = 0;
  }

  /** Call this about once a second. `ask`: send a ping now. */
  tick(now: number): Verdict {
    const slept = now - this.#ticked > SLEPT;
    this.#ticked = now;
    if (this.#deadline === undefined) return now - this.#heard < this.interval ? "alive" : this.#ask(now + this.interval);
    if (slept && this.#pings < MAX_PINGS) return this.#ask(now + DOUBT_TIMEOUT);
    return now > this.#deadline ? "dead" : "alive";
  }

  /** There is a reason to think that the link is dead: a ping is due now, with less time for its answer. */
  doubt(now: number): "ask" {
    this.#ticked = now;
    return this.#ask(now + DOUBT_TIMEOUT);
  }

  #ask(deadline: number): "ask" {
    this.#deadline = deadline;
    this.#pings += 1;
    return "ask";
  }
}

/**
 * Whether the other end still answers, where WebSocket's own Ping cannot be seen. Pure: the time goes in.
 *
 * Silence is asked about; a question without an answer means a dead link. A clock that jumped (a frozen page, throttled
 * timers, a laptop that slept) proves nothing: the answer may wait behind the timer that looks for it, so it is asked anew.
 */

/** Milliseconds of silence after which the gateway is asked, and that an answer may take, unless told otherwise. */
export const PING_INTERVAL = 20_000;
/** Milliseconds that an answer may take when there is a reason for doubt. */
export const DOUBT_TIMEOUT = 5_000;
/** Milliseconds between two ticks above which something was asleep. */
const ASLEEP = 10_000;
/** Questions without an answer, with sleep in between, after which the link is dead all the same. */
const MAX_QUESTIONS = 3;

export type Verdict = "alive" | "ask" | "dead";

export class Liveness {
  #heard: number;
  #ticked: number;
  #deadline: number | undefined;
  #questions = 0;

  /** @param interval milliseconds of silence after which the gateway is asked, and that an answer may take. */
  constructor(
    now: number,
    readonly interval = PING_INTERVAL,
  ) {
    this.#heard = this.#ticked = now;
  }

  /**
   * Something arrived; `answer` where it is what was asked for. Anything else may have been on its way before the link died,
   * so it leaves the question open, with time for what stands behind it.
   */
  heard(now: number, answer: boolean): void {
    this.#heard = now;
    if (answer) this.#deadline = undefined;
    else if (this.#deadline !== undefined) this.#deadline = Math.max(this.#deadline, now + DOUBT_TIMEOUT);
    this.#questions = 0;
  }

  /** Called about once a second. `ask` means: send a ping now. */
  tick(now: number): Verdict {
    const slept = now - this.#ticked > ASLEEP;
    this.#ticked = now;
    if (this.#deadline === undefined) return now - this.#heard < this.interval ? "alive" : this.#ask(now + this.interval);
    if (slept && this.#questions < MAX_QUESTIONS) return this.#ask(now + DOUBT_TIMEOUT);
    return now > this.#deadline ? "dead" : "alive";
  }

  /** There is a reason to think that the link is dead: ask now, and wait less. */
  doubt(now: number): "ask" {
    this.#ticked = now;
    return this.#ask(now + DOUBT_TIMEOUT);
  }

  #ask(deadline: number): "ask" {
    this.#deadline = deadline;
    this.#questions += 1;
    return "ask";
  }
}

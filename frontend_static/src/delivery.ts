/** Hands received messages to the SDK in order, one at a time with a turn of the event loop in between. */

/** One thing to do; `message` is set where it delivers one. */
export interface Step {
  readonly message?: unknown;
  readonly run: () => void;
}

export class Delivery {
  readonly #guard: (run: () => void) => void;
  #steps: Step[] = [];
  #busy = false;

  /** @param guard runs a step and keeps its errors from the others. */
  constructor(guard: (run: () => void) => void) {
    this.#guard = guard;
  }

  /** Messages that are still to be delivered. */
  get messages(): readonly unknown[] {
    return this.#steps.flatMap(({ message }) => (message === undefined ? [] : [message]));
  }

  add(step: Step): void {
    this.#steps.push(step);
    if (!this.#busy) void this.#runAll();
  }

  /** Drop what was not delivered yet. */
  clear(): void {
    this.#steps = [];
  }

  /**
   * The SDKs handle notifications one turn later than answers: without the pause, an answer that arrives together with the
   * progress before it would overtake it, and the progress would find no request.
   */
  async #runAll(): Promise<void> {
    this.#busy = true;
    for (let step = this.#steps.shift(); step !== undefined; step = this.#steps.shift()) {
      this.#guard(step.run);
      await Promise.resolve();
    }
    this.#busy = false;
  }
}

/** Answers of the gateway that are asked for again and again, as long as somebody looks. */

import { signal, type Signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ApiError, rest, type Servers, type Session } from "./api.js";

export class Polled<T> {
  /** The newest answer. */
  readonly value: Signal<T | undefined> = signal(undefined);
  /** Why there is no newer one. */
  readonly error: Signal<ApiError | undefined> = signal(undefined);
  #watchers = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asking: Promise<void> | undefined;

  /** @param every milliseconds between two questions; none are asked while the page is hidden. */
  constructor(
    readonly ask: () => Promise<T>,
    readonly every: number,
  ) {}

  /** Ask now. */
  refresh(): Promise<void> {
    this.#asking ??= this.#ask().finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  async #ask(): Promise<void> {
    clearTimeout(this.#timer);
    try {
      this.value.value = await this.ask();
      this.error.value = undefined;
    } catch (error) {
      this.error.value = error instanceof ApiError ? error : new ApiError(0, String(error));
    }
    if (this.#watchers > 0) this.#timer = setTimeout(() => this.#due(), this.every);
  }

  #due(): void {
    if (document.hidden) document.addEventListener("visibilitychange", () => void this.refresh(), { once: true });
    else void this.refresh();
  }

  /** Keep it fresh until the function that is returned is called. */
  watch(): () => void {
    this.#watchers += 1;
    if (this.#watchers === 1) void this.refresh();
    return () => {
      this.#watchers -= 1;
      if (this.#watchers === 0) clearTimeout(this.#timer);
    };
  }
}

/** Keep an answer fresh while a component is there. */
export function usePolled<T>(polled: Polled<T>): { value: T | undefined; error: ApiError | undefined } {
  useEffect(() => polled.watch(), [polled]);
  return { value: polled.value.value, error: polled.error.value };
}

/** The gateway's servers. */
export const servers = new Polled(() => rest<Servers>("servers"), 5_000);
/** The caller's sessions. */
export const sessions = new Polled(() => rest<{ sessions: Session[] }>("sessions").then((answer) => answer.sessions), 2_000);

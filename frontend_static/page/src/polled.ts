/** Answers of the gateway that are polled while a component shows them. */

import { signal, type Signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ApiError, rest, type Instance, type Servers, type Session } from "./api.js";

export class Polled<T> {
  /** The newest answer. */
  readonly value: Signal<T | undefined> = signal(undefined);
  /** Why the newest request failed; undefined if it did not. */
  readonly error: Signal<ApiError | undefined> = signal(undefined);
  /** When the newest answer arrived, in epoch seconds: what it says is as old as that. */
  at = 0;
  #watchers = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pending: Promise<void> | undefined;

  /** @param every milliseconds between two requests; none are sent while the page is hidden. */
  constructor(
    readonly ask: () => Promise<T>,
    readonly every: number,
  ) {}

  /** Request it now. */
  refresh(): Promise<void> {
    this.#pending ??= this.#request();
    return this.#pending;
  }

  async #request(): Promise<void> {
    clearTimeout(this.#timer);
    const [value, error] = await this.ask().then(
      (answer) => [answer, undefined] as const,
      (failure: unknown) => [undefined, failure instanceof ApiError ? failure : new ApiError(0, String(failure))] as const,
    );
    this.#pending = undefined; // before anything is shown: what begins to watch with this answer needs a request of its own
    if (error === undefined) {
      this.at = Date.now() / 1_000;
      this.value.value = value;
    }
    this.error.value = error;
    clearTimeout(this.#timer);
    if (this.#watchers > 0) this.#timer = setTimeout(() => this.#due(), this.every);
  }

  #due(): void {
    if (document.hidden) document.addEventListener("visibilitychange", () => void this.refresh(), { once: true });
    else void this.refresh();
  }

  /** Poll until the returned function is called. */
  watch(): () => void {
    this.#watchers += 1;
    if (this.#watchers === 1) void this.refresh();
    return () => {
      this.#watchers -= 1;
      if (this.#watchers === 0) clearTimeout(this.#timer);
    };
  }
}

/** Poll an answer while a component is mounted. */
export function usePolled<T>(polled: Polled<T>): { value: T | undefined; error: ApiError | undefined } {
  useEffect(() => polled.watch(), [polled]);
  return { value: polled.value.value, error: polled.error.value };
}

/** The gateway's servers. */
export const servers = new Polled(() => rest<Servers>("servers"), 5_000);
/** The servers with memory and processor time of their processes, for which the gateway inspects every process. */
export const serversWithUsage = new Polled(async () => {
  const answer = await rest<Servers>("servers?usage=1");
  servers.value.value = answer;
  return answer;
}, 3_000);
/** The gateways that share their sessions; none where a gateway stands alone. */
export const instances = new Polled(() => rest<{ instances: Instance[] }>("instances").then((answer) => answer.instances), 2_000);
/** The user's sessions. */
export const sessions = new Polled(() => rest<{ sessions: Session[] }>("sessions").then((answer) => answer.sessions), 2_000);

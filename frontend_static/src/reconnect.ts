/** Retry delays: when a lost link is made again, and for how long. The one place for every delay of this client. */

/** Full-jitter backoff with a deadline. All times are in milliseconds. */
export interface ReconnectPolicy {
  /** Upper bound of the first delay; doubled with each attempt. Default 500. */
  readonly firstDelay: number;
  /** Limit to which the bound is doubled. Default 30,000. */
  readonly maxDelay: number;
  /** Time after the loss at which the transport gives up. Default 900,000, the gateway's default grace period. */
  readonly giveUpAfter: number;
}

export const DEFAULT_RECONNECT: ReconnectPolicy = { firstDelay: 500, maxDelay: 30_000, giveUpAfter: 900_000 };

/** Milliseconds before each repetition of a failed POST of a poll link. */
export const POST_RETRY_DELAYS: readonly number[] = [100, 500, 2_000];

/**
 * The policy that options specify; undefined where the transport is not to reconnect.
 *
 * @throws RangeError a time is not a positive number.
 */
export function policyOf(given: Partial<ReconnectPolicy> | false | undefined): ReconnectPolicy | undefined {
  if (given === false) return undefined;
  const policy = { ...DEFAULT_RECONNECT, ...given };
  for (const [name, value] of Object.entries(policy)) {
    if (!(value > 0)) throw new RangeError(`reconnect.${name} must be a positive number of milliseconds, not ${value}`);
  }
  return policy;
}

/**
 * Milliseconds before attempt number `attempt` (from 1): a random time up to the bound, so that a thousand clients of one
 * gateway do not reconnect at once.
 */
export function retryDelay(attempt: number, policy: ReconnectPolicy, random: () => number = Math.random): number {
  return Math.min(policy.maxDelay, policy.firstDelay * 2 ** Math.min(attempt - 1, 32)) * random();
}

/** The attempts to make a lost link again. Owns their number, the deadline, and the wait between them. */
export class Attempts {
  #count = 0;
  #deadline = 0;
  #wake: (() => void) | undefined;

  /** Whether attempts were needed since a link last carried something. */
  get underWay(): boolean {
    return this.#count > 0;
  }

  /** A link carries data: the next loss starts with the first attempt again. */
  reset(): void {
    this.#count = 0;
  }

  /** A link was lost: the deadline runs from here, unless attempts are under way already. */
  begin(policy: ReconnectPolicy): void {
    if (this.#count === 0) this.#deadline = performance.now() + policy.giveUpAfter;
  }

  /**
   * The next attempt; undefined where its delay passes the deadline.
   *
   * @param atOnce whether the first attempt is made without a delay.
   */
  next(policy: ReconnectPolicy, atOnce: boolean): { readonly attempt: number; readonly delay: number } | undefined {
    this.#count += 1;
    const delay = this.#count === 1 && atOnce ? 0 : retryDelay(this.#count, policy);
    return performance.now() + delay > this.#deadline ? undefined : { attempt: this.#count, delay };
  }

  /**
   * Wait for the delay, or until {@link wake}, which starts the attempts and the deadline over.
   *
   * @throws the reason of `signal`, once it is aborted.
   */
  async wait(delay: number, policy: ReconnectPolicy, signal: AbortSignal): Promise<void> {
    if (!(await this.#woken(delay, signal))) return;
    this.#deadline = performance.now() + policy.giveUpAfter;
    this.#count = 1;
  }

  /** End a wait: try now. */
  wake(): void {
    this.#wake?.();
  }

  #woken(delay: number, signal: AbortSignal): Promise<boolean> {
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
}

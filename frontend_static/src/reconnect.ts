/** How a lost link is made anew. Pure. */

/** Full-jitter backoff with a deadline. Times are in milliseconds. */
export interface ReconnectPolicy {
  /** Upper bound of the first delay; doubled with each attempt. Default 500. */
  readonly firstDelay: number;
  /** What the bound is doubled up to. Default 30,000. */
  readonly maxDelay: number;
  /** Time after the loss at which the transport gives up. Default 900,000, the gateway's usual time of grace. */
  readonly giveUpAfter: number;
}

export const DEFAULT_RECONNECT: ReconnectPolicy = { firstDelay: 500, maxDelay: 30_000, giveUpAfter: 900_000 };

/**
 * The policy that options mean; undefined where the transport is not to come back.
 *
 * @throws RangeError a time is no positive number.
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
 * Milliseconds before attempt number `attempt` (from 1): anything up to the bound, so that a thousand clients of one
 * gateway do not come back at once.
 */
export function delayBefore(attempt: number, policy: ReconnectPolicy, random: () => number = Math.random): number {
  return Math.min(policy.maxDelay, policy.firstDelay * 2 ** Math.min(attempt - 1, 32)) * random();
}

/** The first exchange on a new link: this side's hello, and the gateway's `opened`, `resumed` or `gone`. */

import { CloseCode } from "./binding.js";
import { ConnectError, messageOf } from "./errors.js";
import { describeEnd, type Link } from "./link.js";

export type Greeting = "opened" | "resumed" | "gone";

interface GreetOptions {
  /** The endpoint, for messages. */
  readonly where: string;
  /** Milliseconds within which the gateway must answer. */
  readonly openTimeout: number;
  /** Aborted when the link is no longer wanted. */
  readonly signal: AbortSignal;
}

/**
 * Send `hello` and take the gateway's first frame.
 *
 * @param first takes that frame at once, and whatever else listens to the link from there on; throws where it is invalid.
 * @throws ConnectError there was no valid answer. The link is closed then.
 */
export function greet(
  link: Link,
  hello: string,
  { where, openTimeout, signal }: GreetOptions,
  first: (text: string) => Greeting,
): Promise<Greeting> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => fail(`no response within ${openTimeout / 1000} s`), openTimeout);
    const aborted = (): void => fail("the transport was closed", CloseCode.NORMAL);
    signal.addEventListener("abort", aborted);
    const settle = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", aborted);
    };
    // Not 1000, which would end the session: it may be attached already.
    const fail = (reason: string, code: number = CloseCode.DROPPED, error?: Error): void => {
      settle();
      link.listen(undefined);
      link.close(code, reason);
      reject(error ?? new ConnectError(`${where} did not open a session: ${reason}`));
    };
    link.listen({
      frame: (text) => {
        try {
          const greeting = first(text);
          settle();
          resolve(greeting);
        } catch (error) {
          fail(messageOf(error));
        }
      },
      ended: (end) => fail(`closed with ${describeEnd(end)}`, CloseCode.DROPPED, end.error),
    });
    link.send(hello);
  });
}

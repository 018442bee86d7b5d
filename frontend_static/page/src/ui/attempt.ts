/** An action that may fail: whether it runs, and why it failed. */

import { useState } from "preact/hooks";

export interface Attempt {
  /** Name of the action that runs; empty while none does. */
  readonly busy: string;
  /** Why the last action failed; empty unless it did. */
  readonly error: string;
  /** Run an action. A failure is kept in `error` and not thrown; returns whether the action succeeded. */
  readonly attempt: (name: string, action: () => Promise<unknown>) => Promise<boolean>;
}

export function useAttempt(): Attempt {
  const [busy, setBusy] = useState("");
  const [error, setError] = useState("");
  const attempt = async (name: string, action: () => Promise<unknown>): Promise<boolean> => {
    setBusy(name);
    setError("");
    try {
      await action();
      return true;
    } catch (failure) {
      setError(failure instanceof Error ? failure.message : String(failure));
      return false;
    } finally {
      setBusy("");
    }
  };
  return { busy, error, attempt };
}

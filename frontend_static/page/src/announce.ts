/** The live region that screen readers read aloud. */

import { signal } from "@preact/signals";

export const announced = signal("");

/** Have a message read aloud once. */
export function announce(message: string): void {
  // A message equal to the one before would not be read again.
  announced.value = announced.peek() === message ? `${message}\u00a0` : message;
}

/** The live region: what a screen reader says. */

import { signal } from "@preact/signals";

export const announced = signal("");

/** Say something once. */
export function announce(words: string): void {
  announced.value = announced.peek() === words ? `${words}\u00a0` : words;
}

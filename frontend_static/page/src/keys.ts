/** Keys of the page. A view says what its keys do; `?` lists them. */

import { signal } from "@preact/signals";
import { useLayoutEffect } from "preact/hooks";

export interface Key {
  /** As in `KeyboardEvent.key`; `Ctrl+` before it means Ctrl or Cmd. */
  readonly key: string;
  readonly words: string;
  /** Returns false where it has nothing to do. */
  readonly run: (event: KeyboardEvent) => unknown;
  /** Whether it also works while something is typed. */
  readonly typing?: boolean;
}

/** All keys in force, the newest first. */
export const keys = signal<readonly Key[]>([]);

/** Keys in force while a component is there. */
export function useKeys(made: () => readonly Key[], inputs: readonly unknown[] = []): void {
  // At once: a key that follows a click finds what the click has changed.
  useLayoutEffect(() => {
    const mine = made();
    keys.value = [...mine, ...keys.peek()];
    return () => {
      keys.value = keys.peek().filter((key) => !mine.includes(key));
    };
  }, inputs);
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("input, textarea, select, [contenteditable]");
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.altKey || event.isComposing) return;
  const held = event.ctrlKey || event.metaKey;
  const name = held ? `Ctrl+${event.key}` : event.key;
  const inDialog = document.querySelector("dialog[open]") !== null;
  for (const { key, typing, run } of keys.peek()) {
    if (key !== name || (!typing && isTyping(event.target)) || (inDialog && key !== "Escape" && !typing)) continue;
    if (run(event) === false) continue;
    event.preventDefault();
    return;
  }
});

/** Keyboard shortcuts. Each view registers its own; `?` lists those in force. */

import { signal } from "@preact/signals";
import { useLayoutEffect } from "preact/hooks";

export interface Key {
  /** As in `KeyboardEvent.key`; `Ctrl+` before it means Ctrl or Cmd. */
  readonly key: string;
  /** What it does, as the help lists it; empty to leave it out. */
  readonly label: string;
  /** Returns false to let other handlers have the key. */
  readonly run: (event: KeyboardEvent) => unknown;
  /** Whether it also works while the user types into a field. */
  readonly typing?: boolean;
}

/** All keys in force, the newest first: a view's keys take precedence over the page's. */
export const keys = signal<readonly Key[]>([]);

/** Register keys while a component is mounted. */
export function useKeys(made: () => readonly Key[], inputs: readonly unknown[] = []): void {
  // In the layout phase: a key pressed right after a click must see what the click changed.
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

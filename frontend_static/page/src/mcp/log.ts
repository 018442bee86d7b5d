/** The log of a connection: messages from the server, changes it announced, and events of the link. Bounded. */

import { signal, type Signal } from "@preact/signals";

const MAX_ENTRIES = 500;

export interface Entry {
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly kind: "log" | "change" | "link" | "error";
  /** Level of a log message; empty for other kinds. */
  readonly level: string;
  readonly message: string;
  readonly data?: unknown;
}

export class Log {
  /** The newest entries, oldest first. */
  readonly entries: Signal<readonly Entry[]> = signal([]);
  /** How many older entries were dropped. */
  readonly dropped = signal(0);
  #count = 0;

  add(kind: Entry["kind"], message: string, data?: unknown, level = ""): void {
    this.#count += 1;
    const all = [...this.entries.peek(), { number: this.#count, time: Date.now(), kind, level, message, data }];
    if (all.length > MAX_ENTRIES) this.dropped.value += all.length - MAX_ENTRIES;
    this.entries.value = all.slice(-MAX_ENTRIES);
  }

  clear(): void {
    this.entries.value = [];
  }
}

/** The newest traffic, bounded, each answer paired with its request. Knows nothing of how it is shown. */

import { signal } from "@preact/signals";
import { Pairing } from "./pairing.js";
import { contentOf, rowOf, targetOf, type Row } from "./row.js";

/** Rows kept; the oldest are dropped first. */
const MAX_ROWS = 20_000;
/** Characters of text kept. */
const MAX_CHARACTERS = 32 << 20;
/** Rows dropped at a time. */
const SLICE = 500;
/** Characters of a record without its text, about. */
const RECORD_CHARACTERS = 300;

export class Rows {
  /** Counts up whenever something was added, dropped or cleared. */
  readonly version = signal(0);
  /** Rows that were dropped for newer ones. */
  dropped = 0;
  #rows: Row[] = [];
  #characters = 0;
  #pairing = new Pairing();
  #count = 0;

  get all(): readonly Row[] {
    return this.#rows;
  }

  /** Add records as the tap sends them, one JSON object a line. */
  add(lines: readonly string[]): void {
    for (const line of lines) if (line) this.#add(line);
    if (this.#rows.length > MAX_ROWS || this.#characters > MAX_CHARACTERS) this.#makeRoom();
    this.version.value += 1;
  }

  clear(): void {
    this.#rows = [];
    this.#characters = 0;
    this.#pairing = new Pairing();
    this.dropped = 0;
    this.version.value += 1;
  }

  #add(line: string): void {
    this.#count += 1;
    const row = rowOf(line, this.#count);
    const content = contentOf(row);
    if (row.kind === "request" || row.kind === "notification") row.target = targetOf(content);
    this.#pairing.add(row, content);
    this.#rows.push(row);
    this.#characters += sizeOf(row);
  }

  #makeRoom(): void {
    const last = this.#rows.length - 1;
    let count = 0;
    while (this.#rows.length - count > MAX_ROWS || (count < last && (this.#characters > MAX_CHARACTERS || count % SLICE !== 0))) {
      this.#characters -= sizeOf(this.#rows[count] as Row);
      count += 1;
    }
    for (const { pair } of this.#rows.slice(0, count)) if (pair !== undefined) pair.pair = undefined;
    this.#rows = this.#rows.slice(count);
    this.dropped += count;
  }
}

function sizeOf({ record }: Row): number {
  return (record.raw?.length ?? 0) + RECORD_CHARACTERS;
}

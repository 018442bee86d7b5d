/** Follow the pages of one list to its end, whatever its server does with the cursors; as core/pages.py does. */

/** Pages of one list that are requested. */
const MAX_PAGES = 100;
/** Pages without items that may follow one another, as where a server filters what it has read. */
const MAX_EMPTY = 3;
/** Characters of a cursor that a text repeats. */
const SHOWN = 60;

export class Pages {
  /** The items of all pages, each once. */
  readonly items: unknown[] = [];
  readonly #key: string;
  readonly #known = new Set<string>();
  readonly #cursors = new Set<string>();
  #number = 0;
  #empty = 0;
  #repeated = 0;
  #end = "";

  /** @param key the member of an item that tells it from all others: its name or address */
  constructor(key: string) {
    this.#key = key;
  }

  /** Take a page; return whether to request the page at its cursor. */
  take(page: readonly unknown[], cursor: unknown): boolean {
    this.#number += 1;
    const before = this.items.length;
    for (const item of page) this.#add(item);
    this.#empty = page.length > 0 ? 0 : this.#empty + 1;
    if (typeof cursor !== "string") return false;
    if (this.#cursors.has(cursor)) this.#end = `the cursor "${cursor.slice(0, SHOWN)}" is repeated on page ${this.#number}`;
    else if ((page.length > 0 && this.items.length === before) || this.#empty > MAX_EMPTY) this.#end = `page ${this.#number} has a cursor and nothing new`;
    else if (this.#number >= MAX_PAGES) this.#end = `it has more than ${MAX_PAGES} pages`;
    this.#cursors.add(cursor);
    return this.#end === "";
  }

  /** What to tell the user about a list that is not as it should be; empty for any other. */
  get note(): string {
    const parts = this.#end ? [`The list was cut short: ${this.#end}.`] : [];
    if (this.#repeated > 0) parts.push(`${this.#repeated} item${this.#repeated > 1 ? "s" : ""} listed twice, shown once.`);
    return parts.join(" ");
  }

  #add(item: unknown): void {
    const identity: unknown = typeof item === "object" && item !== null ? (item as Record<string, unknown>)[this.#key] : undefined;
    if (typeof identity === "string") {
      if (this.#known.has(identity)) {
        this.#repeated += 1;
        return;
      }
      this.#known.add(identity);
    }
    this.items.push(item);
  }
}

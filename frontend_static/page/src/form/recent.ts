/** Values of earlier calls, by the name of their argument, to offer them where another tool has an argument of that name. */

import { isObject, same, type Json } from "./schema.js";

/** Values kept of each name. */
const KEPT = 3;
/** Names kept. */
const NAMES = 200;
/** Characters of a text that is kept. */
const LONG = 200;
/** Nested objects that are looked into. */
const DEPTH = 3;
/** Names of values that are not offered on a screen. */
const SECRET = /pass|secret|token|api_?key|credential|auth/i;

export class Recent {
  readonly #values = new Map<string, readonly Json[]>();

  constructor(saved: readonly (readonly [string, readonly Json[]])[] = []) {
    for (const [name, values] of saved) this.#values.set(name, values);
  }

  /** The newest values of an argument, the newest first. */
  of(name: string): readonly Json[] {
    return this.#values.get(name) ?? [];
  }

  /** Remember the texts and numbers among the arguments of a call. */
  add(args: Json, depth = 0): void {
    if (!isObject(args) || depth > DEPTH) return;
    for (const [name, value] of Object.entries(args as Record<string, Json>)) {
      if (isObject(value)) this.add(value, depth + 1);
      else if (worthKeeping(name, value)) this.#keep(name, value);
    }
  }

  #keep(name: string, value: Json): void {
    const others = this.of(name).filter((other) => !same(other, value));
    this.#values.delete(name);
    this.#values.set(name, [value, ...others].slice(0, KEPT));
    const [oldest] = this.#values.keys();
    if (this.#values.size > NAMES && oldest !== undefined) this.#values.delete(oldest);
  }

  saved(): readonly (readonly [string, readonly Json[]])[] {
    return [...this.#values];
  }
}

function worthKeeping(name: string, value: Json): boolean {
  if (SECRET.test(name)) return false;
  return typeof value === "number" || (typeof value === "string" && value.trim() !== "" && value.length <= LONG);
}

/** The traffic that this tab holds, while it is looked at and after. */

import { Tap } from "../tap.js";
import { Rows } from "./rows.js";

/** Milliseconds in which records are gathered before they are shown. */
const GATHER = 100;

export const rows = new Rows();
let waiting: string[] = [];
let timer: ReturnType<typeof setTimeout> | undefined;

function take(lines: readonly string[]): void {
  waiting.push(...lines);
  timer ??= setTimeout(flush, GATHER);
}

function flush(): void {
  timer = undefined;
  const lines = waiting;
  waiting = [];
  rows.add(lines);
}

/** Everything of this user, from the moment somebody looks. */
export const tap = new Tap({}, take);

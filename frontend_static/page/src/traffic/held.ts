/** The traffic that this tab keeps, also while another view is shown. */

import { Tap } from "../tap.js";
import { Rows } from "./rows.js";

/** Milliseconds for which records are collected before they are shown together. */
const BATCH_INTERVAL = 100;

export const rows = new Rows();
let waiting: string[] = [];
let timer: ReturnType<typeof setTimeout> | undefined;

function take(lines: readonly string[]): void {
  waiting.push(...lines);
  timer ??= setTimeout(flush, BATCH_INTERVAL);
}

function flush(): void {
  timer = undefined;
  const lines = waiting;
  waiting = [];
  rows.add(lines);
}

/** All traffic of this user, from when the view is first opened. */
export const tap = new Tap({}, take);

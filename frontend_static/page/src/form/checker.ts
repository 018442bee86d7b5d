/**
 * Has values checked against schemas of servers, in a worker and for a limited time: a `pattern` can take for ever, and must
 * not stop the page. Knows nothing of what a schema means.
 */

import type { Json, Schema } from "./schema.js";

export interface Asked {
  readonly schema: Schema;
  readonly value: Json;
}

export type Answer = { readonly ready: true } | { readonly errors: Map<string, string>; readonly left: readonly string[] } | { readonly unusable: string };

/** What a check found: words by JSON pointer; what it did not look at, and why there was none, in words or empty. */
export interface Verdict {
  readonly errors: ReadonlyMap<string, string>;
  readonly left: string;
  readonly unchecked: string;
}

/** What was not checked, for a person; `what` begins the sentence. */
export function notChecked(what: string, { left, unchecked }: Omit<Verdict, "errors">): string {
  if (unchecked) return `${what} not checked: ${unchecked}.`;
  return left && `${what} checked without ${left}.`;
}

/** Milliseconds that one check may take. */
const MOST_TIME = 500;
/** Milliseconds within which the worker has to be there; it comes over the network. */
const MOST_LOADING = 20_000;

let worker: Promise<Worker> | undefined;
let last: Promise<unknown> = Promise.resolve();

/** Check a value; never rejected, and bounded in time. One check after the other. */
export function check(schema: Schema, value: Json): Promise<Verdict> {
  const mine = last.then(() => checkNow({ schema, value }));
  last = mine;
  return mine;
}

async function checkNow(asked: Asked): Promise<Verdict> {
  try {
    worker ??= started();
    return await answered(await worker, asked);
  } catch (error) {
    worker = undefined;
    return unchecked(error instanceof Error ? error.message : String(error));
  }
}

function unchecked(why: string): Verdict {
  return { errors: new Map(), left: "", unchecked: why };
}

/** A worker that has loaded. */
function started(): Promise<Worker> {
  const made = new Worker(document.documentElement.dataset["checker"] ?? "", { type: "module" });
  return within(made, MOST_LOADING, "the part of the page that checks could not be loaded", () => made);
}

async function answered(made: Worker, asked: Asked): Promise<Verdict> {
  const answer = within(made, MOST_TIME, "the check took too long (a pattern of the schema may never end)", (data) => data);
  made.postMessage(asked);
  const found = await answer;
  if ("errors" in found) return { errors: found.errors, left: patterns(found.left), unchecked: "" };
  return unchecked("unusable" in found ? `the schema cannot be used: ${found.unusable}` : "the check failed");
}

function patterns(left: readonly string[]): string {
  const [first, ...more] = left;
  if (first === undefined) return "";
  return `the pattern "${first}"${more.length > 0 ? ` and ${more.length} more` : ""}, which no browser understands`;
}

/** The worker's next message; where none comes, the worker is ended. */
function within<T>(made: Worker, time: number, words: string, take: (data: Answer) => T): Promise<T> {
  return new Promise((resolve, reject) => {
    const fail = (): void => {
      made.terminate();
      reject(new Error(words));
    };
    const timer = setTimeout(fail, time);
    made.onerror = () => (clearTimeout(timer), fail());
    made.onmessage = ({ data }: MessageEvent<Answer>) => {
      clearTimeout(timer);
      resolve(take(data));
    };
  });
}

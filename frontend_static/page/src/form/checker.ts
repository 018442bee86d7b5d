/**
 * Validates values against schemas of servers, in a worker and with a time limit: a `pattern` may run forever, and must not
 * block the page. Knows nothing of what a schema means.
 */

import type { Json, Schema } from "./schema.js";

export interface Asked {
  readonly schema: Schema;
  readonly value: Json;
}

export type Answer = { readonly ready: true } | { readonly errors: Map<string, string>; readonly left: readonly string[] } | { readonly unusable: string };

/** The result of a check. */
export interface Verdict {
  /** Error messages by JSON pointer. */
  readonly errors: ReadonlyMap<string, string>;
  /** What the check had to ignore; empty if nothing. */
  readonly left: string;
  /** Why nothing was checked; empty if it was. */
  readonly unchecked: string;
}

/** A sentence about what was not checked; empty if everything was. `what` begins it: `The arguments were`. */
export function notChecked(what: string, { left, unchecked }: Omit<Verdict, "errors">): string {
  if (unchecked) return `${what} not checked: ${unchecked}.`;
  return left && `${what} checked without ${left}.`;
}

/** Milliseconds that one check may take. */
const CHECK_TIMEOUT = 500;
/** Milliseconds within which the worker must have loaded over the network. */
const LOAD_TIMEOUT = 20_000;

let worker: Promise<Worker> | undefined;
let last: Promise<unknown> = Promise.resolve();

/** Check a value. Never rejects, and is bounded in time; checks run one after another. */
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
  return within(made, LOAD_TIMEOUT, "the validator could not be loaded", () => made);
}

async function answered(made: Worker, asked: Asked): Promise<Verdict> {
  const answer = within(made, CHECK_TIMEOUT, "validation took too long (matching a pattern of the schema may take forever)", (data) => data);
  made.postMessage(asked);
  const data = await answer;
  if ("errors" in data) return { errors: data.errors, left: patterns(data.left), unchecked: "" };
  return unchecked("unusable" in data ? `the schema cannot be used: ${data.unusable}` : "validation failed");
}

function patterns(left: readonly string[]): string {
  const [first, ...more] = left;
  if (first === undefined) return "";
  return `the pattern "${first}"${more.length > 0 ? ` and ${more.length} more` : ""}, which is not valid in JavaScript`;
}

/** The worker's next message; without one in time, the worker is terminated. */
function within<T>(made: Worker, time: number, failure: string, take: (data: Answer) => T): Promise<T> {
  return new Promise((resolve, reject) => {
    const fail = (): void => {
      made.terminate();
      reject(new Error(failure));
    };
    const timer = setTimeout(fail, time);
    made.onerror = () => (clearTimeout(timer), fail());
    made.onmessage = ({ data }: MessageEvent<Answer>) => {
      clearTimeout(timer);
      resolve(take(data));
    };
  });
}

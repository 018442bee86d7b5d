/** Tasks (SEP-2663): a server answers a call with a task, whose state the client asks for until it has the result. */

import { isObject } from "../form/schema.js";

/** The extension, as a client declares it among its capabilities. */
export const TASKS = "io.modelcontextprotocol/tasks";

/** What a server last said of a task. */
export interface Task {
  readonly taskId: string;
  /** `working`, `input_required`, `completed`, `failed` or `cancelled`; others count as working. */
  readonly status: string;
  readonly statusMessage?: string | undefined;
}

/** Requests about tasks, and the user's answers to what a task asks. */
export interface TaskPeer {
  /** Send a request; rejected as the SDK's client does. */
  readonly request: (method: "tasks/get" | "tasks/update" | "tasks/cancel" | "tasks/result", params: Record<string, unknown>) => Promise<any>;
  /** Answer a question of the server: elicitation, sampling or roots. */
  readonly answer: (method: string, params: any, given: AbortSignal) => Promise<unknown>;
  /** Whether a request failed without an answer of the server, so that it can be sent again. */
  readonly isLost: (error: unknown) => boolean;
  /** Wait for so many milliseconds, or until the signal aborts. */
  readonly wait: (delay: number, given: AbortSignal) => Promise<void>;
}

/** Milliseconds between two requests, where the server names none, and within which its number is kept. */
const DEFAULT_INTERVAL = 1_000;
const LEAST_INTERVAL = 100;
const MOST_INTERVAL = 60_000;
/** Requests in a row that may be lost. */
const MAX_LOST = 5;

/** The task in a result; undefined where it is none. */
export function taskIn(result: unknown): Task | undefined {
  return isObject(result) && result["resultType"] === "task" && typeof result["taskId"] === "string" ? (result as unknown as Task) : undefined;
}

/**
 * Follow a task to its end.
 *
 * @param changed receives the task whenever it was asked for.
 * @throws Error the task has failed, or the server does not know it; its `code` and `data` are those of the server.
 */
export async function followTask(first: Task, peer: TaskPeer, given: AbortSignal, changed: (task: Task) => void): Promise<any> {
  const answered = new Set<string>();
  for (let task: any = first; ; ) {
    changed(task);
    if (task.status === "completed") return task.result ?? {};
    if (task.status === "failed") throw failure(task.error, "The task has failed.");
    if (task.status === "cancelled") throw failure(undefined, "The server has cancelled the task.");
    if (task.status === "input_required") await update(task, answered, peer, given);
    await peer.wait(intervalOf(task), given);
    if (given.aborted) throw failure(undefined, "cancelled");
    task = { ...task, ...(await asked(task.taskId, peer, given)) };
  }
}

/** The task of revision 2025-11-25 in a result; undefined if there is none. */
export function oldTaskIn(result: unknown): Task | undefined {
  const task = isObject(result) ? result["task"] : undefined;
  return isObject(task) && typeof task["taskId"] === "string" ? (task as unknown as Task) : undefined;
}

/**
 * Follow a task of revision 2025-11-25. One request waits for its result, and brings its questions; others show its state.
 *
 * @param changed receives the task whenever it was asked for.
 * @throws Error the task has failed or was cancelled, or the server does not know it.
 */
export async function followOldTask(first: Task, peer: TaskPeer, given: AbortSignal, changed: (task: Task) => void): Promise<any> {
  const { taskId } = first;
  const over = new AbortController();
  given.addEventListener("abort", () => over.abort(), { once: true });
  const show = async (): Promise<void> => {
    for (let task: any = first; !over.signal.aborted; task = { ...task, ...(await asked(taskId, peer, over.signal)) }) {
      changed(task);
      await peer.wait(intervalOf({ pollIntervalMs: task.pollInterval }), over.signal);
    }
  };
  show().catch(() => undefined); // the result says what is wrong
  try {
    return await peer.request("tasks/result", { taskId });
  } finally {
    over.abort();
    changed({ ...first, ...(await peer.request("tasks/get", { taskId }).catch(() => undefined)) });
  }
}

/** Ask a server to end a task. It may go on nevertheless. */
export async function cancelTask({ taskId }: Task, peer: TaskPeer): Promise<void> {
  await peer.request("tasks/cancel", { taskId });
}

async function asked(taskId: string, peer: TaskPeer, given: AbortSignal): Promise<any> {
  for (let lost = 1; ; lost++) {
    try {
      return await peer.request("tasks/get", { taskId });
    } catch (error) {
      if (!peer.isLost(error) || lost >= MAX_LOST || given.aborted) throw error;
      await peer.wait(DEFAULT_INTERVAL, given);
    }
  }
}

/** Answer what the task asks, each question once: until the server has read the answers, it repeats them. */
async function update(task: any, answered: Set<string>, peer: TaskPeer, given: AbortSignal): Promise<void> {
  const open = Object.entries(isObject(task.inputRequests) ? task.inputRequests : {}).filter(([name]) => !answered.has(name));
  if (open.length === 0) return;
  const responses = await Promise.all(open.map(async ([name, request]: [string, any]) => [name, await peer.answer(String(request?.method), request?.params, given)] as const));
  await peer.request("tasks/update", { taskId: task.taskId, inputResponses: Object.fromEntries(responses) });
  for (const [name] of open) answered.add(name);
}

function intervalOf({ pollIntervalMs }: { pollIntervalMs?: unknown }): number {
  const wanted = typeof pollIntervalMs === "number" ? pollIntervalMs : DEFAULT_INTERVAL;
  return Math.min(MOST_INTERVAL, Math.max(LEAST_INTERVAL, wanted));
}

function failure(error: unknown, instead: string): Error {
  const { code, message, data } = isObject(error) ? error : {};
  return Object.assign(new Error(typeof message === "string" ? message : instead), { code, data });
}

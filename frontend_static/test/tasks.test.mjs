// Tasks (SEP-2663): followed to their end, with questions, cancellation and requests that are lost.
import assert from "node:assert/strict";
import { test } from "node:test";
import { cancelTask, followTask, taskIn } from "../build/page/mcp/tasks.js";

const FIRST = { taskId: "t1", status: "working", pollIntervalMs: 5 };

/** A server with these states, one for each `tasks/get`; an Error is thrown. */
function serving(states, answer = async () => ({ action: "accept" })) {
  const sent = [];
  const waited = [];
  const peer = {
    request: async (method, params) => {
      sent.push([method, params]);
      if (method !== "tasks/get") return {};
      const next = states.shift();
      if (next instanceof Error) throw next;
      return next;
    },
    answer,
    isLost: (error) => error.lost === true,
    wait: async (delay) => void waited.push(delay),
  };
  return { peer, sent, waited };
}

const never = () => new AbortController().signal;

test("a result is a task where it says so and has an id", () => {
  assert.deepEqual(taskIn({ resultType: "task", taskId: "t1", status: "working" })?.taskId, "t1");
  for (const other of [undefined, null, {}, { resultType: "complete", taskId: "t1" }, { resultType: "task" }, [{ taskId: "t1" }]]) assert.equal(taskIn(other), undefined);
});

test("a task is asked for until it is completed, as often as the server wants", async () => {
  const seen = [];
  const { peer, sent, waited } = serving([{ status: "working", statusMessage: "half" }, { status: "completed", result: { content: [] } }]);
  assert.deepEqual(await followTask(FIRST, peer, never(), (task) => seen.push(`${task.status} ${task.statusMessage ?? ""}`)), { content: [] });
  assert.deepEqual(seen, ["working ", "working half", "completed half"]);
  assert.deepEqual(sent, Array(2).fill(["tasks/get", { taskId: "t1" }]));
  assert.deepEqual(waited, [100, 100], "5 ms would flood the server");
});

test("what a task asks is answered once, though it repeats the question until it has read the answer", async () => {
  const asks = { status: "input_required", inputRequests: { who: { method: "elicitation/create", params: { message: "who?" } } } };
  const asked = [];
  const { peer, sent } = serving([asks, asks, { status: "completed", result: {} }], async (method, params) => (asked.push([method, params]), { action: "decline" }));
  await followTask(FIRST, peer, never(), () => undefined);
  assert.deepEqual(asked, [["elicitation/create", { message: "who?" }]]);
  assert.deepEqual(sent.filter(([method]) => method === "tasks/update"), [["tasks/update", { taskId: "t1", inputResponses: { who: { action: "decline" } } }]]);
});

test("a task that fails has the error of the server, and one that is cancelled says so", async () => {
  const failed = serving([{ status: "failed", error: { code: -32000, message: "no space", data: { left: 0 } } }]);
  await assert.rejects(followTask(FIRST, failed.peer, never(), () => undefined), { message: "no space", code: -32000, data: { left: 0 } });
  const cancelled = serving([{ status: "cancelled" }]);
  await assert.rejects(followTask(FIRST, cancelled.peer, never(), () => undefined), /cancelled the task/);
});

test("a lost request is repeated, and an answer of the server is final", async () => {
  const lost = () => Object.assign(new Error("lost"), { lost: true });
  const { peer } = serving([lost(), lost(), { status: "completed", result: { ok: true } }]);
  assert.deepEqual(await followTask(FIRST, peer, never(), () => undefined), { ok: true });
  await assert.rejects(followTask(FIRST, serving([...Array(5)].map(lost)).peer, never(), () => undefined), /lost/);
  const unknown = serving([Object.assign(new Error("Task not found: t1"), { code: -32602 })]);
  await assert.rejects(followTask(FIRST, unknown.peer, never(), () => undefined), /not found/);
  assert.equal(unknown.sent.length, 1);
});

test("a cancelled call stops asking, and the server is asked to end the task", async () => {
  const stop = new AbortController();
  const { peer, sent } = serving([...Array(100)].map(() => ({ status: "working" })));
  await assert.rejects(followTask(FIRST, { ...peer, wait: async () => stop.abort() }, stop.signal, () => undefined));
  await cancelTask(FIRST, peer);
  assert.deepEqual(sent, [["tasks/cancel", { taskId: "t1" }]]);
});

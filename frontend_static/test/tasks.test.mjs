// Tasks (SEP-2663): followed to their end, with questions, cancellation and requests that are lost.
import assert from "node:assert/strict";
import { test } from "node:test";
import { cancelTask, followOldTask, followTask, oldTaskIn, taskIn } from "../build/page/mcp/tasks.js";

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

/** A server of revision 2025-11-25: its task works until `finish` is called with a result or an Error. */
function working() {
  let finish;
  const result = new Promise((resolve, reject) => (finish = (end) => (end instanceof Error ? reject(end) : resolve(end))));
  let status = "working";
  const sent = [];
  const peer = {
    request: async (method, params) => (sent.push([method, params.taskId]), method === "tasks/result" ? result : { taskId: "t1", status }),
    answer: async () => assert.fail("questions come as requests"),
    isLost: () => false,
    wait: async (delay) => void sent.push(["wait", delay]),
  };
  return { peer, sent, end: (as, end) => ((status = as), finish(end)) };
}

test("a task of revision 2025-11-25 is followed until its result is there, which is a request of its own", async () => {
  assert.equal(oldTaskIn({ task: { taskId: "t1", status: "working" } })?.taskId, "t1");
  for (const other of [undefined, {}, { task: {} }, { resultType: "task", taskId: "t1" }]) assert.equal(oldTaskIn(other), undefined);
  const { peer, sent, end } = working();
  const seen = [];
  const followed = followOldTask({ taskId: "t1", status: "working", pollInterval: 300 }, peer, never(), ({ status }) => {
    seen.push(status);
    if (seen.length === 3) end("completed", { content: [] });
  });
  assert.deepEqual(await followed, { content: [] });
  assert.equal(seen.at(-1), "completed");
  assert.deepEqual(sent.slice(0, 3), [["wait", 300], ["tasks/result", "t1"], ["tasks/get", "t1"]]);
});

test("a task of revision 2025-11-25 that fails has the error of the server", async () => {
  const { peer, end } = working();
  end("failed", Object.assign(new Error("no space"), { code: -32000 }));
  await assert.rejects(followOldTask({ taskId: "t1", status: "working" }, peer, never(), () => undefined), { message: "no space", code: -32000 });
});

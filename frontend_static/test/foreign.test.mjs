// Responses of servers that are no gateway: each request ends, whatever stands in place of its response.
import assert from "node:assert/strict";
import { test } from "node:test";
import { readableResponse } from "../dist/foreign.js";

const POSTED = JSON.stringify({ jsonrpc: "2.0", id: 7, method: "tools/call", params: {} });
const ANSWER = { jsonrpc: "2.0", id: 7, result: { content: [] } };
const LATEST = 5_000;

/** What the SDK gets for a response: the messages of its body or events. */
async function received(body, type, { stays = false, status = 200 } = {}) {
  const pieces = Array.isArray(body) ? body : [body];
  const stream = new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece));
      if (!stays) controller.close();
    },
  });
  const began = performance.now();
  const response = await readableResponse(new Response(status === 204 ? null : stream, { status, headers: { "Content-Type": type } }), POSTED);
  const messages = [];
  if (response.headers.get("Content-Type").includes("event-stream")) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (!messages.some(({ id }) => id === 7)) {
      const { done, value } = await reader.read();
      if (done) break;
      text += value;
      messages.length = 0;
      for (const [, data] of text.matchAll(/^data: (.+)$/gm)) messages.push(JSON.parse(data));
    }
  } else messages.push(...[await response.json()].flat());
  assert.ok(performance.now() - began < LATEST);
  return messages;
}

const READABLE = {
  plain: JSON.stringify(ANSWER),
  "byte order mark": `\uFEFF${JSON.stringify(ANSWER)}`,
  array: JSON.stringify([ANSWER]),
  "no jsonrpc": JSON.stringify({ id: 7, result: ANSWER.result }),
  "null members": JSON.stringify({ ...ANSWER, error: null, method: null }),
  "text id": JSON.stringify({ ...ANSWER, id: "7" }),
  "null id": JSON.stringify({ ...ANSWER, id: null }),
  "foreign id": JSON.stringify({ ...ANSWER, id: 99 }),
};
const UNREADABLE = {
  cut: JSON.stringify(ANSWER).slice(0, 30),
  comma: `${JSON.stringify(ANSWER).slice(0, -1)},}`,
  python: "{'jsonrpc': '2.0', 'id': 7, 'result': {}}",
  prose: "the server is kaputt",
  "no id": JSON.stringify({ jsonrpc: "2.0", result: {} }),
  both: JSON.stringify({ ...ANSWER, error: { code: 1, message: "no" } }),
  neither: JSON.stringify({ jsonrpc: "2.0", id: 7 }),
  "odd result": JSON.stringify({ ...ANSWER, result: [1] }),
  "odd error": JSON.stringify({ jsonrpc: "2.0", id: 7, error: { code: "x" } }),
  "parse error": JSON.stringify({ jsonrpc: "2.0", id: null, error: { code: -32700, message: "what?" } }),
  null: "null",
  done: "[DONE]",
  bare: JSON.stringify({ content: [] }),
};

for (const stays of [false, true]) {
  const how = stays ? "does not end" : "ends";
  test(`a body or stream that ${how} and has one meaning is read`, { concurrency: true }, async () => {
    await Promise.all(
      Object.entries(READABLE).flatMap(([name, text]) => [
        received(text, "application/json", { stays }).then((messages) => assert.deepEqual(messages, [ANSWER], name)),
        received(text, "text/plain", { stays }).then((messages) => assert.deepEqual(messages, [ANSWER], name)),
        received(`data: ${text}\n\n`, "text/event-stream", { stays }).then((messages) => assert.deepEqual(messages, [ANSWER], name)),
        received(`event: message\r\ndata: ${text}`, "text/event-stream", { stays }).then((messages) => assert.deepEqual(messages, [ANSWER], name)),
        received(`${text}\n`, "text/event-stream", { stays }).then((messages) => text[0] === "\uFEFF" || assert.deepEqual(messages, [ANSWER], name)),
      ]),
    );
  });

  test(`a body or stream that ${how} and cannot be read fails its request`, async () => {
    await Promise.all(
      Object.entries(UNREADABLE).flatMap(([name, text]) => [
        received(text, "application/json", { stays }).then(([message]) => assert.ok(message.id === 7 && message.error.message, name)),
        received(`data: ${text}\n\n`, "text/event-stream", { stays }).then((messages) => assert.ok(messages.at(-1).error.message, name)),
      ]),
    );
  });
}

test("an empty response fails its request", async () => {
  for (const status of [200, 202, 204]) {
    const [message] = await received(status === 204 ? [] : "", "application/json", { status });
    assert.equal(message.id, 7);
    assert.match(message.error.message, new RegExp(`${status} without a body`));
  }
});

test("a stream with notifications, ids and a late response is passed on as it is", async () => {
  const progress = { jsonrpc: "2.0", method: "notifications/progress", params: {} };
  const events = [`: ping\n\n`, `id: 1\ndata:\n\n`, `data: ${JSON.stringify(progress)}\n\n`, "data: {}\n\n", "data: Processing\n\n", `data: ${JSON.stringify(ANSWER).slice(0, 9)}`, `${JSON.stringify(ANSWER).slice(9)}\n\n`];
  assert.deepEqual(await received(events, "text/event-stream"), [progress, ANSWER]);
});

test("what is no request, and a refusal, stay as they are", async () => {
  const response = new Response("x", { status: 200, headers: { "Content-Type": "text/plain" } });
  assert.equal(await readableResponse(response, JSON.stringify({ jsonrpc: "2.0", method: "notifications/x" })), response);
  const refused = new Response("no", { status: 500 });
  assert.equal(await readableResponse(refused, POSTED), refused);
});

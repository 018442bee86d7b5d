// What a server writes that is not one canonical message: read where it has one meaning, else its request fails.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { isCanonical, read, textOf } from "../dist/reader.js";
import { ClientEnd } from "../dist/resume.js";

const ANSWER = { jsonrpc: "2.0", id: 1, result: { a: 1 } };

function asking(...ids) {
  const end = new ClientEnd();
  end.startPlain();
  for (const id of ids) end.send(JSON.stringify({ jsonrpc: "2.0", id, method: "m" }));
  return end;
}

const given = (end, text) => {
  const { message, odd } = end.receive(text);
  return odd ? end.readable(text) : [message];
};

// --- the vectors that the Python client runs as well (tests/core/test_foreign_frames.py) ---

const vectors = JSON.parse(readFileSync(new URL("../../tests/vectors/foreign.json", import.meta.url), "utf8")).cases;

/** The id of each response, `result` or `error`, and the result or the code where one is expected. */
const answers = (made, expected) =>
  made
    .filter((message) => !("method" in message))
    .map(({ id, error, result }, at) => [id, error === undefined ? "result" : "error", error?.code ?? result].slice(0, expected[at]?.length));

for (const { name, open, cancelled = [], frames, now, later } of vectors) {
  test(`foreign vector: ${name}`, () => {
    const end = asking(...open);
    for (const requestId of cancelled) end.send(JSON.stringify({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId } }));
    const made = [];
    const doubts = [];
    for (const frame of frames) {
      made.push(...given(end, typeof frame === "string" ? frame : textOf(Buffer.from(frame.hex, "hex"))));
      doubts.push(end.takeDoubt());
    }
    assert.deepEqual(answers(made, now), now);
    assert.deepEqual(answers(doubts.flatMap((doubt) => (doubt === undefined ? [] : end.settle(doubt))), later), later);
  });
}

test("a canonical message is recognized", () => {
  for (const value of [ANSWER, { jsonrpc: "2.0", method: "x" }, { jsonrpc: "2.0", id: 1, error: { code: 1, message: "" } }]) {
    assert.ok(isCanonical(value), JSON.stringify(value));
  }
  for (const value of [undefined, [], { ...ANSWER, error: null }, { id: 1, result: {} }, { ...ANSWER, id: null }, { ...ANSWER, result: [] }]) {
    assert.ok(!isCanonical(value), JSON.stringify(value));
  }
});

for (const [what, text] of [
  ["a byte order mark", `\uFEFF${JSON.stringify(ANSWER)}`],
  ["an array of one", JSON.stringify([ANSWER])],
  ["null members", JSON.stringify({ error: null, method: null, params: null, ...ANSWER })],
  ["no jsonrpc", JSON.stringify({ id: 1, result: { a: 1 } })],
]) {
  test(`${what} is mended`, () => {
    const reading = read(text);
    assert.deepEqual(reading.faults, []);
    assert.deepEqual(JSON.parse(JSON.stringify(reading.messages)), [ANSWER]);
    assert.equal(given(asking(1), text)[0].id, 1);
  });
}

test("a null result beside an error, and an error in words, are errors", () => {
  const [first] = read('{"jsonrpc":"2.0","id":1,"result":null,"error":{"code":5,"message":"x"}}').messages;
  assert.deepEqual(first, { jsonrpc: "2.0", id: 1, error: { code: 5, message: "x" } });
  assert.equal(read('{"jsonrpc":"2.0","id":1,"error":"no"}').messages[0].error.message, "no");
});

test("an answer that cannot be read fails its request, and no other", () => {
  for (const text of ['{"jsonrpc":"2.0","id":2,"result":{x}}', '{"result":{x},"id":2}', '{"id":"2","result":NaNa}']) {
    const end = asking(1, 2);
    const [answer, ...more] = given(end, text);
    assert.equal(answer.id, 2);
    assert.match(answer.error.message, /not a JSON-RPC message/);
    assert.deepEqual([more, end.waiting], [[], 1]);
  }
});

test("an error -32700 without an id, and an answer that names no request, end what is open", () => {
  for (const text of ['{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}', '{"jsonrpc":"2.0","result":{x']) {
    const end = asking(1, "a");
    assert.deepEqual(given(end, text).map(({ id }) => id), [1, "a"]);
    assert.equal(end.waiting, 0);
  }
});

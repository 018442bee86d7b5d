// What a server writes that is not one canonical message: read where it has one meaning, else its request fails.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isCanonical, read } from "../dist/reader.js";
import { ClientEnd } from "../dist/resume.js";

const ANSWER = { jsonrpc: "2.0", id: 1, result: { a: 1 } };

function asking(...ids) {
  const end = new ClientEnd();
  end.startPlain();
  for (const id of ids) end.send(JSON.stringify({ jsonrpc: "2.0", id, method: "m" }));
  return end;
}

const given = (end, text) => {
  const { message } = end.receive(text);
  return isCanonical(message) ? [message] : end.readable(text);
};

test("a canonical message is recognized", () => {
  for (const value of [ANSWER, { jsonrpc: "2.0", method: "x" }, { jsonrpc: "2.0", id: 1, error: { code: 1 } }]) {
    assert.ok(isCanonical(value), JSON.stringify(value));
  }
  for (const value of [undefined, [], { ...ANSWER, error: null }, { id: 1, result: {} }, { ...ANSWER, id: null }]) {
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
    assert.ok(!reading.unreadable);
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
  for (const text of ['{"jsonrpc":"2.0","id":2,"result":{x}}', '{"result":{x},"id":2}', '{"id":"2","result":NaN}']) {
    const end = asking(1, 2);
    const [answer, ...more] = given(end, text);
    assert.equal(answer.id, 2);
    assert.match(answer.error.message, /not a JSON-RPC message/);
    assert.deepEqual([more, end.waiting], [[], 1]);
  }
});

test("one bad item of an array does not spoil the others", () => {
  const end = asking(1, 2);
  const answers = given(end, JSON.stringify([ANSWER, 5]));
  assert.deepEqual(answers.map(({ id, error }) => [id, error === undefined]), [[1, true], [2, false]]);
});

test("an error -32700 without an id, and an answer that names no request, end what is open", () => {
  for (const text of ['{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}', '{"jsonrpc":"2.0","result":{x']) {
    const end = asking(1, "a");
    assert.deepEqual(given(end, text).map(({ id }) => id), [1, "a"]);
    assert.equal(end.waiting, 0);
  }
});

test("another error without an id is passed on, and ends nothing", () => {
  const end = asking(1);
  assert.equal(given(end, '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"in flight"}}')[0].id, null);
  assert.equal(end.waiting, 1);
});

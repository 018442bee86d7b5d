// The vectors that the Python implementation runs as well (tests/vectors/, docs/reference/binding.md section 6).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { asControl, authSubprotocol, ControlError, parseJson } from "../dist/binding.js";
import { ClientEnd, Violation } from "../dist/resume.js";

const vectors = (name) => JSON.parse(readFileSync(new URL(`../../tests/vectors/${name}.json`, import.meta.url), "utf8")).cases;

for (const { frame, is } of vectors("control")) {
  test(`control vector: ${frame}`, () => {
    if (is === "error") return assert.throws(() => asControl(frame, parseJson(frame)), ControlError);
    const control = asControl(frame, parseJson(frame));
    if (is === "data") return assert.equal(control, undefined);
    for (const [member, value] of Object.entries(is)) assert.deepEqual(control[member], value);
  });
}

const STEPS = {
  hello: (end, step) => assert.deepEqual(JSON.parse(end.hello()), step.hello),
  send: (end, step) => assert.equal(end.send(step.send), step.written),
  lost: (end) => end.lostLink(),
  start_over: (end, step) => assert.deepEqual(outcomes(end.startOver(step.start_over)), step.errors),
  give_up: (end, step) => assert.deepEqual(outcomes(end.giveUp(step.give_up)), step.errors),
  receive: (end, step) => {
    if (step.violation) return assert.throws(() => end.receive(step.receive), Violation);
    const { data, write, event } = end.receive(step.receive);
    assert.equal(data, step.message);
    assert.deepEqual(write.map((frame) => JSON.parse(frame)), step.write ?? []);
    assert.equal(event, step.event ?? "nothing");
  },
};

const outcomes = (answers) => answers.map(({ id, error }) => [id, error.data.outcome]);

for (const { name, steps } of vectors("client")) {
  test(`client vector: ${name}`, () => {
    const end = new ClientEnd();
    for (const step of steps) {
      const [does] = Object.keys(step).filter((key) => key in STEPS);
      STEPS[does](end, step);
    }
  });
}

test("a token is sent as unpadded base64url of its UTF-8", () => {
  assert.equal(authSubprotocol("a?>é"), "mcp.auth.YT8-w6k");
});

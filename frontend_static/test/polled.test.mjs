// Answers that are polled while something shows them.
import assert from "node:assert/strict";
import test from "node:test";

globalThis.document = { documentElement: { dataset: {} } };
const { Polled } = await import("../build/page/polled.js");

const turn = () => new Promise((done) => setTimeout(done));

/** A source whose requests are answered by hand. */
function source() {
  const open = [];
  const polled = new Polled(() => new Promise((done, failed) => open.push({ done, failed })), 1e6);
  return { polled, open };
}

test("what begins to watch while an answer is shown gets a request of its own", async () => {
  const { polled, open } = source();
  polled.watch()(); // a view that is gone before its answer comes
  assert.equal(open.length, 1);
  let shown = false;
  let stop = () => undefined;
  polled.value.subscribe((value) => {
    if (value === undefined || shown) return;
    shown = true;
    queueMicrotask(() => (stop = polled.watch())); // as a component that is rendered with the answer does
  });
  open[0].done("old");
  await turn();
  assert.equal(open.length, 2);
  open[1].done("new");
  await turn();
  assert.equal(polled.value.value, "new");
  stop();
});

test("requests at the same time are one, and a failure leaves the last answer", async () => {
  const { polled, open } = source();
  const both = Promise.all([polled.refresh(), polled.refresh()]);
  assert.equal(open.length, 1);
  open[0].done("answer");
  await both;
  const failing = polled.refresh();
  open[1].failed(new Error("no network"));
  await failing;
  assert.equal(polled.value.value, "answer");
  assert.match(polled.error.value.message, /no network/);
});

test("the time of the newest answer stays while requests fail", async () => {
  const { polled, open } = source();
  assert.equal(polled.at, 0);
  const first = polled.refresh();
  open[0].done("answer");
  await first;
  const { at } = polled;
  assert.ok(Math.abs(Date.now() / 1_000 - at) < 60);
  const failing = polled.refresh();
  await turn();
  open[1].failed(new Error("no network"));
  await failing;
  assert.equal(polled.at, at);
});

// The parts without any I/O: the channel, what becomes of requests, the policy of coming back, the heartbeat.
import assert from "node:assert/strict";
import { test } from "node:test";
import { PositionError, ReliableChannel } from "../dist/channel.js";
import { DOUBT_TIMEOUT, Liveness, PING_INTERVAL } from "../dist/liveness.js";
import { retryDelay, policyOf } from "../dist/reconnect.js";
import { ClientEnd, Violation } from "../dist/resume.js";

const OPENED = '{"mcp.ws":"opened","session":"S","token":"T","grace":60,"window":{"frames":4,"bytes":100}}';

function opened() {
  const end = new ClientEnd();
  end.hello();
  end.receive(OPENED);
  return end;
}

test("the window counts frames, and bytes of UTF-8", () => {
  const channel = new ReliableChannel({ frames: 3, bytes: 10 });
  channel.push("ééé");
  assert.equal(channel.unackedBytes, 6);
  assert.equal(channel.full, false);
  channel.push("éé");
  assert.equal(channel.full, true);
  channel.acknowledge(1);
  assert.equal(channel.full, false);
  channel.push("");
  channel.push("");
  assert.equal(channel.full, true);
});

test("impossible positions are refused, stale ones are not", () => {
  const channel = new ReliableChannel({ frames: 8, bytes: 100 });
  for (const data of ["a", "b", "c"]) channel.push(data);
  channel.acknowledge(2);
  channel.acknowledge(1);
  assert.equal(channel.base, 2);
  assert.throws(() => channel.acknowledge(4), PositionError);
  assert.throws(() => channel.replayAfter(1), PositionError);
  assert.deepEqual(channel.replayAfter(2), ["c"]);
});

test("an eighth of the window's bytes is acknowledged at once", () => {
  const channel = new ReliableChannel({ frames: 100, bytes: 80 });
  assert.equal(channel.accept(9), false);
  assert.equal(channel.accept(1), true);
  channel.takeAck();
  assert.equal(channel.accept(9), false);
});

test("a request that was cancelled or answered gets no other answer", () => {
  const end = opened();
  end.send('{"jsonrpc":"2.0","id":7,"method":"m"}');
  end.send('{"jsonrpc":"2.0","id":"7","method":"m"}');
  end.send('{"jsonrpc":"2.0","id":8,"method":"m"}');
  end.send('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":8}}');
  end.receive('{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"no"}}');
  assert.deepEqual(end.giveUp("over").map(({ id }) => id), ["7"]);
});

test("a request from the server with the id of an open one is not its answer", () => {
  const end = opened();
  end.send('{"jsonrpc":"2.0","id":1,"method":"m"}');
  end.receive('{"jsonrpc":"2.0","id":1,"method":"roots/list"}');
  assert.equal(end.waiting, 1);
});

test("a plain server has no counters: what was written counts as delivered", () => {
  const end = new ClientEnd();
  assert.equal(end.send('{"jsonrpc":"2.0","id":1,"method":"m"}'), false);
  assert.equal(end.startPlain().length, 1);
  end.send('{"jsonrpc":"2.0","id":2,"method":"m"}');
  assert.equal(end.channel.unacked, 0);
  const control = '{"mcp.ws":"ack","recv":99}';
  assert.equal(end.receive(control).data, control);
  assert.deepEqual(end.giveUp("x").map(({ error }) => error.data.outcome), ["unknown", "unknown"]);
});

test("the gateway must not send the client's control frames", () => {
  assert.throws(() => opened().receive('{"mcp.ws":"open"}'), Violation);
});

test("retry delays are random below a bound that doubles up to its maximum", () => {
  const policy = policyOf({ firstDelay: 100, maxDelay: 1000 });
  const bounds = [1, 2, 3, 4, 5, 50].map((attempt) => retryDelay(attempt, policy, () => 1));
  assert.deepEqual(bounds, [100, 200, 400, 800, 1000, 1000]);
  assert.equal(retryDelay(3, policy, () => 0.25), 100);
  assert.equal(policyOf(false), undefined);
  assert.throws(() => policyOf({ maxDelay: -1 }), /reconnect\.maxDelay/);
  assert.throws(() => policyOf({ giveUpAfter: Number.NaN }), RangeError);
});

/** What each second from 1 on says. */
function seconds(liveness, from, to, heard = () => false, answer = true) {
  const told = [];
  for (let second = from; second <= to; second += 1) {
    const verdict = liveness.tick(second * 1000);
    if (verdict !== "alive") told.push([second, verdict]);
    if (heard(second)) liveness.heard(second * 1000, answer);
    if (verdict === "dead") break;
  }
  return told;
}

test("silence causes a ping, and no answer means a dead link", () => {
  const ask = PING_INTERVAL / 1000;
  assert.deepEqual(seconds(new Liveness(0), 1, 100), [[ask, "ask"], [2 * ask + 1, "dead"]]);
});

test("traffic and answers keep a link alive", () => {
  assert.deepEqual(seconds(new Liveness(0), 1, 100, (second) => second % 15 === 0), []);
  const asked = seconds(new Liveness(0), 1, 100, (second) => second % 21 === 0);
  assert.deepEqual(asked.map(([, verdict]) => verdict), ["ask", "ask", "ask", "ask"]);
});

test("a doubt is settled sooner", () => {
  const liveness = new Liveness(0);
  assert.equal(liveness.doubt(500), "ask");
  assert.deepEqual(seconds(liveness, 1, 100), [[DOUBT_TIMEOUT / 1000 + 1, "dead"]]);
});

test("late frames do not answer a ping, but give the frames behind them time", () => {
  const liveness = new Liveness(0);
  liveness.doubt(500);
  assert.deepEqual(seconds(liveness, 1, 100, (second) => second <= 9, false), [[9 + DOUBT_TIMEOUT / 1000 + 1, "dead"]]);
  const answered = new Liveness(0);
  answered.doubt(500);
  answered.heard(900, false);
  answered.heard(1000, true);
  assert.deepEqual(seconds(answered, 1, 20), []);
});

test("a clock that jumped is no proof of a dead link, but not forever", () => {
  const liveness = new Liveness(0);
  seconds(liveness, 1, 21); // asked at 20 s
  assert.equal(liveness.tick(600_000), "ask");
  assert.equal(liveness.tick(601_000), "alive");
  liveness.heard(601_500, true);
  const throttled = [1, 2, 3, 4, 5].map((minute) => liveness.tick(601_500 + minute * 60_000));
  assert.deepEqual(throttled, ["ask", "ask", "ask", "dead", "dead"]);
});

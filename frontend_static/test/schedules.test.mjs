// Random schedules of sends, deliveries and cuts between a client and a gateway: nothing is lost, doubled or reordered.
import assert from "node:assert/strict";
import { test } from "node:test";

// Another build, where mutants.test.mjs says so.
const dist = process.env.DIST ?? new URL("../dist/", import.meta.url).href;
const { ReliableChannel } = await import(`${dist}channel.js`);
const { ClientEnd } = await import(`${dist}resume.js`);

const SCHEDULES = 500;
const WINDOW = { frames: 4096, bytes: 1 << 20 };

/** Small and seeded (mulberry32): a schedule that fails can be run again. */
function randomOf(seed) {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The gateway's end, as far as delivery goes. */
class Gateway {
  channel = new ReliableChannel(WINDOW);
  issued = 0;
  /** The newest token, and the one shown last until the client proves that it has the newest. */
  good = new Set();
  said = 0;
  got = [];

  receive(text) {
    const frame = JSON.parse(text);
    const kind = frame["mcp.ws"];
    if (kind === "open") return this.#open();
    if (kind === "resume") return this.#resume(frame);
    this.good = new Set([this.#newest]);
    if (kind === "ack") {
      this.channel.acknowledge(frame.recv);
      return [];
    }
    this.got.push(frame.params.n);
    return this.channel.accept(text.length) ? [this.channel.takeAck()] : [];
  }

  get #newest() {
    return `T${this.issued}`;
  }

  /** A session whose `opened` was lost is nobody's any more. */
  #open() {
    this.issued += 1;
    this.channel = new ReliableChannel(WINDOW);
    this.said = 0;
    this.good = new Set([this.#newest]);
    return [JSON.stringify({ "mcp.ws": "opened", session: "S", token: this.#newest, grace: 60, window: WINDOW })];
  }

  #resume({ token, recv }) {
    assert.ok(this.good.has(token), `${token} is not good any more`);
    const replay = this.channel.replayAfter(recv);
    this.channel.takeAck();
    this.issued += 1;
    this.good = new Set([token, this.#newest]);
    return [JSON.stringify({ "mcp.ws": "resumed", recv: this.channel.received, token: this.#newest }), ...replay];
  }

  say(text) {
    this.channel.push(text);
  }
}

function run(seed) {
  const random = randomOf(seed);
  const client = new ClientEnd();
  const gateway = new Gateway();
  let sent = 0;
  const got = [];
  let up = null; // client to gateway
  let down = null;
  const note = (n) => JSON.stringify({ jsonrpc: "2.0", method: "notifications/note", params: { n } });
  const connect = () => {
    up = [client.hello()];
    down = [];
  };
  const deliverUp = () => up?.length && down.push(...gateway.receive(up.shift()));
  const deliverDown = () => {
    if (!down?.length) return;
    const { data, write } = client.receive(down.shift());
    up.push(...write);
    if (data !== undefined) got.push(JSON.parse(data).params.n);
  };
  const cut = () => {
    up = down = null; // what is under way is lost
    client.lostLink();
  };
  const step = {
    clientSends: () => {
      const text = note((sent += 1));
      if (client.send(text)) up.push(text);
    },
    gatewaySends: () => {
      if (gateway.issued === 0) return;
      const text = note((gateway.said += 1));
      gateway.say(text);
      if (client.live) down?.push(text);
      // Between its `resumed` and the client's taking it, the gateway writes as well.
      else if (down?.some((frame) => frame.includes('"resumed"') || frame.includes('"opened"'))) down.push(text);
    },
    deliverUp,
    deliverDown,
    cutOrConnect: () => (up === null ? connect() : random() < 0.2 && cut()),
  };
  const steps = Object.values(step);
  for (let turn = 0; turn < 300; turn += 1) steps[Math.floor(random() * steps.length)]();
  if (up !== null) cut();
  connect();
  while (up.length || down.length) {
    deliverUp();
    deliverDown();
  }
  const numbers = (count) => Array.from({ length: count }, (_, n) => n + 1);
  assert.deepEqual(gateway.got, numbers(sent), `seed ${seed}: client to gateway`);
  assert.deepEqual(got, numbers(gateway.said), `seed ${seed}: gateway to client`);
}

test(`${SCHEDULES} random schedules lose, double and reorder no message`, () => {
  for (let seed = 1; seed <= SCHEDULES; seed += 1) run(seed);
});

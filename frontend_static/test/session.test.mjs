// A session that is suspended and resumed, over sockets whose frames arrive exactly when the test says so.
import assert from "node:assert/strict";
import { test } from "node:test";
import { NegotiatingTransport, WebSocketClientTransport } from "../dist/index.js";

const WHERE = "ws://127.0.0.1/mcp-ws/servers/x";
const OPENED = '{"mcp.ws":"opened","session":"S","token":"T","grace":60,"window":{"frames":64,"bytes":4096}}';

/** Opens at once, and answers the hello with `greeting`. */
class Socket extends EventTarget {
  protocol = "mcp.resume.v1";
  sent = [];

  constructor(greeting) {
    super();
    this.greeting = greeting;
    setTimeout(() => this.dispatchEvent(new Event("open")));
  }

  send(text) {
    this.sent.push(JSON.parse(text));
    if (this.sent.length === 1) this.come(this.greeting);
  }

  come(data) {
    this.dispatchEvent(Object.assign(new Event("message"), { data }));
  }

  close() {}
}

async function started(greeting, options = {}) {
  const socket = new Socket(greeting);
  const transport = new WebSocketClientTransport(WHERE, { ...options, webSocket: () => socket });
  const got = [];
  transport.onmessage = ({ id }) => got.push(id);
  await transport.start();
  return { socket, transport, got };
}

const turn = () => new Promise((resolve) => setTimeout(resolve));

test("messages received and not delivered when a session is suspended are delivered where it is resumed", async () => {
  const { socket, transport, got } = await started(OPENED);
  for (const id of [1, 2, 3, 4]) await transport.send({ jsonrpc: "2.0", id, method: "m" });
  for (const id of [1, 2, 3]) socket.come(`{"jsonrpc":"2.0","id":${id},"result":{}}`); // in one turn
  const saved = JSON.parse(JSON.stringify(transport.suspend()));
  assert.equal(transport.state.kind, "closed");
  assert.deepEqual(saved.waiting, [4]);
  await turn();
  assert.deepEqual(got, [1], "nothing is delivered afterwards");
  const next = await started('{"mcp.ws":"resumed","recv":4,"token":"T2"}', { resume: saved });
  assert.deepEqual(next.socket.sent[0], { "mcp.ws": "resume", token: "T", recv: 3 });
  next.socket.come('{"jsonrpc":"2.0","id":4,"result":{}}');
  await turn();
  assert.deepEqual(next.got, [2, 3, 4]);
  next.transport.suspend(); // its timers would keep this process
});

test("a message above the gateway's limit is refused before it is sent, and the session continues", async () => {
  const limited = OPENED.replace("}}", '},"max_message_bytes":100}');
  const first = await started(limited);
  const { socket, transport } = await started('{"mcp.ws":"resumed","recv":0,"token":"T2"}', { resume: first.transport.suspend() });
  const before = socket.sent.length;
  const large = { jsonrpc: "2.0", id: 1, method: "m", params: { text: "ä".repeat(60) } };
  await assert.rejects(transport.send(large), { name: "MessageTooLarge", message: /accepts at most 100/ });
  assert.equal(socket.sent.length, before);
  await transport.send({ jsonrpc: "2.0", id: 2, method: "m" });
  assert.equal(socket.sent.at(-1).id, 2);
  transport.suspend();
});

test("a response above the limit is replaced by an error", async () => {
  const { socket, transport } = await started(OPENED.replace("}}", '},"max_message_bytes":300}'));
  await transport.send({ jsonrpc: "2.0", id: 7, result: { text: "x".repeat(400) } });
  assert.deepEqual([socket.sent.at(-1).id, socket.sent.at(-1).error.code], [7, -31003]);
  transport.suspend();
});

const SNAPSHOT = {
  version: 1, session: "S", token: "T", grace: 60, window: { frames: 64, bytes: 4096 },
  acknowledged: 0, received: 0, kept: [], legacy: false, waiting: [],
};

for (const [what, given] of Object.entries({
  "of another version": { ...SNAPSHOT, version: 2 },
  "that is empty": {},
  "that is a text": "text",
  "with an invalid count": { ...SNAPSHOT, received: "3" },
  "with invalid messages": { ...SNAPSHOT, kept: [1] },
})) {
  test(`a snapshot ${what} is refused with a reason, and the transport can be started without it`, async () => {
    const transport = new WebSocketClientTransport(WHERE, { resume: given, webSocket: () => new Socket(OPENED) });
    await assert.rejects(transport.start(), { name: "SessionGone", message: /not a snapshot/ });
    assert.equal(transport.state.error.name, "SessionGone");
    await transport.start();
    assert.equal(transport.state.kind, "open");
    transport.suspend();
  });
}

test("a doubt is dispatched until a pong arrives, and is not a state", async () => {
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.removeEventListener = page.removeEventListener.bind(page);
  const socket = new Socket(OPENED);
  const transport = new NegotiatingTransport("http://127.0.0.1/x", { transports: ["websocket"], webSocket: () => socket });
  const told = [];
  transport.addEventListener("doubt", ({ doubted }) => told.push(doubted));
  transport.addEventListener("gap", ({ dropped }) => told.push(dropped));
  await transport.start();
  page.dispatchEvent(new Event("offline"));
  page.dispatchEvent(new Event("offline"));
  assert.deepEqual(told, [true]);
  assert.deepEqual(socket.sent.at(-1), { "mcp.ws": "ping" });
  assert.equal(transport.state.kind, "open");
  socket.come('{"mcp.ws":"pong"}');
  assert.deepEqual(told, [true, false]);
  socket.come('{"mcp.ws":"gap","dropped":3}');
  assert.deepEqual(told, [true, false, 3], "the negotiating transport dispatches the events of the chosen one");
  transport.suspend();
  delete globalThis.addEventListener;
  delete globalThis.removeEventListener;
});

/** A handshake that fails. */
class RefusedSocket extends EventTarget {
  constructor() {
    super();
    setTimeout(() => this.dispatchEvent(new Event("error")));
  }

  close() {}
}

for (const keeps of [true, false]) {
  test(`a session whose credential is refused ${keeps ? "can be suspended, and its requests wait" : "ends otherwise, and so do its requests"}`, async () => {
    const socket = new Socket(OPENED);
    const sockets = [() => socket, () => new RefusedSocket()];
    const transport = new NegotiatingTransport("http://127.0.0.1/x", {
      transports: ["websocket"],
      webSocket: () => sockets.shift()(),
      fetch: async () => Response.json({ message: "it has expired", status: 401 }, { status: 401 }),
      reconnect: { firstDelay: 1, maxDelay: 1 },
    });
    const got = [];
    transport.onmessage = ({ id, error }) => got.push([id, error.data.outcome]);
    transport.onclose = () => got.push("closed");
    const refused = new Promise((resolve) => {
      transport.addEventListener("unauthorized", ({ error }) => resolve([error, keeps ? transport.suspend() : undefined]));
    });
    await transport.start();
    await transport.send({ jsonrpc: "2.0", id: 7, method: "m" });
    socket.dispatchEvent(Object.assign(new Event("close"), { code: 1006, reason: "" }));
    const [error, saved] = await refused;
    await turn();
    assert.match(`${error.name}: ${error.message}`, /^Unauthorized: .*it has expired/);
    assert.deepEqual(got, keeps ? [] : [[7, "unknown"], "closed"]);
    assert.deepEqual([saved?.waiting, saved?.transport], keeps ? [[7], "websocket"] : [undefined, undefined]);
  });
}

test("resume: null opens a new session", async () => {
  const { transport } = await started(OPENED, { resume: null });
  assert.equal(transport.state.resumed, false);
  transport.suspend();
});

test("a snapshot of another kind of transport is refused with a reason", () => {
  assert.throws(() => new NegotiatingTransport("http://127.0.0.1/x", { resume: SNAPSHOT }), /names no transport/);
});

test("a frame that keeps the link open ends no request, and one in place of a response ends it after a while", async (context) => {
  const socket = new Socket("");
  socket.protocol = "mcp";
  socket.send = (text) => socket.sent.push(JSON.parse(text));
  const transport = new WebSocketClientTransport("ws://127.0.0.1/mcp", { webSocket: () => socket });
  const got = [];
  transport.onmessage = ({ id, error }) => got.push([id, error?.data.outcome]);
  await transport.start();
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const pass = (milliseconds) => (context.mock.timers.tick(milliseconds), Promise.resolve());
  await transport.send({ jsonrpc: "2.0", id: 1, method: "m" });
  for (const text of ["ping", "{}", "7", "", "Processing the request"]) socket.come(text);
  await pass(10_000);
  assert.deepEqual(got, []);
  socket.come("kaputt");
  await pass(3_000);
  assert.deepEqual(got, []);
  await pass(1_000);
  await pass(1);
  assert.deepEqual(got, [[1, "unknown"]]);
  await transport.send({ jsonrpc: "2.0", id: 2, method: "m" });
  socket.come('{"jsonrpc":"2.0","id":99,"result":{}}');
  await pass(1);
  assert.deepEqual(got.at(-1), [2, undefined], "the only open request");
  const closed = transport.close();
  await pass(3_000);
  await closed;
});

test("a binary frame of a server that is no gateway is read, and one of a gateway ends the session", async () => {
  const socket = new Socket("");
  socket.protocol = "mcp";
  socket.send = () => undefined;
  const transport = new WebSocketClientTransport("ws://127.0.0.1/mcp", { webSocket: () => socket });
  const got = [];
  transport.onmessage = ({ id, result }) => got.push([id, result]);
  await transport.start();
  for (const id of [1, 2]) {
    await transport.send({ jsonrpc: "2.0", id, method: "m" });
    const bytes = new TextEncoder().encode(`{"jsonrpc":"2.0","id":${id},"result":{"a":NaN}}`);
    socket.come(id === 1 ? bytes : bytes.buffer); // as Node's ws and as browsers give it
    await turn();
  }
  assert.deepEqual(got, [[1, { a: null }], [2, { a: null }]]);
  const strict = await started(OPENED);
  strict.socket.come(new ArrayBuffer(2));
  await turn();
  assert.equal(strict.transport.state.code, 1003);
  const closed = transport.close();
  socket.dispatchEvent(Object.assign(new Event("close"), { code: 1000, reason: "" }));
  await closed;
});

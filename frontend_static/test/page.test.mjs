// The parts of the page without rendering: fields of schemas, the layer between client and transport, routes.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { errorsOf, understood } from "../build/page/form/check.js";
import { blank, changed, fieldOf, initial, resolved, typedNumber, variantFor, variantsOf } from "../build/page/form/schema.js";
import { closing } from "../build/page/mcp/closing.js";
import { Lists } from "../build/page/mcp/lists.js";
import { Pages } from "../build/page/mcp/pages.js";
import { CALL, schemaOfQuestion, Wire } from "../build/page/mcp/wire.js";
import { href, parseHash } from "../build/page/route.js";
import { ClientEnd } from "../dist/resume.js";

// --- forms ---------------------------------------------------------------------------------------

const TREE = {
  type: "object",
  $defs: { Node: { type: "object", properties: { name: { type: "string" }, next: { $ref: "#/$defs/Node" } }, required: ["name"] } },
  properties: { root: { $ref: "#/$defs/Node" } },
  required: ["root"],
};

test("references are followed, also those that lead back to themselves", () => {
  const root = resolved(TREE.properties.root, TREE);
  assert.deepEqual(Object.keys(root.properties), ["name", "next"]);
  assert.deepEqual(initial(TREE, TREE), { root: {} });
  assert.deepEqual(resolved({ $ref: "#/$defs/Absent" }, TREE), {});
  const loop = { $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } } };
  assert.deepEqual(resolved({ $ref: "#/$defs/a" }, loop), {});
});

test("following references that double at each level ends", () => {
  const names = [...Array(40).keys()];
  const $defs = Object.fromEntries(names.map((at) => [`d${at}`, { allOf: [{ $ref: `#/$defs/d${at + 1}` }, { $ref: `#/$defs/d${at + 1}` }] }]));
  const root = { $defs, type: "object", properties: { deep: { $ref: "#/$defs/d0" } }, required: ["deep"] };
  assert.deepEqual(resolved(root.properties.deep, root), {});
  assert.deepEqual(initial(root, root), {});
  const variants = variantsOf({ anyOf: [{ type: "object", properties: { s: { pattern: "^(a+)+$" } } }, { type: "string" }] }, {});
  assert.equal(variantFor(variants, { s: `${"a".repeat(40)}!` }, {}), 0);
});

test("members may have names of JavaScript properties", () => {
  const names = ["__proto__", "constructor", "toString"];
  const properties = Object.fromEntries(names.map((name) => [name, { type: "string" }]));
  const schema = { type: "object", properties, required: [...names, "valueOf"] };
  const field = fieldOf(schema, {}, schema);
  assert.deepEqual(field.members.map(({ name }) => name), [...names, "valueOf"]);
  assert.deepEqual(field.members.map((member) => member.schema), [properties.constructor, properties.constructor, properties.toString, {}]);
  assert.deepEqual([...errorsOf(schema, {}, schema)], [...names, "valueOf"].map((name) => [`/${name}`, "is required"]));
  const value = [...names, "valueOf"].reduce((made, name) => changed(made, name, "x"), {});
  assert.equal(JSON.stringify(value), '{"__proto__":"x","constructor":"x","toString":"x","valueOf":"x"}');
  assert.equal(errorsOf(schema, value, schema).size, 0);
  assert.equal(JSON.stringify(changed(value, "__proto__", undefined)), '{"constructor":"x","toString":"x","valueOf":"x"}');
});

test("a form starts with defaults, constants and required objects", () => {
  const schema = {
    type: "object",
    properties: {
      a: { type: "integer", default: 3 },
      b: { type: "object", properties: { c: { const: "x" }, d: { type: "string" } }, required: ["c", "d"] },
      e: { type: "object", properties: { f: { default: 1 } } },
      g: { type: "string" },
    },
    required: ["b"],
  };
  assert.deepEqual(initial(schema, schema), { a: 3, b: { c: "x" } });
});

test("a value that its field cannot show is kept and shown as JSON", () => {
  const kindOf = (schema, value) => fieldOf(schema, value, schema).kind;
  assert.equal(kindOf({ type: "string" }, "x"), "text");
  assert.equal(kindOf({ type: "string" }, 7), "json");
  assert.equal(kindOf({ type: "string" }, undefined), "text");
  assert.equal(kindOf({ type: "integer" }, "1e"), "number", "what is being typed");
  assert.equal(kindOf({ type: "integer" }, [1]), "json");
  assert.equal(kindOf({ enum: ["a", 1, null] }, null), "choice");
  assert.equal(kindOf({ enum: ["a", 1, null] }, "b"), "json");
  assert.equal(kindOf({ type: "array", items: { enum: ["a", "b"] } }, ["b"]), "choices");
  assert.equal(kindOf({ type: "array", items: { enum: ["a", "b"] } }, ["c"]), "json");
  assert.equal(kindOf({ type: "array", items: { enum: ["a", "b"] } }, ["a", "a"]), "json");
  assert.equal(kindOf({ oneOf: [{ const: "r", title: "Red" }, { const: "g" }] }, "g"), "choice");
  assert.equal(kindOf({}, { any: "thing" }), "json");
  assert.match(fieldOf({ type: "boolean" }, "yes", {}).because, /"yes"/);
});

test("members that a schema does not name are shown as well", () => {
  const schema = { type: "object", properties: { a: {} }, additionalProperties: false };
  assert.deepEqual(fieldOf(schema, { a: 1, b: 2 }, schema).extra, ["b"]);
  assert.equal(fieldOf(schema, {}, schema).more, undefined);
  assert.deepEqual(fieldOf({ type: "object", additionalProperties: { type: "number" } }, {}, {}).more, { type: "number" });
});

test("the shape of a value selects its variant", () => {
  const optional = { anyOf: [{ type: "string" }, { type: "null" }], default: null };
  assert.deepEqual(variantsOf(optional, {}).map(({ label }) => label), ["string", "null"]);
  assert.equal(variantFor(variantsOf(optional, {}), null, {}), 1);
  assert.equal(variantFor(variantsOf(optional, {}), "x", {}), 0);
  assert.deepEqual(variantsOf({ type: ["integer", "null"] }, {}).map(({ schema }) => schema.type), ["integer", "null"]);
  assert.deepEqual(variantsOf({ type: "string" }, {}), []);
});

test("errors have a message and the pointer of their field", () => {
  const schema = {
    type: "object",
    properties: { "a/b": { type: "array", items: { type: "integer" } }, n: { anyOf: [{ type: "string" }, { type: "null" }] } },
    required: ["x"],
  };
  const errors = errorsOf(schema, { "a/b": [1, "2"], n: 5 }, schema);
  assert.equal(errors.get("/a~1b/1"), "must be integer, not string");
  assert.equal(errors.get("/x"), "is required");
  assert.match(errors.get("/n"), /must be/);
  assert.equal(errorsOf(schema, { x: 1 }, schema).size, 0);
  assert.throws(() => errorsOf({ $ref: "#/nowhere" }, {}, { $ref: "#/nowhere" }), { name: "BadSchema" });
});

test("a pattern that is not valid in JavaScript is left out, and the rest is checked", () => {
  const wide = { type: "object", properties: { pattern: { type: "string", pattern: "(?i)^a" }, n: { minimum: 5 } }, default: { pattern: "(" } };
  const { schema, left } = understood({ ...wide, anyOf: [{ properties: { x: { pattern: "\\Ab", maxLength: 2 } } }], const: { pattern: "(?i)" } });
  assert.deepEqual(left, ["(?i)^a", "\\Ab"]);
  assert.deepEqual(schema.properties, { pattern: { type: "string" }, n: { minimum: 5 } });
  assert.deepEqual(schema.anyOf, [{ properties: { x: { maxLength: 2 } } }]);
  assert.deepEqual([schema.default, schema.const], [{ pattern: "(" }, { pattern: "(?i)" }]);
  const named = { patternProperties: { "(?i)a": {} } };
  assert.throws(() => errorsOf(named, { a: 1 }, named), /its pattern "\(\?i\)a" is not valid in JavaScript/);
  const fine = { properties: { pattern: { pattern: "^a$" } } };
  assert.deepEqual(understood(fine), { schema: fine, left: [] });
});

test("a number that is being typed keeps its text", () => {
  assert.deepEqual(["", " ", "1", "-1.5e3", "1e", "-", "0x10", "Infinity", ".5"].map(typedNumber), [undefined, undefined, 1, -1500, "1e", "-", "0x10", "Infinity", 0.5]);
});

test("changing one member keeps the others", () => {
  const before = { a: [1, 2, 3], b: null };
  assert.deepEqual(changed(before, "a", changed(before.a, 1, undefined)), { a: [1, 3], b: null });
  assert.deepEqual(changed(before, "b", undefined), { a: [1, 2, 3] });
  assert.deepEqual(before, { a: [1, 2, 3], b: null });
  assert.deepEqual(changed(undefined, "c", 1), { c: 1 });
  assert.equal(blank({ type: "string" }, {}), "");
  assert.deepEqual(blank({ anyOf: [{ type: "array" }, { type: "null" }] }, {}), []);
});

// --- addresses -----------------------------------------------------------------------------------

test("routes can contain any name", () => {
  const parts = ["server", "a/b ü", "tools", "<img>?#%"];
  assert.deepEqual(parseHash(href(parts, { args: '{"a": "&=#"}', none: undefined })), { parts, query: { args: '{"a": "&=#"}' } });
  assert.deepEqual(parseHash("#/server/%zz").parts, ["server", "%zz"]);
  assert.deepEqual(parseHash(""), { parts: [], query: {} });
});

// --- between client and transport ----------------------------------------------------------------

function wired(saved) {
  const inner = { sent: [], start: async () => {}, close: async () => {}, send: async (message) => void inner.sent.push(message) };
  const wire = new Wire(inner, saved);
  const got = [];
  wire.onmessage = (message) => got.push(message);
  return { wire, inner, got };
}

const call = (id, key) => ({ jsonrpc: "2.0", id, method: "tools/call", params: { name: "t", _meta: { [CALL]: key, progressToken: id } } });

test("without saved state ids stay, and the key of a call never leaves the page", async () => {
  const { wire, inner, got } = wired();
  await wire.send(call(0, "k"));
  assert.deepEqual(inner.sent, [{ jsonrpc: "2.0", id: 0, method: "tools/call", params: { name: "t", _meta: { progressToken: 0 } } }]);
  inner.onmessage({ jsonrpc: "2.0", id: 0, result: {} });
  inner.onmessage({ jsonrpc: "2.0", id: 0, result: {} });
  assert.deepEqual(got, [{ jsonrpc: "2.0", id: 0, result: {} }], "an answer counts once");
});

test("questions reach the client with a schema that the SDK takes, and the user with their own", () => {
  const { wire, inner, got } = wired();
  const requestedSchema = { type: "object", properties: { meals: { type: "array", items: { enum: ["fish"] } } } };
  const asked = { method: "elicitation/create", params: { message: "?", requestedSchema } };
  const frames = [];
  wire.onframe = (_, message) => frames.push(message);
  inner.onmessage({ jsonrpc: "2.0", id: "q", ...asked });
  void wire.send(call(0, "k"));
  inner.onmessage({ jsonrpc: "2.0", id: 0, result: { resultType: "input_required", inputRequests: { q: asked, r: { method: "roots/list" } } } });
  for (const { params } of [got[0], got[1].result.inputRequests.q]) {
    assert.deepEqual(params.requestedSchema, { type: "object", properties: {} });
    assert.deepEqual(schemaOfQuestion(params), requestedSchema);
  }
  assert.deepEqual(got[1].result.inputRequests.r, { method: "roots/list" });
  assert.deepEqual(frames[0].params, asked.params, "what is shown of the traffic is what was sent");
});

test("a client that declines the bridge says so in its first request only", async () => {
  const { wire, inner } = wired();
  wire.declinesBridge = true;
  const discover = { jsonrpc: "2.0", id: 0, method: "server/discover", params: { _meta: { a: 1 } } };
  await wire.send(discover);
  wire.declinesBridge = false;
  await wire.send(discover);
  assert.deepEqual(inner.sent.map(({ params }) => params._meta), [{ a: 1, "mcp-ws-ide/bridge": false }, { a: 1 }]);
});

test("an answer that arrives before its call is adopted is kept for it", async () => {
  const first = wired();
  await first.wire.send(call(4, "k"));
  const { wire, inner, got } = wired(JSON.parse(JSON.stringify(first.wire.snapshot(new Set(["k"])))));
  inner.onmessage({ jsonrpc: "2.0", id: 4, result: { a: 1 } });
  assert.deepEqual(got, []);
  await wire.send(call(0, "k"));
  await new Promise((resolve) => queueMicrotask(resolve));
  assert.deepEqual(got, [{ jsonrpc: "2.0", id: 0, result: { a: 1 } }]);
  assert.deepEqual(inner.sent, []);
});

test("a later client adopts open calls, and its own ids lie beyond theirs", async () => {
  const first = wired();
  await first.wire.send(call(4, "k"));
  const saved = JSON.parse(JSON.stringify(first.wire.snapshot(new Set(["k"]))));
  const { wire, inner, got } = wired(saved);
  await wire.send(call(0, "k"));
  assert.deepEqual(inner.sent, [], "it is under way already");
  await wire.send(call(1, "new"));
  assert.equal(inner.sent[0].id, 6);
  assert.equal(inner.sent[0].params._meta.progressToken, 6);
  inner.onmessage({ jsonrpc: "2.0", method: "notifications/progress", params: { progressToken: 4, progress: 1 } });
  inner.onmessage({ jsonrpc: "2.0", method: "notifications/progress", params: { progressToken: 2, progress: 1 } });
  inner.onmessage({ jsonrpc: "2.0", id: 4, result: { a: 1 } });
  inner.onmessage({ jsonrpc: "2.0", id: 6, result: { b: 1 } });
  assert.deepEqual(got.map(({ id, params }) => id ?? params.progressToken), [0, 0, 1]);
  await wire.send({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 1 } });
  assert.equal(inner.sent[1].params.requestId, 1, "it is over: nothing to translate");
});

test("a cancellation carries the id that the server knows", async () => {
  const { wire, inner } = wired({ next: 10, calls: {}, asked: [], listens: [] });
  await wire.send(call(0, "k"));
  await wire.send({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 0 } });
  assert.deepEqual(inner.sent.map((message) => message.id ?? message.params.requestId), [10, 10]);
  assert.deepEqual(wire.snapshot(new Set(["k"])).calls, {});
});

test("the handshake is answered from memory, and unanswered questions are delivered again", async () => {
  const first = wired();
  await first.wire.send({ jsonrpc: "2.0", id: 0, method: "initialize", params: {} });
  first.inner.onmessage({ jsonrpc: "2.0", id: 0, result: { capabilities: { tools: {} } } });
  first.inner.onmessage({ jsonrpc: "2.0", id: "q", method: "elicitation/create", params: {} });
  first.inner.onmessage({ jsonrpc: "2.0", id: "r", method: "roots/list" });
  await first.wire.send({ jsonrpc: "2.0", id: "r", result: {} });
  const { wire, inner, got } = wired(first.wire.snapshot(new Set()));
  await wire.send({ jsonrpc: "2.0", id: 0, method: "initialize", params: {} });
  await Promise.resolve();
  await wire.send({ jsonrpc: "2.0", method: "notifications/initialized" });
  wire.askAgain();
  assert.deepEqual(inner.sent, []);
  assert.deepEqual(got.map(({ id, method }) => method ?? id), [0, "elicitation/create"]);
  assert.deepEqual(got[0].result, { capabilities: { tools: {} } });
});

test("a question that arrived as the answer of a call is delivered to the client that adopts the call", async () => {
  const first = wired();
  await first.wire.send(call(3, "k"));
  const asked = { jsonrpc: "2.0", id: 3, result: { resultType: "input_required", requestState: "s" } };
  first.inner.onmessage(asked);
  const { wire, inner, got } = wired(first.wire.snapshot(new Set(["k"])));
  await wire.send(call(0, "k"));
  await Promise.resolve();
  assert.deepEqual(got, [{ ...asked, id: 0 }]);
  await wire.send(call(1, "k"));
  assert.equal(inner.sent.length, 1, "the call goes on with the answer");
});

test("subscriptions of the previous client are cancelled", async () => {
  const first = wired();
  await first.wire.send({ jsonrpc: "2.0", id: "listen:0", method: "subscriptions/listen", params: {} });
  const { wire, inner } = wired(first.wire.snapshot(new Set()));
  await wire.start();
  assert.deepEqual(inner.sent.map(({ params }) => params.requestId), [first.inner.sent[0].id]);
  await wire.send({ jsonrpc: "2.0", id: "listen:0", method: "subscriptions/listen", params: {} });
  assert.equal(inner.sent[1].id, "listen:0~0");
});

// --- the session itself ---------------------------------------------------------------------------

test("a snapshot continues a session with its unacknowledged messages and open requests", () => {
  const end = new ClientEnd();
  end.receive('{"mcp.ws":"opened","session":"5e55","token":"t1","grace":9,"window":{"frames":64,"bytes":4096}}');
  for (const id of [1, 2, 3]) end.send(JSON.stringify({ jsonrpc: "2.0", id, method: "x" }));
  end.receive('{"mcp.ws":"ack","recv":1}');
  end.receive('{"jsonrpc":"2.0","id":1,"result":{}}');
  const next = ClientEnd.continued(JSON.parse(JSON.stringify(end.snapshot())));
  assert.equal(next.session, "5e55");
  assert.deepEqual(JSON.parse(next.hello()), { "mcp.ws": "resume", token: "t1", recv: 1 });
  const { event, write } = next.receive('{"mcp.ws":"resumed","recv":2,"token":"t2"}');
  assert.equal(event, "resumed");
  assert.deepEqual(write.map((text) => JSON.parse(text).id), [undefined, 3]);
  assert.deepEqual(next.giveUp("over").map(({ id, error }) => [id, error.data.outcome]), [[2, "unknown"], [3, "unknown"]]);
  assert.equal(new ClientEnd().snapshot(), undefined);
});

// --- pages of lists ------------------------------------------------------------------------------

function follow(answer) {
  const pages = new Pages("name");
  let cursor;
  for (let number = 1; number < 1000; number += 1) {
    const [names, next] = answer(number, cursor);
    if (!pages.take(names.map((name) => ({ name })), next)) return { names: pages.items.map(({ name }) => name).join(""), number, note: pages.note };
    cursor = next;
  }
  throw new Error("the list did not end");
}

test("a list ends where its cursor comes back, and shows each item once", () => {
  for (const cursor of ["", "x"]) {
    const { names, number, note } = follow(() => [["a", "b"], cursor]);
    assert.deepEqual([names, number], ["ab", 2]);
    assert.match(note, /is repeated on page 2.*2 items listed twice/);
  }
  assert.equal(follow((number, asked) => [[`${asked}`], asked === "1" ? "2" : "1"]).number, 3);
});

test("an empty text is a cursor, and leads to a real page", () => {
  assert.deepEqual(follow((number, asked) => (asked === "" ? [["c"], undefined] : [["a"], ""])), { names: "ac", number: 2, note: "" });
});

test("ever new cursors end where pages bring nothing new, or after a number of pages", () => {
  assert.equal(follow((number) => [["a"], `${number}`]).number, 2);
  assert.equal(follow((number) => [[], `${number}`]).number, 4);
  const endless = follow((number) => [[`${number}`], `${number}`]);
  assert.equal(endless.number, 100);
  assert.match(endless.note, /more than 100 pages/);
});

test("items without a name are kept, each", () => {
  const pages = new Pages("name");
  pages.take([{}, {}, null, { name: 5 }], undefined);
  assert.equal(pages.items.length, 4);
});

// --- the end of a connection -----------------------------------------------------------------------

test("a close code has the meaning that the contract gives it", () => {
  const documented = readFileSync(new URL("../../docs/reference/errors.md", import.meta.url), "utf8");
  const meanings = {
    1001: ["gateway going away", "The gateway is going away"],
    1008: ["client too slow", "The client does not read"],
    1012: ["gateway shutting down", "The gateway is shutting down"],
    1013: ["try again later", "There is no room for a new session"],
    4409: ["taken over by another link", "Another link of the same session took over"],
    4413: ["too many responses waiting", "More responses wait than the window holds"],
    4502: ["server ended or cannot start", "The session's own server ended, or the server that `open` asked for cannot start"],
  };
  for (const [code, [meaning, contract]] of Object.entries(meanings)) {
    assert.equal(closing(Number(code), ""), `closed (${code}, ${meaning})`);
    const row = documented.split("\n").find((line) => line.startsWith(`| \`${code}\``));
    assert.ok(row?.includes(contract), `${code}: ${row}`);
  }
});

test("the reason of a close frame is shown beside the meaning; an unknown code has none", () => {
  assert.equal(closing(1008, "slow consumer: 9 bytes are queued"), "closed (1008, client too slow): slow consumer: 9 bytes are queued");
  assert.equal(closing(1000, ""), "closed (1000, normal)");
  assert.equal(closing(4999, "why not"), "closed (4999): why not");
  assert.equal(closing(4999, ""), "closed (4999)");
  assert.equal(closing(1006, "the banner shows it"), "closed (1006, connection lost)");
});

// --- lists whose request is lost ---

function listing(...answers) {
  const asked = [];
  const client = {
    request: async ({ method }) => {
      asked.push(method);
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return answer;
    },
  };
  const peer = { client, info: { peek: () => ({ capabilities: { tools: {} } }) } };
  return { asked, lists: new Lists(peer) };
}

const lost = () => Object.assign(new Error("the link was lost"), { data: { outcome: "unknown" } });

test("a list whose request was lost with the connection is requested again", async () => {
  const { asked, lists } = listing(lost(), { tools: [{ name: "a", inputSchema: { type: "object" } }] });
  await lists.load("tools");
  assert.equal(asked.length, 2);
  assert.deepEqual(lists.tools.value.items.map(({ name }) => name), ["a"]);
  assert.equal(lists.tools.value.error, "");
});

test("a list that is lost each time, or refused, has an error", async () => {
  for (const [answers, times] of [[[lost(), lost(), lost(), lost()], 3], [[new Error("no")], 1]]) {
    const { asked, lists } = listing(...answers);
    await lists.load("tools");
    assert.equal(asked.length, times);
    assert.notEqual(lists.tools.value.error, "");
  }
});

// Apps (SEP-1865): which tools have one, what its resource says, and what its host answers.
import assert from "node:assert/strict";
import { test } from "node:test";
import { AppHost } from "../build/page/apps/host.js";
import { appOf, callable, documentIn, frameQuery, isAppUri } from "../build/page/apps/resource.js";

test("a tool has an app where it names a resource with an address of apps", () => {
  assert.equal(appOf({ name: "t", _meta: { ui: { resourceUri: "ui://a/b" } } }), "ui://a/b");
  assert.equal(appOf({ name: "t", _meta: { "ui/resourceUri": "ui://a/b" } }), "ui://a/b");
  for (const _meta of [undefined, null, {}, { ui: { resourceUri: "https://x" } }, { ui: { resourceUri: 7 } }, { ui: "ui://a" }]) assert.equal(appOf({ name: "t", _meta }), undefined);
  assert.equal(appOf(undefined), undefined);
  assert.ok(!isAppUri("file:///etc/passwd"));
  assert.ok(!isAppUri(undefined));
});

test("an app calls the tools that are shown to apps, in a group without their prefix", () => {
  const tools = [{ name: "a__get" }, { name: "hidden", _meta: { ui: { visibility: ["model"] } } }, { name: "own", _meta: { ui: { visibility: ["app"] } } }];
  assert.equal(callable(tools, "get"), tools[0]);
  assert.equal(callable(tools, "a__get"), tools[0]);
  assert.equal(callable(tools, "own"), tools[2]);
  assert.equal(callable(tools, "hidden"), undefined);
  assert.equal(callable(tools, "et"), undefined);
});

test("the document of an app has the right type, as text or as data", () => {
  const mimeType = "text/html;profile=mcp-app";
  const csp = { connectDomains: ["https://api.example.org", 7], resourceDomains: ["https://cdn.example.org"] };
  const app = documentIn({ contents: [{ mimeType: "text/plain", text: "no" }, { mimeType, text: "<p>", _meta: { ui: { csp } } }] });
  assert.deepEqual(app, { html: "<p>", connect: ["https://api.example.org"], resource: ["https://cdn.example.org"], frame: [] });
  assert.equal(frameQuery(app), "connect=https%3A%2F%2Fapi.example.org&resource=https%3A%2F%2Fcdn.example.org");
  assert.equal(documentIn({ contents: [{ mimeType: 'text/html; profile="mcp-app"', blob: Buffer.from("<p>ä").toString("base64") }] }).html, "<p>ä");
  for (const answer of [undefined, {}, { contents: [] }, { contents: [{ mimeType: "text/html", text: "<p>" }] }, { contents: [{ mimeType }] }]) assert.throws(() => documentIn(answer), /resource/);
});

/** A host, what it has sent, and what it was asked to do. */
function hosting(actions = {}) {
  const sent = [];
  const done = [];
  const note = (name, result) => async (...args) => (done.push([name, ...args]), result);
  const all = { callTool: note("call", { content: [] }), readResource: note("read", { contents: [] }), openLink: note("open", true), log: (...args) => done.push(["log", ...args]), resize: (height) => done.push(["resize", height]), ...actions };
  return { host: new AppHost((message) => sent.push(message), all, { args: { a: 1 }, result: { content: [], isError: false }, context: { theme: "dark" } }), sent, done };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const request = (id, method, params) => ({ jsonrpc: "2.0", id, method, params });

test("an app is welcomed with the protocol and the theme, and then told of its call", async () => {
  const { host, sent } = hosting();
  host.receive(request(0, "ui/initialize", { protocolVersion: "2025-11-21", appInfo: {}, appCapabilities: {} }));
  await settled();
  assert.equal(sent[0].id, 0);
  assert.equal(sent[0].result.protocolVersion, "2025-11-21");
  assert.equal(sent[0].result.hostContext.theme, "dark");
  assert.deepEqual(Object.keys(sent[0].result.hostCapabilities), ["openLinks", "serverTools", "serverResources", "logging"]);
  host.receive({ jsonrpc: "2.0", method: "ui/notifications/initialized" });
  assert.deepEqual(sent.slice(1).map(({ method, params }) => [method, params]), [
    ["ui/notifications/tool-input", { arguments: { a: 1 } }],
    ["ui/notifications/tool-result", { content: [], isError: false }],
  ]);
});

test("a host answers the methods of the extension that it declares, and refuses all others", async () => {
  const { host, sent, done } = hosting();
  host.receive(request(1, "tools/call", { name: "get", arguments: { x: 1 } }));
  host.receive(request(2, "resources/read", { uri: "ui://x" }));
  host.receive(request(3, "ui/open-link", { url: "https://x" }));
  host.receive(request(4, "ping"));
  const refused = ["tools/list", "resources/list", "prompts/get", "sampling/createMessage", "elicitation/create", "ui/message", "ui/update-model-context", "ui/download-file", "toString", "__proto__"];
  for (const [at, method] of refused.entries()) host.receive(request(10 + at, method, {}));
  await settled();
  assert.deepEqual(done, [["call", "get", { x: 1 }], ["read", "ui://x"], ["open", "https://x"]]);
  assert.deepEqual(sent.filter(({ id }) => id < 10).map(({ id, result }) => [id, result]).sort(), [[1, { content: [] }], [2, { contents: [] }], [3, { isError: false }], [4, {}]]);
  assert.deepEqual(sent.filter(({ id }) => id >= 10).map(({ error }) => error.code), refused.map(() => -32601));
});

test("what an action refuses reaches the app as an error, and what is no message is ignored", async () => {
  const { host, sent, done } = hosting({ callTool: async () => { throw new Error("not allowed"); } });
  for (const message of [null, "x", 7, [], {}, { jsonrpc: "1.0", id: 1, method: "ping" }, { jsonrpc: "2.0", id: 1, result: {} }, { jsonrpc: "2.0", id: {}, method: "tools/call" }]) host.receive(message);
  await settled();
  assert.deepEqual(sent, []);
  host.receive(request("r", "tools/call", { name: "get" }));
  await settled();
  assert.deepEqual(sent, [{ jsonrpc: "2.0", id: "r", error: { code: -32000, message: "not allowed" } }]);
  host.receive({ jsonrpc: "2.0", method: "ui/notifications/size-changed", params: { height: 99 } });
  host.receive({ jsonrpc: "2.0", method: "ui/notifications/size-changed", params: { height: "1e9" } });
  host.receive({ jsonrpc: "2.0", method: "notifications/message", params: { level: "info", data: "hi" } });
  assert.deepEqual(done, [["resize", 99], ["log", "info", "hi"]]);
});

test("an app that floods its host is refused, and one that is removed gets no more answers", async () => {
  let release;
  const { host, sent } = hosting({ callTool: () => new Promise((resolve) => (release = resolve)) });
  for (let id = 0; id < 40; id++) host.receive(request(id, "tools/call", { name: "x" }));
  await settled();
  assert.equal(sent.filter(({ error }) => /Too many/.test(error?.message)).length, 8);
  host.close();
  release({});
  await settled();
  assert.equal(sent.at(-1).method, "ui/resource-teardown");
  host.receive(request(99, "ping"));
  await settled();
  assert.equal(sent.at(-1).method, "ui/resource-teardown");
});

// Results of servers that are no gateway: one bad item never costs the SDK the good ones. The Python client runs the same
// vectors (tests/core/test_usable_answers.py).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as sdk from "@modelcontextprotocol/sdk/types.js";
import { ClientEnd } from "../dist/resume.js";
import { usable } from "../dist/usable.js";

const KEY = "mcp-ws-ide/unavailable";
const { cases } = JSON.parse(readFileSync(new URL("../../tests/vectors/results.json", import.meta.url), "utf8"));

for (const { name, method, result, shown, strict = true } of cases) {
  test(`result vector: ${method}, ${name}`, () => {
    const given = JSON.parse(JSON.stringify(result));
    const read = usable(method, given, "there", strict);
    assert.deepEqual(given, result, "what was given is not changed");
    if (shown === undefined) return assert.equal(read, given);
    const { _meta: { [KEY]: note, ...meta }, ...rest } = read;
    assert.ok(note.there.length > 0);
    assert.deepEqual(JSON.parse(JSON.stringify({ ...rest, ...(Object.keys(meta).length > 0 ? { _meta: meta } : {}) })), shown);
  });
}

test("a client of plain mcp is given usable results, and one of a gateway what came", () => {
  const text = '{"jsonrpc":"2.0","id":1,"result":{"content":["a"]}}';
  const end = new ClientEnd();
  end.where = "ws://there/mcp";
  end.startPlain(usable);
  end.send('{"jsonrpc":"2.0","id":1,"method":"tools/call"}');
  const { message } = end.receive(text);
  assert.deepEqual(message.result.content, [{ type: "text", text: "a" }]);
  assert.match(message.result._meta[KEY]["ws://there/mcp"], /tools\/call: item 1/);
  end.send('{"jsonrpc":"2.0","id":2,"method":"tools/call"}');
  const [paired] = end.readable(text.replace('"id":1', '"id":"2"'));
  assert.deepEqual([paired.id, paired.result.content], [2, [{ type: "text", text: "a" }]]);
});

const SCHEMAS = {
  "tools/list": sdk.ListToolsResultSchema,
  "prompts/list": sdk.ListPromptsResultSchema,
  "resources/list": sdk.ListResourcesResultSchema,
  "resources/templates/list": sdk.ListResourceTemplatesResultSchema,
  "tools/call": sdk.CallToolResultSchema,
  "prompts/get": sdk.GetPromptResultSchema,
  "resources/read": sdk.ReadResourceResultSchema,
  "completion/complete": sdk.CompleteResultSchema,
  initialize: sdk.InitializeResultSchema,
};

test("the SDK accepts each result as it is shown, and refuses most of them as they were written", () => {
  const complete = cases.filter(({ strict, result }) => strict !== false && !("task" in result));
  for (const { name, method, result, shown } of complete) assert.ok(SCHEMAS[method].safeParse(shown ?? result).success, `${method}, ${name}`);
  const refused = complete.filter(({ method, result }) => !SCHEMAS[method].safeParse(result).success);
  assert.ok(refused.length >= 60, `${refused.length}`);
});

// What a proxy answers in place of the gateway: the error names who answered, what it said, and the cure.
import assert from "node:assert/strict";
import { test } from "node:test";
import { NegotiatingTransport } from "../dist/index.js";
import { ofStatus } from "../dist/intermediaries.js";

const WHERE = "http://127.0.0.1/mcp-ws/servers/x";
const PAGE = "<html><head><title>Proxy\n says no</title></head></html>";
const STATUSES = [408, 411, 413, 414, 431, 494, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 527, 530];

/** In place of the SDK's transport: only passes on how it would fetch. */
class Http {
  static fetch;

  constructor(_url, { fetch }) {
    Http.fetch = fetch;
  }

  async start() {}
  async close() {}
}

/** The SDK's `fetch` behind a gateway whose proxy answers messages so; the probe passes unless `all`. */
async function through(status, body = PAGE, all = false) {
  const fetch = async (url) =>
    url.pathname.endsWith("/probe") && !all
      ? new Response("data: x\n\n", { headers: { "Content-Type": "text/event-stream" } })
      : new Response(body, { status, headers: { "Content-Type": "text/html" } });
  await new NegotiatingTransport(WHERE, { streamableHttp: Http, transports: ["http"], fetch }).start();
  return () => Http.fetch(WHERE, { method: "POST", body: "{}" });
}

for (const status of STATUSES) {
  test(`a ${status} of a proxy is explained over HTTP`, async () => {
    const expected = (error) => {
      assert.ok(error.message.includes(`something other than the gateway answered ${status}: `), error.message);
      assert.ok(error.message.endsWith(`, a web page titled "Proxy says no"; ${ofStatus(status).cure}`), error.message);
      assert.equal(error.noticed, ofStatus(status).code);
      return true;
    };
    await assert.rejects(await through(status), expected);
    await assert.rejects(through(status, PAGE, true), (error) => error.message.includes(ofStatus(status).cure));
  });
}

test("nginx's page about a long head, which it sends with 400, is recognized", async () => {
  const page = "<html><head><title>400 Request Header Or Cookie Too Large</title></head></html>";
  await assert.rejects(await through(400, page), /large_client_header_buffers/);
  await assert.rejects(through(400, page, true), /large_client_header_buffers/);
});

test("what the gateway itself refuses, and any other status, is left to the SDK", async () => {
  const refused = '{"jsonrpc":"2.0","id":null,"error":{"code":-31008,"message":"no","data":{"status":503}}}';
  for (const [status, body] of [[503, refused], [400, PAGE], [404, PAGE]]) {
    const response = await (await through(status, body))();
    assert.equal(response.status, status);
    assert.equal(await response.text(), body);
  }
});

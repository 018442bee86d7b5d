// The unmodified TypeScript SDK 1.x on a server of odd answers: URL HOW…; prints how each call ended, as JSON.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { WebSocketClientTransport } from "@modelcontextprotocol/sdk/client/websocket.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [address, ...hows] = process.argv.slice(2);
const own = address.startsWith("own "); // the transport of this project, on the SDK 1.x
const url = address.replace(/^own /, "");
const client = new Client({ name: "test", version: "1" });
const Transport = url.startsWith("ws") ? WebSocketClientTransport : StreamableHTTPClientTransport;
if (own) {
  const { NegotiatingTransport } = await import("../frontend_static/dist/index.js");
  await client.connect(new NegotiatingTransport(url, { transports: ["http"], streamableHttp: StreamableHTTPClientTransport }));
} else await client.connect(new Transport(new URL(url)));
const ended = {};
for (const how of hows) {
  const began = performance.now();
  const end = await client
    .callTool({ name: "t", arguments: { how, seed: 1 } }, undefined, { timeout: 20_000 })
    .then(() => "result", (error) => `error: ${error.message}`);
  ended[how] = [end, (performance.now() - began) / 1000];
}
console.log(JSON.stringify(ended));
await client.close();

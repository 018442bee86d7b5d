// The TypeScript client of the project, as the command that mcp-ws-conformance checks: MODULE SDK URL.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [transports, sdk, url] = process.argv.slice(2);
const { WebSocketClientTransport } = await import(pathToFileURL(transports));
const { Client } = await import(pathToFileURL(createRequire(pathToFileURL(transports)).resolve(sdk)));
const client = new Client({ name: "conformance", version: "1" }, { versionNegotiation: { mode: "auto" } });
const reconnect = { firstDelay: 50, maxDelay: 200 };
await client.connect(new WebSocketClientTransport(url, { reconnect }));
for (let call = 0; call < 3; call++) {
  const { content } = await client.callTool({ name: "echo", arguments: { text: "conformance" } });
  if (content[0].text !== "conformance") throw new Error(JSON.stringify(content));
}
await client.close();

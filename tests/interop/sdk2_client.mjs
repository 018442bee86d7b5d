// The unmodified TypeScript SDK 2.x over Streamable HTTP: URL TOOL ARGUMENTS-JSON MODE (legacy or auto).
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const [url, tool, args, mode] = process.argv.slice(2);
const client = new Client({ name: "test", version: "1" }, mode === "auto" ? { versionNegotiation: { mode } } : {});
await client.connect(new StreamableHTTPClientTransport(new URL(url)));
const { tools } = await client.listTools();
if (!tools.some((found) => found.name === tool)) throw new Error(`no tool ${tool}`);
const progress = [];
const result = await client.callTool({ name: tool, arguments: JSON.parse(args) });
if (result.isError) throw new Error(JSON.stringify(result));
console.log(result.content[0].text);
if (tools.some((found) => found.name === "slow")) {
  await client.callTool({ name: "slow", arguments: { steps: 2, delay: 0.2 } }, { onprogress: (p) => progress.push(p.progress) });
  if (progress.join() !== "1,2") throw new Error(`progress ${progress}`);
}
await client.close();

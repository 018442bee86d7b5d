/** A call as a Python program that uses this project's client. Pure. */

import type { CallKind } from "../mcp/call.js";

const LINE = 100;

/** @param endpoint URL of the MCP endpoint, http or https. */
export function pythonOf(endpoint: string, kind: CallKind, name: string, args: unknown): string {
  const url = endpoint.replace(/^http/, "ws");
  return [
    "import asyncio, os",
    "from mcp_ws_ide.client import connect",
    "",
    "async def main():",
    `    url, token = ${literal(url)}, os.environ["MCP_WS_TOKEN"]`,
    "    async with connect(url, token=token) as client:",
    `        print(await client.${requestOf(kind, name, args)})`,
    "",
    "asyncio.run(main())",
    "",
  ].join("\n");
}

function requestOf(kind: CallKind, name: string, args: unknown): string {
  if (kind === "resource") return `read_resource(${literal(name)})`;
  return `${kind === "tool" ? "call_tool" : "get_prompt"}(${literal(name)}, ${literal(args ?? {}, 2)})`;
}

/** A JSON value as a Python literal; what does not fit into a line gets a line for each member. */
export function literal(value: unknown, depth = 0): string {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object") return String(value);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const parts = Array.isArray(value)
    ? value.map((item) => literal(item, depth + 1))
    : Object.entries(value).map(([name, item]) => `${literal(name)}: ${literal(item, depth + 1)}`);
  const line = `${open}${parts.join(", ")}${close}`;
  if (line.length + 4 * depth <= LINE && !line.includes("\n")) return line;
  const indent = "    ".repeat(depth + 1);
  return `${open}\n${parts.map((part) => `${indent}${part},\n`).join("")}${"    ".repeat(depth)}${close}`;
}

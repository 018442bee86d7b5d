/** Reads servers from text copied from a README or another program's configuration. */

import type { Entry, Origin } from "./definitions.js";

export interface Pasted {
  readonly name: string;
  readonly entry: Entry;
  /** Where its hidden values come from, if it was found on the gateway's machine. */
  readonly from?: Origin;
}

/**
 * Read `mcpServers`, `servers`, `mcp_servers`, a mapping of servers, one entry, or a `claude mcp add-json` command's JSON.
 *
 * @throws Error the text is none of these.
 */
export function readPasted(text: string): readonly Pasted[] {
  const value = parseLoose(text);
  if (typeof value !== "object" || value === null) throw new Error("the text is not a JSON object");
  const document = value as Record<string, any>;
  const mcp = document["mcp"];
  const inner = document["mcpServers"] ?? document["servers"] ?? document["mcp_servers"] ?? (typeof mcp === "object" && mcp !== null ? mcp["servers"] : undefined);
  if (Array.isArray(inner)) return inner.filter(isObject).map(({ name, ...entry }) => ({ name: String(name ?? ""), entry }));
  if (isObject(inner)) return entriesOf(inner);
  if (isEntry(document)) {
    const { name, ...entry } = document;
    return [{ name: typeof name === "string" ? name : "", entry }];
  }
  const servers = entriesOf(document).filter(({ entry }) => isEntry(entry));
  if (servers.length === 0) throw new Error('the text contains no server; paste "mcpServers", "servers", or an object with "command" or "url"');
  return servers;
}

function entriesOf(servers: Record<string, any>): Pasted[] {
  return Object.entries(servers).filter(([, entry]) => isObject(entry)).map(([name, entry]) => ({ name, entry }));
}

function isObject(value: unknown): value is Record<string, any> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isEntry(value: Record<string, any>): boolean {
  return ["command", "url", "python", "group"].some((key) => key in value);
}

/** Parse JSON, allowing comments, trailing commas, and missing outer braces. */
function parseLoose(text: string): unknown {
  const withoutComments = text.replace(/"(?:\\.|[^"\\\n])*"|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (part) => (part.startsWith('"') ? part : " "));
  const plain = withoutComments.replace(/"(?:\\.|[^"\\\n])*"|,(?=\s*[}\]])/g, (part) => (part.startsWith('"') ? part : ""));
  try {
    return JSON.parse(plain);
  } catch (error) {
    try {
      return JSON.parse(`{${plain.trim().replace(/,$/, "")}}`);
    } catch {
      throw new Error(`the text is not valid JSON: ${(error as Error).message}`);
    }
  }
}

/** Servers out of a text that somebody copied from a README or another program's configuration. */

import type { Entry } from "./definitions.js";

export interface Pasted {
  readonly name: string;
  readonly entry: Entry;
}

/**
 * Read `mcpServers`, `servers`, `mcp_servers`, a mapping of servers, one entry, or a `claude mcp add-json` command's JSON.
 *
 * @throws Error it is none of them, in words.
 */
export function readPasted(text: string): readonly Pasted[] {
  const value = parseLoose(text);
  if (typeof value !== "object" || value === null) throw new Error("This is no JSON object.");
  const document = value as Record<string, any>;
  const mcp = document["mcp"];
  const inner = document["mcpServers"] ?? document["servers"] ?? document["mcp_servers"] ?? (typeof mcp === "object" && mcp !== null ? mcp["servers"] : undefined);
  if (Array.isArray(inner)) return inner.filter(isObject).map(({ name, ...entry }) => ({ name: String(name ?? ""), entry }));
  if (isObject(inner)) return entriesOf(inner);
  if (isEntry(document)) {
    const { name, ...entry } = document;
    return [{ name: typeof name === "string" ? name : "", entry }];
  }
  const found = entriesOf(document).filter(({ entry }) => isEntry(entry));
  if (found.length === 0) throw new Error('No server is in it: what is needed is "mcpServers", "servers", or an object with "command" or "url".');
  return found;
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

/** JSON, also with comments and trailing commas, and without the braces around it. */
function parseLoose(text: string): unknown {
  const plain = text.replace(/"(?:\\.|[^"\\\n])*"|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (found) => (found.startsWith('"') ? found : " ")).replace(/"(?:\\.|[^"\\\n])*"|,(?=\s*[}\]])/g, (found) => (found.startsWith('"') ? found : ""));
  try {
    return JSON.parse(plain);
  } catch (error) {
    try {
      return JSON.parse(`{${plain.trim().replace(/,$/, "")}}`);
    } catch {
      throw new Error(`This is no JSON: ${(error as Error).message}`);
    }
  }
}

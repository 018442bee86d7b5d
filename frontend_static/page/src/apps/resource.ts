/** Apps of servers (MCP Apps, SEP-1865): which tools have one, and what its resource says. Pure. */

import { isObject } from "../form/schema.js";

/** The extension, as a client declares it among its capabilities. */
export const APPS = "io.modelcontextprotocol/ui";
/** The content type of an app's document. */
export const APP_TYPE = "text/html;profile=mcp-app";

/** An app's document, and the hosts that it wants to reach. */
export interface AppDocument {
  readonly html: string;
  readonly connect: readonly string[];
  readonly resource: readonly string[];
  readonly frame: readonly string[];
}

interface Definition {
  readonly name: string;
  readonly _meta?: unknown;
}

/** The address of the app that shows a tool's results; undefined where it has none. */
export function appOf(tool: Definition | undefined): string | undefined {
  const meta = isObject(tool?._meta) ? tool._meta : {};
  const uri: unknown = uiOf(tool)["resourceUri"] ?? meta["ui/resourceUri"];
  return isAppUri(uri) ? uri : undefined;
}

function uiOf(tool: Definition | undefined): Record<string, unknown> {
  const meta = isObject(tool?._meta) ? tool._meta : {};
  return isObject(meta["ui"]) ? meta["ui"] : {};
}

/** Whether an app may read what has this address. */
export function isAppUri(uri: unknown): uri is string {
  return typeof uri === "string" && uri.startsWith("ui://");
}

/**
 * The tool that an app may call under a name: one of the names that the server lists, in a group also without its prefix, and
 * shown to apps (`visibility` has `app`, as it has by default). Undefined where there is none.
 */
export function callable<T extends Definition>(tools: readonly T[], name: string): T | undefined {
  const named = tools.find((tool) => tool.name === name) ?? tools.find((tool) => tool.name.endsWith(`__${name}`));
  const visibility = uiOf(named)["visibility"];
  return Array.isArray(visibility) && !visibility.includes("app") ? undefined : named;
}

/** The document in the answer to `resources/read`. @throws Error it has none. */
export function documentIn(answer: any): AppDocument {
  const contents = (Array.isArray(answer?.contents) ? answer.contents : []).find((one: any) => isObject(one) && isHtml(one["mimeType"]));
  if (contents === undefined) throw new Error(`The server's resource has no content of the type ${APP_TYPE}.`);
  const html = typeof contents.text === "string" ? contents.text : decoded(contents.blob);
  const csp = isObject(contents._meta?.ui?.csp) ? contents._meta.ui.csp : {};
  return { html, connect: texts(csp["connectDomains"]), resource: texts(csp["resourceDomains"]), frame: texts(csp["frameDomains"]) };
}

function isHtml(type: unknown): boolean {
  return typeof type === "string" && /^text\/html\s*;\s*profile="?mcp-app"?\s*$/i.test(type);
}

function decoded(blob: unknown): string {
  if (typeof blob !== "string") throw new Error("The server's resource is empty.");
  return new TextDecoder().decode(Uint8Array.from(atob(blob), (character) => character.charCodeAt(0)));
}

function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
}

/** The query of the frame's address, which names the hosts that the app may reach. */
export function frameQuery({ connect, resource, frame }: AppDocument): string {
  const query = new URLSearchParams();
  for (const [name, hosts] of Object.entries({ connect, resource, frame })) for (const host of hosts) query.append(name, host);
  return query.toString();
}

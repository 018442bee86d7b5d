/** What the page does for an app, after the user has allowed it. */

import type { Call } from "../mcp/call.js";
import type { Connection } from "../mcp/connection.js";
import { REQUEST_TIMEOUT } from "../mcp/peer.js";
import { isWeb } from "../ui/web.js";
import type { Actions } from "./host.js";
import { callable, isAppUri } from "./resource.js";

/** What an app wants to do, for the user to decide. */
export interface Wish {
  readonly kind: "tool" | "link";
  /** Name of the tool, or the address. */
  readonly name: string;
  readonly args: unknown;
  readonly decide: (allowed: boolean) => void;
}

/** Asks the user, and waits for the decision. */
export type Ask = (kind: Wish["kind"], name: string, args: unknown) => Promise<boolean>;

/** @param call the call that the app shows. */
export function actionsFor(connection: Connection, call: Call, ask: Ask, resize: (height: number) => void): Actions {
  return {
    callTool: (name, args) => callTool(connection, ask, name, args),
    readResource: (uri) => readResource(connection, uri),
    openLink: (url) => openLink(ask, url),
    log: (level, data) => connection.log.add("log", `app of ${call.name}`, data, level),
    resize,
  };
}

/** @throws Error the tool is not for apps, the user refused, or the call failed. */
async function callTool(connection: Connection, ask: Ask, name: string, args: unknown): Promise<unknown> {
  const tool = callable(connection.lists.tools.peek().items ?? [], name);
  if (tool === undefined) throw new Error(`The server has no tool named ${name} for apps.`);
  if (!(await ask("tool", name, args))) throw new Error("The user did not allow this call.");
  const state = await ended(connection.calls.start("tool", name, args, true));
  if (state.kind === "done") return state.result;
  throw new Error(state.kind === "failed" ? state.message : "The call was cancelled.");
}

/** The end of a call. */
function ended(call: Call): Promise<Exclude<Call["state"]["value"], { kind: "running" }>> {
  return new Promise((resolve) => {
    const stop = call.state.subscribe((state) => {
      if (state.kind === "running") return;
      queueMicrotask(() => stop());
      resolve(state);
    });
  });
}

async function readResource(connection: Connection, uri: unknown): Promise<unknown> {
  if (!isAppUri(uri)) throw new Error("An app may only read resources whose address begins with ui://.");
  if (connection.client === undefined) throw new Error("not connected");
  return connection.client.readResource({ uri }, { timeout: REQUEST_TIMEOUT, cacheMode: "bypass" });
}

async function openLink(ask: Ask, url: unknown): Promise<boolean> {
  if (typeof url !== "string" || !isWeb(url) || !(await ask("link", url, undefined))) return false;
  window.open(url, "_blank", "noopener,noreferrer");
  return true;
}

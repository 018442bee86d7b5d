/**
 * The page as the host of an app (MCP Apps, SEP-1865, protocol 2026-01-26): JSON-RPC with the frame of the app. It answers the
 * extension's methods that it has declared and refuses every other one. Knows no frame: messages are sent by a function.
 */

import { isObject } from "../form/schema.js";

/** Revisions of the protocol between host and app, the newest first. */
const PROTOCOLS = ["2026-01-26", "2025-11-21"];
const METHOD_NOT_FOUND = -32601;
const FAILED = -32000;
/** Requests of an app that may wait for an answer at the same time. */
const MAX_OPEN = 32;

/** What an app may ask for. Each may throw, and the app gets the message. */
export interface Actions {
  readonly callTool: (name: string, args: Record<string, unknown>) => Promise<unknown>;
  readonly readResource: (uri: unknown) => Promise<unknown>;
  /** @returns whether it was opened. */
  readonly openLink: (url: unknown) => Promise<boolean>;
  readonly log: (level: string, data: unknown) => void;
  /** The app wants to be so many pixels high. */
  readonly resize: (height: number) => void;
}

/** The call that an app shows. */
export interface Shown {
  readonly args: unknown;
  /** Undefined where the call has no result. */
  readonly result: unknown;
  readonly context: Record<string, unknown>;
}

export class AppHost {
  readonly #post: (message: unknown) => void;
  readonly #actions: Actions;
  readonly #shown: Shown;
  #open = 0;
  #closed = false;

  constructor(post: (message: unknown) => void, actions: Actions, shown: Shown) {
    this.#post = post;
    this.#actions = actions;
    this.#shown = shown;
  }

  /** Handle a message of the app. Data that is not JSON-RPC is ignored. */
  receive(message: unknown): void {
    if (this.#closed || !isObject(message) || message["jsonrpc"] !== "2.0" || typeof message["method"] !== "string") return;
    const params = isObject(message["params"]) ? message["params"] : {};
    const id: unknown = message["id"];
    if (typeof id === "string" || typeof id === "number") void this.#respond(id, message["method"], params);
    else this.#notified(message["method"], params);
  }

  /** Tell the app that it is removed. */
  close(): void {
    if (!this.#closed) this.#post({ jsonrpc: "2.0", id: "teardown", method: "ui/resource-teardown", params: {} });
    this.#closed = true;
  }

  async #respond(id: string | number, method: string, params: Record<string, any>): Promise<void> {
    if (this.#open >= MAX_OPEN) return this.#refuse(id, FAILED, "Too many requests are waiting for an answer.");
    this.#open += 1;
    try {
      const result = await this.#result(method, params);
      if (result === undefined) this.#refuse(id, METHOD_NOT_FOUND, `This host does not have the method ${method}.`);
      else if (!this.#closed) this.#post({ jsonrpc: "2.0", id, result });
    } catch (error) {
      this.#refuse(id, FAILED, error instanceof Error ? error.message : String(error));
    } finally {
      this.#open -= 1;
    }
  }

  #refuse(id: string | number, code: number, message: string): void {
    if (!this.#closed) this.#post({ jsonrpc: "2.0", id, error: { code, message } });
  }

  /** The result of a request; undefined where there is no such method. */
  async #result(method: string, params: Record<string, any>): Promise<unknown> {
    switch (method) {
      case "ui/initialize":
        return this.#initialized(params["protocolVersion"]);
      case "ping":
        return {};
      case "tools/call":
        return this.#actions.callTool(String(params["name"]), isObject(params["arguments"]) ? params["arguments"] : {});
      case "resources/read":
        return this.#actions.readResource(params["uri"]);
      case "ui/open-link":
        return { isError: !(await this.#actions.openLink(params["url"])) };
      case "ui/request-display-mode":
        return { mode: "inline" };
      default:
        return undefined;
    }
  }

  #initialized(wanted: unknown): unknown {
    return {
      protocolVersion: PROTOCOLS.find((version) => version === wanted) ?? PROTOCOLS[0],
      hostInfo: { name: "mcp-ws-ide page", version: "1" },
      hostCapabilities: { openLinks: {}, serverTools: {}, serverResources: {}, logging: {} },
      hostContext: { displayMode: "inline", availableDisplayModes: ["inline"], platform: "web", ...this.#shown.context },
    };
  }

  #notified(method: string, params: Record<string, any>): void {
    if (method === "ui/notifications/initialized") this.#sendCall();
    else if (method === "ui/notifications/size-changed" && Number.isFinite(params["height"])) this.#actions.resize(params["height"]);
    else if (method === "notifications/message") this.#actions.log(String(params["level"] ?? "info"), params["data"]);
  }

  /** Tell the app what call it shows. */
  #sendCall(): void {
    const { args, result } = this.#shown;
    this.#post({ jsonrpc: "2.0", method: "ui/notifications/tool-input", params: { arguments: args ?? {} } });
    if (result !== undefined) this.#post({ jsonrpc: "2.0", method: "ui/notifications/tool-result", params: result });
  }
}

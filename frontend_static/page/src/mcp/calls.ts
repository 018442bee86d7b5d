/** The user's calls of tools, prompts and resources, from request to answer. */

import { LOG_LEVEL_META_KEY, type Client } from "@modelcontextprotocol/client";
import { signal, type Signal } from "@preact/signals";
import { announce } from "../announce.js";
import { Call, type CallKind, type Progress, type SavedCall } from "./call.js";
import { notesOf, refusesAnswer, remarkOn } from "./lenient.js";
import type { Lists } from "./lists.js";
import { messageOf, newKey, type Peer } from "./peer.js";
import { CALL } from "./wire.js";

/** Milliseconds of the longest timer: a call ends when the server answers or the user cancels it. */
const NO_TIMEOUT = 2 ** 31 - 1;
/** Calls kept; those still running are kept beyond that. */
const MAX_CALLS = 50;
const RESULTS = { tool: "CallToolResult", prompt: "GetPromptResult", resource: "ReadResourceResult" } as const;

export class Calls {
  /** All calls, the newest first. */
  readonly all: Signal<readonly Call[]> = signal([]);
  /** Minimum level of the log messages requested with each call (modern era); empty: none are requested. */
  readonly level: Signal<string>;
  readonly #peer: Peer;
  readonly #lists: Lists;

  constructor(peer: Peer, lists: Lists, level: Signal<string>) {
    this.#peer = peer;
    this.#lists = lists;
    this.level = level;
  }

  get running(): readonly Call[] {
    return this.all.peek().filter((call) => call.running);
  }

  /** Start a call. It never throws: its state holds the outcome. */
  start(kind: CallKind, name: string, args: any): Call {
    const call = new Call(newKey(), kind, name, args);
    void this.#run(call);
    return call;
  }

  /** Wait for the answer of a call that an earlier load of the page made. */
  resume(saved: SavedCall): void {
    void this.#run(new Call(saved.key, saved.kind, saved.name, saved.args, saved));
  }

  /** A call of an earlier load of the page whose session could not be resumed. */
  lost(saved: SavedCall, reason: string): void {
    const call = new Call(saved.key, saved.kind, saved.name, saved.args, saved);
    call.end({ kind: "failed", message: `lost in the reload, and may have run: ${reason}` });
    this.#add(call);
  }

  /** Remove the calls that have ended. */
  clear(): void {
    this.all.value = this.running;
  }

  #add(call: Call): void {
    const all = [call, ...this.all.peek()];
    const old = all.slice(MAX_CALLS).filter((each) => !each.running);
    this.all.value = all.filter((each) => !old.includes(each));
  }

  async #run(call: Call): Promise<void> {
    this.#add(call);
    const { client, wire } = this.#peer;
    if (client === undefined) return call.end({ kind: "failed", message: "not connected" });
    try {
      const result = await this.#request(client, call);
      const remark = notesOf(result);
      call.end({ kind: "done", result, ...(remark && { remark }) });
      announce(`${call.name}: ${result.isError ? "the tool reported an error" : "done"}`);
    } catch (error) {
      const answer = wire?.takeAnswer(call.key);
      if (answer !== undefined && refusesAnswer(error)) {
        call.end({ kind: "done", result: answer, remark: remarkOn(error as Error, RESULTS[call.kind], answer) });
        return announce(`${call.name}: the result does not conform to MCP`);
      }
      call.end({ kind: "failed", message: failureOf(error), data: (error as { data?: unknown }).data });
      if (call.state.peek().kind === "failed") announce(`${call.name}: failed`);
    } finally {
      wire?.takeAnswer(call.key);
    }
  }

  #request(client: Client, call: Call): Promise<any> {
    const level = this.level.peek();
    const modern = this.#peer.info.peek()?.era === "modern";
    const _meta = { [CALL]: call.key, ...(level && modern ? { [LOG_LEVEL_META_KEY]: level } : {}) };
    const options = {
      signal: call.stop.signal,
      timeout: NO_TIMEOUT,
      onprogress: (progress: Progress) => {
        // The SDK reports rounds of questions as progress; the page shows the questions themselves.
        if (!progress.message?.startsWith("Fulfilling input required by ")) call.progress.value = progress;
      },
    };
    if (call.kind === "prompt") return client.getPrompt({ name: call.name, arguments: call.args, _meta }, options);
    if (call.kind === "resource") return client.readResource({ uri: call.name, _meta }, { ...options, cacheMode: "bypass" });
    const tool = this.#lists.tools.peek().items?.find(({ name }) => name === call.name);
    // Without its output schema: a result that does not match is shown with a remark rather than withheld.
    const { outputSchema: _, ...toolDefinition } = tool ?? { name: call.name, inputSchema: { type: "object" } as const };
    return client.callTool({ name: call.name, arguments: call.args, _meta }, { ...options, toolDefinition });
  }
}

function failureOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  return typeof code === "number" ? `${messageOf(error)} (${code})` : messageOf(error);
}

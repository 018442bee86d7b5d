/** The user's calls of tools, prompts and resources, from request to answer. */

import { LOG_LEVEL_META_KEY, type Client, type RequestOptions } from "@modelcontextprotocol/client";
import { signal, type Signal } from "@preact/signals";
import { announce } from "../announce.js";
import { Call, type CallKind, type Progress, type SavedCall } from "./call.js";
import { notesOf, refusesAnswer, remarkOn } from "./lenient.js";
import { isLost, type Lists } from "./lists.js";
import { messageOf, newKey, REQUEST_TIMEOUT, type Peer } from "./peer.js";
import { cancelTask, followOldTask, followTask, oldTaskIn, taskIn, type Task, type TaskPeer } from "./tasks.js";
import { CALL } from "./wire.js";

/** Milliseconds of the longest timer: a call ends when the server answers or the user cancels it. */
const NO_TIMEOUT = 2 ** 31 - 1;
/** Calls kept; those still running are kept beyond that. */
const MAX_CALLS = 50;
/** A schema that takes any result of an extension's request. */
const ANY = { "~standard": { version: 1, vendor: "mcp-ws-ide", validate: (value: unknown) => ({ value }) } } as const;
const RESULTS = { tool: "CallToolResult", prompt: "GetPromptResult", resource: "ReadResourceResult" } as const;

export class Calls {
  /** All calls, the newest first. */
  readonly all: Signal<readonly Call[]> = signal([]);
  /** Minimum level of the log messages requested with each call (modern era); empty: none are requested. */
  readonly level: Signal<string>;
  readonly #peer: Peer;
  readonly #lists: Lists;
  readonly #answer: TaskPeer["answer"];

  /** @param answer answers what a task asks. */
  constructor(peer: Peer, lists: Lists, level: Signal<string>, answer: TaskPeer["answer"]) {
    this.#peer = peer;
    this.#lists = lists;
    this.#answer = answer;
    this.level = level;
  }

  get running(): readonly Call[] {
    return this.all.peek().filter((call) => call.running);
  }

  /** Start a call. It never throws: its state holds the outcome. @param byApp whether an app makes it. */
  start(kind: CallKind, name: string, args: any, byApp = false): Call {
    const call = new Call(newKey(), kind, name, args, undefined, byApp);
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
    const all = [call, ...this.all.peek().filter(({ key }) => key !== call.key)];
    const old = all.slice(MAX_CALLS).filter((each) => !each.running);
    this.all.value = all.filter((each) => !old.includes(each));
  }

  async #run(call: Call): Promise<void> {
    this.#add(call);
    const { client, wire } = this.#peer;
    if (client === undefined) return call.end({ kind: "failed", message: "not connected" });
    try {
      const task = call.task.peek();
      this.#done(call, task === undefined ? await this.#request(client, call) : await this.#follow(client, call, task));
    } catch (error) {
      const answer = wire?.takeAnswer(call.key);
      const task = taskIn(answer);
      if (task !== undefined && refusesAnswer(error)) return await this.#runTask(client, call, task);
      if (answer !== undefined && refusesAnswer(error)) {
        call.end({ kind: "done", result: answer, remark: remarkOn(error as Error, RESULTS[call.kind], answer) });
        return announce(`${call.name}: the result does not conform to MCP`);
      }
      this.#failed(call, error);
    } finally {
      wire?.takeAnswer(call.key);
    }
  }

  async #runTask(client: Client, call: Call, task: Task): Promise<void> {
    try {
      this.#done(call, await this.#follow(client, call, task));
    } catch (error) {
      this.#failed(call, error);
    }
  }

  #done(call: Call, result: any): void {
    const remark = notesOf(result);
    call.end({ kind: "done", result, ...(remark && { remark }) });
    announce(`${call.name}: ${result?.isError ? "the tool reported an error" : "done"}`);
  }

  #failed(call: Call, error: unknown): void {
    call.end({ kind: "failed", message: failureOf(error), data: (error as { data?: unknown }).data });
    if (call.state.peek().kind === "failed") announce(`${call.name}: failed`);
  }

  /** Follow the task that a call was answered with; where the user cancels the call, the server is asked to end it. */
  #follow(client: Client, call: Call, task: Task): Promise<any> {
    const peer: TaskPeer = {
      request: (method, params) => client.request({ method, params }, ANY, { timeout: method === "tasks/result" ? NO_TIMEOUT : REQUEST_TIMEOUT }),
      answer: this.#answer,
      isLost,
      wait: pause,
    };
    call.stop.signal.addEventListener("abort", () => void cancelTask(task, peer).catch((error: unknown) => this.#peer.log.add("error", `the task was not cancelled: ${messageOf(error)}`)));
    const follow = this.#isModern ? followTask : followOldTask;
    return follow(task, peer, call.stop.signal, (now) => (call.task.value = now));
  }

  get #isModern(): boolean {
    return this.#peer.info.peek()?.era === "modern";
  }

  /** Call a tool of revision 2025-11-25 that runs only as a task. */
  async #requestTask(client: Client, call: Call, _meta: Record<string, unknown>, options: RequestOptions): Promise<any> {
    const created = await client.request({ method: "tools/call", params: { name: call.name, arguments: call.args, _meta, task: {} } }, ANY, options);
    const task = oldTaskIn(created);
    return task === undefined ? created : this.#follow(client, call, task);
  }

  #request(client: Client, call: Call): Promise<any> {
    const level = this.level.peek();
    const _meta = { [CALL]: call.key, ...(level && this.#isModern ? { [LOG_LEVEL_META_KEY]: level } : {}) };
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
    if (!this.#isModern && tool?.execution?.taskSupport === "required") return this.#requestTask(client, call, _meta, options);
    return client.callTool({ name: call.name, arguments: call.args, _meta }, { ...options, toolDefinition });
  }
}

function pause(delay: number, given: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, delay);
    given.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

function failureOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  return typeof code === "number" ? `${messageOf(error)} (${code})` : messageOf(error);
}

/** One call: a request that the user made, from start to answer. */

import { signal, type Signal } from "@preact/signals";
import type { Task } from "./tasks.js";

export type CallKind = "tool" | "prompt" | "resource";

export interface Progress {
  readonly progress: number;
  readonly total?: number | undefined;
  readonly message?: string | undefined;
}

export type CallState =
  | { readonly kind: "running" }
  | { readonly kind: "done"; readonly result: any; /** How the result deviates from MCP, or what the gateway changed in it, in sentences. */ readonly remark?: string }
  | { readonly kind: "failed"; readonly message: string; readonly data?: unknown }
  | { readonly kind: "cancelled" };

/** What is kept of a call over a reload. */
export interface SavedCall {
  readonly key: string;
  readonly kind: CallKind;
  readonly name: string;
  readonly args: any;
  readonly began: number;
  /** The task that the server answered with, if it did. */
  readonly task?: Task | undefined;
}

export class Call {
  readonly state: Signal<CallState> = signal({ kind: "running" });
  readonly progress: Signal<Progress | undefined> = signal(undefined);
  /** The task that the server answered with, as it last was. */
  readonly task: Signal<Task | undefined> = signal(undefined);
  readonly stop = new AbortController();
  /** Milliseconds since 1970. */
  readonly began: number;
  ended: number | undefined;
  /** Whether an earlier load of the page started it. */
  readonly continued: boolean;

  constructor(
    readonly key: string,
    readonly kind: CallKind,
    readonly name: string,
    readonly args: any,
    saved?: SavedCall,
    /** Whether an app made it, so that it is not among the calls that the user made. */
    readonly byApp = false,
  ) {
    this.began = saved?.began ?? Date.now();
    this.continued = saved !== undefined;
    this.task.value = saved?.task;
  }

  get running(): boolean {
    return this.state.peek().kind === "running";
  }

  end(state: CallState): void {
    if (!this.running) return;
    this.ended = Date.now();
    this.state.value = state;
  }

  cancel(): void {
    this.end({ kind: "cancelled" });
    this.stop.abort("cancelled by the user");
  }

  saved(): SavedCall {
    const { key, kind, name, args, began } = this;
    return { key, kind, name, args, began, task: this.task.peek() };
  }
}

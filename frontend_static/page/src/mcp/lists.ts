/** The tools, resources, templates and prompts that a server lists. */

import type { Client, Prompt, Resource, ResourceTemplateType, Tool } from "@modelcontextprotocol/client";
import { signal, type Signal } from "@preact/signals";
import { notesOf, refusesAnswer, usable } from "./lenient.js";
import { messageOf, newKey, REQUEST_TIMEOUT, type Peer } from "./peer.js";
import { Pages } from "./pages.js";
import { CALL } from "./wire.js";

/** A list of the server. */
export interface Listed<T> {
  /** Undefined until the list arrives. */
  readonly items: readonly T[] | undefined;
  /** Why the list is missing or incomplete; empty otherwise. */
  readonly error: string;
}

const NOTHING: Listed<never> = { items: undefined, error: "" };
/** How often a list is requested whose request is lost with the connection, or with the gateway. */
const ATTEMPTS = 3;

const LISTS = {
  tools: { method: "tools/list", member: "tools", capability: "tools", key: "name" },
  resources: { method: "resources/list", member: "resources", capability: "resources", key: "uri" },
  templates: { method: "resources/templates/list", member: "resourceTemplates", capability: "resources", key: "uriTemplate" },
  prompts: { method: "prompts/list", member: "prompts", capability: "prompts", key: "name" },
} as const;
export type ListName = keyof typeof LISTS;
type ListMethod = (typeof LISTS)[ListName]["method"];

export class Lists {
  readonly tools: Signal<Listed<Tool>> = signal(NOTHING);
  readonly resources: Signal<Listed<Resource>> = signal(NOTHING);
  readonly templates: Signal<Listed<ResourceTemplateType>> = signal(NOTHING);
  readonly prompts: Signal<Listed<Prompt>> = signal(NOTHING);
  readonly #peer: Peer;

  constructor(peer: Peer) {
    this.#peer = peer;
  }

  forget(): void {
    for (const list of [this.tools, this.resources, this.templates, this.prompts]) list.value = NOTHING;
  }

  async loadAll(): Promise<void> {
    await Promise.all([this.load("tools"), this.load("resources"), this.load("templates"), this.load("prompts")]);
  }

  /** Request a list again. */
  async load(name: ListName): Promise<void> {
    const { client } = this.#peer;
    if (client === undefined) return;
    const list = this[name] as Signal<Listed<any>>;
    for (let attempt = 1; client === this.#peer.client; attempt++) {
      try {
        list.value = await this.#pages(client, name);
        return;
      } catch (error) {
        if (attempt < ATTEMPTS && isLost(error)) continue; // the next request waits until the session has been resumed
        if (client === this.#peer.client) list.value = { items: list.peek().items ?? [], error: messageOf(error) };
        return;
      }
    }
  }

  /** The server announced that a list has changed. */
  changed(name: "tools" | "resources" | "prompts"): void {
    this.#peer.log.add("change", `the list of ${name} has changed`);
    void this.load(name);
    if (name === "resources") void this.load("templates");
  }

  /** All pages of a list. Items are checked one by one, so that an invalid one does not hide the others. */
  async #pages(client: Client, name: ListName): Promise<Listed<any>> {
    const { method, member, capability, key } = LISTS[name];
    const pages = new Pages(key);
    if (!this.#peer.info.peek()?.capabilities[capability]) return { items: [], error: "" };
    const notes = new Set<string>();
    let answer: any;
    do {
      answer = await this.#page(client, method, answer?.nextCursor);
      notes.add(notesOf(answer));
      if (!Array.isArray(answer?.[member])) throw new Error(`the response to ${method} contains no list "${member}"`);
    } while (pages.take(answer[member], answer.nextCursor));
    const list = usable(pages.items, name, key);
    return { ...list, error: [...notes, list.error, pages.note].filter(Boolean).join(" ") };
  }

  async #page(client: Client, method: ListMethod, cursor: string | undefined): Promise<any> {
    const { wire } = this.#peer;
    const key = newKey();
    const params = { ...(cursor === undefined ? {} : { cursor }), _meta: { [CALL]: key } };
    try {
      const result = await client.request({ method, params }, { timeout: REQUEST_TIMEOUT });
      return wire?.takeAnswer(key) ?? result;
    } catch (error) {
      const answer = wire?.takeAnswer(key);
      if (answer === undefined || !refusesAnswer(error)) throw error;
      return answer;
    }
  }
}

/** Whether a request was lost on the way, which has an outcome (docs/operate/guarantees.md); a list may be requested again. */
export function isLost(error: unknown): boolean {
  const data = error instanceof Error && "data" in error ? error.data : undefined;
  return typeof data === "object" && data !== null && "outcome" in data;
}

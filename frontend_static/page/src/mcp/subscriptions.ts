/** The resources that the user watches, and the changes that the server announces. */

import type { McpSubscription } from "@modelcontextprotocol/client";
import { signal, type Signal } from "@preact/signals";
import { messageOf, REQUEST_TIMEOUT, type Peer } from "./peer.js";

export class Subscriptions {
  /** Watched resources by URI, with the number of their updates. */
  readonly watched: Signal<ReadonlyMap<string, number>> = signal(new Map());
  readonly #peer: Peer;
  #stream: McpSubscription | undefined;

  constructor(peer: Peer) {
    this.#peer = peer;
  }

  /** The connection has ended; what is watched stays so for the next one. */
  ended(): void {
    this.#stream = undefined;
  }

  /** Watch a resource, or stop watching it. */
  async watch(uri: string, on: boolean): Promise<void> {
    const { client, info, log } = this.#peer;
    const watched = new Map(this.watched.peek());
    if (on) watched.set(uri, 0);
    else watched.delete(uri);
    this.watched.value = watched;
    try {
      if (info.peek()?.era === "modern") await this.listen();
      else if (on) await client?.subscribeResource({ uri }, { timeout: REQUEST_TIMEOUT });
      else await client?.unsubscribeResource({ uri }, { timeout: REQUEST_TIMEOUT });
    } catch (error) {
      log.add("error", `${uri} cannot be watched: ${messageOf(error)}`);
      watched.delete(uri);
      this.watched.value = new Map(watched);
    }
  }

  /** In the modern era, servers announce changes only on a subscription that names them (`subscriptions/listen`). */
  async listen(): Promise<void> {
    const { client, info, log } = this.#peer;
    if (info.peek()?.era !== "modern" || client === undefined) return;
    const filter = this.#filter();
    const before = this.#stream;
    this.#stream = undefined;
    if (Object.keys(filter).length > 0) {
      try {
        const stream = await client.listen(filter, { timeout: REQUEST_TIMEOUT });
        this.#stream = stream;
        void stream.closed.then((cause) => cause !== "local" && stream === this.#stream && log.add("error", "the server no longer announces changes"));
      } catch (error) {
        if (client === this.#peer.client) log.add("error", `the server does not announce changes: ${messageOf(error)}`);
      }
    }
    await before?.close();
  }

  #filter() {
    const { tools, prompts, resources } = this.#peer.info.peek()?.capabilities ?? {};
    const uris = [...this.watched.peek().keys()];
    return {
      ...(tools?.listChanged && { toolsListChanged: true }),
      ...(prompts?.listChanged && { promptsListChanged: true }),
      ...(resources?.listChanged && { resourcesListChanged: true }),
      ...(uris.length > 0 && { resourceSubscriptions: uris }),
    };
  }

  /** The server announced that a resource was updated. */
  updated(uri: string): void {
    const watched = new Map(this.watched.peek());
    watched.set(uri, (watched.get(uri) ?? 0) + 1);
    this.watched.value = watched;
    this.#peer.log.add("change", `${uri} was updated`);
  }
}

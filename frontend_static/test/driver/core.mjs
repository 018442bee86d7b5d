// Clients of both SDK majors over our transports, controlled by JSON commands, under Node and in a page.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { CfWorkerJsonSchemaValidator } from "@modelcontextprotocol/client/validators/cf-worker";
import { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as StreamableHttp1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { CfWorkerJsonSchemaValidator as Validator1 } from "@modelcontextprotocol/sdk/validation/cfworker-provider.js";
import { NegotiatingTransport, PollClientTransport, WebSocketClientTransport } from "../../dist/index.js";

const TRANSPORTS = { websocket: WebSocketClientTransport, poll: PollClientTransport, negotiate: NegotiatingTransport };
const INFO = { name: "driver", version: "1" };

/** A client; `cf-worker` compiles no code, which a strict content security policy forbids. */
function makeClient(sdk, mode) {
  if (sdk === 1) return new Client1(INFO, { capabilities: {}, jsonSchemaValidator: new Validator1() });
  const versionNegotiation = { legacy: {}, auto: { versionNegotiation: { mode: "auto" } } }[mode] ?? { versionNegotiation: { mode: { pin: mode } } };
  return new Client(INFO, { jsonSchemaValidator: new CfWorkerJsonSchemaValidator(), ...versionNegotiation });
}

/** Credentials that change from link to link, which JSON cannot express. */
function optionsOf({ tokens, tickets, headersInNode, ...options }, sdk) {
  const next = (list) => () => {
    const value = list.length > 1 ? list.shift() : list[0];
    if (value === null) throw new Error("nobody gives one");
    return value;
  };
  if (tokens) options.token = next(tokens);
  if (tickets) options.ticket = next(tickets);
  if (headersInNode) options.webSocket = (url, protocols) => new WebSocket(url, { protocols, headers: headersInNode });
  return { streamableHttp: sdk === 1 ? StreamableHttp1 : StreamableHTTPClientTransport, ...options };
}

/** An error as JSON. */
export const described = (error) => ({ name: error.name, message: error.message, code: error.code, data: error.data });

export class Driver {
  #tell;
  #client;
  #transport;
  #sdk;
  #running = new Map();
  #answers = new Map();
  #progress = new Map();

  /** @param tell receives each event. */
  constructor(tell) {
    this.#tell = tell;
  }

  /** Execute `{n, do, …}`; the reply is the event `{n, value}` or `{n, error}`. */
  async handle({ n, do: what, ...given }) {
    try {
      this.#tell({ n, value: (await this[what](given, n)) ?? null });
    } catch (error) {
      this.#tell({ n, error: described(error) });
    }
  }

  async connect({ kind = "websocket", sdk = 2, mode = "auto", url, options = {} }) {
    this.#sdk = sdk;
    const transport = (this.#transport = new TRANSPORTS[kind](url, optionsOf(options, sdk)));
    transport.addEventListener("state", ({ state }) => {
      this.#tell({ event: "state", ...state, error: state.error && described(state.error) });
    });
    transport.addEventListener("gap", ({ dropped }) => this.#tell({ event: "gap", dropped }));
    transport.addEventListener("negotiated", ({ negotiated }) => this.#tell({ event: "negotiated", ...negotiated }));
    const client = (this.#client = makeClient(sdk, mode));
    client.onclose = () => this.#tell({ event: "closed" });
    client.onerror = (error) => this.#tell({ event: "error", ...described(error) });
    await client.connect(transport);
    this.#watch(transport);
    return client.getServerVersion?.() ?? null;
  }

  /** Counts below the SDK, which would hide a second answer or a lost progress message. */
  #watch(transport) {
    const { onmessage } = transport;
    transport.onmessage = (message, extra) => {
      if (message.method === "notifications/progress") {
        const { progressToken, progress } = message.params;
        this.#progress.set(progressToken, [...(this.#progress.get(progressToken) ?? []), progress]);
      } else if (message.method === undefined) {
        this.#answers.set(message.id, (this.#answers.get(message.id) ?? 0) + 1);
      }
      onmessage(message, extra);
    };
  }

  async list() {
    return (await this.#client.listTools()).tools.map(({ name }) => name);
  }

  async call({ tool, args = {}, timeout = 60_000, quiet = false }, n) {
    const abort = new AbortController();
    this.#running.set(n, abort);
    const onprogress = ({ progress }) => quiet || this.#tell({ event: "progress", of: n, progress });
    const options = { signal: abort.signal, onprogress, timeout };
    const params = { name: tool, arguments: args };
    const result = await (this.#sdk === 1 ? this.#client.callTool(params, undefined, options) : this.#client.callTool(params, options));
    if (result.isError) throw new Error(result.content[0].text);
    return result.content[0].text;
  }

  cancel({ of }) {
    this.#running.get(of).abort("enough");
  }

  pending() {
    return this.#transport.pending;
  }

  /** `calls` of the tool `work` with `inFlight` at a time; tells `done` after every `every` of them. */
  async work({ calls, inFlight, every, prefix }) {
    let next = 0;
    let done = 0;
    let wrong = 0;
    const one = async () => {
      while (next < calls) {
        const key = `${prefix}.${(next += 1)}`;
        const text = await this.call({ tool: "work", args: { key, steps: next % 4 }, timeout: 300_000, quiet: true }, key).catch((error) => error.message);
        if (text !== key) {
          wrong += 1;
          this.#tell({ event: "wrong", key, text });
        }
        this.#running.delete(key);
        done += 1;
        if (done % every === 0) this.#tell({ event: "done", done });
      }
    };
    await Promise.all(Array.from({ length: inFlight }, one));
    const doubled = [...this.#answers.values()].filter((count) => count !== 1).length;
    const disordered = [...this.#progress.values()].filter((seen) => seen.some((value, index) => value !== index)).length;
    const progress = [...this.#progress.values()].reduce((sum, seen) => sum + seen.length, 0);
    return { done, wrong, doubled, disordered, progress };
  }

  /** Several commands at once, in one turn of the event loop. */
  async burst({ calls }) {
    return Promise.all(calls.map((call, index) => this.call(call, `burst ${index}`).catch(described)));
  }

  /** Calls a transport's method, other than the SDK's requests. */
  async raw({ message }) {
    await this.#transport.send(message);
  }

  /** Rounds of `calls` at once whose session is suspended after the first answer and resumed elsewhere: returns the answered ids. */
  async leave({ kind, url, options, calls, rounds }) {
    const meta = {
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientInfo": INFO,
      "io.modelcontextprotocol/clientCapabilities": {},
    };
    const found = [];
    for (let round = 0; round < rounds; round += 1) {
      const got = [];
      const first = new TRANSPORTS[kind](url, options);
      const answered = new Promise((resolve) => (first.onmessage = ({ id }) => resolve(got.push(id))));
      await first.start();
      for (let id = 0; id < calls; id += 1) {
        void first.send({ jsonrpc: "2.0", id, method: "tools/call", params: { name: "echo", arguments: { text: "x" }, _meta: meta } });
      }
      await answered;
      const next = new TRANSPORTS[kind](url, { ...options, resume: JSON.parse(JSON.stringify(first.suspend())) });
      const all = new Promise((resolve) => {
        next.onmessage = ({ id }) => got.push(id) >= calls && resolve();
        setTimeout(resolve, 10_000);
      });
      await next.start();
      await all;
      await next.close();
      found.push({ answered: new Set(got).size, doubled: got.length - new Set(got).size, state: first.state.kind });
    }
    return found;
  }

  async close() {
    await this.#client.close();
  }

  /** Before the SDK has the transport. */
  async abandon() {
    await this.#transport.close();
  }
}

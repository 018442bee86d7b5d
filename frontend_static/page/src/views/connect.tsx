/** Connecting with options, or to an MCP endpoint elsewhere. */

import { useState } from "preact/hooks";
import type { TransportName } from "../../../src/states.js";
import { open } from "../mcp/connections.js";
import { connectionOf } from "../mcp/registry.js";
import { endpointOf, gatewayTarget, ORDER, type Era, type Target } from "../mcp/target.js";
import { servers, usePolled } from "../polled.js";
import { go } from "../route.js";
import { Banner } from "../ui/parts.js";

const ORDERS: Record<string, readonly TransportName[]> = {
  "WebSocket, then poll, then HTTP": ORDER,
  "HTTP, then WebSocket, then poll": ["http", "websocket", "poll"],
  "WebSocket only": ["websocket"],
  "poll only": ["poll"],
  "HTTP only": ["http"],
};

/** What the user chose. */
interface Options {
  /** A server of this gateway; empty: `url`. */
  readonly server: string;
  readonly url: string;
  readonly token: string;
  readonly name: string;
  readonly order: string;
  readonly era: Era;
}

const DEFAULTS: Options = { server: "", url: "", token: "", name: "", order: Object.keys(ORDERS)[0] ?? "", era: "auto" };

export default function Connect() {
  const { value } = usePolled(servers);
  const [options, setOptions] = useState(DEFAULTS);
  const [error, setError] = useState("");
  const set = (change: Partial<Options>): void => setOptions({ ...options, ...change });
  const connect = (): void => {
    const name = options.name.trim() || options.server || hostOf(options.url);
    const problem = problemWith(name, options.server, options.url);
    setError(problem);
    if (problem) return;
    open(targetOf(name, options), options.token || undefined);
    go(["server", name]);
  };
  return (
    <section class="view narrow" aria-label="Connect">
      <h2>Connect</h2>
      <form class="stack" noValidate onSubmit={(event) => (event.preventDefault(), connect())}>
        <label>
          Server
          <select value={options.server} onChange={(event) => set({ server: event.currentTarget.value })}>
            <option value="">another address</option>
            {value?.servers.map(({ name }) => <option key={name}>{name}</option>)}
          </select>
        </label>
        {options.server === "" && <AddressFields options={options} set={set} />}
        <label>
          Name on this page
          <input type="text" placeholder={options.server || hostOf(options.url)} value={options.name} onInput={(event) => set({ name: event.currentTarget.value })} />
        </label>
        <ProtocolFields options={options} set={set} />
        {error && <Banner kind="bad">{error}</Banner>}
        <div class="row">
          <button type="submit" class="primary">
            Connect
          </button>
        </div>
      </form>
    </section>
  );
}

interface FieldsProps {
  options: Options;
  set: (change: Partial<Options>) => void;
}

function AddressFields({ options, set }: FieldsProps) {
  return (
    <>
      <label>
        Address of the MCP endpoint
        <input type="text" placeholder="https://host/mcp-ws/servers/git" spellcheck={false} value={options.url} onInput={(event) => set({ url: event.currentTarget.value })} />
      </label>
      <label>
        Token (leave empty to use your login at Jupyter)
        <input type="password" autocomplete="off" value={options.token} onInput={(event) => set({ token: event.currentTarget.value })} />
      </label>
      <p class="muted">The token is kept in memory only and never put into a URL. You are asked for it again after a reload.</p>
    </>
  );
}

function ProtocolFields({ options, set }: FieldsProps) {
  return (
    <div class="row wrap pair">
      <label>
        Transport
        <select value={options.order} onChange={(event) => set({ order: event.currentTarget.value })}>
          {Object.keys(ORDERS).map((label) => (
            <option key={label}>{label}</option>
          ))}
        </select>
      </label>
      <label>
        Era
        <select value={options.era} onChange={(event) => set({ era: event.currentTarget.value as Era })}>
          <option value="auto">detect</option>
          <option value="modern">modern (2026-07-28)</option>
          <option value="legacy">handshake (up to 2025-11-25)</option>
        </select>
      </label>
    </div>
  );
}

/** A server of this gateway under another name is addressed by its URL. */
function targetOf(name: string, { server, url, order, era }: Options): Target {
  const address = server === "" ? new URL(url, location.href).href : server === name ? "" : endpointOf(gatewayTarget(server));
  return { name, url: address, transports: ORDERS[order] ?? ORDER, era };
}

function hostOf(url: string): string {
  try {
    return new URL(url, location.href).host;
  } catch {
    return "";
  }
}

function problemWith(name: string, server: string, url: string): string {
  if (server === "" && url.trim() === "") return "Select a server, or enter an address.";
  if (server === "" && !/^(https?|wss?):\/\/|^\//.test(url)) return "An address must start with https://, http://, wss:// or ws://, or with / for this Jupyter.";
  if (server === "" && hostOf(url) === "") return "This address is not valid: check its host and port.";
  if (server === "" && /[?&]token=/.test(url)) return "A token must not be part of an address; enter it in its own field.";
  if (name === "") return "Enter a name.";
  return connectionOf(name) ? `A connection named ${name} already exists; enter another name.` : "";
}

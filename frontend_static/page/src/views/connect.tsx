/** Connecting with other options than usual, or to an MCP endpoint elsewhere. */

import { useState } from "preact/hooks";
import type { TransportName } from "../../../src/states.js";
import { open } from "../mcp/connections.js";
import { connectionOf } from "../mcp/registry.js";
import { endpointOf, gatewayTarget, ORDER, type Era } from "../mcp/target.js";
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

export default function Connect() {
  const { value } = usePolled(servers);
  const [server, setServer] = useState("");
  const [url, setUrl] = useState("");
  const [name, setName] = useState("");
  const [order, setOrder] = useState(Object.keys(ORDERS)[0] ?? "");
  const [era, setEra] = useState<Era>("auto");
  const [token, setToken] = useState("");
  const [wrong, setWrong] = useState("");
  const connect = (): void => {
    const chosen = name.trim() || server || hostOf(url);
    const words = problem(chosen, server, url);
    setWrong(words);
    if (words) return;
    const own = server !== "" && chosen === server;
    const address = own ? "" : server ? endpointOf(gatewayTarget(server)) : new URL(url, location.href).href;
    open({ name: chosen, url: address, transports: ORDERS[order] ?? ORDER, era }, token || undefined);
    go(["server", chosen]);
  };
  return (
    <section class="view narrow" aria-label="Connect">
      <h2>Connect</h2>
      <form class="stack" noValidate onSubmit={(event) => (event.preventDefault(), connect())}>
        <label>
          Server
          <select value={server} onChange={(event) => setServer(event.currentTarget.value)}>
            <option value="">another address</option>
            {value?.servers.map((one) => <option key={one.name}>{one.name}</option>)}
          </select>
        </label>
        {server === "" && (
          <>
            <label>
              Address of the MCP endpoint
              <input type="text" placeholder="https://host/mcp-ws/servers/git" spellcheck={false} value={url} onInput={(event) => setUrl(event.currentTarget.value)} />
            </label>
            <label>
              Token, where the page's cookie is not enough
              <input type="password" autocomplete="off" value={token} onInput={(event) => setToken(event.currentTarget.value)} />
            </label>
            <p class="muted">The token is kept in memory alone, and never part of an address. After a reload it is asked for again.</p>
          </>
        )}
        <label>
          Name on this page
          <input type="text" placeholder={server || hostOf(url)} value={name} onInput={(event) => setName(event.currentTarget.value)} />
        </label>
        <div class="row wrap pair">
          <label>
            Transport
            <select value={order} onChange={(event) => setOrder(event.currentTarget.value)}>
              {Object.keys(ORDERS).map((words) => (
                <option key={words}>{words}</option>
              ))}
            </select>
          </label>
          <label>
            Era
            <select value={era} onChange={(event) => setEra(event.currentTarget.value as Era)}>
              <option value="auto">as the server likes</option>
              <option value="modern">modern (2026-07-28)</option>
              <option value="legacy">with a handshake (until 2025-11-25)</option>
            </select>
          </label>
        </div>
        {wrong && <Banner kind="bad">{wrong}</Banner>}
        <div class="row">
          <button type="submit" class="primary">
            Connect
          </button>
        </div>
      </form>
    </section>
  );
}

function hostOf(url: string): string {
  try {
    return new URL(url, location.href).host;
  } catch {
    return "";
  }
}

function problem(name: string, server: string, url: string): string {
  if (server === "" && url.trim() === "") return "Choose a server, or give an address.";
  if (server === "" && !/^(https?|wss?):\/\/|^\//.test(url)) return "An address begins with https:// or wss://";
  if (server === "" && /[?&]token=/.test(url)) return "A token must not be part of an address: put it into its own field.";
  if (name === "") return "Give it a name.";
  return connectionOf(name) ? `There is a connection named ${name} already: give another name.` : "";
}

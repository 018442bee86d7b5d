/** Compiled and never run: the transports fit both majors of the SDK, as a user would pass them. */

import { Client, StreamableHTTPClientTransport, type Transport } from "@modelcontextprotocol/client";
import { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as StreamableHttp1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Transport as Transport1 } from "@modelcontextprotocol/sdk/shared/transport.js";
import { NegotiatingTransport, PollClientTransport, WebSocketClientTransport, type TransportState } from "../dist/index.js";

const url = "wss://host/mcp-ws/servers/git";
const client = new Client({ name: "types", version: "1" });
const client1 = new Client1({ name: "types", version: "1" });

export const transports: Transport[] = [
  new WebSocketClientTransport(url, { token: "t" }),
  new PollClientTransport(url, { token: async () => "t", reconnect: { giveUpAfter: 1 } }),
  new NegotiatingTransport(url, { streamableHttp: StreamableHTTPClientTransport }),
];
export const transports1: Transport1[] = [
  new WebSocketClientTransport(new URL(url), { ticket: true, reconnect: false }),
  new PollClientTransport(url),
  new NegotiatingTransport(url, { streamableHttp: StreamableHttp1, transports: ["poll", "http"] }),
];

export async function use(): Promise<void> {
  const transport = new WebSocketClientTransport(url, { webSocket: (address, protocols) => new WebSocket(address, protocols) });
  transport.addEventListener("state", ({ state }) => describe(state));
  transport.addEventListener("gap", ({ dropped }) => dropped.toFixed());
  await client.connect(transport);
  await client1.connect(transport);
}

export function describe(state: TransportState): string {
  switch (state.kind) {
    case "connecting":
      return "connecting";
    case "open":
      return state.resumed ? `resumed, ${state.replayed} sent again` : state.session;
    case "reconnecting":
      return `${state.attempt} ${state.delay} ${state.reason}`;
    case "closed":
      return `${state.code} ${state.reason} ${state.error?.message}`;
  }
}

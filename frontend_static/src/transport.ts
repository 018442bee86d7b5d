/** The transports that an application makes: one address, one kind of link. */

import { Endpoint, type Credentials } from "./endpoint.js";
import { PollOpener } from "./poll.js";
import { SessionTransport, type SessionOptions } from "./session.js";
import { WebSocketOpener, type WebSocketFactory } from "./websocket.js";

/** Milliseconds for a connection and its handshake, unless told otherwise. */
export const OPEN_TIMEOUT = 30_000;

export interface TransportOptions extends Credentials, SessionOptions {
  /** Milliseconds for a connection and its handshake. Default 30,000. */
  readonly openTimeout?: number | undefined;
}

export interface WebSocketTransportOptions extends TransportOptions {
  /** Makes a WebSocket, in place of the global one: for headers in Node, or for the package `ws`. */
  readonly webSocket?: WebSocketFactory | undefined;
}

/** An MCP transport over WebSocket whose session survives the loss of its link. Servers of plain `mcp` work without that. */
export class WebSocketClientTransport extends SessionTransport {
  /**
   * @param url address of an MCP endpoint; `http(s)://` is read as `ws(s)://`, and in a page it may be relative.
   * @throws ConnectError it is no such address.
   */
  constructor(url: string | URL, options: WebSocketTransportOptions = {}) {
    const endpoint = new Endpoint(url, options);
    super(new WebSocketOpener(endpoint, options.openTimeout ?? OPEN_TIMEOUT, options.webSocket), options);
  }
}

/** The same over POSTs alone, for networks that break WebSocket and event streams. */
export class PollClientTransport extends SessionTransport {
  /**
   * @param url address of an MCP endpoint of a gateway.
   * @throws ConnectError it is no such address.
   */
  constructor(url: string | URL, options: TransportOptions = {}) {
    super(new PollOpener(new Endpoint(url, options), options.openTimeout ?? OPEN_TIMEOUT), options);
  }
}

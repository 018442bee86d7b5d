/** The transports with one kind of link each: WebSocket, poll. */

import { Endpoint, type Credentials } from "./endpoint.js";
import { PollOpener } from "./poll.js";
import { SessionTransport, type SessionOptions } from "./session.js";
import { WebSocketOpener, type WebSocketFactory } from "./websocket.js";

/** Milliseconds for a connection and its handshake; the default. */
export const OPEN_TIMEOUT = 30_000;

export interface TransportOptions extends Credentials, SessionOptions {
  /** Milliseconds for a connection and its handshake. Default 30,000. */
  readonly openTimeout?: number | undefined;
}

export interface WebSocketTransportOptions extends TransportOptions {
  /** Creates a WebSocket in place of the global class: for headers in Node, or for the package `ws`. */
  readonly webSocket?: WebSocketFactory | undefined;
}

/** An MCP transport over WebSocket whose session survives the loss of its link; with servers of plain `mcp`, it does not. */
export class WebSocketClientTransport extends SessionTransport {
  /**
   * @param url address of an MCP endpoint; `http(s)://` is read as `ws(s)://`, and in a page it may be relative.
   * @throws ConnectError the address is not valid.
   */
  constructor(url: string | URL, options: WebSocketTransportOptions = {}) {
    const endpoint = new Endpoint(url, options);
    super(new WebSocketOpener(endpoint, options.openTimeout ?? OPEN_TIMEOUT, options.webSocket), options);
  }
}

/** The same over POST requests only, for networks that break WebSocket and event streams. */
export class PollClientTransport extends SessionTransport {
  /**
   * @param url address of an MCP endpoint of a gateway.
   * @throws ConnectError the address is not valid.
   */
  constructor(url: string | URL, options: TransportOptions = {}) {
    super(new PollOpener(new Endpoint(url, options), options.openTimeout ?? OPEN_TIMEOUT), options);
  }
}

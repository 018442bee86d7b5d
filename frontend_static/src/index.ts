/** MCP over resumable WebSockets, for browsers and Node (docs/guides/typescript.md). */

export type { Credentials, Token } from "./endpoint.js";
export { ConnectError, ConnectionLost, MessageTooLarge, SessionGone, Unauthorized, UnknownServer } from "./errors.js";
export {
  NegotiatingTransport,
  TRANSPORTS,
  type NegotiatedSnapshot,
  type NegotiatingOptions,
  type StreamableHttp,
} from "./negotiating.js";
export { DEFAULT_RECONNECT, type ReconnectPolicy } from "./reconnect.js";
export type { SessionSnapshot } from "./resume.js";
export { SessionTransport, type SessionOptions } from "./session.js";
export { DoubtEvent, GapEvent, NegotiatedEvent, StateEvent, UnauthorizedEvent } from "./states.js";
export type { Negotiated, TransportEvents, TransportName, TransportState } from "./states.js";
export {
  PollClientTransport,
  WebSocketClientTransport,
  type TransportOptions,
  type WebSocketTransportOptions,
} from "./transport.js";
export type { WebSocketFactory, WebSocketLike } from "./websocket.js";

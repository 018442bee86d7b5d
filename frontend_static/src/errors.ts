/**
 * Errors of the transports.
 *
 *     Error
 *     ├── MessageTooLarge
 *     └── ConnectError
 *         ├── Unauthorized
 *         ├── UnknownServer
 *         ├── SessionGone
 *         └── ConnectionLost
 */

/** The client could not connect; the message says what to do. */
export class ConnectError extends Error {
  override readonly name: string = "ConnectError";
  /** Whether retrying would fail in the same way. */
  readonly final: boolean = false;
  /** Code of what a proxy on the way did (mcp_ws_ide/core/intermediaries.py); empty if nothing is known. */
  noticed = "";

  /** Return this error, with the code of what a proxy did. */
  because(noticed: string): this {
    this.noticed = noticed;
    return this;
  }
}

/** The gateway refused the credential, or its permissions do not suffice (HTTP 401 or 403). */
export class Unauthorized extends ConnectError {
  override readonly name = "Unauthorized";
  override readonly final = true;
}

/** The gateway has no server of that name (HTTP 404). */
export class UnknownServer extends ConnectError {
  override readonly name = "UnknownServer";
  override readonly final = true;
}

/** The session to resume has ended, or cannot be resumed by this client; a new one can be opened. */
export class SessionGone extends ConnectError {
  override readonly name = "SessionGone";
  override readonly final = true;
}

/** The client was connected and has given up reconnecting; every open request received an error with `data.outcome`. */
export class ConnectionLost extends ConnectError {
  override readonly name = "ConnectionLost";
  override readonly final = true;
}

/** The message exceeds the gateway's limit. It was not sent, and the session continues. */
export class MessageTooLarge extends Error {
  override readonly name = "MessageTooLarge";
}

/** The message of anything that was thrown, with that of its cause. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? error.cause.message : "";
  return [error.message || error.name, cause].filter(Boolean).join(": ");
}

/** Why there is no connection, in words. */

/** The client could not connect; the text says what to do. */
export class ConnectError extends Error {
  override readonly name: string = "ConnectError";
  /** Whether trying again would get the same answer. */
  readonly final: boolean = false;
}

/** The gateway refused the credential, or what it may do (HTTP 401 or 403). */
export class Unauthorized extends ConnectError {
  override readonly name = "Unauthorized";
  override readonly final = true;
}

/** The gateway has no server of that name (HTTP 404). */
export class UnknownServer extends ConnectError {
  override readonly name = "UnknownServer";
  override readonly final = true;
}

/** The session that was to be resumed is over, or cannot be resumed from there; a new one can be opened. */
export class SessionGone extends ConnectError {
  override readonly name = "SessionGone";
  override readonly final = true;
}

/** The client was connected and has given up; every request without an answer got one with `data.outcome`. */
export class ConnectionLost extends ConnectError {
  override readonly name = "ConnectionLost";
  override readonly final = true;
}

/** The message is longer than the gateway takes. It was not sent, and the session goes on. */
export class MessageTooLarge extends Error {
  override readonly name = "MessageTooLarge";
}

/** Text of anything that was thrown. */
export function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? error.cause.message : "";
  return [error.message || error.name, cause].filter(Boolean).join(": ");
}

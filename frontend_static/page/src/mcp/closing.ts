/** What a closed connection tells the user: the close code, its meaning, and the reason that came with it. */

/** Meaning of close codes: those of docs/reference/errors.md#close-codes, and 1006, which browsers set. */
const MEANINGS: Record<number, string> = {
  1000: "normal",
  1001: "gateway going away",
  1002: "protocol error",
  1003: "unsupported frame type",
  1006: "connection lost",
  1007: "invalid UTF-8",
  1008: "client too slow",
  1009: "message too large",
  1011: "internal error of the gateway",
  1012: "gateway shutting down",
  1013: "try again later",
  4400: "no opening frame",
  4401: "credential expired",
  4403: "access revoked",
  4404: "session gone",
  4409: "taken over by another link",
  4413: "too many responses waiting",
  4502: "server ended or cannot start",
};

/** In place of a close code: no connection was made. */
export const NEVER_OPEN = 0;

/** The text of a closed connection. `reason` is the one of the close frame; 1006 has none (RFC 6455 section 7.1.5). */
export function closing(code: number, reason: string): string {
  if (code === NEVER_OPEN) return "could not connect";
  const meaning = MEANINGS[code];
  const closed = `closed (${code}${meaning ? `, ${meaning}` : ""})`;
  return reason && code !== 1006 ? `${closed}: ${reason}` : closed;
}

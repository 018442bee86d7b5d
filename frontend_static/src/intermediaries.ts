/** What proxies do that only a client notices; codes and cures as in mcp_ws_ide/core/intermediaries.py. */

/** One kind of interference, and what to change. */
export interface Interference {
  readonly code: "body_limit" | "proxy_error";
  readonly cure: string;
}

const CURES: Readonly<Record<Interference["code"], string>> = {
  body_limit: "let the proxy accept bodies of max_message_bytes and 1 MiB more (nginx: client_max_body_size 11m)",
  proxy_error:
    "check that the proxy reaches Jupyter and waits long enough for it (nginx: proxy_read_timeout; its error log has the reason)",
};

/** What a status means with which something other than Jupyter answered; undefined if it says nothing. */
export function ofStatus(status: number): Interference | undefined {
  const code = status === 413 ? "body_limit" : [502, 503, 504].includes(status) ? "proxy_error" : undefined;
  return code && { code, cure: CURES[code] };
}

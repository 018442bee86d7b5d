/** What proxies do that only a client notices; codes and cures as in mcp_ws_ide/core/intermediaries.py. */

/** One kind of interference, and what to change. */
export interface Interference {
  readonly code: "body_limit" | "head_limit" | "length_required" | "proxy_error" | "request_limit";
  readonly cure: string;
}

const CURES: Readonly<Record<Interference["code"], string>> = {
  body_limit: "let the proxy accept bodies of max_message_bytes and 1 MiB more (nginx: client_max_body_size 11m)",
  head_limit:
    "raise its limit (nginx: large_client_header_buffers; HAProxy: tune.bufsize; Apache: LimitRequestFieldSize), or shorten what grows: cookies, tokens, headers",
  length_required: "let it accept chunked bodies, or find what removes Content-Length before it",
  proxy_error:
    "check that the proxy reaches Jupyter and waits long enough for it (nginx: proxy_read_timeout; its error log has the reason)",
  request_limit:
    "raise its limit for reading a request (nginx: client_header_timeout and client_body_timeout; HAProxy: timeout http-request), or look for what slows the network",
};
const CODES: Readonly<Record<number, Interference["code"]>> = {
  408: "request_limit",
  411: "length_required",
  413: "body_limit",
  414: "head_limit",
  431: "head_limit",
  494: "head_limit",
};
/** Statuses of proxies that cannot use what is behind them; from 520 on they are Cloudflare's. */
const PROXY_ERRORS: readonly number[] = [502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 527, 530];

/** What a status means with which something other than Jupyter answered; undefined if it says nothing. `body` may say more. */
export function ofStatus(status: number, body = ""): Interference | undefined {
  const isLongHead = status === 400 && /<title>[^<]*(?:header|cookie)[^<]*too large/i.test(body);
  const code = isLongHead ? "head_limit" : PROXY_ERRORS.includes(status) ? "proxy_error" : CODES[status];
  return code && { code, cure: CURES[code] };
}

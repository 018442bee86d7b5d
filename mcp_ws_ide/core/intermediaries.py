"""What proxies and load balancers do to connections, each with its sentence and its cure.

Shared by the gateway, which sees what arrived, and the clients, which know what they sent. Owns the texts and the
headers in which the two compare; who noticed what is kept in :mod:`mcp_ws_ide.observe.intermediaries`.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

SENDS: Final = "Mcp-Ws-Sends"
"""Request header in which a client lists the headers that a proxy may remove, and that its request carries."""
SEEN: Final = "Mcp-Ws-Seen"
"""Request header in which a client reports the codes of what it noticed on its way to the gateway."""
TEST: Final = "test"
"""Query parameter with which a client tests the way to ``api/tap`` or ``api/network``: with the value 1, the gateway
answers 200 at once, before any body, so that Jupyter's log shows no failure."""
MAX_CODES: Final = 20
"""Codes of one report that are read."""


class Kind(NamedTuple):
    """One kind of interference.

    Attributes:
        what: what happens; ``{}`` stands for the detail.
        cure: what to change, and where.
    """

    what: str
    cure: str


_NGINX_UPGRADE: Final = (
    "nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "
    "$connection_upgrade; Apache: ProxyPass … upgrade=websocket"
)

KINDS: Final = {
    "upgrade_removed": Kind(
        "a proxy removed the header Upgrade of a WebSocket handshake",
        f"let the proxy pass WebSockets on ({_NGINX_UPGRADE})",
    ),
    "connection_removed": Kind(
        "a proxy removed or changed the header Connection of a WebSocket handshake",
        f'let the proxy send "Connection: Upgrade" where the client asks for it ({_NGINX_UPGRADE})',
    ),
    "websocket_headers_removed": Kind(
        "a proxy removed Sec-WebSocket-Key or Sec-WebSocket-Version of a WebSocket handshake",
        "let the proxy pass the headers Sec-WebSocket-* on unchanged",
    ),
    "subprotocol_removed": Kind(
        "a proxy removed the header Sec-WebSocket-Protocol, so sessions cannot be resumed, and browsers cannot send a "
        "token",
        "let the proxy pass Sec-WebSocket-Protocol on in both directions",
    ),
    "authorization_removed": Kind(
        "a proxy removed or replaced the header Authorization that the client sent",
        "let the proxy pass Authorization on (nginx: proxy_set_header Authorization $http_authorization), and do its "
        "own login by cookie or another header",
    ),
    "host_replaced": Kind(
        "a proxy replaces the header Host: pages of {} reach the gateway under another name",
        "let the proxy pass Host on (nginx: proxy_set_header Host $http_host; Apache: ProxyPreserveHost On), or add "
        "the page's origin to ServerApp.allow_origin",
    ),
    "port_removed": Kind(
        "a proxy passes Host on without the public port: pages of {} count as foreign",
        "let the proxy pass the port on (nginx: proxy_set_header Host $http_host), or add the page's origin to "
        "ServerApp.allow_origin",
    ),
    "other_spelling": Kind(
        "a page was opened under one name of this machine and connects to another: {}",
        "open the page at the address that it connects to, or add its origin to ServerApp.allow_origin",
    ),
    "host_not_local": Kind(
        "requests arrive under a Host that is not this machine, and Jupyter refuses them",
        "set ServerApp.allow_remote_access = True if a proxy or another machine is to reach this server",
    ),
    "scheme_unknown": Kind(
        "browsers use https, but Jupyter sees http: printed addresses and entries begin with http://",
        "let the proxy send X-Forwarded-Proto, and set ServerApp.trust_xheaders = True",
    ),
    "idle_limit": Kind(
        "something between clients and gateway cuts links after {} s without traffic",
        "raise its idle limit above 30 s (nginx: proxy_read_timeout and proxy_send_timeout; HAProxy: timeout tunnel; "
        "AWS ALB: idle_timeout); until then, the gateway pings more often, down to every 5 s",
    ),
    "age_limit": Kind(
        "something between clients and gateway cuts links {} s after they open, with or without traffic",
        "raise its limit for a whole connection (Cloud Run: request timeout; HAProxy: timeout client and server "
        "without timeout tunnel), or use clients that resume sessions (subprotocol mcp.resume.v1)",
    ),
    "body_limit": Kind(
        "a proxy refuses long requests with 413 before they reach the gateway",
        "let the proxy accept bodies of max_message_bytes and 1 MiB more (nginx: client_max_body_size 11m)",
    ),
    "head_limit": Kind(
        "a proxy refuses requests whose address or headers are too long for it",
        "raise its limit (nginx: large_client_header_buffers; HAProxy: tune.bufsize; Apache: LimitRequestFieldSize), "
        "or shorten what grows: cookies, tokens, headers",
    ),
    "request_limit": Kind(
        "a proxy gave up waiting for the rest of a request (408)",
        "raise its limit for reading a request (nginx: client_header_timeout and client_body_timeout; HAProxy: timeout "
        "http-request), or look for what slows the network",
    ),
    "length_required": Kind(
        "a proxy refuses requests without a Content-Length (411)",
        "let it accept chunked bodies, or find what removes Content-Length before it",
    ),
    "buffered": Kind(
        "a proxy holds event streams back until they end",
        "switch response buffering off for them (nginx honours X-Accel-Buffering unless proxy_ignore_headers names it, "
        "and proxy_buffering off always works), or use WebSocket or poll",
    ),
    "message_limit": Kind(
        "a client or a proxy refused a WebSocket message as too large (1009)",
        "raise the proxy's limit for one WebSocket message (AWS API Gateway: 128 KiB, fixed), or the client's (Python "
        "websockets: max_size)",
    ),
    "proxy_error": Kind(
        "a proxy answered in place of the gateway with {}",
        "check that the proxy reaches Jupyter and waits long enough for it (nginx: proxy_read_timeout; its error log "
        "has the reason)",
    ),
    "websocket_blocked": Kind(
        "the gateway answers over HTTP, but WebSocket handshakes do not get through",
        f"let the proxy pass WebSockets on ({_NGINX_UPGRADE}); until then clients use HTTP or poll",
    ),
}
"""By code, everything that is recognized."""

STATUSES: Final = {
    502: "502 (it cannot reach Jupyter)",
    503: "503 (it has no server to pass requests to)",
    504: "504 (Jupyter answered too late for it)",
    520: "520 (Jupyter's response was empty or unreadable for it)",
    521: "521 (Jupyter refuses its connections)",
    522: "522 (connecting to Jupyter took too long)",
    523: "523 (it cannot reach Jupyter)",
    524: "524 (Jupyter answered too late for it)",
    525: "525 (the TLS handshake with Jupyter failed)",
    526: "526 (Jupyter's certificate is not valid for it)",
    527: "527 (its connection to Jupyter was interrupted)",
    530: "530 (it cannot resolve or reach Jupyter)",
}
"""Statuses of ``proxy_error``, as its detail; from 520 on they are Cloudflare's."""
CODES: Final = {
    408: "request_limit",
    411: "length_required",
    413: "body_limit",
    414: "head_limit",
    431: "head_limit",
    494: "head_limit",
}
"""The code of each other status; 494 is nginx's."""
_LONG_HEAD: Final = re.compile(rb"(?i)<title>[^<]*(?:header|cookie)[^<]*too large")
"""The page of nginx about a long head, which it sends with 400."""


REPORTED: Final = {
    "body_limit": "",
    "buffered": "",
    "head_limit": "",
    "length_required": "",
    "message_limit": "",
    "proxy_error": "an error page (502 to 530)",
    "request_limit": "",
    "subprotocol_removed": "",
    "websocket_blocked": "",
}
"""The codes that only clients notice, and their details."""


def sentence(code: str, detail: str = "") -> str:
    """Return what happens and its cure, as one sentence."""
    kind = KINDS[code]
    return f"{kind.what.format(detail)}; {kind.cure}"


def of_status(status: int, body: bytes = b"") -> tuple[str, str] | None:
    """Return code and detail of a status with which something other than Jupyter answered; None if it says nothing.

    Args:
        body: the body of the response, which may say more.
    """
    if status in STATUSES:
        return "proxy_error", STATUSES[status]
    code = "head_limit" if status == 400 and _LONG_HEAD.search(body) else CODES.get(status)
    return (code, "") if code else None


def read_report(value: str) -> list[tuple[str, str]]:
    """Return code and detail of what a client reports in :data:`SEEN`, each once; what it cannot know is left out."""
    codes = [code.strip() for code in value.split(",")[:MAX_CODES]]
    return [(code, REPORTED[code]) for code in dict.fromkeys(codes) if code in REPORTED]


def lost_header(names: str, header: str, arrived: str | None) -> bool:
    """Return whether a header did not arrive that :data:`SENDS` lists.

    Args:
        names: the value of :data:`SENDS`.
        header: the header's name in lower case.
        arrived: its value; None if it did not arrive. A credential of a proxy does not count.
    """
    sent = {name.strip().lower() for name in names.split(",")[:MAX_CODES]}
    scheme = (arrived or "").partition(" ")[0].lower()
    return header in sent and (
        not arrived or (header == "authorization" and scheme not in ("bearer", "token"))
    )

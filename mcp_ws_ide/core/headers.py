"""Which headers may be added to the requests of a client or toward a remote server, and why others may not. Pure.

Knows names alone: which values a library can send differs, and is checked where they are sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from mcp_ws_ide.errors import UnusableHeader

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, section 5.1."""
_CONNECTION: Final = "the transport sets it for each connection"
_FRAMING: Final = "the transport sets it, as it frames the bodies"
_MEDIA: Final = "the transport sets it, as it decides how messages are written and read"
_PROTOCOL: Final = "the transport sets it from each message"
OWNED: Final = {
    "host": "the transport sets it from the address; write another address",
    **dict.fromkeys(
        ("connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"), _CONNECTION
    ),
    **dict.fromkeys(("content-length", "transfer-encoding", "expect"), _FRAMING),
    **dict.fromkeys(("accept", "accept-encoding", "content-encoding", "content-type"), _MEDIA),
    **dict.fromkeys(("last-event-id", "mcp-protocol-version", "mcp-session-id"), "the transport sets it"),
    **dict.fromkeys(("mcp-method", "mcp-name"), _PROTOCOL),
}
"""Why nobody else may set a header, by its name in lower case."""
OWNED_PREFIXES: Final = {
    "mcp-param-": _PROTOCOL,
    "sec-websocket-": "the transport sets it in the WebSocket handshake",
}


def check_headers(names: Iterable[str], *, token: bool = False) -> None:
    """Whether headers of these names can be added.

    Args:
        token: whether a token is given beside them, which is sent as ``Authorization``.

    Raises:
        UnusableHeader: one is no name, stands twice, or is not the user's to set.
    """
    seen: dict[str, str] = {}
    for name in names:
        lower = name.lower()
        if reason := _reason(name, lower):
            raise UnusableHeader(name, reason)
        if lower in seen:
            other = f" (once as {seen[lower]!r})" if seen[lower] != name else ""
            raise UnusableHeader(name, f"stands twice{other}; remove one")
        if token and lower == "authorization":
            raise UnusableHeader(
                name, "cannot be set beside a token, which is sent as Authorization; remove one"
            )
        seen[lower] = name


def _reason(name: str, lower: str) -> str:
    if not _NAME.fullmatch(name):
        return "cannot be set: it is no header name (RFC 9110, section 5.1)"
    why = OWNED.get(lower) or next((w for start, w in OWNED_PREFIXES.items() if lower.startswith(start)), "")
    return f"cannot be set: {why}" if why else ""


def brings_credential(names: Iterable[str]) -> bool:
    """Whether ``Authorization`` is among them, so that no token need be looked for."""
    return any(name.lower() == "authorization" for name in names)

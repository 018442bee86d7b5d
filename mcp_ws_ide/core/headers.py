"""The headers that users may add to requests from a client or to a remote server, and why others are refused. Pure.

Knows names only: which values a library can send differs, and is checked where they are sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from mcp_ws_ide.errors import UnusableHeaderError

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header name (RFC 9110, section 5.1)."""
_CONNECTION: Final = "the transport sets it for each connection"
_FRAMING: Final = "the transport sets it, because it decides where bodies end"
_MEDIA: Final = "the transport sets it, because it decides how messages are encoded"
_PROTOCOL: Final = "the transport sets it from each message"
OWNED: Final = {
    "host": "the transport sets it from the address; change the address",
    **dict.fromkeys(
        ("connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"), _CONNECTION
    ),
    **dict.fromkeys(("content-length", "transfer-encoding", "expect"), _FRAMING),
    **dict.fromkeys(("accept", "accept-encoding", "content-encoding", "content-type"), _MEDIA),
    **dict.fromkeys(("last-event-id", "mcp-protocol-version", "mcp-session-id"), "the transport sets it"),
    **dict.fromkeys(("mcp-method", "mcp-name"), _PROTOCOL),
}
"""Why only the transport may set a header, by its name in lower case."""
OWNED_PREFIXES: Final = {
    "mcp-param-": _PROTOCOL,
    "sec-websocket-": "the transport sets it in the WebSocket handshake",
}


def check_headers(names: Iterable[str], *, token: bool = False) -> None:
    """Check that headers of these names can be added.

    Args:
        token: whether a token is configured as well, which is sent as ``Authorization``.

    Raises:
        UnusableHeaderError: a name is invalid, occurs twice, or only the transport may set it.
    """
    seen: dict[str, str] = {}
    for name in names:
        lower = name.lower()
        if reason := _reason(name):
            raise UnusableHeaderError(name, reason)
        if lower in seen:
            other = f" (also as {seen[lower]!r})" if seen[lower] != name else ""
            raise UnusableHeaderError(name, f"occurs twice{other}; remove one")
        if token and lower == "authorization":
            raise UnusableHeaderError(
                name, "cannot be set beside a token, which is sent as Authorization; remove one"
            )
        seen[lower] = name


def is_header_name(name: str) -> bool:
    """Return whether ``name`` is a header name (RFC 9110, section 5.1)."""
    return _NAME.fullmatch(name) is not None


def reserved(name: str) -> str:
    """Return why only the transport may set this header; ``""`` if anybody may."""
    lower = name.lower()
    owned = (reason for prefix, reason in OWNED_PREFIXES.items() if lower.startswith(prefix))
    return OWNED.get(lower) or next(owned, "")


def _reason(name: str) -> str:
    if not is_header_name(name):
        return "cannot be set: it is not a valid header name (RFC 9110, section 5.1)"
    reason = reserved(name)
    return f"cannot be set: {reason}" if reason else ""


def brings_credential(names: Iterable[str]) -> bool:
    """Return whether ``Authorization`` is among these names, so that no token is needed."""
    return any(name.lower() == "authorization" for name in names)

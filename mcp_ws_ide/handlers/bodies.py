"""How long the bodies of requests may be, and how long they may take.

Tornado reads a whole body before it makes a handler, up to 512 MiB in Jupyter, also for anonymous requests.
:class:`~.base.GatewayHandler` runs its checks before that.
"""

from __future__ import annotations

import re
from typing import Any, Final

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders

REFUSED_BYTES: Final = 1 << 20
"""Bytes of a refused request's body that are read and discarded, so that the client sees the response, and no reset."""
REFUSED_SECONDS: Final = 10.0
"""Seconds for which such a body may keep its connection."""
SLACK_BYTES: Final = 2 << 20
"""Bytes that a body may have beyond one message of maximum length, so that a longer message is refused by name."""
SECONDS_PER_MIB: Final = 25.0
"""Seconds that an accepted body may take for each MiB that it may have; one that stops is not awaited for as long
(:mod:`mcp_ws_ide.links.half_open`)."""
MAX_BODY_SECONDS: Final = 300.0
"""Seconds that any accepted body may take."""

LENGTH_DIGITS: Final = 18
"""Digits of a ``Content-Length`` that is read."""


def declared_length(headers: HTTPHeaders) -> int | None:
    """Return the bytes that ``Content-Length`` declares, 0 without that header; None if the header is malformed.

    The same length several times is one (RFC 9110 section 8.6); Tornado reads the body by the same rule.
    """
    lengths = set(re.split(r",[ \t]*", headers.get("Content-Length", "0")))
    text = lengths.pop()
    if lengths or not (text.isascii() and text.isdigit() and len(text) <= LENGTH_DIGITS):
        return None
    return int(text)


def body_seconds(most: int) -> float:
    """Return the seconds that an accepted body of at most ``most`` bytes may take."""
    return min(MAX_BODY_SECONDS, SECONDS_PER_MIB * max(1.0, most / (1 << 20)))


def limit_body(connection: Any, most: int, seconds: float) -> None:
    """Set the most bytes that the body of a connection's current request may have, and the seconds it may take.

    Tornado answers 400 to a longer body, and closes the connection of a slower one.
    """
    if isinstance(connection, HTTP1Connection):
        connection.set_max_body_size(most)
        connection.set_body_timeout(seconds)

"""Admissions: request heads that have just passed all checks, and may repeat without asking Jupyter again.

They exist for POSTs, and for WebSocket handshakes, which all clients repeat at once after a network failure.

Jupyter's checks and Tornado's request handler cost several times as much as carrying a call, and an HTTP client sends
the same head with each call. An admitted head may repeat for :data:`ADMITTED_FOR` seconds: same address, same URL, same
headers except those that describe the message. A gateway token is checked each time. Heads without a token (tickets) or
with an Origin (pages) are never admitted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tornado import httputil

from mcp_ws_ide.core.intermediaries import SEEN
from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.credentials import Credential

ADMITTED_FOR: Final = 5.0
"""Seconds for which an admitted head may be repeated."""
ADMITTED_BODY_SECONDS: Final = 5.0
"""Seconds that the body of an admitted head may take beyond that: a call at the very end is a call like any other."""
ADMITTED_QUEUE_SECONDS: Final = 120.0
"""Seconds beyond that for which an admitted handshake may wait for its turn: its head was valid when it came, the queue
is the gateway's own, and a link whose credential has ended meanwhile is closed like any other."""
MAX_ADMISSIONS: Final = 1000
"""Heads that are remembered; one more forgets the oldest."""

OF_THE_MESSAGE: Final = frozenset(
    {"Content-Length", "Sec-Websocket-Key", "Traceparent", "Tracestate", "Baggage"}
)
"""Headers that vary by message and identify no client (the last three: W3C Trace Context and Baggage)."""

Head = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Admission:
    """The result of the checks of one head."""

    server: str
    principal: str
    credential: Credential
    token_id: str | None
    tools: ToolRules | None
    headers: dict[str, str]
    """Headers that every response gets."""
    until: float
    """``time.monotonic()`` at which it expires."""


class Admissions:
    """The heads that were admitted recently.

    Args:
        token_alive: returns whether the gateway token with this id is still valid.
    """

    def __init__(self, token_alive: Callable[[str], bool]) -> None:
        self._token_alive = token_alive
        self._known: dict[Head, Admission] = {}
        self._handshakes_until = 0.0

    def remember(self, head: Head, admission: Admission) -> None:
        """Remember that a request with this head has just been admitted."""
        self._known.pop(head, None)  # makes it the newest again
        if len(self._known) >= MAX_ADMISSIONS:
            del self._known[next(iter(self._known))]
        self._known[head] = admission
        if head[0] == "GET":
            self._handshakes_until = admission.until

    @property
    def expect_handshakes(self) -> bool:
        """Whether a handshake was admitted recently, so that more of them may repeat its head."""
        return time.monotonic() <= self._handshakes_until

    def find(self, request: httputil.HTTPServerRequest) -> Admission | None:
        """Return the admission of this request's head, if there is a valid one."""
        if not _may_repeat(request):
            return None
        known = self._known.get(head_of(request))
        return known if known is not None and self.still_holds(known) else None

    def still_holds(self, admission: Admission, extra: float = 0.0) -> bool:
        """Whether an admission is still valid: not expired for longer than ``extra`` seconds, and its token alive."""
        if admission.until + extra < time.monotonic():
            return False
        return admission.token_id is None or self._token_alive(admission.token_id)


def _may_repeat(request: httputil.HTTPServerRequest) -> bool:
    """Whether a request can be admitted: a POST, or a WebSocket handshake that names no session."""
    headers = request.headers
    if SEEN in headers:
        return False
    return request.method == "POST" or ("Sec-WebSocket-Key" in headers and "Mcp-Session-Id" not in headers)


def head_of(request: httputil.HTTPServerRequest) -> Head:
    """The parts of a request that must be equal for an admission to apply."""
    pairs = request.headers.get_all()
    kept = [pair for pair in pairs if pair[0] not in OF_THE_MESSAGE and not pair[0].startswith("Mcp-")]
    return (request.method, request.uri, request.remote_ip, request.protocol, *kept)

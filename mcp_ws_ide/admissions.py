"""Heads of POSTs that passed every check a moment ago, and may be repeated without asking Jupyter again.

Jupyter's checks and Tornado's request handler cost several times what carrying a call does, and an HTTP client
repeats the same head with each call. A head that was admitted may repeat for :data:`ADMITTED_FOR` seconds: same
address, same URL, same headers except those that name the message. Whether a gateway token is still valid is checked
each time. Heads without a token or with an Origin are never admitted: those of pages, and tickets.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tornado import httputil

from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.credentials import Credential

ADMITTED_FOR: Final = 5.0
"""Seconds for which an admitted head may be repeated."""
MAX_ADMISSIONS: Final = 1000
"""Heads remembered; one more forgets the oldest."""

OF_THE_MESSAGE: Final = frozenset({"Content-Length", "Traceparent", "Tracestate", "Baggage"})
"""Headers that differ from message to message and identify nobody (the last three: W3C Trace Context and Baggage)."""

Head = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Admission:
    """What is known of every client that shows this head."""

    server: str
    principal: str
    credential: Credential
    token_id: str | None
    tools: ToolRules | None
    headers: dict[str, str]
    """The headers of every answer."""
    until: float
    """``time.monotonic()`` after which it no longer holds."""


class Admissions:
    """Heads that were admitted lately.

    Args:
        token_alive: whether the gateway token with this id is still valid.
    """

    def __init__(self, token_alive: Callable[[str], bool]) -> None:
        self._token_alive = token_alive
        self._known: dict[Head, Admission] = {}

    def remember(self, head: Head, admission: Admission) -> None:
        """A request with this head has just been admitted."""
        self._known.pop(head, None)  # so that it is the youngest again
        if len(self._known) >= MAX_ADMISSIONS:
            del self._known[next(iter(self._known))]
        self._known[head] = admission

    def find(self, request: httputil.HTTPServerRequest) -> Admission | None:
        """The admission of this request's head, if it still holds."""
        if request.method != "POST":
            return None
        known = self._known.get(head_of(request))
        return known if known is not None and self.still_holds(known) else None

    def still_holds(self, admission: Admission) -> bool:
        """Whether an admission has neither expired nor lost its gateway token."""
        if admission.until < time.monotonic():
            return False
        return admission.token_id is None or self._token_alive(admission.token_id)


def head_of(request: httputil.HTTPServerRequest) -> Head:
    """What an admission is good for."""
    pairs = request.headers.get_all()
    kept = [pair for pair in pairs if pair[0] not in OF_THE_MESSAGE and not pair[0].startswith("Mcp-")]
    return (request.uri, request.remote_ip, request.protocol, *kept)

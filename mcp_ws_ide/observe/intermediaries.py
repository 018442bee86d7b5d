"""Problems noticed on the path between clients and gateway: reported once in the log and on the tap, and listed over
REST for an hour.

Knows neither HTTP nor links: handlers, links and clients report codes of :mod:`mcp_ws_ide.core.intermediaries`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mcp_ws_ide.core.intermediaries import KINDS

KEPT_SECONDS: Final = 3600.0
"""Seconds for which a finding is listed after it was last noticed."""
MAX_DETAIL: Final = 100
"""Characters of a detail that are kept."""
UNVERIFIED: Final = " (unverified: the request had no valid credential, and anybody can send such a request)"
"""Follows what happens, where nobody who may use the gateway has shown it."""

Tell = Callable[[str, str, str], None]
"""Receives a sentence, and the principal and the server that it concerns; both may be empty."""


@dataclass(slots=True)
class Noticed:
    """One kind of interference that was noticed.

    Attributes:
        detail: the newest detail.
        count: how often it was noticed.
        first, last: when (Unix time).
        verified: whether a request with a valid credential showed it.
    """

    detail: str
    count: int
    first: float
    last: float
    verified: bool

    def what(self, code: str) -> str:
        """Return what happens, and whether that is certain."""
        return KINDS[code].what.format(self.detail) + ("" if self.verified else UNVERIFIED)


class Intermediaries:
    """The problems noticed, at most one for each code. A new one is reported at once, and again if it recurs later.

    Args:
        tell: called for each new finding.
        clock: returns Unix time.
    """

    def __init__(self, tell: Tell, clock: Callable[[], float] = time.time) -> None:
        self._tell = tell
        self._clock = clock
        self._noticed: dict[str, Noticed] = {}

    def note(
        self, code: str, detail: str = "", owner: str = "", server: str = "", *, verified: bool = True
    ) -> None:
        """Note that something was noticed. What is unverified changes nothing about what is verified.

        Args:
            code: a key of :data:`~mcp_ws_ide.core.intermediaries.KINDS`.
            detail: fills the placeholder in its sentence; cut to :data:`MAX_DETAIL` characters.
            owner, server: whose request it was, and to which server, if known.
            verified: whether a request with a valid credential showed it.
        """
        now, detail = self._clock(), detail[:MAX_DETAIL]
        known = self._noticed.get(code)
        if known is not None and now - known.last <= KEPT_SECONDS and (known.verified or not verified):
            if verified or not known.verified:
                known.detail, known.count, known.last = detail or known.detail, known.count + 1, now
            return
        noticed = self._noticed[code] = Noticed(detail, 1, now, now, verified)
        self._tell(f"{noticed.what(code)}; {KINDS[code].cure}", owner, server)

    def model(self) -> list[dict[str, Any]]:
        """Return the problems, oldest first: ``code``, ``message``, ``cure``, ``verified``, ``count``, ``first`` and
        ``last``."""
        now = self._clock()
        return [
            {
                "code": code,
                "message": noticed.what(code),
                "cure": KINDS[code].cure,
                "verified": noticed.verified,
                "count": noticed.count,
                "first": noticed.first,
                "last": noticed.last,
            }
            for code, noticed in self._noticed.items()
            if now - noticed.last <= KEPT_SECONDS
        ]

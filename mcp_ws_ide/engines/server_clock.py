"""The clock of a server that several machines use, as this one sees it. Times that are stored are by that clock."""

from __future__ import annotations

import logging
from typing import Final, TypeVar

import msgspec

from mcp_ws_ide.engines.base import ATTACHED, Batch, StoredSession, StoredSummary

EQUAL_SECONDS: Final = 1.0
"""Difference up to which the clocks count as equal."""
WARN_SECONDS: Final = 5.0
"""Difference from which it is logged: tokens expire by the clock of each machine."""
SLOW_SECONDS: Final = 1.0
"""An answer that took longer does not tell the time."""

_Timed = TypeVar("_Timed", Batch, StoredSession, StoredSummary)

log = logging.getLogger(__name__)


class ServerClock:
    """By how much this machine's clock is ahead of the server's.

    Attributes:
        ahead: seconds; 0 while the clocks count as equal.
    """

    def __init__(self) -> None:
        self.ahead = 0.0
        self._warned = False

    def note(self, asked: float, answered: float, microseconds: str) -> None:
        """Note the server's time.

        Args:
            asked, answered: ``time.time()`` when the server was asked, and when it had answered.
            microseconds: what it answered, since the epoch; empty for nothing.
        """
        if not microseconds.isdigit() or not 0 <= answered - asked <= SLOW_SECONDS:
            return
        ahead = (asked + answered) / 2 - int(microseconds) / 1e6
        self.ahead = ahead if abs(ahead) > EQUAL_SECONDS else 0.0
        if abs(ahead) < WARN_SECONDS:
            self._warned = False
        elif not self._warned:
            self._warned = True
            log.warning(
                "the clock of this machine is %.0f s %s that of Redis; set both, since tokens expire by the clock of "
                "each machine",
                *(abs(ahead), "ahead of" if ahead > 0 else "behind"),
            )

    def there(self, when: float) -> float:
        """Return a time of this machine's clock by the server's."""
        return when - self.ahead

    def to_store(self, what: _Timed) -> _Timed:
        """Return a value whose ``expires_at`` is by the server's clock."""
        return self._moved(what, -self.ahead)

    def to_use(self, what: _Timed) -> _Timed:
        """Return a stored value whose ``expires_at`` is by this machine's clock."""
        return self._moved(what, self.ahead)

    def _moved(self, what: _Timed, seconds: float) -> _Timed:
        if not seconds or what.expires_at is None or what.expires_at == ATTACHED:
            return what
        return msgspec.structs.replace(what, expires_at=what.expires_at + seconds)

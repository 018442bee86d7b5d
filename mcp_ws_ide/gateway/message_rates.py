"""How many messages each user sends, and who has sent too many.

The rates are checked once a second, from counts that sessions keep anyway, so that a message costs nothing. A user may
exceed the limit for a while, and must then wait until the average is below it again. Knows no sessions, only counts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nlargest
from operator import itemgetter
from typing import Final

from mcp_ws_ide.core.session import Throttled

BURST_SECONDS: Final = 10.0
"""Seconds' worth of messages that a user may send at once."""
LONGEST_WAIT: Final = 30.0
"""Longest time that a user has to wait, in seconds, however many messages were sent."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _User:
    """One principal.

    Attributes:
        sessions: its open sessions.
        ended: messages of those that have ended.
        seen: all messages at the last check.
        budget: messages that may still be sent; below 0, none may.
        throttled: set while its requests are refused.
    """

    sessions: int = 0
    ended: int = 0
    seen: int = 0
    budget: float = 0.0
    throttled: Throttled | None = None


class MessageRates:
    """The sessions and messages of each principal.

    Args:
        limit: messages per second of one principal; 0 for no limit.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._users: dict[str, _User] = {}
        self._looked = 0.0

    def sessions(self, principal: str) -> int:
        """Return the number of open sessions."""
        user = self._users.get(principal)
        return user.sessions if user is not None else 0

    def busiest(self, most: int) -> dict[str, int]:
        """Return the number of open sessions of the principals that have the most, at most so many principals."""
        counts = {principal: user.sessions for principal, user in self._users.items() if user.sessions}
        if len(counts) > most:
            return dict(nlargest(most, counts.items(), key=itemgetter(1)))
        return counts

    def opened(self, principal: str) -> Throttled | None:
        """Count a session; return why its requests are to be refused, if they are."""
        user = self._users.get(principal)
        if user is None:
            user = self._users[principal] = _User(budget=self._limit * BURST_SECONDS)
        user.sessions += 1
        return user.throttled

    def ended(self, principal: str, messages: int) -> None:
        """Count the end of a session that has sent this many messages."""
        user = self._users[principal]
        user.sessions -= 1
        user.ended += messages

    def look(self, now: float, counts: Iterable[tuple[str, int]]) -> dict[str, Throttled | None]:
        """Return the principals that went over the limit, with a reason, and those that came back under it, with None.

        Args:
            now: the clock of :meth:`.SessionCore.from_client`.
            counts: principal and number of messages of each open session.
        """
        passed, self._looked = (now - self._looked if self._looked else 1.0), now
        totals = {principal: user.ended for principal, user in self._users.items()}
        for principal, messages in counts:
            totals[principal] += messages
        changed = {}
        for principal, user in list(self._users.items()):
            before = user.throttled
            if self._limit:
                self._settle(user, totals[principal] - user.seen, passed, now)
            user.seen = totals[principal]
            if before is None and user.throttled is not None:
                log.warning(
                    "requests of a user are refused: more than %d messages per second arrived", self._limit
                )
            if user.throttled is not before:
                changed[principal] = user.throttled
            if not user.sessions and user.budget >= self._limit * BURST_SECONDS:
                del self._users[principal]
        return changed

    def _settle(self, user: _User, came: int, passed: float, now: float) -> None:
        limit = self._limit
        allowed = min(limit * BURST_SECONDS, user.budget + limit * passed)
        user.budget = max(allowed - came, -limit * LONGEST_WAIT)
        throttled = user.budget < 0
        user.throttled = Throttled(limit, now - user.budget / limit) if throttled else None

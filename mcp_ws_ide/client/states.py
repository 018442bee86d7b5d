"""The states of a transport's link, and the policy by which a lost link is replaced. Performs no I/O."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

import anyio

from mcp_ws_ide.core.binding import FINAL_CODES as FINAL_CODES

STATES_KEPT: Final = 100
"""Newest states that wait for a slow reader of :meth:`StateFeed.states`."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A session has begun. A second one of these means that the previous session is lost.

    Attributes:
        resumable: whether the session survives the loss of its link.
        session: public id of the session; ``""`` if it is not resumable.
    """

    resumable: bool
    session: str = ""


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The link is lost; attempt number ``attempt`` (from 1) follows in ``delay`` seconds."""

    attempt: int
    delay: float
    reason: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """The session was resumed; ``replayed`` messages of this side were sent again."""

    replayed: int


@dataclass(frozen=True, slots=True)
class Gap:
    """``dropped`` progress or log messages were dropped while the link was down."""

    dropped: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The session is lost; every open request failed with an error that has ``data.outcome``."""

    reason: str


@dataclass(frozen=True, slots=True)
class Negotiated:
    """A transport was chosen.

    Attributes:
        transport: ``http``, ``websocket`` or ``poll``.
        refused: why each transport tried before failed, by its name.
    """

    transport: str
    refused: dict[str, str]


State = Negotiated | Connected | Reconnecting | Resumed | Gap | Lost


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How a lost link is replaced: full-jitter backoff with a deadline.

    Attributes:
        first_delay: upper bound of the first delay, in seconds; doubled with each attempt.
        max_delay: limit of that bound, in seconds.
        give_up_after: seconds after the loss at which the transport gives up.
    """

    first_delay: float = 0.5
    max_delay: float = 30.0
    give_up_after: float = 900.0

    def delay(self, attempt: int, jitter: Callable[[], float] = random.random) -> float:
        """Return the seconds before attempt number ``attempt`` (from 1): a random share of the bound, so that many
        clients of one gateway do not reconnect at the same moment."""
        bound = min(self.max_delay, self.first_delay * 2.0 ** min(attempt - 1, 32))
        return bound * jitter()


class StateFeed:
    """The states of one transport, for any number of readers."""

    def __init__(self) -> None:
        self._kept: deque[State] = deque(maxlen=STATES_KEPT)
        self._count = 0
        self._closed = False
        self._changed = anyio.Event()

    def add(self, state: State) -> None:
        """Append a state."""
        self._kept.append(state)
        self._count += 1
        self._wake()

    def close(self) -> None:
        """End every :meth:`states` iterator."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def states(self) -> AsyncIterator[State]:
        """Yield each state from the newest on, until :meth:`close` or :class:`Lost`.

        A reader that falls behind by more than :data:`STATES_KEPT` states misses the oldest.
        """
        seen = max(0, self._count - 1)
        while True:
            kept_from = self._count - len(self._kept)
            for state in list(self._kept)[max(0, seen - kept_from) :]:
                yield state
                if isinstance(state, Lost):
                    return
            seen = max(seen, self._count)
            if self._closed:
                return
            if seen == self._count:
                await self._changed.wait()

"""Responses that do not show which open request they belong to (docs/reference/reading.md).

If one request is open, the response belongs to it. If several are, those that get a response of their own are ruled
out; when one is left, or none was ruled out for :data:`RULING_OUT` seconds, all that are left fail: none stays open,
and none is sent again. If the response may belong to no request at all, each request gets :data:`SUSPICION` seconds to
be answered. Knows requests only by their ids toward the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from mcp_ws_ide.core.stand_ins import SUSPICION as SUSPICION

RULING_OUT: Final = 2.0
"""Seconds to wait for the next response that rules a request out."""
LONGEST: Final = 10.0
"""Seconds after which no response gives the others more time."""
INTERVAL: Final = 0.25
"""Seconds between two checks of which requests are still open."""

Fail = Callable[[bytes, bytes], None]
"""Fails a request: its id, and the JSON-RPC error object, both as JSON."""


class Doubts:
    """The doubtful responses of one upstream.

    Args:
        open_ids: returns the ids of the requests that the server has not answered, as JSON.
        fail: fails one of them.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, open_ids: Callable[[], list[bytes]], fail: Fail
    ) -> None:
        self._loop = loop
        self._open_ids = open_ids
        self._fail = fail
        self._timers: set[asyncio.TimerHandle] = set()
        self._suspicions: set[tuple[frozenset[bytes], bool]] = set()
        """Requests that text stands for, perhaps, and whether that is certain."""

    def add(self, error: bytes) -> bool:
        """Handle a response to an unknown request; return whether any request is open.

        Args:
            error: the JSON-RPC error object (JSON) with which the request is to fail.
        """
        candidates = self._open_ids()
        if candidates:
            now = self._loop.time()
            self._look(set(candidates), error, now + RULING_OUT, self._fail, sure=1, longest=now + LONGEST)
        return bool(candidates)

    def suspect(self, candidates: list[bytes], error: bytes, fail: Fail) -> None:
        """Handle a response that belongs to one of these open requests, or to none.

        Args:
            fail: fails a candidate that was not answered.
        """
        if candidates:
            self._look(set(candidates), error, self._loop.time() + SUSPICION, fail, sure=0)

    def suspect_text(self, error: bytes, *, certain: bool) -> None:
        """Handle text that stands in place of a response, perhaps to one of the open requests.

        Args:
            certain: whether it cannot be a line of a log. If it may be one, and one of the requests is then answered,
                it was a line about that one, and none fails.
        """
        candidates = frozenset(self._open_ids())
        suspicion = candidates, certain
        if not candidates or suspicion in self._suspicions:
            return  # the earlier one decides sooner, and about the same requests

        def decide() -> None:
            self._timers.discard(timer)
            self._suspicions.discard(suspicion)
            left = candidates.intersection(self._open_ids())
            if certain or left == candidates:
                for raw_id in left:
                    self._fail(raw_id, error)

        self._suspicions.add(suspicion)
        timer = self._loop.call_later(SUSPICION, decide)
        self._timers.add(timer)

    def _look(
        self,
        candidates: set[bytes],
        error: bytes,
        deadline: float,
        fail: Fail,
        sure: int,
        longest: float = 0.0,
    ) -> None:
        """Fail the candidates that are still open, if there are at most ``sure`` of them, or after the deadline.

        A candidate that was answered moves the deadline, up to ``longest``: the server is still writing responses.
        """
        left = [raw_id for raw_id in self._open_ids() if raw_id in candidates]
        now = self._loop.time()
        if len(left) < len(candidates):
            deadline = max(deadline, min(now + RULING_OUT, longest))
        if len(left) <= sure or now >= deadline:
            for raw_id in left:
                fail(raw_id, error)
            return

        def again() -> None:
            self._timers.discard(timer)
            self._look(set(left), error, deadline, fail, sure, longest)

        timer = self._loop.call_later(INTERVAL, again)
        self._timers.add(timer)

    def close(self) -> None:
        """Forget all doubts: the upstream fails everything itself."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

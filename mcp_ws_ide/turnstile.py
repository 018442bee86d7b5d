"""Does work that comes in bursts, a little in each turn of the event loop, so that messages pass in between.

After a network failure, thousands of links end and thousands of handshakes come in one turn of the event loop. Each
takes little time, but together they would keep open links waiting for a second. Such work is given to the turnstile of
the event loop, which does it in order, for about :data:`TURN_SECONDS` in each turn. There is one for each event loop,
so that all kinds of work share that time. Owns no work, and does not know what it does.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

TURN_SECONDS: Final = 0.002
"""Seconds of each turn of the event loop for work that comes in bursts; open links wait for a few turns per call."""
TASK_SECONDS: Final = 0.001
"""Seconds that a task is taken to need, which cannot be measured: about what a handshake takes that Jupyter checks."""

log: Final = logging.getLogger(__name__)

_turnstiles: WeakKeyDictionary[asyncio.AbstractEventLoop, Turnstile] = WeakKeyDictionary()


class Turnstile:
    """The work of one event loop that waits for its turn.

    Args:
        seconds: how long it works in each turn; at least one function is called, or one task passes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float = TURN_SECONDS) -> None:
        self._loop = loop
        self._seconds = self._left = seconds
        self._turning = False
        self._functions: deque[Callable[[], None]] = deque()
        self._tasks: deque[asyncio.Future[None]] = deque()

    @classmethod
    def running(cls) -> Turnstile:
        """Return the turnstile of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in _turnstiles:
            _turnstiles[loop] = cls(loop)
        return _turnstiles[loop]

    async def enter(self) -> None:
        """Wait for this task's turn, if it is not due at once."""
        self._start_turning()
        if self._left > 0 and not (self._functions or self._tasks):
            self.spend(TASK_SECONDS)
            return
        mine = self._loop.create_future()
        self._tasks.append(mine)
        await mine

    def call(self, function: Callable[[], None]) -> None:
        """Call ``function``, which does all its work at once, in its turn; its failure is logged."""
        self._functions.append(function)
        self._start_turning()

    def spend(self, seconds: float) -> None:
        """Count time of this turn that a function could not be measured for, because it has started a task."""
        self._left -= seconds

    def _start_turning(self) -> None:
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn, context=contextvars.Context())

    def _turn(self) -> None:
        self._turning, self._left = False, self._seconds
        self._pass_tasks(
            self._seconds - TASK_SECONDS
        )  # one: it may admit a head, and calls with that head are cheap
        now = time.perf_counter()
        while self._functions and self._left > 0:
            _call_logged(self._functions.popleft())
            before, now = now, time.perf_counter()
            self.spend(now - before)
        self._pass_tasks(0.0)
        if self._left < self._seconds:
            self._start_turning()

    def _pass_tasks(self, least: float) -> None:
        """Let tasks pass until not more than ``least`` seconds of this turn are left."""
        while self._tasks and self._left > least:
            mine = self._tasks.popleft()
            if not mine.done():  # it was cancelled
                self.spend(TASK_SECONDS)
                mine.set_result(None)


def _call_logged(function: Callable[[], None]) -> None:
    try:
        function()
    except Exception:  # the others must still get their turns
        log.exception("work that waited for its turn failed")

"""Batches writes: messages of one turn of the event loop are written together at its end.

So the requests of many clients cost one write per pipe and turn, not one per message. But waiting for a turn costs as
much as a small write, which a lone client would pay twice per call. So while each turn has a single message, messages
are written immediately; after :data:`AT_ONCE` of them, one turn is awaited to see whether that still holds.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

LONE_TURNS: Final = 8
"""Consecutive turns with a single message, after which messages are written immediately."""
AT_ONCE: Final = 64
"""Messages that are then written immediately, before a turn is awaited again."""

Flush = Callable[[], int]
"""Writes the queued messages; returns their number."""

_batchers: WeakKeyDictionary[asyncio.AbstractEventLoop, WriteBatcher] = WeakKeyDictionary()


class WriteBatcher:
    """The writers of one event loop that wait for the end of the current turn."""

    __slots__ = ("_at_once", "_lone", "_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Flush] = []
        self._lone = 0
        self._at_once = 0

    @classmethod
    def running(cls) -> WriteBatcher:
        """Return the writers of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in _batchers:
            _batchers[loop] = cls(loop)
        return _batchers[loop]

    @property
    def at_once(self) -> bool:
        """Whether to write a message now; the caller must do so if it is True."""
        if self._at_once == 0 or self._waiting:
            return False
        self._at_once -= 1
        return True

    def wait(self, flush: Flush) -> None:
        """Call ``flush`` at the end of this turn. The caller must not ask twice in one turn."""
        if not self._waiting:
            self._loop.call_soon(self._end, context=contextvars.Context())
        self._waiting.append(flush)

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, []
        messages = 0
        for flush in waiting:
            try:
                messages += flush()
            except Exception as error:  # one failure must not keep the others from writing
                context = {"message": "queued messages could not be written", "exception": error}
                self._loop.call_exception_handler(context)
        self._lone = self._lone + 1 if messages == 1 else 0
        if self._lone >= LONE_TURNS:
            self._at_once = AT_ONCE

"""Writes at the end of the event loop's turn, all of them in one go; at once where they come one by one.

What many clients ask for in one turn costs one write a pipe, not one a message. But a turn costs as much as a small
write: a lone client would pay for two more of them with each call. So as long as turns bring a single message,
messages are written as they come, and one in :data:`AT_ONCE` turns is waited for, to see whether that still holds.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

LONE_TURNS: Final = 8
"""Turns with a single message after which messages do not wait any more."""
AT_ONCE: Final = 64
"""Messages that are then written at once, before a turn is looked at again."""

Flush = Callable[[], int]
"""Writes what has been queued; returns how many messages that were."""

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


class Turns:
    """The writers of one event loop that wait for the end of its turn."""

    __slots__ = ("_at_once", "_lone", "_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Flush] = []
        self._lone = 0
        self._at_once = 0

    @classmethod
    def running(cls) -> Turns:
        """Those of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in _turns:
            _turns[loop] = cls(loop)
        return _turns[loop]

    @property
    def at_once(self) -> bool:
        """Whether a message is to be written now; asking counts as doing so."""
        if self._at_once == 0 or self._waiting:
            return False
        self._at_once -= 1
        return True

    def wait(self, flush: Flush) -> None:
        """Call ``flush`` at the end of this turn; it is the caller's to ask but once."""
        if not self._waiting:
            self._loop.call_soon(self._end, context=contextvars.Context())
        self._waiting.append(flush)

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, []
        messages = 0
        for flush in waiting:
            try:
                messages += flush()
            except Exception as error:  # the others are to be written all the same
                context = {"message": "what was queued could not be written", "exception": error}
                self._loop.call_exception_handler(context)
        self._lone = self._lone + 1 if messages == 1 else 0
        if self._lone >= LONE_TURNS:
            self._at_once = AT_ONCE

"""A byte stream that misbehaves on demand, for tests of a client's behaviour on a bad network.

Owns delay and silence. Which session gets which fault, and for how long, is decided by its user.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from typing import Any

from mcp_ws_ide.links.streams import ByteStream, OnData, OnEnd


class FaultyStream(ByteStream):
    """Sits between a link and its stream and delays written bytes, or passes nothing in either direction."""

    def __init__(self, inner: ByteStream) -> None:
        self._inner = inner
        self._inner.on_written = self._inner_written
        self.pending = inner.pending
        self._loop = asyncio.get_running_loop()
        self._held: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._delay = 0.0
        self._until = 0.0
        self._timers: set[asyncio.TimerHandle] = set()
        self.frozen = False

    def start(self, on_data: OnData, on_end: OnEnd) -> None:
        """Start the inner stream."""
        self._inner.start(on_data, on_end)

    def freeze(self, seconds: float) -> None:
        """Stop reading and writing; close after ``seconds``."""
        self._inner.set_reading(False)
        self.frozen = True
        self._held.clear()
        self._held_bytes = 0
        self._later(seconds, self.close)

    def slow_down(self, delay: float, seconds: float) -> None:
        """Delay each write of the next ``seconds`` by ``delay`` seconds."""
        self._delay, self._until = delay, self._loop.time() + seconds

    @property
    def delaying(self) -> bool:
        """Whether a write is delayed now."""
        return self._loop.time() < self._until

    def write(self, data: bytes) -> bool:
        """Send ``data``, now or after the delay."""
        if self.frozen:
            return True
        if not self._held and not self.delaying:
            return self._counted(self._inner.write(data))
        delay = self._delay if self.delaying else 0.0
        self._held.append((self._loop.time() + delay, data))
        self._held_bytes += len(data)
        self._later(delay, self._release)
        return self._counted(False)

    def _counted(self, written: bool) -> bool:
        self.pending = self._held_bytes + self._inner.pending
        return written

    def _later(self, seconds: float, what: Any) -> None:
        def due() -> None:
            self._timers.discard(handle)
            what()

        handle = self._loop.call_later(seconds, due, context=contextvars.Context())
        self._timers.add(handle)

    def _release(self) -> None:
        """Write, in order, the data that has been delayed long enough."""
        written = True
        while self._held and self._held[0][0] <= self._loop.time() + 0.001:
            _, data = self._held.popleft()
            self._held_bytes -= len(data)
            written = self._inner.write(data)
        self._counted(written)
        if not self._held:
            if written:
                self.on_written()
        elif not self._timers:
            self._later(self._held[0][0] - self._loop.time(), self._release)

    def _inner_written(self) -> None:
        if not self._held:
            self.pending = 0
            self.on_written()

    def set_reading(self, reading: bool) -> None:
        """Pause or resume reading."""
        if not self.frozen:
            self._inner.set_reading(reading)

    def close(self) -> None:
        """Close at once and discard delayed bytes."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._inner.close()

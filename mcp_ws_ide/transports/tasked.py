"""What transports that are made of tasks have in common: one receiver, a gate for reading, flow control, one end."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Coroutine
from typing import Any, Final

from mcp_ws_ide.errors import TransportClosed
from mcp_ws_ide.tasks import TaskGroupOwner
from mcp_ws_ide.transports.base import Receiver, Transport

CLOSE_TIMEOUT: Final = 2.0
"""Seconds for each step of closing."""


class TaskedTransport(Transport):
    """Base of the transports that read and write in tasks of their own.

    Args:
        where: the server's address for messages, without credentials.
        high_water: queued bytes above which ``write_paused`` is called.
        max_queued_bytes: queued bytes above which the server counts as stuck.
    """

    def __init__(self, where: str, high_water: int, max_queued_bytes: int) -> None:
        self._where = where
        self._high_water = high_water
        self._max_queued = max_queued_bytes
        self._receiver: Receiver | None = None
        self._tasks = TaskGroupOwner()
        self._reading = asyncio.Event()
        self._reading.set()
        self._fault = ""
        self._paused = False
        self._ending = TaskGroupOwner()
        self._closing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._where} queued={self.queued_bytes} {self._fault}>"

    def pause_reading(self) -> None:
        """Leave what comes where it is."""
        self._reading.clear()

    def resume_reading(self) -> None:
        """Go on reading."""
        self._reading.set()

    def _check_open(self) -> None:
        """Raises :class:`TransportClosed` where :meth:`send` must."""
        if self._receiver is None or self._closing is not None:
            raise TransportClosed(self._fault or "it is not connected")

    def _check_flow(self) -> None:
        """Call when :attr:`queued_bytes` has changed."""
        queued = self.queued_bytes
        changes = queued <= self._high_water // 2 if self._paused else queued > self._high_water
        if changes and self._receiver is not None:
            self._paused = not self._paused
            self._receiver.write_paused(self._paused)

    def _deliver(self, message: bytes) -> None:
        if self._receiver is not None:
            self._receiver.message_received(message)

    def _noise(self, words: str) -> None:
        if self._receiver is not None:
            self._receiver.noise_received("transport", words)

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[Any]:
        """Run a task without which the transport cannot go on: its failure, a mistake of ours, is its end."""
        return self._tasks.spawn(self._guard(coroutine), f"{name} {self._where}")

    async def _guard(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except Exception:
            self._begin_close("internal error of the gateway; its log says more")
            raise

    # --- close ----------------------------------------------------------------------------------

    def _begin_close(self, reason: str) -> None:
        """End it, for the reason given in words; the first one counts."""
        if self._closing is None:
            self._fault = "".join(
                c if c.isprintable() else "\ufffd" for c in reason[:1000]
            )  # it goes to logs
            self._closing = self._ending.spawn(self._end(), f"end {self._where}")

    async def close(self) -> None:
        """See :meth:`Transport.close`."""
        self._begin_close("it was told to end")
        assert self._closing is not None
        await asyncio.shield(self._closing)

    async def _end(self) -> None:
        try:
            await self._finish()
            await self._tasks.aclose(CLOSE_TIMEOUT)
            await within(2 * CLOSE_TIMEOUT, self._hang_up())
        finally:
            receiver, self._receiver = self._receiver, None
            if receiver is not None:
                receiver.transport_closed(self._fault)

    async def _finish(self) -> None:
        """Let go out what is queued; bounded. The tasks still run."""

    @abstractmethod
    async def _hang_up(self) -> None:
        """Release what is left; the tasks have ended."""


async def within(seconds: float, waited: Awaitable[Any]) -> bool:
    """Whether it came to its end in time."""
    try:
        async with asyncio.timeout(seconds):
            await waited
    except TimeoutError:
        return False
    return True

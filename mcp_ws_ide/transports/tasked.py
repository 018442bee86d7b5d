"""Base of the transports that run in tasks: one receiver, a gate for reading, flow control, and one end.

Knows nothing of how messages travel.
"""

from __future__ import annotations

import asyncio
import random
from abc import abstractmethod
from collections.abc import Awaitable, Coroutine
from typing import Any, Final

from mcp_ws_ide.errors import TransportClosedError
from mcp_ws_ide.tasks import TaskGroupOwner
from mcp_ws_ide.transports.base import Receiver, Transport

CLOSE_TIMEOUT: Final = 2.0
"""Seconds for each step of closing."""
MAX_REASON: Final = 1000
"""Characters of a reason that are kept."""
CLOSED_REASON: Final = "the gateway closed it"
INTERNAL_ERROR_REASON: Final = "internal error of the gateway; see its log"


class TaskedTransport(Transport):
    """Base of the transports that read and write in tasks of their own.

    Args:
        where: address of the server for messages, without credentials.
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
        self._renewable = False
        self._paused = False
        self._ending = TaskGroupOwner()
        self._closing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._where} queued={self.queued_bytes} {self._fault}>"

    @property
    def renewable(self) -> bool:
        """Whether the server is gone, or has forgotten the session; see :attr:`Transport.renewable`."""
        return self._renewable

    def pause_reading(self) -> None:
        """Stop reading; see :meth:`Transport.pause_reading`."""
        self._reading.clear()

    def resume_reading(self) -> None:
        """Continue reading."""
        self._reading.set()

    def _check_open(self) -> None:
        """Raise :class:`TransportClosedError` if nothing can be sent."""
        if self._receiver is None or self._closing is not None:
            raise TransportClosedError(self._fault or "the transport is not connected")

    def _check_flow(self) -> None:
        """Pause or resume the writer; call it when :attr:`queued_bytes` has changed."""
        queued = self.queued_bytes
        changes = queued <= self._high_water // 2 if self._paused else queued > self._high_water
        if changes and self._receiver is not None:
            self._paused = not self._paused
            self._receiver.write_paused(self._paused)

    def _deliver(self, message: bytes) -> None:
        if self._receiver is not None:
            self._receiver.message_received(message)

    def _noise(self, text: str) -> None:
        if self._receiver is not None:
            self._receiver.noise_received("transport", text)

    @property
    def _stuck_reason(self) -> str:
        return f"{self.queued_bytes} bytes are queued for {self._where}, which does not read them"

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[Any]:
        """Run a task that the transport needs: its failure, an internal error, ends the transport."""
        return self._tasks.spawn(self._guard(coroutine), f"{name} {self._where}")

    async def _guard(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except Exception:
            self._begin_close(INTERNAL_ERROR_REASON)
            raise

    # --- close ----------------------------------------------------------------------------------

    def _begin_close(self, reason: str) -> None:
        """Begin to close, for a reason that goes to logs; the first reason counts."""
        if self._closing is None:
            self._fault = "".join(c if c.isprintable() else "\ufffd" for c in reason[:MAX_REASON])
            self._closing = self._ending.spawn(self._end(), f"end {self._where}")

    async def close(self) -> None:
        """See :meth:`Transport.close`."""
        self._begin_close(CLOSED_REASON)
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
        """Send what is queued, within bounds. The tasks still run."""

    @abstractmethod
    async def _hang_up(self) -> None:
        """Release what is left, after the tasks have ended."""


async def within(seconds: float, awaitable: Awaitable[Any]) -> bool:
    """Wait for ``awaitable`` at most ``seconds``; return whether it finished."""
    try:
        async with asyncio.timeout(seconds):
            await awaitable
    except TimeoutError:
        return False
    return True


def backoff(attempt: int) -> float:
    """Return the seconds to wait before reconnect attempt ``attempt`` (from 1), with full jitter."""
    return min(30.0, 0.5 * 2.0 ** min(attempt - 1, 16)) * random.random()  # noqa: S311 - no secret

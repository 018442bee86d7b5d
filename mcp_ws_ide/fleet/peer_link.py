"""A link whose client is connected to another gateway: the session sees a link like any other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.core.messages import Message
from mcp_ws_ide.fleet.sealed_stream import PeerLostError, SealedStream
from mcp_ws_ide.links.base import HIGH_WATER, OnClosed, OnFull, OnMessage, slow_consumer
from mcp_ws_ide.tasks import TaskGroupOwner

FRAME: Final = b"D"
"""Kind: one frame of the link, in either direction."""
CLOSE: Final = b"C"
"""Kind: the close code, in two bytes, and the reason. From the session it is an order, from the link a report."""
LOST: Final = 1006
"""The close code of a link that ended without one (RFC 6455 section 7.4.1)."""


def close_frame(code: int, reason: str) -> bytes:
    """Encode why a link is closed."""
    return int(code).to_bytes(2) + reason.encode()


def read_close(data: bytes) -> tuple[int, str]:
    """Return the code and the reason of a close."""
    return int.from_bytes(data[:2]), data[2:].decode("utf-8", "replace")


class PeerLink:
    """The gateway's end, where the session is. Implements :class:`~mcp_ws_ide.links.base.Rebindable`.

    Args:
        max_queued: bytes that may wait for the client.

    Attributes:
        closing: whether nothing is sent any more.
    """

    def __init__(self, stream: SealedStream, tasks: TaskGroupOwner, max_queued: int) -> None:
        self._stream = stream
        self._tasks = tasks
        self._max_queued = max_queued
        self._on_message: OnMessage = lambda data, now: None
        self._on_closed: OnClosed = lambda code, reason: None
        self._on_full: OnFull = lambda full: None
        self._reading = asyncio.Event()
        self._reading.set()
        self._full = self.closing = False

    def bind(self, on_message: OnMessage, on_closed: OnClosed, on_full: OnFull) -> None:
        """Replace the callbacks."""
        self._on_message, self._on_closed, self._on_full = on_message, on_closed, on_full

    def start(self, on_message: OnMessage, on_closed: OnClosed, on_full: OnFull = lambda full: None) -> None:
        """Set the first callbacks."""
        self.bind(on_message, on_closed, on_full)

    async def run(self) -> None:
        """Pass on what comes from the client, until the link is closed."""
        code, reason = LOST, "the gateway that the client is connected to has ended"
        try:
            while True:
                await self._reading.wait()
                kind, data = await self._stream.receive()
                if kind == CLOSE:
                    code, reason = read_close(data)
                    break
                self._on_message(data, time.perf_counter())
        except PeerLostError:
            pass
        finally:
            self._stream.close()
            self.closing = True
            self._on_closed(code, reason)

    @property
    def queued_bytes(self) -> int:
        """Bytes that the client has not taken yet, as far as this gateway knows."""
        return self._stream.queued_bytes

    def deliver(self, message: Message) -> None:
        """Queue one message."""
        self.send(message.data)

    def send(self, data: bytes) -> None:
        """Queue one frame."""
        if self.closing:
            return
        self._stream.send(FRAME, data)
        queued = self._stream.queued_bytes
        if queued > self._max_queued:
            self.close(CloseCode.POLICY, slow_consumer(queued, self._max_queued))
        elif queued > HIGH_WATER and not self._full:
            self._full = True
            self._on_full(True)
            self._tasks.spawn(drained(self._stream, self._emptied), "peer link")

    def _emptied(self) -> None:
        self._full = False
        if not self.closing:
            self._on_full(False)

    def set_reading(self, reading: bool) -> None:
        """Pause or resume reading from the client."""
        if reading:
            self._reading.set()
        else:
            self._reading.clear()

    def close(self, code: CloseCode, reason: str) -> None:
        """Have the link closed, after what is queued."""
        self._stream.send(CLOSE, close_frame(code, reason))
        self._reading.set()  # for the report that it is closed


async def drained(stream: SealedStream, then: Callable[[], None]) -> None:
    """Wait until most of what is queued was taken; then call ``then``."""
    await stream.drain()
    then()

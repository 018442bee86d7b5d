"""HTTP+SSE servers (MCP 2024-11-05) at an address that was taken for Streamable HTTP.

Entries rarely say which of the two a ``url`` means, so clients are to try both (MCP 2025-03-26, basic/transports,
backwards compatibility). Knows nothing of requests.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from mcp_ws_ide.errors import TransportClosedError, TransportError
from mcp_ws_ide.transports.base import Receiver
from mcp_ws_ide.transports.http import HttpTransport
from mcp_ws_ide.transports.http_exchange import Exchange
from mcp_ws_ide.transports.remote import DEFAULT_BOUNDS, Bounds, Remote, RequestFailedError
from mcp_ws_ide.transports.sse import SseTransport

LOOK_SECONDS: Final = 3.0
"""Seconds for an HTTP+SSE server to announce its address for messages."""
SAID: Final = (
    'the server speaks HTTP+SSE (MCP 2024-11-05), not Streamable HTTP; write "type": "sse" to connect at once'
)


class _Relay:
    """Passes what an HTTP+SSE transport reads to the receiver of the transport that it replaces."""

    def __init__(self, receiver: Receiver, end: Callable[[str], None]) -> None:
        self.noise_received = receiver.noise_received
        self.write_paused = receiver.write_paused
        self.transport_closed = end
        self.message_received = receiver.message_received


class HttpOrSseTransport(HttpTransport):
    """Streamable HTTP, or HTTP+SSE if the server refuses the first ``initialize`` and announces an address on GET."""

    def __init__(self, remote: Remote, bounds: Bounds = DEFAULT_BOUNDS) -> None:
        super().__init__(remote, bounds)
        self._bounds = bounds
        self._older: SseTransport | None = None
        """The connection to an HTTP+SSE server."""

    def send(self, message: bytes) -> None:
        """Send a message; see :meth:`Transport.send`."""
        if self._older is None or self._closing is not None:
            super().send(message)
        else:
            self._older.send(message)

    @property
    def queued_bytes(self) -> int:
        """Bytes of messages that have not left yet."""
        return super().queued_bytes + (self._older.queued_bytes if self._older is not None else 0)

    @property
    def renewable(self) -> bool:
        """Whether another connection may succeed; see :attr:`Transport.renewable`."""
        return super().renewable if self._older is None else self._older.renewable

    @property
    def unsent(self) -> list[bytes]:
        """What the server has not run for certain; see :attr:`Transport.unsent`."""
        return super().unsent if self._older is None else self._older.unsent

    def pause_reading(self) -> None:
        """Stop reading; see :meth:`Transport.pause_reading`."""
        super().pause_reading()
        if self._older is not None:
            self._older.pause_reading()

    def resume_reading(self) -> None:
        """Continue reading."""
        super().resume_reading()
        if self._older is not None:
            self._older.resume_reading()

    async def _failed(self, exchange: Exchange, failure: RequestFailedError) -> None:
        first = exchange.opens_session and not self._reached and self._older is None
        if not (first and failure.of_older_server and await self._open_older()):
            return await super()._failed(exchange, failure)
        self._noise(SAID)
        self._hand_over(exchange)

    def _start(self, exchange: Exchange) -> asyncio.Task[Any]:
        if self._older is None:
            return super()._start(exchange)
        self._hand_over(exchange)
        return self._tasks.spawn(asyncio.sleep(0), f"handed over {self._where}")

    async def _open_older(self) -> bool:
        """Connect to the HTTP+SSE server at this address; return whether there is one."""
        if self._receiver is None:
            return False
        older = SseTransport(self._remote, self._bounds)
        older.renewed = self.renewed
        with contextlib.suppress(TransportError, TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await older.connect(_Relay(self._receiver, self._begin_close))
            self._older = older
        return self._older is not None

    def _hand_over(self, exchange: Exchange) -> None:
        """Send a message over HTTP+SSE; its answer comes from there."""
        assert self._older is not None
        exchange.answered = True
        self._has_left(exchange)
        exchange.responded.set()
        if exchange.is_request:
            self._exchanges.pop(exchange.message.id_key, None)
        with contextlib.suppress(TransportClosedError):  # then this transport is closing too
            self._older.send(exchange.message.data)

    async def _hang_up(self) -> None:
        if self._older is not None:
            await self._older.close()
        await super()._hang_up()

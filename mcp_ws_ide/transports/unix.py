"""MCP servers that listen on a Unix socket: one JSON object per line, as over stdio; one connection per attachment."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, Self, cast
from urllib.parse import unquote, urlsplit

from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.errors import TransportClosedError, TransportError
from mcp_ws_ide.transports.base import Receiver, Supplies, Transport
from mcp_ws_ide.transports.lines import MessageLines

CLOSE_TIMEOUT: Final = 2.0
"""Seconds to write what is queued before the connection is aborted."""


class UnixTransport(Transport, asyncio.Protocol):
    """One connection to a Unix socket.

    Args:
        path: path of the socket.
        max_message_bytes: longest line (:class:`~mcp_ws_ide.transports.lines.MessageLines`).
        connect_timeout: seconds to connect.
        high_water: queued bytes above which ``write_paused`` is called.
        max_queued_bytes: queued bytes above which the server counts as stuck.
        write_timeout: seconds without progress, above the high-water mark, after which the server counts as stuck.
    """

    kind = "unix"

    @classmethod
    def from_spec(cls, spec: ServerSpec, supplies: Supplies) -> Self:
        """Return a transport for ``unix:///path``; percent escapes in the path are decoded."""
        return cls(
            unquote(urlsplit(spec.url or "").path),
            max_message_bytes=supplies.max_message_bytes,
            connect_timeout=spec.timeout("connect_timeout"),
        )

    def __init__(
        self,
        path: str,
        *,
        max_message_bytes: int = 10 << 20,
        connect_timeout: float = 10.0,
        high_water: int = 1 << 20,
        max_queued_bytes: int = 64 << 20,
        write_timeout: float = 10.0,
    ) -> None:
        self._path = path
        self._connect_timeout = connect_timeout
        self._high_water = high_water
        self._max_queued = max_queued_bytes
        self._write_timeout = write_timeout
        self._loop = asyncio.get_running_loop()
        self._lines = MessageLines(max_message_bytes, "transport", self._is_reading)
        self._wire: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._sent = 0
        self._stuck: asyncio.TimerHandle | None = None
        self._fault = ""
        self._lost = asyncio.Event()
        self._closing = False

    def __repr__(self) -> str:
        return f"<UnixTransport {self._path} queued={self.queued_bytes}>"

    async def connect(self, receiver: Receiver) -> None:
        """Open the connection; see :meth:`Transport.connect`."""
        try:
            async with asyncio.timeout(self._connect_timeout):
                await self._loop.create_unix_connection(lambda: self, self._path)
        except TimeoutError:
            limit = f"{self._connect_timeout:g} s (connect_timeout)"
            raise TransportError(
                f"the socket {self._path} did not accept a connection within {limit}"
            ) from None
        except OSError as error:
            reason = f"the socket {self._path} cannot be reached: {error.strerror or error}"
            raise TransportError(f"{reason}; is the server running?") from None
        self._receiver = receiver
        if self._lost.is_set():
            self._tell_closed()
        else:
            self.resume_reading()

    # --- asyncio.Protocol -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop. Nothing is read before ``connect`` has set the receiver."""
        self._wire = cast(asyncio.Transport, transport)
        self._wire.set_write_buffer_limits(high=self._high_water)
        self._wire.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._receiver is not None:
            self._lines.feed(data, self._receiver)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        if not self._fault:
            self._fault = f"the connection was lost: {error}" if error else "the server closed the connection"
            if self._closing:
                self._fault = "the gateway closed it"
        self._stop_watching()
        if self._receiver is not None:
            self._lines.finish(self._receiver)
        self._lost.set()
        self._tell_closed()

    def _tell_closed(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.transport_closed(self._fault)

    def pause_writing(self) -> None:
        """Called by the event loop above the high-water mark."""
        self._watch_progress()
        if self._receiver is not None:
            self._receiver.write_paused(True)

    def resume_writing(self) -> None:
        """Called by the event loop below the high-water mark."""
        self._stop_watching()
        if self._receiver is not None:
            self._receiver.write_paused(False)

    # --- sending --------------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        """Queue one line; see :meth:`Transport.send`."""
        if self._wire is None or self._fault or self._closing:
            raise TransportClosedError(self._fault or "the connection is closed")
        self._wire.write(message + b"\n")
        self._sent += len(message) + 1
        if self.queued_bytes > self._max_queued:
            self._fail(
                f"{self.queued_bytes} bytes wait for the server, which does not read them; "
                f"at most {self._max_queued} may"
            )

    @property
    def queued_bytes(self) -> int:
        """Bytes the socket has not accepted yet."""
        return self._wire.get_write_buffer_size() if self._wire is not None else 0

    def _watch_progress(self) -> None:
        taken = self._sent - self.queued_bytes
        self._stuck = self._loop.call_later(self._write_timeout, self._check_progress, taken)

    def _check_progress(self, taken: int) -> None:
        if self._sent - self.queued_bytes > taken:
            self._watch_progress()
        else:
            self._fail(f"the server has not read its input for {self._write_timeout:g} s")

    def _stop_watching(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _fail(self, reason: str) -> None:
        self._fault = self._fault or reason
        if self._wire is not None and not self._lost.is_set():
            self._wire.abort()

    # --- reading --------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        """Stop reading the socket."""
        if self._wire is not None:
            self._wire.pause_reading()

    def _is_reading(self) -> bool:
        return self._wire is not None and self._wire.is_reading()

    def resume_reading(self) -> None:
        """Continue reading the socket."""
        if self._wire is not None:
            self._wire.resume_reading()

    # --- close ----------------------------------------------------------------------------------

    async def close(self) -> None:
        """Write what is queued, within :data:`CLOSE_TIMEOUT`, then close; see :meth:`Transport.close`."""
        if self._wire is None:
            return
        self._closing = True
        self._wire.close()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self._lost.wait()
        finally:
            if not self._lost.is_set():
                self._wire.abort()
        await self._lost.wait()

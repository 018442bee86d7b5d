"""A WebSocket link: frames, heartbeats and backpressure of one client connection.

Messages of one turn of the event loop share one write. What a message means is up to the link's owner.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Final

from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.core.messages import Message
from mcp_ws_ide.links.base import HIGH_WATER, MAX_QUEUED_BYTES, OnClosed, OnFull, OnMessage, slow_consumer
from mcp_ws_ide.links.cut_links import CutLinks
from mcp_ws_ide.links.framing import FrameLayer
from mcp_ws_ide.links.streams import ByteStream
from mcp_ws_ide.write_batching import WriteBatcher

CLOSE_TIMEOUT: Final = 5.0
"""Seconds that the client has to answer a close frame."""
SLOW_CLOSE_TIMEOUT: Final = 60.0
"""The same for a client that is closed because it reads too slowly: it has to read what is on its way first."""
MISSED_PONGS: Final = 2
"""Unanswered Pings after which a link is closed."""
ABNORMAL: Final = 1006
"""The code of an end without a close frame (RFC 6455 section 7.1.5)."""

log: Final = logging.getLogger(__name__)


def _ignore_full(full: bool) -> None:
    """The callback of owners that cannot slow down their source."""


def _ignore_written() -> None:
    """The callback of a stream whose link has ended."""


NO_CUTS: Final = CutLinks(lambda code, detail: None)
"""The callback for links whose owners do not need to know why they end."""


class WebSocketLink:
    """One open WebSocket. Implements :class:`mcp_ws_ide.links.base.Rebindable`."""

    __slots__ = (
        "_batcher",
        "_cuts",
        "_frames",
        "_full",
        "_loop",
        "_max_queued_bytes",
        "_next_ping",
        "_on_closed",
        "_on_full",
        "_on_message",
        "_opened",
        "_pings",
        "_queued",
        "_scheduled",
        "_stream",
        "_unflushed",
        "closed",
        "closing",
    )

    def __init__(
        self,
        stream: ByteStream,
        max_message_bytes: int,
        *,
        fragile: bool = False,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
        cuts: CutLinks = NO_CUTS,
    ) -> None:
        self._stream = stream
        self._cuts = cuts
        self._stream.on_written = self._written
        self._loop = asyncio.get_running_loop()
        self._frames = FrameLayer(max_message_bytes, fragile=fragile)
        self._on_message: OnMessage | None = None
        self._on_closed: OnClosed | None = None
        self._on_full: OnFull = _ignore_full
        self._max_queued_bytes = max_queued_bytes
        self._queued = 0
        self._unflushed = 0
        self._full = False
        self._scheduled = False
        self._batcher = WriteBatcher.running()
        self._pings = 0
        self._opened = time.monotonic()
        self._next_ping = self._opened + random.uniform(*cuts.ping_interval)  # noqa: S311 - no secret
        self.closing = False
        self.closed = False

    def start(self, on_message: OnMessage, on_closed: OnClosed, on_full: OnFull = _ignore_full) -> None:
        """Start reading. ``on_closed`` is called exactly once."""
        self.bind(on_message, on_closed, on_full)
        self._stream.start(self._received, self._ended)

    def bind(self, on_message: OnMessage, on_closed: OnClosed, on_full: OnFull = _ignore_full) -> None:
        """Replace the callbacks; the next message goes to the new ``on_message``."""
        self._on_message, self._on_closed, self._on_full = on_message, on_closed, on_full

    def _received(self, data: bytes | memoryview) -> None:
        now = time.perf_counter()
        frames = self._frames
        for message in frames.receive(data):
            if self.closing or self._on_message is None:
                break
            try:
                self._on_message(message, now)
            except Exception:
                log.exception("handling a client's message failed")
                self.close(CloseCode.INTERNAL, "internal error of the gateway; see its log")
        if frames.has_control:
            self._schedule_flush()

    # --- writing --------------------------------------------------------------------------------

    @property
    def queued_bytes(self) -> int:
        """Bytes that the client has not taken yet."""
        return self._queued

    def deliver(self, message: Message) -> None:
        """Queue one message."""
        self.send(message.data)

    def send(self, data: bytes) -> None:
        """Queue one frame."""
        if self.closing:
            return
        self._frames.send_text(data)
        self._queued += len(data)
        if self._queued > HIGH_WATER:
            self._queued = min(self._queued, self._stream.pending + self._unflushed + len(data))
            self._check_pressure()
        self._unflushed += len(data)
        if self._scheduled:
            return
        if self._batcher.at_once and not self._full and not self._frames.has_control:
            self._flush()
        else:
            self._schedule_flush()

    def _check_pressure(self) -> None:
        if not self._full:
            self._full = True
            self._on_full(True)
        if self._queued > self._max_queued_bytes:
            self._close_slow()

    def _close_slow(self) -> None:
        """Close the link of a client that does not keep up; unsent messages make room for the close frame."""
        self._frames.drop_queued()
        self._stream.drop_queued()
        reason = slow_consumer(self._queued, self._max_queued_bytes)
        self.close(CloseCode.POLICY, reason, SLOW_CLOSE_TIMEOUT)

    def _schedule_flush(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._batcher.wait(self._flush)

    def _flush(self) -> int:
        """Write the queued frames; return their number."""
        self._scheduled = False
        self._unflushed = 0
        if self.closed:
            return 0
        chunks = self._frames.data_to_send()
        if not chunks:
            return 0
        if self._stream.write(b"".join(chunks)):
            self._written()
        else:
            self._queued = self._stream.pending  # without the bytes that have been sent by now
        if chunks[-1] == b"":
            self._stream.close_in_turn()
        return (len(chunks) + 1) // 2

    def _written(self) -> None:
        """Note that the stream has sent everything."""
        self._queued = 0
        if self._full:
            self._full = False
            self._on_full(False)

    # --- faults on purpose (faulty_stream.py) -----------------------------------------------------

    @property
    def stream(self) -> ByteStream:
        """The byte stream under the link."""
        return self._stream

    def interpose(self, stream: ByteStream) -> None:
        """Put ``stream`` between the link and its present stream; it decides what to pass on."""
        self._stream = stream
        stream.on_written = self._written

    def cut(self) -> None:
        """Close the connection without a close frame, as a network failure does."""
        self._stream.close()

    # --- control --------------------------------------------------------------------------------

    def set_reading(self, reading: bool) -> None:
        """Pause or resume reading; data that was read already is still delivered."""
        if not self.closed:
            self._stream.set_reading(reading)

    def heartbeat(self, now: float) -> None:
        """Send a Ping when it is due, and close a link whose Pings stay unanswered."""
        if now < self._next_ping or self.closing:
            return
        if self._pings - self._frames.pongs >= MISSED_PONGS:
            log.info("link closed: %d pings without a pong", MISSED_PONGS)
            self.closing = True
            self._stream.close_in_turn()
            return
        self._next_ping = now + random.uniform(*self._cuts.ping_interval)  # noqa: S311 - no secret
        self._pings += 1
        self._frames.ping()
        self._schedule_flush()

    def close(self, code: CloseCode, reason: str, timeout: float = CLOSE_TIMEOUT) -> None:
        """Send queued messages and a close frame; wait ``timeout`` seconds for the client's."""
        if self.closing or self.closed:
            return
        self._frames.close(code, reason)
        self.closing = True
        self.set_reading(True)
        self._schedule_flush()
        self._loop.call_later(timeout, self._stream.close_in_turn)

    def _ended(self) -> None:
        if self.closed:
            return
        self._frames.receive_eof()
        if not self.closing:
            self._ended_by_peer()
        self.closed = self.closing = True
        self._stream.on_written = (
            _ignore_written  # a cycle of link and stream would wait for the garbage collector
        )
        on_closed, self._on_closed, self._on_message, self._on_full = (
            self._on_closed,
            None,
            None,
            _ignore_full,
        )
        if on_closed is not None:
            on_closed(self._frames.close_code or ABNORMAL, self._frames.close_reason)

    def _ended_by_peer(self) -> None:
        """Note an end that a proxy may have caused."""
        code, idle = self._frames.close_code, self._stream.idle
        if code == CloseCode.TOO_BIG:
            self._cuts.note("message_limit", "")
        elif code == ABNORMAL and idle is not None:
            now = time.monotonic()
            self._cuts.cut(now, idle, now - self._opened)

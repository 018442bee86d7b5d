"""A client link made of POSTs, for networks that break WebSocket and event streams (docs/reference/binding.md, 11).

:class:`PollLink` queues frames between two POSTs. It numbers the frames of each direction, because HTTP may deliver a
body twice. Everything else (acknowledgement, replay, which session it is) is up to ``mcp.resume.v1``, whose frames it
carries. It knows nothing of Tornado.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.binding import POLL_HOLD, VIOLATIONS, CloseCode, close_reason, poll_close, poll_head
from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.links.base import HIGH_WATER, OnClosed, OnFull, OnMessage, slow_consumer

GONE_AFTER: Final = 2 * POLL_HOLD + 5.0
"""Seconds without a POST after which the client is taken for gone."""
ANSWER_BYTES: Final = 1 << 20
"""Bytes of a response, above which no further frame is added."""

log = logging.getLogger(__name__)


class PollLink:
    """One link. Implements :class:`mcp_ws_ide.links.base.Rebindable`.

    Args:
        principal, server, tools: of the request that opened it; a POST with any other is refused.
        max_queued_bytes: bytes queued for the client, above which the link is closed with 1008.
        prefix: how its id begins.
    """

    def __init__(
        self,
        principal: str,
        server: str,
        max_queued_bytes: int,
        tools: ToolRules | None = None,
        prefix: str = "",
    ) -> None:
        self.id = prefix + secrets.token_urlsafe(24)
        self.principal, self.server, self.tools = principal, server, tools
        self.closed = self.closing = False
        self._max_queued_bytes = max_queued_bytes
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._sent = 0
        self._received = 0
        self._end: bytes | None = None
        self._full = False
        self._held = 0
        self._last_post = time.monotonic()
        self._wake = asyncio.Event()
        self._reading = asyncio.Event()
        self._reading.set()
        self._violated = 0
        """The close code, if the client violated the protocol; else 0."""
        self._on_message: OnMessage | None = None
        self._on_closed: OnClosed | None = None
        self._on_full: OnFull = lambda full: None

    # --- from HTTP ------------------------------------------------------------------------------

    def receive(self, position: int, frames: Sequence[bytes], now: float) -> bool:
        """Handle the frames of one body; those that were received before are skipped.

        Args:
            position: number of the first of ``frames``.

        Returns:
            False if frames before these are missing; then the link is closed.
        """
        if position > self._received:
            self._ended(1006, f"frames {self._received} to {position - 1} are missing")
            return False
        for frame in frames[self._received - position :]:
            self._received += 1
            if self.closing or self._on_message is None:
                continue
            try:
                self._on_message(frame, now)
            except Exception:
                log.exception("handling a client's message failed")
                self.close(CloseCode.INTERNAL, "internal error of the gateway; see its log")
        return True

    def client_closed(self, code: int, reason: str) -> None:
        """Take the client's close code and reason."""
        self._ended(code, reason)

    async def may_send(self) -> None:
        """Wait while the server is full, at most :data:`.POLL_HOLD` s; the client sends nothing before the response."""
        try:
            async with asyncio.timeout(POLL_HOLD):
                await self._reading.wait()
        except TimeoutError:
            return

    async def wait(self) -> None:
        """Wait for something to send to the client, at most :data:`.POLL_HOLD` s. A newer POST ends an older wait."""
        self._held += 1
        turn = self._held
        self._wake.set()
        deadline = time.monotonic() + POLL_HOLD
        while not (self._queue or self._end or self.closed) and turn == self._held:
            self._wake.clear()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._wake.wait()
            except TimeoutError:
                break

    def touch(self) -> None:
        """Note that a POST has arrived or been answered."""
        self._last_post = time.monotonic()

    def answer(self, *, with_frames: bool) -> bytes:
        """Return the body of a response: a head line, queued frames, and a close line if the link has ended."""
        frames = self._take() if with_frames else []
        lines = [poll_head(self.id, self._sent - len(frames), self._received), *frames]
        if with_frames and self._end is not None and not self._queue:
            lines.append(self._end)
        return b"\n".join(lines) + b"\n"

    def _take(self) -> list[bytes]:
        frames: list[bytes] = []
        size = 0
        while self._queue and (not frames or size < ANSWER_BYTES):
            frames.append(self._queue.popleft())
            size += len(frames[-1])
        self._sent += len(frames)
        self._queued -= size
        if self._full and self._queued <= HIGH_WATER // 2:
            self._full = False
            self._on_full(False)
        return frames

    # --- Link -----------------------------------------------------------------------------------

    def start(self, on_message: OnMessage, on_closed: OnClosed) -> None:
        """Set the callbacks. ``on_closed`` is called exactly once."""
        self._on_message, self._on_closed = on_message, on_closed

    def bind(self, on_message: OnMessage, on_closed: OnClosed, on_full: OnFull) -> None:
        """Replace the callbacks; the next message goes to the new ``on_message``."""
        self._on_message, self._on_closed, self._on_full = on_message, on_closed, on_full

    @property
    def queued_bytes(self) -> int:
        """Bytes that the client has not fetched yet."""
        return self._queued

    def deliver(self, message: messages.Message) -> None:
        """Queue one message."""
        self.send(message.data)

    def send(self, data: bytes) -> None:
        """Queue one frame."""
        if self.closing or self.closed:
            return
        self._queue.append(messages.one_line(data))
        self._queued += len(data)
        self._wake.set()
        if self._queued > HIGH_WATER and not self._full:
            self._full = True
            self._on_full(True)
        if self._queued > self._max_queued_bytes:
            self.close(CloseCode.POLICY, slow_consumer(self._queued, self._max_queued_bytes))

    def set_reading(self, reading: bool) -> None:
        """Pause or resume responses: a client sends its next body only after the response to the last one."""
        if reading:
            self._reading.set()
        else:
            self._reading.clear()

    def close(self, code: CloseCode, reason: str) -> None:
        """Close once the client has fetched queued frames, code and reason, or stayed away :data:`GONE_AFTER` s."""
        if self.closing or self.closed:
            return
        self.closing = True
        if code in VIOLATIONS:
            self._violated = code
        self._end = poll_close(code, close_reason(reason))
        self._reading.set()
        self._wake.set()

    def heartbeat(self, now: float) -> None:
        """Close the link if the client has stopped sending POSTs; called every second with ``time.monotonic()``."""
        if now - self._last_post > GONE_AFTER:
            self._ended(1006, f"no POST for {GONE_AFTER:g} s")

    def _ended(self, code: int, reason: str) -> None:
        if self.closed:
            return
        self.closed = self.closing = True
        self._wake.set()
        self._reading.set()
        on_closed, self._on_closed, self._on_message = self._on_closed, None, None
        if on_closed is not None:
            on_closed(self._violated or code, reason)

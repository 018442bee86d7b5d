"""A client link made of POSTs, for networks that break WebSocket and event streams (docs/reference/binding.md, 11).

:class:`PollLink` holds what waits between two of them. It counts frames per direction, because HTTP may deliver
a body twice; everything else (acknowledgement, replay, who the session belongs to) is the business of
``mcp.resume.v1``, whose frames it carries. It knows nothing of Tornado.
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
from mcp_ws_ide.core.binding import VIOLATIONS, CloseCode, close_reason, poll_close, poll_head
from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.links.base import OnClosed, OnFull, OnMessage

HOLD: Final = 25.0
"""Seconds a POST without frames is held when nothing waits for the client."""
GONE_AFTER: Final = 2 * HOLD + 5.0
"""Seconds without a POST after which the client counts as gone."""
ANSWER_BYTES: Final = 1 << 20
"""Size above which an answer takes no further frame."""
HIGH_WATER: Final = 1 << 20
"""Bytes that wait for the client, above which its own server is not read."""

log = logging.getLogger(__name__)


class PollLink:
    """One link. Implements :class:`mcp_ws_ide.links.base.Rebindable`.

    Args:
        principal, server, tools: who opened it, and for what; nobody else may POST to it.
        max_queued_bytes: bytes that wait for the client, above which the link is closed with 1008.
    """

    def __init__(
        self, principal: str, server: str, max_queued_bytes: int, tools: ToolRules | None = None
    ) -> None:
        self.id = secrets.token_urlsafe(24)
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
        """The close code, if the client broke the protocol."""
        self._on_message: OnMessage | None = None
        self._on_closed: OnClosed | None = None
        self._on_full: OnFull = lambda full: None

    # --- from HTTP ------------------------------------------------------------------------------

    def receive(self, position: int, frames: Sequence[bytes], now: float) -> bool:
        """The frames of one body, the first of which has this position; those that came before are skipped.

        Returns:
            False if frames before these are missing: then the link cannot go on.
        """
        if position > self._received:
            self._ended(1006, "frames are missing")
            return False
        for frame in frames[self._received - position :]:
            self._received += 1
            if self.closing or self._on_message is None:
                continue
            try:
                self._on_message(frame, now)
            except Exception:
                log.exception("a message of a client could not be dealt with")
                self.close(CloseCode.INTERNAL, "internal error of the gateway; its log says more")
        return True

    def client_closed(self, code: int, reason: str) -> None:
        """The client's last word."""
        self._ended(code, reason)

    async def may_send(self) -> None:
        """Wait while the server is full, at most :data:`HOLD` s: the client sends nothing until it is answered."""
        try:
            async with asyncio.timeout(HOLD):
                await self._reading.wait()
        except TimeoutError:
            return

    async def wait(self) -> None:
        """Until there is something for the client, at most :data:`HOLD` s. A newer POST ends an older wait."""
        self._held += 1
        turn = self._held
        self._wake.set()
        deadline = time.monotonic() + HOLD
        while not (self._queue or self._end or self.closed) and turn == self._held:
            self._wake.clear()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._wake.wait()
            except TimeoutError:
                break

    def touch(self) -> None:
        """A POST has come or was answered."""
        self._last_post = time.monotonic()

    def answer(self, *, with_frames: bool) -> bytes:
        """The lines of an answer: what was received, then what waits; the last one says if the link is over."""
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
        """Say who gets what the client sends. ``on_closed`` is called exactly once."""
        self._on_message, self._on_closed = on_message, on_closed

    def bind(self, on_message: OnMessage, on_closed: OnClosed, on_full: OnFull) -> None:
        """Hand the link to another owner; the next message is its first."""
        self._on_message, self._on_closed, self._on_full = on_message, on_closed, on_full

    @property
    def queued_bytes(self) -> int:
        """Bytes the client has not fetched yet."""
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
            words = f"slow consumer: {self._queued} bytes wait to be read (max_queued_bytes)"
            self.close(CloseCode.POLICY, words)

    def set_reading(self, reading: bool) -> None:
        """While the server is full no body is answered, and a client sends one at a time."""
        if reading:
            self._reading.set()
        else:
            self._reading.clear()

    def close(self, code: CloseCode, reason: str) -> None:
        """Let the client fetch what is queued and the reason, if it comes within :data:`GONE_AFTER` s."""
        if self.closing or self.closed:
            return
        self.closing = True
        if code in VIOLATIONS:
            self._violated = code
        self._end = poll_close(code, close_reason(reason))
        self._reading.set()
        self._wake.set()

    def heartbeat(self, now: float) -> None:
        """Called about once a second (``now``: ``time.monotonic``): a client that does not POST is gone."""
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

"""The tap, watched without end: reconnects by itself and says where something may be missing.

Knows the link and nothing of what records mean or of who shows them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from mcp_ws_ide.binding import TAP_SUBPROTOCOL
from mcp_ws_ide.discovery import RunningGateway, websocket_url
from mcp_ws_ide.errors import ConnectError
from mcp_ws_ide.inspector.gateway_client import MAX_RECORDS_BYTES, GatewayClient

DELAYS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt; the last one stays."""
MAX_WAITING: Final = 256
"""Texts that wait for the reader; with more, the link is not read, and the gateway drops and counts."""
PING: Final = 5.0
"""Seconds between pings, which measure the round trip."""


@dataclass(frozen=True, slots=True)
class Gap:
    """From here on something may be missing."""

    time: float
    mono: float
    reason: str


class Watch:
    """One watcher of one gateway.

    Attributes:
        state: ``connecting``, ``live`` or ``waiting``.
        words: why it is not live.
        next_try: ``time.monotonic`` of the next attempt, while waiting.
    """

    def __init__(self, find: Callable[[], RunningGateway]) -> None:
        self._find = find
        self._link: ClientConnection | None = None
        self._waiting: deque[str | Gap] = deque()
        self._room = asyncio.Event()
        self.gateway: RunningGateway | None = None
        self.state = "connecting"
        self.words = ""
        self.next_try = 0.0
        self.reconnects = 0

    @property
    def round_trip(self) -> float | None:
        """Seconds; None while it is not known."""
        latency = self._link.latency if self._link is not None else 0.0
        return latency or None

    def take(self) -> str | Gap | None:
        """The oldest text or gap that waits."""
        if not self._waiting:
            return None
        item = self._waiting.popleft()
        if len(self._waiting) < MAX_WAITING // 2:
            self._room.set()
        return item

    async def run(self) -> None:
        """Watch until cancelled."""
        attempt, attached = 0, False
        while True:
            before = self.words
            try:
                async with await self._open() as link:
                    self._link, self.state, self.words = link, "live", ""
                    if attached:
                        self.reconnects += 1
                        self._waiting.append(
                            Gap(time.time(), time.monotonic(), f"reconnected after: {before}")
                        )
                    attempt, attached = 0, True
                    await self._read(link)
                    self.words = "the gateway ended"
            except (ConnectError, OSError, WebSocketException) as error:
                self.words = self._reason(error)
            finally:
                self._link = None
            await self._pause(DELAYS[min(attempt, len(DELAYS) - 1)])
            attempt += 1

    async def _pause(self, seconds: float) -> None:
        self.state, self.next_try = "waiting", time.monotonic() + seconds
        await asyncio.sleep(seconds)
        self.state = "connecting"

    async def _open(self) -> connect:
        gateway = self.gateway = await asyncio.to_thread(self._find)
        headers = {"Authorization": f"token {gateway.token}"} if gateway.token else {}
        return connect(
            websocket_url(gateway, "api/tap"),
            subprotocols=[TAP_SUBPROTOCOL],  # type: ignore[list-item]  # a NewType of str
            additional_headers=headers,
            max_size=MAX_RECORDS_BYTES,
            compression=None,
            ping_interval=PING,
        )

    async def _read(self, link: ClientConnection) -> None:
        async for text in link:
            self._waiting.append(str(text))
            if len(self._waiting) >= MAX_WAITING:
                self._room.clear()
                await self._room.wait()

    def _reason(self, error: Exception) -> str:
        if isinstance(error, InvalidStatus) and self.gateway is not None:
            body = bytes(error.response.body or b"")
            return str(GatewayClient(self.gateway).refused(error.response.status_code, body))
        if isinstance(error, ConnectionClosed):
            return f"the link was lost: {error}"
        return str(error) if isinstance(error, ConnectError) else f"the gateway cannot be reached: {error}"

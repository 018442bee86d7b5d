"""Watch a tap indefinitely: reconnect, continue at the same record, and report missing records.

Knows the link and the numbers of records, but not what records mean or how they are shown.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from mcp_ws_ide.core.binding import TAP_SUBPROTOCOL
from mcp_ws_ide.discovery import RunningGateway, websocket_url
from mcp_ws_ide.errors import ConnectError
from mcp_ws_ide.observe.tap_record import AttachedRecord, GapRecord, TapRecord
from mcp_ws_ide.proxy_environment import route
from mcp_ws_ide.rest_client import MAX_RECORDS_BYTES, GatewayClient, in_thread

DELAYS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each reconnect attempt; the last value repeats."""
MAX_WAITING: Final = 256
"""Messages queued for the reader; with more, the link is not read, and the gateway drops and counts records."""
PING: Final = 2.0
"""Seconds between pings, which measure the round trip."""
SILENT: Final = 4.0
"""Seconds without a byte, not even the answer to a ping, after which the gateway counts as not answering."""


@dataclass(frozen=True, slots=True)
class MissedRecords:
    """Records are missing here: ``count`` of them, or None if the number is unknown."""

    time: float
    mono: float
    reason: str
    count: int | None = None


_decode = msgspec.json.Decoder(TapRecord).decode
_decode_attached = msgspec.json.Decoder(AttachedRecord).decode
_decode_gap = msgspec.json.Decoder(GapRecord).decode


class HeardConnection(ClientConnection):
    """A connection that knows when the last byte came (``heard``, ``time.monotonic``)."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.heard = time.monotonic()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Note the time."""
        self.heard = time.monotonic()
        super().data_received(data)


class Watch:
    """One watcher of one gateway.

    Args:
        scope: filter parameters of the tap; ``{}`` for everything.
        on_records: called when something was queued for :meth:`take`.

    Attributes:
        state: ``connecting``, ``live`` or ``waiting``.
        problem: why it is not live.
        next_try: ``time.monotonic`` of the next attempt, while waiting.
    """

    def __init__(
        self,
        find: Callable[[], RunningGateway],
        scope: Mapping[str, str] | None = None,
        on_records: Callable[[], None] = lambda: None,
    ) -> None:
        self._find, self._on_records = find, on_records
        self._scope = dict(scope or {})
        self._link: HeardConnection | None = None
        self._waiting: deque[str | MissedRecords] = deque()
        self._room = asyncio.Event()
        self.gateway: RunningGateway | None = None
        self.state = "connecting"
        self.problem = ""
        self.next_try = 0.0
        self.reconnects = 0
        self.gaps = 0
        self._place: tuple[str, int] | None = None
        """Instance of the feed and number of the newest record; None until the gateway has sent them."""

    @property
    def round_trip(self) -> float | None:
        """Round trip in seconds; None while it is unknown."""
        latency = self._link.latency if self._link is not None else 0.0
        return latency or None

    @property
    def silence(self) -> float:
        """Seconds for which a live gateway has not answered; 0 if it answers, as far as that can be known."""
        if self._link is None or len(self._waiting) >= MAX_WAITING // 2:  # not read while so much is waiting
            return 0.0
        seconds = time.monotonic() - self._link.heard
        return seconds if seconds > SILENT else 0.0

    def take(self) -> str | MissedRecords | None:
        """Return the oldest queued text or gap; None if there is none."""
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
            before = self.problem
            try:
                async with await self._open() as link:
                    assert isinstance(link, HeardConnection)
                    self._link, self.state, self.problem = link, "live", ""
                    if attached:
                        self.reconnects += 1
                        if self._place is None:  # an older gateway that does not number records
                            self._gap(f"reconnected after: {before}", None)
                    attempt, attached = 0, True
                    await self._read(link)
                    self.problem = "the gateway closed the connection"
            except (ConnectError, OSError, WebSocketException) as error:
                self.problem = self._reason(error)
            finally:
                self._link = None
            await self._pause(DELAYS[min(attempt, len(DELAYS) - 1)])
            attempt += 1

    async def _pause(self, seconds: float) -> None:
        self.state, self.next_try = "waiting", time.monotonic() + seconds
        await asyncio.sleep(seconds)
        self.state = "connecting"

    async def _open(self) -> connect:
        gateway = self.gateway = await in_thread(self._find)
        headers = {"Authorization": f"token {gateway.token}"} if gateway.token else {}
        query = {**self._scope}
        if self._place is not None:
            query |= {"instance": self._place[0], "after": str(self._place[1])}
        url = websocket_url(gateway, f"api/tap?{urlencode(query)}" if query else "api/tap")
        return connect(
            url,
            subprotocols=[TAP_SUBPROTOCOL],  # type: ignore[list-item]  # a NewType of str
            additional_headers=headers,
            max_size=MAX_RECORDS_BYTES,
            compression=None,
            ping_interval=PING,
            create_connection=HeardConnection,
            proxy=route(url, headers, "websockets"),
        )

    async def _read(self, link: ClientConnection) -> None:
        try:
            async for text in link:
                self._take_in(str(text))
                if len(self._waiting) >= MAX_WAITING:
                    self._room.clear()
                    await self._room.wait()
        except asyncio.CancelledError:
            link.transport.abort()  # the inspector exits; a closing handshake could take seconds
            raise

    def _take_in(self, text: str) -> None:
        """Queue a text for the reader and remember its position; records about the link itself are handled here."""
        line = text[text.rfind("\n") + 1 :]
        try:
            newest = _decode(line)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            self._queue(text)  # the reader will report it
            return
        if newest.event == "attached" and (instance := _decode_attached(line).instance):
            self._place = instance, newest.seq
            return
        if self._place is not None:
            self._place = self._place[0], newest.seq
        if newest.kind == "gap":
            self._gap(newest.detail or "records are missing here", _decode_gap(line).count)
        else:
            self._queue(text)

    def _gap(self, reason: str, count: int | None) -> None:
        self.gaps += 1
        self._queue(MissedRecords(time.time(), time.monotonic(), reason, count))

    def _queue(self, item: str | MissedRecords) -> None:
        self._waiting.append(item)
        self._on_records()

    def _reason(self, error: Exception) -> str:
        if isinstance(error, InvalidStatus) and self.gateway is not None:
            if error.response.status_code == HTTPStatus.BAD_REQUEST:
                self._place = None  # the gateway does not accept the position: start without one
            body = bytes(error.response.body or b"")
            return str(GatewayClient(self.gateway).refused(error.response.status_code, body))
        if isinstance(error, ConnectionClosed):
            return f"the link was lost: {error}"
        return str(error) if isinstance(error, ConnectError) else f"the gateway cannot be reached: {error}"

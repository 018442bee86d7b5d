"""Remote servers over WebSocket: one JSON-RPC message per frame, resumable if the server supports ``mcp.resume.v1``.

Another gateway of this project does (docs/reference/binding.md, section 6). Owns the link and what is written to it;
:class:`~mcp_ws_ide.core.resume.ClientEnd` decides what a lost link means.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, Self
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    ProxyError,
    WebSocketException,
)
from websockets.typing import Subprotocol

from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.core import reader
from mcp_ws_ide.core.binding import (
    ACK_INTERVAL,
    CLIENT_USER_AGENT,
    FINAL_CODES,
    PING_INTERVAL,
    SUBPROTOCOL_MCP,
    SUBPROTOCOL_RESUME,
    VIOLATIONS,
    CloseCode,
    is_data,
)
from mcp_ws_ide.core.resume import ClientEnd, Event, ProtocolViolationError
from mcp_ws_ide.errors import TransportError
from mcp_ws_ide.proxy_environment import proxy_failure, proxy_for, reason_of, via
from mcp_ws_ide.sanitise import visible
from mcp_ws_ide.transports.base import Receiver, Supplies
from mcp_ws_ide.transports.remote import status_message, tls_context, tls_hint
from mcp_ws_ide.transports.tasked import CLOSE_TIMEOUT, TaskedTransport, backoff, within
from mcp_ws_ide.version import __version__

STALLED_LOOKS: Final = 3
"""Checks without a further fragment of a message after which the link ends; one is made with each acknowledgement."""
OFFERS: Final = (
    (Subprotocol(SUBPROTOCOL_RESUME), Subprotocol(SUBPROTOCOL_MCP)),
    (Subprotocol(SUBPROTOCOL_MCP),),
    None,
)
"""Subprotocols to offer, one offer after another while the server refuses."""


_wire_log: Final = logging.getLogger(f"{__name__}.wire")
_wire_log.setLevel(logging.WARNING)  # at DEBUG it logs the headers of handshakes, credentials included


NOT_RENEWABLE: Final = VIOLATIONS | {
    CloseCode.NO_HELLO,
    CloseCode.REVOKED,
    CloseCode.EXPIRED,
    CloseCode.SUPERSEDED,
}
"""Close codes that a new session would get as well, or that mean that another client has taken this session."""


class _OfferRefusedError(TransportError):
    """The server refused an offer of subprotocols, and may accept another."""


class WebSocketTransport(TaskedTransport):
    """One session with a WebSocket server.

    Args:
        url: ``ws://`` or ``wss://`` address.
        headers: configured headers, sent with every handshake.
        ca_file: certificates to trust instead of the system's.
        max_message_bytes: longest message; a longer one ends the attachment.
        connect_timeout: seconds for a connection and its handshake.
        reconnect_timeout: seconds for which a resumable session tries to reconnect.
        high_water: queued bytes above which ``write_paused`` is called.
        max_queued_bytes: queued bytes above which the server counts as stuck.

    Raises:
        TransportError: ``ca_file`` cannot be used.
    """

    kind = "ws"
    remote = True

    @classmethod
    def from_spec(cls, spec: ServerSpec, supplies: Supplies) -> Self:
        """Return a transport with the address, headers and limits of a spec."""
        return cls(
            spec.url or "",
            spec.headers,
            ca_file=spec.ca_file,
            max_message_bytes=supplies.max_message_bytes,
            connect_timeout=spec.timeout("connect_timeout"),
            reconnect_timeout=spec.timeout("reconnect_timeout"),
        )

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        ca_file: str | None = None,
        max_message_bytes: int = 10 << 20,
        connect_timeout: float = 10.0,
        reconnect_timeout: float = 60.0,
        high_water: int = 1 << 20,
        max_queued_bytes: int = 64 << 20,
    ) -> None:
        parts = urlsplit(url)
        where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        super().__init__(where, high_water, max_queued_bytes)
        self._url = url
        self._tls = tls_context(ca_file) if parts.scheme == "wss" else None
        self._headers = dict(headers)
        self._max_message = max_message_bytes
        self._connect_timeout = connect_timeout
        self._reconnect_timeout = reconnect_timeout
        self._link: ClientConnection | None = None
        self._attempt = 0
        self._last_link: ClientConnection | None = None
        self._fragments = _Fragments()
        self._peer = ClientEnd()
        self._out: deque[bytes] = deque()
        self._out_bytes = 0
        self._wake = asyncio.Event()
        self._flushed = asyncio.Event()

    # --- links ----------------------------------------------------------------------------------

    async def connect(self, receiver: Receiver) -> None:
        """Open a link, then a session on it; see :meth:`Transport.connect`."""
        for number, offer in enumerate(OFFERS):
            try:
                event = await self._open(offer)
            except _OfferRefusedError:
                if number == len(OFFERS) - 1:
                    raise
            else:
                break
        if event is Event.GONE:
            raise TransportError(f"{self._where} answered a new session with 'gone'")
        self._receiver = receiver
        self._spawn(self._run(), "read")
        self._spawn(self._keep_alive(), "ping")
        self._spawn(self._acknowledge(), "acknowledge")

    async def _open(self, offer: tuple[Subprotocol, ...] | None) -> Event:
        """Open a link, and open or resume the session on it.

        Raises:
            TransportError: it failed.
        """
        link = await self._dial(offer)
        try:
            async with asyncio.timeout(self._connect_timeout):
                event = await self._greet(link)
        except (ConnectionClosed, ProtocolViolationError, TimeoutError) as error:
            link.transport.abort()
            if isinstance(error, ConnectionClosed):
                detail = _close_reason(error)
            else:
                detail = str(error) or f"timed out after {self._connect_timeout:g} s (connect_timeout)"
            raise TransportError(f"{self._where} did not open a session: {detail}") from None
        except BaseException:
            link.transport.abort()
            raise
        if event is Event.GONE:
            link.transport.abort()
        return event

    async def _dial(self, offer: tuple[Subprotocol, ...] | None) -> ClientConnection:
        options: dict[str, Any] = {} if self._tls is None else {"ssl": self._tls}
        try:
            return await _Connect(
                self._url,
                subprotocols=offer,
                additional_headers=self._headers,
                user_agent_header=f"{CLIENT_USER_AGENT}/{__version__}",
                max_size=self._max_message,
                open_timeout=self._connect_timeout,
                close_timeout=CLOSE_TIMEOUT,
                ping_interval=None,
                compression=None,
                logger=_wire_log,
                proxy=_proxy_url(self._url, self._where),
                **options,
            )
        except (WebSocketException, OSError, ValueError) as error:
            raise _dial_failure(error, self._where, self._url, self._connect_timeout) from None

    async def _greet(self, link: ClientConnection) -> Event:
        """Open or resume the session on a new link."""
        peer = self._peer
        if link.subprotocol != SUBPROTOCOL_RESUME:
            if peer.resumable:
                raise ProtocolViolationError("it no longer supports mcp.resume.v1")
            return self._adopt(link, peer.start_plain(), Event.OPENED)
        await link.send(peer.hello(), text=True)
        _, frames, event = peer.receive(await link.recv(decode=False))
        if event is Event.GONE:
            return event
        if event not in (Event.OPENED, Event.RESUMED):
            raise ProtocolViolationError("the first frame is neither 'opened' nor 'resumed'")
        return self._adopt(link, frames, event)

    def _adopt(self, link: ClientConnection, frames: list[bytes], event: Event) -> Event:
        self._link = self._last_link = link
        self._out.clear()
        self._out_bytes = 0
        self._write(frames)
        self._spawn(self._write_all(link), "write")
        return event

    async def _run(self) -> None:
        """Read from one link after another, until the session ends."""
        try:
            while True:
                reason = await self._read()
                await self._reconnect(reason)
        except TransportError as error:
            if not (self.renewed and self._renewable):
                self._tell(self._peer.give_up(str(error)))
            self._begin_close(str(error))

    async def _read(self) -> str:
        """Read until the link ends; return why it did."""
        link, peer = self._link, self._peer
        assert link is not None
        try:
            while True:
                await self._reading.wait()
                data = await link.recv(decode=False)
                self._attempt = 0
                await self._reading.wait()
                message, frames, event = peer.receive(data)
                self._write(frames, first=True)
                if message is not None:
                    self._deliver(reader.on_one_line(message))
                elif event is Event.GAP:
                    self._noise(f"{peer.gap} progress or log messages were dropped while the link was lost")
                self._check_flow()
        except ConnectionClosed as error:
            limit = f" (the limit is {self._max_message} bytes, max_message_bytes)"
            reason = self._fragments.take_reason() or _close_reason(error, limit)
        except ProtocolViolationError as error:
            link.transport.abort()
            raise TransportError(f"{self._where} violated the protocol: {error}") from None
        finally:
            peer.lost_link()
            self._link = None
        return reason

    async def _reconnect(self, reason: str) -> None:
        """Resume the session on a new link, or open a new session if nothing was negotiated in the old one.

        Raises:
            TransportError: neither is possible.
        """
        code = int(reason.partition(" ")[0])
        self._renewable = code not in NOT_RENEWABLE
        if self._peer.plain or code in FINAL_CODES or self._reconnect_timeout == 0:
            raise TransportError(f"{self._where} closed the link: {reason}")
        self._noise(f"the link was lost ({reason}); reconnecting")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._reconnect_timeout
        while True:
            self._attempt += 1
            delay = backoff(self._attempt)
            if loop.time() + delay > deadline:
                limit = f"{self._reconnect_timeout:g} s (reconnect_timeout)"
                raise TransportError(f"{self._where} could not be reached again within {limit}: {reason}")
            await asyncio.sleep(delay)
            try:
                event = await self._open((Subprotocol(SUBPROTOCOL_RESUME),))
            except TransportError as error:
                reason = str(error)
                continue
            if event is Event.RESUMED:
                return self._noise(f"the session was resumed; {self._peer.replayed} messages were replayed")
            if event is Event.OPENED:
                return self._noise("a new session was opened")
            self._start_over(f"{self._where} no longer knows the session: {self._peer.gone_reason}")

    def _start_over(self, reason: str) -> None:
        """Continue after the peer lost the session; impossible after a handshake, which only the client can repeat."""
        if self._peer.legacy:
            raise TransportError(reason)
        self._noise(reason)
        self._tell(self._peer.start_over(reason))

    def _tell(self, errors: list[bytes]) -> None:
        for error in errors:
            self._deliver(error)

    # --- sending --------------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        """Queue one message, also while the link is down; see :meth:`Transport.send`."""
        self._check_open()
        data, refused = self._peer.fit(message)
        if data is not message:
            limit = (
                f"{self._where} accepts at most {self._peer.max_message_bytes} bytes (its max_message_bytes)"
            )
            self._noise(f"a message of {len(message)} bytes was not sent: {limit}")
        if refused:
            asyncio.get_running_loop().call_soon(self._deliver, refused)
        frame = self._peer.send(data) if data else None
        if frame is not None:
            self._write([frame])
        self._check_flow()
        if self.queued_bytes > self._max_queued:
            self._begin_close(self._stuck_reason)

    @property
    def unsent(self) -> list[bytes]:
        """What was queued for the lost link, and what arrived after its loss."""
        return [*filter(is_data, self._out), *([] if self._peer.plain else self._peer.unwritten())]

    def _write(self, frames: list[bytes], first: bool = False) -> None:
        """Queue frames; control frames ``first``, because the peer may need them to continue reading."""
        if frames:
            if first:
                self._out.extendleft(reversed(frames))
            else:
                self._out.extend(frames)
            self._out_bytes += sum(map(len, frames))
            self._wake.set()

    async def _write_all(self, link: ClientConnection) -> None:
        """Write until this link is no longer the current one, or ends; the reader detects the latter."""
        with contextlib.suppress(ConnectionClosed):
            while link is self._link:
                if not self._out:
                    self._flushed.set()
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                self._flushed.clear()
                frame = self._out.popleft()
                await link.send(frame, text=True)
                if link is self._link:
                    self._out_bytes -= len(frame)
                    self._check_flow()

    @property
    def queued_bytes(self) -> int:
        """Bytes the peer has not acknowledged; without acknowledgements, bytes not written yet."""
        return self._out_bytes if self._peer.plain else max(self._out_bytes, self._peer.channel.unacked_bytes)

    # --- liveness -------------------------------------------------------------------------------

    async def _keep_alive(self) -> None:
        """Ping from a timer of our own: while reading is paused, a Pong would not be seen."""
        while True:
            await asyncio.sleep(PING_INTERVAL)
            link = self._link
            if link is None or not self._reading.is_set():
                continue
            try:
                async with asyncio.timeout(PING_INTERVAL):
                    await (await link.ping())
            except TimeoutError:
                if self._reading.is_set():
                    link.transport.abort()
            except ConnectionClosed:
                continue  # the reader handles it

    async def _acknowledge(self) -> None:
        while True:
            await asyncio.sleep(ACK_INTERVAL)
            if self._link is not None and self._reading.is_set():
                self._fragments.look(self._link)
            peer = self._peer
            if peer.live and not peer.plain and peer.channel.owes_ack:
                self._write([peer.channel.take_ack()], first=True)

    async def _finish(self) -> None:
        if self._link is not None:
            self._flushed.clear()
            self._wake.set()
            await within(CLOSE_TIMEOUT, self._flushed.wait())

    async def _hang_up(self) -> None:
        """Close with 1000, which ends the session; abort a link whose peer does not read."""
        link = self._last_link
        if link is None:
            return
        if self._flushed.is_set():
            await within(CLOSE_TIMEOUT, link.close(CloseCode.NORMAL))
        link.transport.abort()


class _Fragments:
    """Ends a link on which a fragmented message does not continue."""

    def __init__(self) -> None:
        self._size: int | None = None
        """Bytes of the incomplete message at the last check."""
        self._stalled = 0
        """Checks without a further fragment."""
        self._reason = ""

    def look(self, link: ClientConnection) -> None:
        """Check what has arrived; called once a second."""
        size = link.protocol.current_size
        self._stalled = self._stalled + 1 if size is not None and size == self._size else 0
        self._size = size
        if self._stalled >= STALLED_LOOKS:
            self._reason = (
                f"1006 {size} bytes of a fragmented message arrived, then nothing for {STALLED_LOOKS} s"
            )
            link.transport.abort()

    def take_reason(self) -> str:
        """Return why the link was ended here, after a close code; ``""`` if it was not."""
        reason, self._reason, self._stalled = self._reason, "", 0
        return reason


class _Connect(websocket_connect):
    """Refuses redirects, which would also get the configured headers."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def _dial_failure(error: Exception, where: str, url: str, seconds: float) -> TransportError:
    """Return why no link could be opened; :class:`_OfferRefusedError` if another offer of subprotocols may help."""
    if isinstance(error, InvalidStatus):
        response = error.response
        reason = status_message(where, response.status_code, bytes(response.body or b""))
        concerns_offer = response.status_code in (400, 500, 501)
        return _OfferRefusedError(reason) if concerns_offer else TransportError(reason)
    if isinstance(error, InvalidURI):
        return TransportError(f"{where} is not a valid ws:// or wss:// URL")
    if isinstance(error, ssl.SSLError):
        hint = tls_hint(str(error))
        return TransportError(f"{where}: TLS failed ({error.reason or error}){hint and f'; {hint}'}")
    if isinstance(error, TimeoutError):
        return TransportError(f"{where} did not answer within {seconds:g} s (connect_timeout){via(url)}")
    if isinstance(error, OSError):
        return TransportError(f"{where} cannot be reached{via(url)}: {reason_of(error)}")
    if isinstance(error, ProxyError):
        return TransportError(f"{where} cannot be reached{via(url)}: {proxy_failure(error)}")
    if isinstance(error, (InvalidProxy, ValueError)):
        return TransportError(f"{where} cannot be reached: its URL, or that of its proxy, is invalid")
    if isinstance(error, InvalidHandshake):
        return _OfferRefusedError(f"{where} is not a WebSocket server: {visible(str(error))}")
    return TransportError(f"{where} cannot be reached: {error}")


def _proxy_url(url: str, where: str) -> str | None:
    """Return the proxy to use; None for a direct connection."""
    proxy = proxy_for(url)
    if proxy is not None and (problem := proxy.problem("websockets")):
        raise TransportError(f"{where} cannot be reached: {problem}")
    return proxy.url if proxy is not None else None


def _close_reason(error: ConnectionClosed, limit: str = "") -> str:
    """Return close code and reason of the side that closed first; 1006 if neither sent a Close frame."""
    frame = error.rcvd if error.rcvd_then_sent or error.sent is None else error.sent
    if frame is None:
        return "1006"
    return f"{frame.code:d} {visible(frame.reason)}".strip() + (
        limit if frame.code == CloseCode.TOO_BIG else ""
    )

"""WebSocket links whose every step is written down, and that can send what no correct client sends.

The wire is the ``websockets`` library; nothing here judges. Every wait is bounded.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from mcp_ws_ide.conformance.verdicts import NotReachedError
from mcp_ws_ide.version import __version__

USER_AGENT: Final = f"mcp-ws-conformance/{__version__}"
LONGEST_SHOWN: Final = 400
"""Characters of a message that are written down."""
LARGEST: Final = 64 << 20
"""Bytes of a message that are accepted."""
_TURNED_AWAY: Final = frozenset({429, 503})
_TRIES: Final = 5


@dataclass(slots=True)
class Exchange:
    """What went over the wire during one check, with the secrets hidden."""

    secrets: tuple[str, ...] = ()
    lines: list[str] = field(default_factory=list)
    point: str = ""
    """What was sent to provoke an answer; by default the last thing that was sent."""

    def sent(self, text: str) -> None:
        """Write down what this program sends."""
        self._add("→", text)
        self.point = self.lines[-1][2:]

    def came(self, text: str) -> None:
        """Write down what the other side sends."""
        self._add("←", text)

    def _add(self, arrow: str, text: str) -> None:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        if len(text) > LONGEST_SHOWN:
            text = f"{text[:LONGEST_SHOWN]} … ({len(text)} characters)"
        self.lines.append(f"{arrow} {text}")


@dataclass(frozen=True, slots=True)
class Closed:
    """The end of a link; 1006 is an end without a close frame."""

    code: int
    reason: str = ""

    def __str__(self) -> str:
        reason = f" {json.dumps(self.reason, ensure_ascii=False)}" if self.reason else ""
        return f"close {self.code}{reason}" if self.code != 1006 else f"an end without a close frame{reason}"


@dataclass(frozen=True, slots=True)
class Refused:
    """A handshake that was answered with something other than a valid 101; ``status`` is 101 for an invalid one."""

    status: int
    headers: dict[str, str]
    body: bytes
    fault: str = ""

    def __str__(self) -> str:
        return self.fault or f"HTTP {self.status}"


Event = str | bytes | Closed | None
"""A text message, a binary message, the end of the link, or silence."""


class Link:
    """One open WebSocket, of either end."""

    def __init__(self, socket: ClientConnection | ServerConnection, exchange: Exchange) -> None:
        self._socket = socket
        self._masks = isinstance(socket, ClientConnection)
        self.exchange = exchange

    @property
    def subprotocol(self) -> str | None:
        """What the other side has selected."""
        return self._socket.subprotocol

    async def send(self, text: str) -> None:
        """Send a text message; nothing happens on a link that has ended."""
        self.exchange.sent(text)
        await self._write(Opcode.TEXT, text.encode("utf-8", "surrogatepass"))

    async def send_json(self, message: Any) -> None:
        """Send a value as JSON."""
        await self.send(json.dumps(message, ensure_ascii=False))

    async def send_bytes(self, data: bytes, name: str) -> None:
        """Send bytes that need be no frame, which the report calls ``name``."""
        self.exchange.sent(name)
        self._write_bytes(data)

    async def send_frame(self, opcode: Opcode, data: bytes, *, end: bool = True, masked: bool = True) -> None:
        """Send one frame."""
        marks = ", ".join(filter(None, ["" if end else "not final", "" if masked else "not masked"]))
        shown = data[:60].decode(errors="backslashreplace")
        self.exchange.sent(
            f"{opcode.name.lower()} frame{f' ({marks})' if marks else ''}, {len(data)} bytes: {shown}"
        )
        await self._write(opcode, data, end=end, masked=masked)

    async def _write(self, opcode: Opcode, data: bytes, *, end: bool = True, masked: bool = True) -> None:
        self._write_bytes(Frame(opcode, data, fin=end).serialize(mask=masked and self._masks))

    def _write_bytes(self, data: bytes) -> None:
        transport = self._socket.transport
        if not transport.is_closing():
            transport.write(data)

    async def receive(self, seconds: float) -> Event:
        """Return what comes next, or None after so many seconds of silence."""
        try:
            async with asyncio.timeout(max(seconds, 0.001)):
                message = await self._socket.recv()
        except TimeoutError:
            return None
        except ConnectionClosed as ended:
            closed = _closed(ended)
            self.exchange.came(str(closed))
            return closed
        if isinstance(message, str):
            self.exchange.came(message)
        else:
            self.exchange.came(f"binary message, {len(message)} bytes")
        return message

    @property
    def open(self) -> bool:
        """Whether the connection is open, as far as this end knows."""
        return not self._socket.transport.is_closing()

    async def end(self, seconds: float) -> Closed | None:
        """Return the end of the link, skipping messages; None if it is still open after so many seconds."""
        deadline = time.monotonic() + seconds
        while (event := await self.receive(deadline - time.monotonic())) is not None:
            if isinstance(event, Closed):
                return event
        return None

    async def ping(self, payload: str, seconds: float) -> bool:
        """Send a Ping; return whether the Pong with its payload comes in time."""
        self.exchange.sent(f"ping frame: {payload}")
        try:
            async with asyncio.timeout(seconds):
                await (await self._socket.ping(payload))
        except (TimeoutError, ConnectionClosed):
            return False
        self.exchange.came(f"pong frame: {payload}")
        return True

    async def next_ping(self, seconds: float) -> float | None:
        """Wait for a Ping of the other side; return after how many seconds it came."""
        began, heard = time.monotonic(), asyncio.Event()
        self._on_ping(heard.set, answer=True)
        try:
            async with asyncio.timeout(seconds):
                await heard.wait()
        except TimeoutError:
            return None
        self.exchange.came("ping frame")
        return time.monotonic() - began

    def answer_no_ping(self) -> None:
        """From now on, answer no Ping."""
        self.exchange.sent("no Pong from now on")
        self._on_ping(lambda: self.exchange.came("ping frame"), answer=False)

    def _on_ping(self, heard: Callable[[], None], *, answer: bool) -> None:
        protocol = self._socket.protocol
        receive = protocol.recv_frame

        def listening(frame: Frame) -> None:
            if frame.opcode is Opcode.PING:
                heard()
                if not answer:
                    return
            receive(frame)

        protocol.recv_frame = listening  # type: ignore[method-assign]

    async def close(self, code: int, seconds: float) -> Closed | None:
        """Close with a code; return the other side's close frame, or None if none came in time."""
        self.exchange.sent(f"close {code}")
        try:
            async with asyncio.timeout(seconds):
                await self._socket.close(code)
                while True:  # past the messages that came before
                    await self._socket.recv()
        except TimeoutError:
            self.abort()
            return None
        except ConnectionClosed as ended:
            closed = _closed(ended)
            self.exchange.came(str(closed))
            return closed

    def abort(self, *, noted: bool = False) -> None:
        """End the connection without a close frame."""
        if noted:
            self.exchange.sent("the connection is cut, without a close frame")
        self._socket.transport.abort()


def _closed(ended: ConnectionClosed) -> Closed:
    if ended.rcvd is not None:
        return Closed(int(ended.rcvd.code), ended.rcvd.reason)
    if ended.sent is not None and ended.sent.code not in (1000, 1001):
        return Closed(1006, f"this program closed with {int(ended.sent.code)}: {ended.sent.reason}")
    return Closed(1006)


class _Connect(connect):
    """Without redirects: a redirect is an answer, and a credential goes nowhere else."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def open_link(
    url: str,
    exchange: Exchange,
    seconds: float,
    *,
    subprotocols: tuple[str, ...] = (),
    headers: dict[str, str] | None = None,
    agent: str | None = USER_AGENT,
    host: tuple[str, int] | None = None,
) -> Link | Refused:
    """Open a WebSocket; where the other side says *later*, try again a few times.

    Args:
        url: ``ws://`` or ``wss://``.
        exchange: where everything is written down.
        seconds: for each attempt.
        subprotocols: offered ones, in order.
        headers: further headers; ``Origin`` is one.
        agent: ``User-Agent``; None for that of the library.
        host: where to connect to, if that is not where the URL says.

    Raises:
        NotReachedError: no HTTP response came.
    """
    for attempt in range(_TRIES):
        answer = await _attempt(url, exchange, seconds, subprotocols, headers or {}, agent, host)
        if isinstance(answer, Link) or answer.status not in _TURNED_AWAY or attempt == _TRIES - 1:
            break
        wait = answer.headers.get("retry-after", "1")
        await asyncio.sleep(min(float(wait) if wait.isdigit() else 1.0, seconds))
    return answer


async def _attempt(
    url: str,
    exchange: Exchange,
    seconds: float,
    subprotocols: tuple[str, ...],
    headers: dict[str, str],
    agent: str | None,
    host: tuple[str, int] | None,
) -> Link | Refused:
    shown = "".join(f"; {name}: {value}" for name, value in headers.items())
    offered = f" offering {', '.join(subprotocols)}" if subprotocols else ""
    exchange.sent(f"WebSocket handshake {url}{offered}{shown}")
    options: dict[str, Any] = {} if agent is None else {"user_agent_header": agent}
    if host is not None:
        options.update(host=host[0], port=host[1], proxy=None)
    try:
        socket = await _Connect(
            url,
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            additional_headers=headers,
            compression=None,
            ping_interval=None,
            max_size=LARGEST,
            open_timeout=seconds,
            close_timeout=seconds,
            **options,
        )
    except InvalidStatus as error:
        response = error.response
        exchange.came(f"HTTP {response.status_code} {_one_line(response.body or b'')}".rstrip())
        named = {name.lower(): value for name, value in response.headers.raw_items()}
        return Refused(response.status_code, named, bytes(response.body or b""))
    except InvalidHandshake as error:
        exchange.came(f"an invalid handshake: {error}")
        return Refused(101, {}, b"", f"an invalid handshake: {error}")
    except TimeoutError:
        raise NotReachedError(f"no response to the handshake within {seconds:g} s") from None
    except (OSError, EOFError) as error:
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else error
        raise NotReachedError(
            f"no connection: {reason}; check the address, and that the server runs"
        ) from None
    exchange.came(f"101, subprotocol {socket.subprotocol or 'none'}")
    return Link(socket, exchange)


def _one_line(body: bytes | bytearray) -> str:
    return re.sub(r"\s+", " ", body.decode(errors="replace")).strip()

"""Handshakes that are answered before Tornado reads them (handlers/fresh_connections.py): as Tornado would answer.

A Tornado server that looks at new connections, and one that does not, get the same bytes; both must answer alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from tornado import httputil
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.routing import PathMatches, Rule
from tornado.web import Application

from mcp_ws_ide.admissions import Admission, Admissions, head_of
from mcp_ws_ide.config.spec import Configuration, ServerSpec
from mcp_ws_ide.gateway import Gateway, Limits
from mcp_ws_ide.handlers.fresh_connections import LONGEST_HEAD
from mcp_ws_ide.handlers.repeat_router import RepeatRouter
from mcp_ws_ide.links.cut_links import CutLinks
from mcp_ws_ide.links.heartbeat import Heartbeat
from tests.conftest import BOUND, until

KEY = b"Sec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==\r\n"
OTHER_KEY = b"Sec-WebSocket-Key: MTExMTExMTExMTExMTExMQ==\r\n"
HANDSHAKE = (
    b"GET /mcp-ws/servers/a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    + KEY
    + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mcp.resume.v1\r\n"
    b"Authorization: token secret\r\n\r\n"
)
END = b"\r\n\r\n"
OPEN = b'\x81\x91\0\0\0\0{"mcp.ws":"open"}'
VARIANTS = {
    "the same": HANDSHAKE,
    "another key": HANDSHAKE.replace(KEY, OTHER_KEY),
    "a key in other case": HANDSHAKE.replace(b"Sec-WebSocket-Key: ", b"sec-websocket-KEY:\t"),
    "a key that is too short": HANDSHAKE.replace(b"MDAw", b"", 1),
    "a key that is too long": HANDSHAKE.replace(b"MDAw", b"MDAwMDAw", 1),
    "a key of 24 characters that is none": HANDSHAKE.replace(b"MA==", b"MDAw"),
    "a key with padding inside": HANDSHAKE.replace(b"MDAwMDAw", b"MD==MDAw", 1),
    "two keys": HANDSHAKE.replace(KEY, KEY + OTHER_KEY),
    "two keys, the other first": HANDSHAKE.replace(KEY, OTHER_KEY + KEY),
    "no key": HANDSHAKE.replace(KEY, b""),
    "a key that is continued": HANDSHAKE.replace(KEY, KEY + b" more\r\n"),
    "a key with a space behind": HANDSHAKE.replace(b"==\r\n", b"== \r\n"),
    "a body": HANDSHAKE.replace(END, b"\r\nContent-Length: 4" + END) + b"body",
    "a body of no bytes": HANDSHAKE.replace(END, b"\r\nContent-Length: 0" + END),
    "a chunked body": HANDSHAKE.replace(END, b"\r\nTransfer-Encoding: chunked" + END) + b"0\r\n\r\n",
    "bare line feeds": HANDSHAKE.replace(b"\r\nHost", b"\nHost"),
    "an early frame": HANDSHAKE + b"\x89\x80\0\0\0\0",
    "a second request behind": HANDSHAKE + HANDSHAKE,
    "a header after the end": HANDSHAKE + b"X: 1\r\n\r\n",
    "an end of bare line feeds": HANDSHAKE.replace(b"\r\nAuthorization", b"\n\nAuthorization"),
    "an empty line behind": HANDSHAKE + b"\r\n",
    "an empty line behind a bare line feed": HANDSHAKE.replace(END, b"\n" + END),
    "HTTP/1.0": HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "another method": HANDSHAKE.replace(b"GET", b"PUT"),
    "another server": HANDSHAKE.replace(b"servers/a", b"servers/b"),
    "a query": HANDSHAKE.replace(b"servers/a", b"servers/a?x"),
    "another token": HANDSHAKE.replace(b"secret", b"stolen"),
    "no token": HANDSHAKE.replace(b"Authorization: token secret\r\n", b""),
    "one header more": HANDSHAKE.replace(END, b"\r\nX: 1" + END),
    "an Origin": HANDSHAKE.replace(END, b"\r\nOrigin: https://evil.example" + END),
    "headers in another order": HANDSHAKE.replace(KEY, b"").replace(b"Upgrade: w", KEY + b"Upgrade: w"),
    "a header of the gateway's own": HANDSHAKE.replace(END, b"\r\nMcp-Session-Id: 1" + END),
    "a longer head than is looked at": HANDSHAKE.replace(END, b"\r\nX: " + b"x" * LONGEST_HEAD + END),
    "no HTTP": b"hello" + END,
}


class AdmitsFirst(Admissions):
    """Admits the head of its first request, or of all, as Jupyter's checks do elsewhere.

    Attributes:
        alive: whether the gateway token is.
        all: whether every head is admitted.
    """

    alive = True
    all = False

    def __init__(self) -> None:
        super().__init__(lambda token_id: self.alive)

    def find(self, request: Any) -> Admission | None:
        if not self._known or self.all:
            admission = Admission(
                "a", "me", ("", "", ""), "token", None, {"Server": "x"}, time.monotonic() + 60
            )
            self.remember(head_of(request), admission)
        return super().find(request)


class Counting(RepeatRouter):
    """Counts the requests that Tornado has read."""

    read_by_tornado = 0

    def find_handler(self, request: httputil.HTTPServerRequest, **kwargs: Any) -> Any:
        self.read_by_tornado += 1
        return super().find_handler(request, **kwargs)


class Served:
    """A gateway on a port of its own; ``looks`` is whether it looks at new connections."""

    def __init__(self, looks: bool, limits: Limits | None = None) -> None:
        self.gateway = Gateway(limits or Limits())
        self.gateway.configure(Configuration({"a": ServerSpec("a", "test", command="none")}, []))
        self.admissions = AdmitsFirst()
        runtime: Any = SimpleNamespace(
            gateway=self.gateway,
            admissions=self.admissions,
            heartbeat=Heartbeat(),
            credentials=SimpleNamespace(add_token=lambda *_: None),
            cut_links=CutLinks(lambda *_: None),
        )
        self.router = Counting(runtime)
        application = Application()
        application.default_router.rules.insert(0, Rule(PathMatches("/mcp-ws/servers/.*"), self.router))
        self.server = HTTPServer(application)
        [sock] = bind_sockets(0, "127.0.0.1")
        self.server.add_sockets([sock])
        if looks:
            self.router.fresh.install(self.server)
        self.address = sock.getsockname()

    async def answer(self, *pieces: bytes) -> list[bytes]:
        """Send pieces on a new connection; return the lines of the answer, without its date, in order of their text,
        and whether a session opens then."""
        reader, writer = await asyncio.open_connection(*self.address)
        with contextlib.closing(writer):
            lines = await exchange(reader, writer, *pieces)
            if b"HTTP/1.1 101 Switching Protocols" in lines:
                writer.write(OPEN)
                async with asyncio.timeout(BOUND):
                    lines.append(
                        b"opened" if b'"opened"' in await until_closed_or(b"}", reader) else b"not opened"
                    )
            return lines


async def until_closed_or(end: bytes, reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(end)
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *pieces: bytes) -> list[bytes]:
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0.02 if len(pieces) > 1 else 0)
    async with asyncio.timeout(BOUND):
        head = await reader.readuntil(END)
    lines = head.split(b"\r\n")
    sizes = [int(line.split(b": ")[1]) for line in lines if line.startswith(b"Content-Length")]
    body = await reader.readexactly(sizes[0]) if sizes else b""
    return [*sorted(line for line in lines if not line.startswith(b"Date: ")), body]


@contextlib.asynccontextmanager
async def serving(*served: Served) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for one in served:
            one.server.stop()
            await one.server.close_all_connections()
            await one.gateway.aclose()


async def learned(*served: Served) -> None:
    """Make the handshakes after which its head is known."""
    for one in served:
        for _ in range(2):
            assert b"HTTP/1.1 101 Switching Protocols" in await one.answer(HANDSHAKE)
        one.router.read_by_tornado = 0


async def test_of_clients_that_connect_at_once_tornado_reads_only_the_first():
    served = Served(looks=True)
    async with serving(served):
        answers = await asyncio.gather(*(served.answer(HANDSHAKE) for _ in range(100)))
        assert all(b"opened" in answer for answer in answers)
        assert served.router.read_by_tornado < 50, "the others wait until a head is known"


async def test_a_known_head_opens_a_websocket_without_tornado():
    served = Served(looks=True)
    async with serving(served):
        await learned(served)
        for key in (KEY, OTHER_KEY):
            assert b"opened" in await served.answer(HANDSHAKE.replace(KEY, key))
        assert served.router.read_by_tornado == 0


@pytest.mark.parametrize("admitted", [False, True], ids=["not admitted", "admitted"])
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
async def test_every_handshake_is_answered_as_tornado_answers_it(variant, admitted):
    looking, other = Served(looks=True), Served(looks=False)
    head, end, rest = variant.partition(END)
    async with serving(looking, other):
        await learned(looking, other)
        looking.admissions.all = other.admissions.all = admitted
        for pieces in ([head + end, rest], [variant]) if rest else ([variant],):
            for _ in range(3):  # what Tornado has read must not become known wrongly
                assert await looking.answer(*pieces) == await other.answer(*pieces)
        assert await looking.answer(HANDSHAKE) == await other.answer(HANDSHAKE)


@pytest.mark.parametrize("cut", [1, 40, len(HANDSHAKE) - 1])
async def test_a_head_in_pieces_is_left_to_tornado(cut):
    served = Served(looks=True)
    async with serving(served):
        await learned(served)
        assert b"HTTP/1.1 101 Switching Protocols" in await served.answer(HANDSHAKE[:cut], HANDSHAKE[cut:])
        assert served.router.read_by_tornado == 1


async def test_a_connection_that_sends_nothing_is_left_to_tornado_after_a_moment():
    served = Served(looks=True)
    async with serving(served):
        await learned(served)
        _, writer = await asyncio.open_connection(*served.address)
        await until(lambda: served.server._connections)
        writer.close()


async def test_a_refusal_is_the_same_and_the_connection_goes_on():
    looking, other = (Served(looks, Limits(max_sessions=0)) for looks in (True, False))
    plain = HANDSHAKE.replace(b"mcp.resume.v1", b"mcp")
    async with serving(looking, other):
        for _ in range(4):
            answers = []
            for served in (looking, other):
                reader, writer = await asyncio.open_connection(*served.address)
                with contextlib.closing(writer):
                    answers.append([await exchange(reader, writer, plain) for _ in range(2)])
            assert answers[0] == answers[1]
            assert b"HTTP/1.1 503 Service Unavailable" in answers[0][0]
        assert looking.router.read_by_tornado < other.router.read_by_tornado
        assert looking.gateway.metrics.refusals == other.gateway.metrics.refusals


async def test_a_known_head_whose_token_was_revoked_is_checked_again():
    served = Served(looks=True)
    async with serving(served):
        await learned(served)
        served.admissions.alive = False
        assert b"HTTP/1.1 404 Not Found" in await served.answer(HANDSHAKE), "no further route here"
        assert served.router.read_by_tornado == 1


async def test_more_connections_than_tornado_lets_wait_are_not_turned_away():
    served = Served(looks=True)
    async with serving(served):  # the event loop, which would accept them, does not run meanwhile
        waiting = [socket.create_connection(served.address, timeout=BOUND / 2) for _ in range(300)]
        for one in waiting:
            one.close()

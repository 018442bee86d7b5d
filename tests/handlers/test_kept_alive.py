"""POSTs that are read before Tornado (handlers/kept_alive.py): answered as Tornado would, whatever a client sends.

A Tornado server whose router installs the reader, and one whose router does not, get the same bytes in the same pieces;
both must write the same responses. Each answers with what it took for the request.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from tornado import httputil
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.routing import Router

from mcp_ws_ide.admissions import Admission
from mcp_ws_ide.handlers.kept_alive import (
    LONGEST,
    MOST_HEADS,
    PASS_ON_AFTER,
    Connection,
    HandedBack,
    Head,
    TornadoConnection,
    install_reader,
)
from tests.conftest import until

ADMISSION = Admission("fast", "me", ("", "", ""), None, None, {}, time.monotonic() + 3600)
HOST = b"Host: x\r\n"


@dataclass
class Echo(Router):
    """Answers each POST with its URI, its header ``X`` and its body; a body ``later:…`` after the client waited.

    Args:
        direct: whether requests are read before Tornado.
    """

    direct: bool
    admitted: bool = True
    read_here: int = 0
    read_by_tornado: int = 0
    left: int = 0
    waiting: list[Callable[[], None]] = field(default_factory=list)
    taken: list[tuple[str, bytes]] = field(default_factory=list)

    def find_handler(
        self, request: httputil.HTTPServerRequest, **kwargs: object
    ) -> httputil.HTTPMessageDelegate:
        self.read_by_tornado += 1
        reader = install_reader(request, self.take, lambda _: self.admitted) if self.direct else None
        if reader is not None:
            respond = reader.tornado_reads(request)
            if respond is not None:
                return HandedBack(request, respond)
            if "X-Strange" not in request.headers:
                reader.admit(ADMISSION)
        return Whole(self, request)

    def take(self, head: Head, body: bytes, connection: Connection) -> None:
        self.read_here += 1
        self.answer(head.headers, body, connection)

    def answer(self, headers: httputil.HTTPHeaders, body: bytes, connection: Connection) -> None:
        self.taken.append((headers.get("X", ""), body))
        text = (headers.get("X", "") + ":").encode("latin-1") + body
        fields = {"Content-Type": "text/plain", "Content-Length": str(len(text))}

        def write(on: Connection) -> None:
            on.begin(200, fields, text)
            on.finish()

        def leave() -> None:
            self.left += 1

        connection.set_close_callback(leave)
        if body.startswith(b"later"):
            self.waiting.append(Later(connection, write).release)
        elif body.startswith(b"soon"):
            connection.carry_on(write)
        else:
            write(connection)


class Later:
    """A response that is written when it is released, on the connection that can carry it by then."""

    def __init__(self, connection: Connection, write: Callable[[Connection], None]) -> None:
        self._write, self._released, self._begun = write, False, False
        self._connection: Connection | None = connection
        connection.set_more_callback(self._carry_on)

    def _carry_on(self) -> None:
        connection, self._connection = self._connection, None
        assert connection is not None, "asked to carry on twice"
        connection.carry_on(self._go_on)

    def _go_on(self, connection: Connection) -> None:
        self._connection = connection
        if self._released:
            self._write(connection)

    def release(self) -> None:
        self._released = True
        if self._connection is not None:
            self._write(self._connection)


class Whole(httputil.HTTPMessageDelegate):
    """Reads a whole request by way of Tornado."""

    def __init__(self, echo: Echo, request: httputil.HTTPServerRequest) -> None:
        self._echo, self._request, self._body = echo, request, b""

    def data_received(self, chunk: bytes) -> None:
        self._body += chunk

    def finish(self) -> None:
        self._echo.answer(self._request.headers, self._body, TornadoConnection(self._request))


class Served:
    """An echo with an address, and one connection to it."""

    def __init__(self, direct: bool) -> None:
        self.echo = Echo(direct)
        [listening] = bind_sockets(0, "127.0.0.1")
        self._server = HTTPServer(self.echo)
        self._server.add_sockets([listening])
        self._address = listening.getsockname()

    async def connect(self) -> None:
        self.reader, self.writer = await asyncio.open_connection(*self._address)
        self.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def response(self) -> bytes:
        """Read one response; its status and body."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)
        length = re.search(rb"(?i)content-length: (\d+)", head)
        body = await self.reader.readexactly(int(length[1]) if length else 0)
        return head.split(b" ", 2)[1] + b" " + body

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        return await asyncio.wait_for(self.reader.read(), 20)

    async def close(self) -> None:
        self.writer.close()
        self._server.stop()
        await self._server.close_all_connections()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """The echo whose requests are read before Tornado, with a connection on which a head was admitted."""
    served = Served(direct=True)
    await served.connect()
    for _ in range(2):
        await served.send(post(b"warm"))
        assert await served.response() == b"200 a:warm"
    yield served
    await served.close()


def post(body: bytes, x: bytes = b"a", length: bytes | None = None, extra: bytes = b"") -> bytes:
    """A POST; its head is the same for all lengths of the body."""
    digits = str(len(body)).encode() if length is None else length
    return (
        b"POST /p HTTP/1.1\r\n"
        + HOST
        + b"X: "
        + x
        + b"\r\nContent-Length: "
        + digits
        + b"\r\n"
        + extra
        + b"\r\n"
        + body
    )


async def test_a_repeated_head_is_read_before_tornado(served):
    before = served.echo.read_by_tornado
    for body in (b"", b"x", b"x" * 20_000, b"POST /p HTTP/1.1\r\n\r\n"):
        await served.send(post(body))
        assert await served.response() == b"200 a:" + body
    assert served.echo.read_by_tornado == before
    assert served.echo.read_here == 4


async def test_a_body_may_come_after_its_head_in_pieces(served):
    before, message = served.echo.read_by_tornado, post(b"in pieces")
    for cut in range(len(message) - 9, len(message)):
        await served.send(message[:cut])
        await asyncio.sleep(0)
        await served.send(message[cut:])
        assert await served.response() == b"200 a:in pieces"
    assert served.echo.read_by_tornado == before


async def test_a_body_that_does_not_come_is_left_to_tornado(served):
    before = served.echo.read_by_tornado
    await served.send(post(b"late", length=b"4")[:-4])
    await until(lambda: served.echo.read_by_tornado > before, PASS_ON_AFTER + 20, "Tornado to read the head")
    await served.send(b"late")
    assert await served.response() == b"200 a:late"
    await served.send(post(b"again"))
    assert await served.response() == b"200 a:again"
    assert served.echo.read_here == 1, "the connection is read here again afterwards"


async def test_a_withdrawn_admission_is_left_to_tornado(served):
    served.echo.admitted = False
    await served.send(post(b"x"))
    assert await served.response() == b"200 a:x"
    assert served.echo.read_here == 0


async def test_the_last_heads_of_a_connection_are_known(served):
    for text, here in ((b"first", 0), (b"second", MOST_HEADS)):
        for name in range(MOST_HEADS):
            await served.send(post(text, b"%d" % name))
            assert await served.response() == b"200 %d:%b" % (name, text)
        assert served.echo.read_here == here
    await served.send(post(b"x"))
    assert await served.response() == b"200 a:x"
    assert served.echo.read_here == MOST_HEADS, "the oldest head is forgotten"


@pytest.mark.parametrize("more", [b"", b"\r\n", post(b"next"), post(b"next")[:20], post(b"next") * 3])
@pytest.mark.parametrize("body", [b"later", b"soon"])
async def test_what_comes_before_the_response_waits_and_no_request_is_taken_twice(served, body, more):
    del served.echo.taken[:]
    await served.send(post(body))
    await until(lambda: served.echo.taken, what="the request")
    await served.send(more)
    if more and body == b"later":
        before = served.echo.read_by_tornado
        await until(lambda: served.echo.read_by_tornado > before, what="Tornado to read the request again")
    for release in served.echo.waiting:
        release()
    assert await served.response() == b"200 a:" + body
    if more.startswith(b"POST") and not more.endswith(b"next"):
        await served.send(post(b"next")[20:])
    for _ in range(max(1, more.count(b"next")) if more.startswith(b"POST") else 0):
        assert await served.response() == b"200 a:next"
    await served.send(post(b"last"))
    assert await served.response() == b"200 a:last"
    assert [taken for _, taken in served.echo.taken].count(body) == 1


async def test_bytes_that_tornado_still_owes_to_a_body_are_no_request(served):
    """The next request's head is in Tornado's buffer already; its body looks like a request with an admitted head."""
    inner = post(b"inner")
    await served.send(post(b"x", b"b") + post(inner, b"c")[: -len(inner)])
    assert await served.response() == b"200 b:x"
    await served.send(inner)
    assert await served.response() == b"200 c:" + inner


async def test_a_head_that_goes_on_otherwise_after_its_length_is_another(served):
    message = post(b"0123456789", extra=b"Y: 1\r\n")
    before = served.echo.read_by_tornado + served.echo.read_here
    await served.send(message[:-6])
    await until(
        lambda: served.echo.read_by_tornado + served.echo.read_here > before, what="the head to be read"
    )
    await served.send(message[-6:])
    assert await served.response() == b"200 a:0123456789"


async def test_a_client_that_leaves_is_noticed(served):
    await served.send(post(b"later"))
    await until(lambda: served.echo.waiting, what="the request")
    served.writer.close()
    await until(lambda: served.echo.left == 1, what="the end of the connection")
    served.echo.waiting.pop()()  # writes nowhere


async def test_a_client_that_does_not_read_gets_everything_in_order(served):
    bodies = [bytes([65 + number % 26]) * 60_000 for number in range(100)]
    for half in (bodies[:50], bodies[50:]):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(served.send(b"".join(map(post, half))))
            for body in half:
                assert await served.response() == b"200 a:" + body


ATTACKS = {
    "a sign": post(b"12345", length=b"+5"),
    "a blank in the number": post(b"12345", length=b"5 5"),
    "hexadecimal": post(b"12345", length=b"0x5"),
    "other digits": post(b"12345", length="٥".encode()),
    "a list": post(b"12345", length=b"5, 5"),
    "leading zeros": post(b"12345", length=b"00005"),
    "nothing": post(b"", length=b""),
    "a second length": post(b"12345", extra=b"Content-Length: 3\r\n"),
    "the same length twice": post(b"12345", extra=b"Content-Length: 5\r\n"),
    "chunked as well": post(b"0\r\n\r\n", extra=b"Transfer-Encoding: chunked\r\n"),
    "another request in the body": post(post(b"inner")),
    "another request after the body": post(b"outer") + post(b"inner"),
    "a length that ends inside the next request": post(b"outer", length=b"9") + post(b"inner"),
    "a length that is too short": post(b"outer" + post(b"inner"), length=b"5"),
    "bare line feeds": post(b"x").replace(b"\r\n", b"\n"),
    "a bare line feed in the head": post(b"x").replace(b"Host: x\r\n", b"Host: x\n"),
    "a folded line": post(b"x", extra=b"Y: 1\r\n Content-Length: 7\r\n"),
    "empty lines before": b"\r\n\r\n" + post(b"x"),
    "lower case": post(b"x").replace(b"Content-Length", b"content-length"),
    "HTTP/1.0": post(b"x").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "the connection ends": post(b"x", extra=b"Connection: close\r\n"),
    "another URI": post(b"x").replace(b"/p", b"/q"),
    "a null byte": post(b"x").replace(b"Host: x", b"Host: x\0"),
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_what_follows_an_admitted_head_is_read_as_tornado_reads_it(name):
    """Each after two plain requests, and twice: the second time its own head may have been admitted."""
    data = [
        post(b"plain"),
        post(b"plain"),
        ATTACKS[name],
        ATTACKS[name],
        post(b"last", extra=b"Connection: close\r\n"),
    ]
    await check_alike(data)


@pytest.mark.parametrize("seed", range(40))
async def test_random_requests_in_random_pieces_are_answered_as_by_tornado(seed):
    dice = random.Random(seed)
    whole = b"".join(random_request(dice) for _ in range(dice.randint(4, 30)))
    whole += post(b"end", extra=b"Connection: close\r\n")
    if seed % 4 == 3:  # one byte is wrong
        place = dice.randrange(len(whole))
        whole = whole[:place] + bytes([dice.randrange(256)]) + whole[place + 1 :]
    cuts = sorted(dice.sample(range(1, len(whole)), min(dice.randint(0, 30), len(whole) - 1)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    await check_alike(pieces)


def random_request(dice: random.Random) -> bytes:
    body = dice.choice(
        [b"", b"x", b"soon", post(b"inner"), b"y" * dice.randint(0, 3000), b"z" * (LONGEST + 5)]
    )
    x = dice.choice([b"a", b"a", b"a", b"b"])
    if dice.random() < 0.1:
        return post(
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) or 1, body or b"c"),
            x,
            extra=b"Transfer-Encoding: chunked\r\n",
        ).replace(b"Content-Length", b"X-Length")
    extra = dice.choice([b"", b"", b"", b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n"])
    return post(body, x, extra=extra)


async def check_alike(pieces: list[bytes]) -> None:
    """Send pieces to both servers: each must take the same requests, and write the same bytes."""
    (here, written), (tornado, expected) = await transcript(True, pieces), await transcript(False, pieces)
    assert here == tornado
    if written is not None and expected is not None:
        assert written == expected


async def transcript(direct: bool, pieces: list[bytes]) -> tuple[list[tuple[str, bytes]], bytes | None]:
    """The requests that a server took, and all that it wrote; None if it reset the connection, which loses bytes."""
    served = Served(direct)
    await served.connect()
    reading = asyncio.create_task(served.rest())
    try:
        for piece in pieces:
            await served.send(piece)
            for _ in range(3):
                await asyncio.sleep(0)
        served.writer.write_eof()
    except OSError:  # the server has closed the connection
        pass
    try:
        return served.echo.taken, await reading
    except ConnectionError:
        return served.echo.taken, None
    finally:
        await served.close()

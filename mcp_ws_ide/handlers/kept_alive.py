"""Reads the POSTs of a kept-alive connection whose head repeats byte for byte, before Tornado parses them.

Tornado spends several times what a call costs on reading a request and writing its response. A busy client sends the
same head again and again; at most the digits of ``Content-Length`` differ. Once such a head has been admitted on a
connection (admissions.py), requests that repeat it are cut from the bytes by comparison; nothing is parsed here.
Everything else is left to Tornado, byte for byte: other heads, chunked, long and pipelined requests, and requests whose
answer is slow or an event stream, which Tornado then reads after all.

The reader replaces ``read_from_fd`` of the connection's ``IOStream``, which Tornado calls for all bytes. It counts what
it passes on, and reads itself only where Tornado has consumed every byte and waits for the next request.
"""

from __future__ import annotations

import asyncio
import re
from asyncio import Future
from collections.abc import Callable
from dataclasses import dataclass
from http.client import responses
from typing import Any, Final, Protocol

from tornado import httputil
from tornado.http1connection import HTTP1Connection
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream

from mcp_ws_ide.admissions import Admission
from mcp_ws_ide.handlers.bodies import LENGTH_DIGITS
from mcp_ws_ide.handlers.post_headers import PostHead, read_head
from mcp_ws_ide.links.streams import ByteStream, take_stream
from mcp_ws_ide.tasks import TaskGroupOwner

LONGEST: Final = 65536
"""Bytes of head and body that are read here; Tornado's own buffer has as many."""
MOST_HEADS: Final = 4
"""Heads that are known of one connection: those of the last tools, say, since ``Mcp-Name`` is part of the head."""
PASS_ON_AFTER: Final = 1.0
"""Seconds that a body may come after its head before Tornado, with its own deadlines, gets what has arrived."""
SHORTEST_IDLE: Final = 60.0
"""Seconds of ``idle_connection_timeout`` below which nothing is read here: Tornado would take the client for idle."""
EXCLUDED: Final = frozenset({"Connection", "Expect", "Trailer", "Transfer-Encoding", "Upgrade"})
"""Headers that change how a connection is read, unless ``Connection`` is ``keep-alive``."""
MOST_DIGITS: Final = len(str(LONGEST))
"""Digits of ``Content-Length``."""
_LENGTH: Final = re.compile(rb"\r\n(?i:content-length):[ \t]*([0-9]{1,%d})\r\n" % MOST_DIGITS)


class Answering(Protocol):
    """Where a response is written."""

    def set_close_callback(self, callback: Callable[[], None] | None, /) -> None:
        """Call ``callback`` when the client leaves before the response is complete."""

    def begin(self, status: int, headers: dict[str, str], data: bytes, /) -> Future[None] | None:
        """Write the head and the first bytes of the body; the future, if any, ends when they are written."""

    def write(self, data: bytes, /) -> Future[None]:
        """Write more of the body."""

    def finish(self) -> None:
        """Complete the response."""


class Connection(Answering, Protocol):
    """Where the response to a POST is written."""

    reader: str
    """Who reads its requests; the label ``handler`` of Jupyter's histogram of durations."""

    def set_more_callback(self, callback: Callable[[], None], /) -> None:
        """Call ``callback`` when the client sends more before the response is complete; it must end or carry it on."""

    def carry_on(self, respond: Callable[[Connection], None], /) -> None:
        """Call ``respond`` with a connection that can carry a long response, now or a moment later."""


class Taker(Protocol):
    """Takes a request whose head was admitted."""

    def __call__(self, head: Head, body: bytes, connection: Connection, /) -> None:
        """Answer the request on ``connection``."""


@dataclass(frozen=True, slots=True)
class Head:
    """An admitted head, without the digits of ``Content-Length``."""

    before: bytes
    after: bytes
    headers: httputil.HTTPHeaders
    remote_ip: str | None
    admission: Admission
    post: PostHead


class TornadoConnection:
    """The connection of a request that Tornado has read."""

    reader = "mcp_ws_ide.handlers.repeated_post.RepeatedPost"

    def __init__(self, request: httputil.HTTPServerRequest) -> None:
        self._connection: Any = request.connection
        self._reader = reader_of(request)

    def set_close_callback(self, callback: Callable[[], None] | None, /) -> None:
        """Call ``callback`` when the client leaves, or now if it has left."""
        self._connection.set_close_callback(callback)
        if callback is not None and self._connection.stream.closed():
            callback()

    def switch(self, headers: dict[str, str], tasks: TaskGroupOwner, /) -> ByteStream:
        """Answer 101; return the byte stream, which is Tornado's no longer."""
        head = response_head(101, headers)
        stream: IOStream = self._connection.detach()
        if not stream.closed():
            stream.write(head)
        return take_stream(stream, tasks)

    def begin(self, status: int, headers: dict[str, str], data: bytes, /) -> Future[None]:
        """Write head and first bytes."""
        line = httputil.ResponseStartLine("", status, responses[status])
        written: Future[None] = self._connection.write_headers(line, httputil.HTTPHeaders(headers), data)
        return written

    def write(self, data: bytes, /) -> Future[None]:
        """Write more of the body."""
        written: Future[None] = self._connection.write(data)
        return written

    def finish(self) -> None:
        """Complete the response."""
        self._connection.finish()
        if self._reader is not None:
            self._reader.tornado_answered()

    def set_more_callback(self, callback: Callable[[], None], /) -> None:
        """Do nothing: Tornado reads the next request after the response."""

    def carry_on(self, respond: Callable[[Connection], None], /) -> None:
        """Call ``respond`` now."""
        respond(self)


class KeptAliveReader:
    """Reads one connection before Tornado does, and is the :class:`Connection` of the request that it answers.

    Args:
        stream: the connection; the reader stays installed as long as it lives.
        take: answers a request.
        holds: returns whether an admission is still valid.
    """

    reader = "mcp_ws_ide.handlers.kept_alive.KeptAliveReader"

    def __init__(self, stream: IOStream, take: Taker, holds: Callable[[Admission], bool]) -> None:
        self._stream, self._take, self._holds = stream, take, holds
        self._receive = stream.read_from_fd
        stream.read_from_fd = self.read  # type: ignore[method-assign]
        self._heads: list[Head] = []
        self._at_start = False  # whether Tornado has consumed all bytes and waits for a request
        self._owed: int | None = None  # bytes of Tornado's current request that it has not got yet
        self._candidate = b""  # the head that Tornado gets next
        self._current: tuple[bytes, httputil.HTTPServerRequest] | None = None
        self._held = b""
        """Bytes that Tornado has not got: a request without its whole body, or one that is being answered and more."""
        self._returned = b""  # bytes that Tornado gets with its next reads
        self._deadline: asyncio.TimerHandle | None = None
        self._answering = False
        self._client_left: Callable[[], None] | None = None
        self._respond: Callable[[Connection], None] | None = None
        self._more: Callable[[], None] | None = None
        self._answered_bytes = 0  # of those held: the request that is being answered

    # --- below Tornado --------------------------------------------------------------------------

    def read(self, buf: bytearray | memoryview) -> int | None:
        """Tornado's hook: fill ``buf``. None if there is nothing for Tornado, 0 at the end of the stream."""
        if self._returned:
            return self._give(buf)
        count = self._receive(buf)
        if count == 0:
            self._end()
        if not count:
            return count
        if not self._at_start:
            return self._passed(count)
        data = bytes(memoryview(buf)[:count])
        if self._held:
            data = self._held + data
        if self._answering:
            return self._more_came(buf, data)
        return None if self._served(data) else self._pass(buf, data)

    def _more_came(self, buf: bytearray | memoryview, data: bytes) -> int | None:
        """Leave the request that is being answered, and what follows it, to Tornado; the response is carried on."""
        self._held = data
        more, self._more = self._more, None
        if more is not None:
            more()
        return self._give(buf) if self._returned else None

    def _served(self, data: bytes) -> bool:
        """Whether ``data`` begins with an admitted head, and is answered here or waits for its body."""
        for head in self._heads:
            if not data.startswith(head.before):
                continue
            start = len(head.before)
            end = data.find(b"\r\n", start, start + MOST_DIGITS + 2)
            digits = data[start:end]
            if end < 0 or not digits.isdigit() or not data.startswith(head.after, end):
                continue
            body = end + len(head.after)
            missing = body + int(digits) - len(data)
            if missing < 0 or body + int(digits) > LONGEST or self._stream.writing():
                return False
            if not self._holds(head.admission):
                self._heads.remove(head)
                return False
            self._held = data
            if missing:
                self._await_body()
            else:
                self._answer(head, data[body:])
            return True
        return False

    def _await_body(self) -> None:
        if self._deadline is None:
            loop = self._stream.io_loop.asyncio_loop  # type: ignore[attr-defined]
            self._deadline = loop.call_later(PASS_ON_AFTER, self._late)

    def _late(self) -> None:
        self._deadline = None
        self._hand_back(self._held)
        self._wake_tornado()

    def _answer(self, head: Head, body: bytes) -> None:
        self._stop_deadline()
        self._answering, self._answered_bytes = True, len(self._held)
        self._take(head, body, self)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self) -> None:
        """Note that the client has closed the connection."""
        self._stop_deadline()
        if self._client_left is not None:
            left, self._client_left = self._client_left, None
            left()

    # --- bytes for Tornado ----------------------------------------------------------------------

    def _passed(self, count: int) -> int:
        if self._owed is not None:
            self._owed -= count
        return count

    def _pass(self, buffer: bytearray | memoryview, data: bytes) -> int:
        self._hand_back(data)
        return self._give(buffer)

    def _hand_back(self, data: bytes) -> None:
        """Leave to Tornado a request, of which ``data`` has arrived, and all bytes until it has been answered."""
        self._stop_deadline()
        self._at_start, self._owed, self._held = False, None, b""
        end = data.find(b"\r\n\r\n")
        self._candidate = data[: end + 4] if end >= 0 else b""
        self._returned = data

    def _give(self, buffer: bytearray | memoryview) -> int:
        given = self._returned[: len(buffer)]
        self._returned = self._returned[len(given) :]
        buffer[: len(given)] = given
        return self._passed(len(given))

    def _wake_tornado(self) -> None:
        """Make Tornado read the bytes that it gets back, although the socket has none."""
        self._stream.io_loop.add_callback(self._let_tornado_read)

    def _let_tornado_read(self) -> None:
        stream, respond = self._stream, self._respond
        if not stream.closed():
            stream._handle_events(stream.fileno(), IOLoop.READ)
        elif respond is not None and self._returned:
            self._respond = None
            respond(self)

    # --- told by the handlers -------------------------------------------------------------------

    def tornado_reads(self, request: httputil.HTTPServerRequest) -> Callable[[Connection], None] | None:
        """Note that Tornado has read the head of ``request``; return what continues its answer, if it has begun."""
        respond, self._respond = self._respond, None
        length = request.headers.get("Content-Length", "0")
        plain = length.isascii() and length.isdigit() and len(length) <= LENGTH_DIGITS
        plain = plain and "Transfer-Encoding" not in request.headers
        self._owed = int(length) - self._stream._read_buffer_size if plain else None
        start = f"POST {request.uri} HTTP/1.1\r\n".encode("latin-1", "replace")
        self._current = (self._candidate, request) if plain and self._candidate.startswith(start) else None
        self._candidate = b""
        return respond

    def tornado_answered(self) -> None:
        """Note that the request which Tornado has read is answered."""
        self._at_start = self._owed == 0 and not self._returned and not self._stream.closed()
        self._owed = None

    def admit(self, admission: Admission) -> None:
        """Read further requests with the head of the one that Tornado is reading; it was admitted."""
        if self._current is None:
            return
        head, request = self._current
        length = _LENGTH.search(head)
        once = head.lower().count(b"content-length") == 1
        if length is None or not once or head.count(b"\n") != head.count(b"\r\n"):
            return
        headers = request.headers
        excluded = EXCLUDED.intersection(headers)
        if excluded and (excluded != {"Connection"} or headers["Connection"].lower() != "keep-alive"):
            return
        start, end = length.span(1)
        before, after = head[:start], head[end:]
        self._heads = [known for known in self._heads if (known.before, known.after) != (before, after)]
        self._heads.insert(0, Head(before, after, headers, request.remote_ip, admission, read_head(headers)))
        del self._heads[MOST_HEADS:]

    # --- Connection -----------------------------------------------------------------------------

    def set_close_callback(self, callback: Callable[[], None] | None, /) -> None:
        """Call ``callback`` when the client leaves before the response is complete."""
        self._client_left = callback
        if callback is not None and self._stream.closed():
            self._end()

    def begin(self, status: int, headers: dict[str, str], data: bytes, /) -> None:
        """Write a whole response."""
        self._send(response_head(status, headers) + data)

    def _send(self, data: bytes) -> None:
        stream = self._stream
        if stream.closed():
            return
        sent = 0
        if not stream.writing():
            try:
                sent = stream.socket.send(data)
            except BlockingIOError:
                pass
            except OSError as error:
                return stream.close(error)
        if sent < len(data):
            stream.write(data[sent:])

    def write(self, data: bytes, /) -> Future[None]:
        """Raise: a response in several parts is Tornado's."""
        raise RuntimeError("this connection writes whole responses; carry_on hands others to Tornado")

    def set_more_callback(self, callback: Callable[[], None], /) -> None:
        """Call ``callback`` when the client sends more before the response is complete."""
        self._more = callback

    def finish(self) -> None:
        """Wait for the next request; Tornado reads what came before the response."""
        self._answering, self._more = False, None
        following, self._held = self._held[self._answered_bytes :], b""
        if following:
            self._hand_back(following)
            self._wake_tornado()

    def carry_on(self, respond: Callable[[Connection], None], /) -> None:
        """Let Tornado read the request that is being answered, and call ``respond`` with its connection."""
        self._answering, self._more = False, None
        self._respond = respond
        self._hand_back(self._held)
        self._wake_tornado()


def response_head(status: int, headers: dict[str, str]) -> bytes:
    """Return the head of a response.

    Raises:
        ValueError: a header contains a line break.
    """
    lines = [f"{name}: {value}" for name, value in headers.items()]
    text = "\r\n".join((f"HTTP/1.1 {status} {responses[status]}", *lines, "\r\n"))
    if text.count("\n") != len(headers) + 2:
        raise ValueError("a response header contains a line break")
    return text.encode("latin-1")


class HandedBack(httputil.HTTPMessageDelegate):
    """A request whose answer began before Tornado read it."""

    def __init__(self, request: httputil.HTTPServerRequest, respond: Callable[[Connection], None]) -> None:
        self._request = request
        self._respond = respond

    def finish(self) -> None:
        """Continue the answer."""
        self._respond(TornadoConnection(self._request))

    def on_connection_close(self) -> None:
        """Let the answer run to its end: the client has left."""
        self.finish()


def reader_of(request: httputil.HTTPServerRequest) -> KeptAliveReader | None:
    """Return the reader of a request's connection, if there is one."""
    stream = getattr(request.connection, "stream", None)
    reader = getattr(getattr(stream, "read_from_fd", None), "__self__", None)
    return reader if isinstance(reader, KeptAliveReader) else None


def install_reader(
    request: httputil.HTTPServerRequest, take: Taker, holds: Callable[[Admission], bool]
) -> KeptAliveReader | None:
    """Return the reader of a request's connection, creating it if needed; None where Tornado is to read all of it.

    That is so with TLS, whose records the socket does not show, and where Tornado closes idle connections early.
    """
    known = reader_of(request)
    if known is not None:
        return known
    connection = request.connection
    if not isinstance(connection, HTTP1Connection) or type(connection.stream) is not IOStream:
        return None
    idle = connection.params.header_timeout
    if idle is not None and idle < SHORTEST_IDLE:
        return None
    return KeptAliveReader(connection.stream, take, holds)

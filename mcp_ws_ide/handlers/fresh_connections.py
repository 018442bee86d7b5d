"""Opens WebSockets on connections that Tornado has not read, where the head is an admitted one byte for byte.

After a network failure all clients reconnect at once, and reading a head costs Tornado several times what the gateway
needs to open the link. So a new connection is looked at before Tornado gets it, without taking a byte (``MSG_PEEK``).
If its bytes are the head of a handshake that was admitted a moment ago (admissions.py), but for the value of
``Sec-WebSocket-Key``, it is answered here; nothing is parsed. Every other connection goes to Tornado as if nothing had
happened. Only plain sockets are looked at, and only for as long as handshakes are admitted.
"""

from __future__ import annotations

import asyncio
import contextvars
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.iostream import IOStream

from mcp_ws_ide.admissions import Admission
from mcp_ws_ide.handlers.kept_alive import response_head
from mcp_ws_ide.handlers.repeated_post import RepeatedRequest
from mcp_ws_ide.handlers.repeated_upgrade import RepeatedUpgrade
from mcp_ws_ide.links.streams import ByteStream, take_unread_stream
from mcp_ws_ide.runtime import Runtime
from mcp_ws_ide.tasks import SameDelay, TaskGroupOwner
from mcp_ws_ide.turnstile import TASK_SECONDS, Turnstile

BACKLOG: Final = 4096
"""Connections that may wait to be accepted, as far as the system allows. One more would be tried again by its client
after 1, 3 and 7 s, and Tornado lets 128 wait."""
LONGEST_HEAD: Final = 8192
"""Bytes of a head; Tornado reads longer ones."""
PASS_ON_AFTER: Final = 1.0
"""Seconds that the first bytes may take before Tornado, with its own deadlines, gets the connection."""
MAX_HEADS: Final = 100
"""Heads that are remembered; one more forgets the oldest."""
EXCLUDED: Final = frozenset({"Content-Length", "Expect", "Trailer", "Transfer-Encoding"})
"""Headers that change how a request is read."""
_KEY: Final = re.compile(rb"\r\n(?i:sec-websocket-key):[ \t]*([A-Za-z0-9+/=]{24})\r\n(?![ \t])")

RawHead = tuple[Any, bytes]
"""The peer's address, and its head without the value of ``Sec-WebSocket-Key``."""


@dataclass(frozen=True, slots=True)
class KnownHead:
    """An admitted head."""

    headers: HTTPHeaders
    remote_ip: str | None
    admission: Admission


class FreshConnections:
    """Looks at the new connections of a Tornado server."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._known: dict[RawHead, KnownHead] = {}
        self._passed_on: WeakKeyDictionary[IOStream, tuple[RawHead, bytes]] = WeakKeyDictionary()
        """Whole heads of handshakes that Tornado reads, because they were not known."""
        self._patience = SameDelay(PASS_ON_AFTER)
        self._to_tornado: Callable[[IOStream, Any], None]

    def install(self, server: HTTPServer | None) -> None:
        """Look at the connections that ``server`` accepts from now on; None if there is no server."""
        if server is None:
            return
        for listening in server._sockets.values():
            listening.listen(BACKLOG)
        self._to_tornado = server.handle_stream
        server.handle_stream = self._accept  # type: ignore[method-assign]

    def _accept(self, stream: IOStream, address: Any) -> None:
        """Look at a connection when its turn comes; thousands may come at once."""
        Turnstile.running().call(partial(self._begin, stream, address))

    def _begin(self, stream: IOStream, address: Any) -> None:
        if type(stream) is not IOStream or not self._runtime.admissions.expect_handshakes:
            return self._pass_on(stream, address)
        if not self._look(stream, address):
            self._wait(stream, address)
        return None

    def _pass_on(self, stream: IOStream, address: Any) -> None:
        """Leave a connection to Tornado, which reads it in a task."""
        Turnstile.running().spend(TASK_SECONDS)
        self._to_tornado(stream, address)

    def _wait(self, stream: IOStream, address: Any) -> None:
        """Look again when the first bytes have come."""
        loop, number = asyncio.get_running_loop(), stream.fileno()

        def readable() -> None:
            loop.remove_reader(number)
            patience.cancel()
            Turnstile.running().call(look)

        def look() -> None:
            if not self._look(stream, address):
                self._pass_on(stream, address)

        def late() -> None:
            loop.remove_reader(number)
            self._pass_on(stream, address)

        patience = self._patience.wait(late)
        contextvars.Context().run(loop.add_reader, number, readable)

    def _look(self, stream: IOStream, address: Any) -> bool:
        """Open a WebSocket, or leave the connection to Tornado; return False if nothing has come yet."""
        try:
            data = stream.socket.recv(LONGEST_HEAD, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        key = _KEY.search(data)
        if key is None:
            self._pass_on(stream, address)
            return True
        raw = (address[:1], data[: key.start(1)] + data[key.end(1) :])
        known = self._known.get(raw)
        if known is not None and self._runtime.admissions.still_holds(known.admission):
            self._open(stream, address, known, key)
            return True
        if data.endswith(b"\r\n\r\n"):
            self._passed_on[stream] = raw, data
        self._pass_on(stream, address)
        return True

    def _open(self, stream: IOStream, address: Any, known: KnownHead, key: re.Match[bytes]) -> None:
        """Take the head, which is known, and answer it."""
        try:
            stream.socket.recv(len(key.string))
        except OSError:  # the client has left
            return stream.close()
        connection = FreshConnection(stream, partial(self._to_tornado, stream, address))
        request = RepeatedRequest(known.headers, known.remote_ip, b"")
        RepeatedUpgrade(self._runtime, request, known.admission, connection, key[1].decode()).open()
        return None

    def learn(self, request: HTTPServerRequest, admission: Admission | None) -> None:
        """Note whether Tornado has read a head that was admitted."""
        stream = getattr(request.connection, "stream", None)
        raw, head = self._passed_on.pop(stream, (None, b"")) if stream is not None else (None, b"")
        if raw is None or admission is None or not _is_head_of(request, head):
            return
        self._known.pop(raw, None)  # makes it the newest again
        if len(self._known) >= MAX_HEADS:
            del self._known[next(iter(self._known))]
        self._known[raw] = KnownHead(request.headers, request.remote_ip, admission)


def _is_head_of(request: HTTPServerRequest, head: bytes) -> bool:
    """Whether ``head`` is all of a request, and nothing in it could be read in another way."""
    line, _, lines = head.decode("latin-1").partition("\r\n")
    plain = head.count(b"\n") == head.count(b"\r\n") and head.lower().count(b"sec-websocket-key") == 1
    if line != f"GET {request.uri} HTTP/1.1" or not plain or head.index(b"\r\n\r\n") != len(head) - 4:
        return False
    headers = request.headers
    return not EXCLUDED.intersection(headers) and list(HTTPHeaders.parse(lines).get_all()) == list(
        headers.get_all()
    )


class FreshConnection:
    """A connection whose first request Tornado has not read; implements :class:`~.repeated_upgrade.Switching`."""

    def __init__(self, stream: IOStream, to_tornado: Callable[[], None]) -> None:
        self._stream = stream
        self._to_tornado = to_tornado

    def set_close_callback(self, callback: Callable[[], None] | None, /) -> None:
        """Do nothing: the answer does not wait."""

    def switch(self, headers: dict[str, str], tasks: TaskGroupOwner, /) -> ByteStream:
        """Answer 101; return the byte stream."""
        self._stream.write(response_head(101, headers))
        return take_unread_stream(self._stream, tasks)

    def begin(self, status: int, headers: dict[str, str], data: bytes, /) -> None:
        """Refuse the handshake."""
        self._stream.write(response_head(status, headers) + data)

    def write(self, data: bytes, /) -> asyncio.Future[None]:
        """Write more of the body."""
        return self._stream.write(data)

    def finish(self) -> None:
        """Let Tornado read the next request."""
        if not self._stream.closed():
            self._to_tornado()

"""The byte stream under a WebSocket link: the socket itself where possible, Tornado's stream for TLS.

Tornado's stream costs a future, a task step and a second read per message. So a plain TCP connection is taken from it
after the handshake and read directly from the event loop; TLS stays with Tornado, which holds its state.
benchmarks/bench.py measures the gain.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Final

from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

from mcp_ws_ide.compiling import mypyc_attr
from mcp_ws_ide.links.cut_links import idle_seconds
from mcp_ws_ide.tasks import TaskGroupOwner
from mcp_ws_ide.turnstile import Turnstile

READ_BYTES: Final = 1 << 18
"""Bytes to read from a socket at once."""

_shared_buffer: Final = memoryview(bytearray(READ_BYTES))
"""Shared by all links: what is kept of it is copied before anything else runs."""

_NOTHING: Final[deque[memoryview]] = deque(maxlen=0)
"""The writes that wait, of a stream with none: an empty deque of its own would take 760 bytes of an idle link."""

OnData = Callable[[bytes | memoryview], None]
"""Takes what has come; a view is valid until it returns."""
OnEnd = Callable[[], None]


@mypyc_attr(allow_interpreted_subclasses=True)
class ByteStream(ABC):
    """A connection that delivers bytes by callback and writes without waiting."""

    on_written: Callable[[], None]
    """Called when all written bytes have been sent."""

    pending = 0
    """Bytes that were written and not sent yet."""

    idle: float | None = None
    """Seconds since anything had passed when the peer ended the connection; None if it is not known."""

    @abstractmethod
    def start(self, on_data: OnData, on_end: OnEnd) -> None:
        """Start reading. ``on_end`` is called exactly once, when the stream ends or is closed."""

    @abstractmethod
    def write(self, data: bytes) -> bool:
        """Send ``data``; return False if part of it has to wait, in which case ``on_written`` follows."""

    @abstractmethod
    def set_reading(self, reading: bool) -> None:
        """Pause or resume reading."""

    def drop_queued(self) -> None:  # noqa: B027 - Tornado's stream cannot
        """Drop the writes of which no byte has been sent."""

    @abstractmethod
    def close(self) -> None:
        """Close at once and discard unsent bytes."""

    def close_in_turn(self) -> None:
        """Close soon: an outage ends many streams at once, and ending what uses them takes time."""
        Turnstile.running().call(self.close)


def take_stream(stream: IOStream, tasks: TaskGroupOwner) -> ByteStream:
    """Return the fastest byte stream for a Tornado stream whose HTTP exchange is over, with the 101 written."""
    try:
        stream.set_nodelay(True)
        return _taken(stream, tasks)
    except BaseException:
        stream.close()  # after the 101 no error response can reach the client
        raise


def take_unread_stream(stream: IOStream, tasks: TaskGroupOwner) -> ByteStream:
    """Return the fastest byte stream for a plain connection of Tornado's that nothing was read from with Tornado."""
    if stream.closed() or stream.writing():
        return TornadoStream(stream, tasks)
    stream.set_nodelay(True)
    return SocketStream(stream.socket)  # the event loop does not know the stream: it can be forgotten


def _taken(stream: IOStream, tasks: TaskGroupOwner) -> ByteStream:
    if isinstance(stream, SSLIOStream) or stream.writing() or stream.closed():
        return TornadoStream(stream, tasks)
    # A client may send frames before it has seen the 101; keep what has arrived.
    early = stream.read_bytes(READ_BYTES, partial=True)
    if stream.closed():  # the client left during the handshake
        return TornadoStream(stream, tasks)
    received = early.result() if isinstance(early, asyncio.Future) and early.done() else b""
    taken = stream.socket.dup()
    stream.close()
    return SocketStream(taken, received)


class SocketStream(ByteStream):
    """A non-blocking TCP socket on the event loop."""

    __slots__ = (
        "_early",
        "_loop",
        "_on_data",
        "_on_end",
        "_out",
        "_reading",
        "_socket",
        "idle",
        "on_written",
    )

    def __init__(self, sock: socket.socket, early: bytes = b"") -> None:
        sock.setblocking(False)
        self._socket = sock
        self._early = early
        self._loop = asyncio.get_running_loop()
        self._out = _NOTHING
        self._reading = False
        self._on_data: OnData | None = None
        self._on_end: OnEnd | None = None
        self.idle = None

    def start(self, on_data: OnData, on_end: OnEnd) -> None:
        """Start reading."""
        self._on_data, self._on_end = on_data, on_end
        if self._early:
            self._loop.call_soon(self._deliver_early, context=contextvars.Context())
        self.set_reading(True)

    def _deliver_early(self) -> None:
        early, self._early = self._early, b""
        if early and self._on_data is not None:
            self._on_data(early)

    def _readable(self) -> None:
        if self._early:  # uvloop reads sockets before it runs what was called soon
            return self._deliver_early()
        try:
            size = self._socket.recv_into(_shared_buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            size = 0
        if size == 0:
            return self._end()
        if self._on_data is not None:
            self._on_data(_shared_buffer[:size])

    def _end(self) -> None:
        """Note that the peer has ended the connection: nothing is read any more."""
        self.idle = idle_seconds(self._socket)
        self.set_reading(False)
        self._on_data = None
        self.close_in_turn()

    def write(self, data: bytes) -> bool:
        """Send what the socket takes now, and the rest when it has room."""
        if self._on_end is None:
            return True
        if self._out:
            self._out.append(memoryview(data))
            self.pending += len(data)
            return False
        sent = self._send(data)
        if sent == len(data):
            return True
        self._out = deque([memoryview(data)[sent:]])
        self.pending = len(data) - sent
        contextvars.Context().run(self._loop.add_writer, self._socket.fileno(), self._writable)
        return False

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.close_in_turn()
            return len(data)

    def _writable(self) -> None:
        while self._out:
            sent = self._send(self._out[0])
            self.pending -= sent
            if sent < len(self._out[0]):
                self._out[0] = self._out[0][sent:]
                return
            self._out.popleft()
        self._out = _NOTHING
        self._loop.remove_writer(self._socket)
        self.on_written()

    def drop_queued(self) -> None:
        """Drop the writes of which no byte has been sent; the oldest one is finished."""
        while len(self._out) > 1:
            self.pending -= len(self._out.pop())

    def set_reading(self, reading: bool) -> None:
        """Pause or resume reading."""
        if reading == self._reading or self._on_data is None:
            return
        self._reading = reading
        if reading:
            # the number: asyncio names what is not registered yet, and the name of a socket takes two system calls
            contextvars.Context().run(self._loop.add_reader, self._socket.fileno(), self._readable)
        else:
            self._loop.remove_reader(self._socket)

    def close(self) -> None:
        """Close at once."""
        on_end = self._on_end
        if on_end is None:
            return
        self.set_reading(False)
        self._on_end = self._on_data = None
        if self._out:
            self._loop.remove_writer(self._socket)
            self._out = _NOTHING
        self._socket.close()
        on_end()


class TornadoStream(ByteStream):
    """Tornado's stream, the only one that supports TLS."""

    def __init__(self, stream: IOStream, tasks: TaskGroupOwner) -> None:
        self._stream = stream
        self._tasks = tasks
        self._resumed: asyncio.Future[None] | None = None

    def start(self, on_data: OnData, on_end: OnEnd) -> None:
        """Start reading."""
        self._tasks.spawn(self._read(on_data, on_end), "link reader")

    async def _read(self, on_data: OnData, on_end: OnEnd) -> None:
        stream = self._stream
        try:
            while not stream.closed():
                if self._resumed is not None:
                    await self._resumed
                on_data(await stream.read_bytes(READ_BYTES, partial=True))
        except StreamClosedError:
            pass
        finally:
            stream.close()
            on_end()

    def write(self, data: bytes) -> bool:
        """Send ``data``; Tornado queues what the socket does not take."""
        try:
            future = self._stream.write(data)
        except StreamClosedError:
            return True
        if future.done():
            return True
        self.pending += len(data)
        future.add_done_callback(lambda _: self._sent(len(data)))
        future.add_done_callback(lambda _: None if self._stream.writing() else self.on_written())
        return False

    def _sent(self, size: int) -> None:
        self.pending -= size

    def set_reading(self, reading: bool) -> None:
        """Pause or resume reading; a read that is in progress still delivers its data."""
        if not reading and self._resumed is None:
            self._resumed = asyncio.get_running_loop().create_future()
        elif reading and self._resumed is not None:
            if not self._resumed.done():
                self._resumed.set_result(None)
            self._resumed = None

    def close(self) -> None:
        """Close at once."""
        self.set_reading(True)
        self._stream.close()

"""A link over a byte stream that the test holds: heartbeats, back-pressure, closing."""

from __future__ import annotations

import asyncio
import gc
import socket
import time

import pytest
import uvloop
from websockets.frames import PONG, TEXT, Frame
from websockets.protocol import CLIENT, State
from websockets.protocol import Protocol as Client

from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.links.base import HIGH_WATER, MAX_QUEUED_BYTES
from mcp_ws_ide.links.streams import ByteStream, SocketStream
from mcp_ws_ide.links.websocket import WebSocketLink
from tests.conftest import BOUND, until


class HeldStream(ByteStream):
    """Accepts everything, and reports it as written only on request."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.open = True
        self.holds = False
        self.reading = True

    def start(self, on_data, on_end) -> None:
        self.on_data, self.on_end = on_data, on_end

    def write(self, data: bytes) -> bool:
        self.sent += data
        return not self.holds

    def set_reading(self, reading: bool) -> None:
        self.reading = reading

    def close(self) -> None:
        if self.open:
            self.open = False
            self.on_end()


class Rig:
    def __init__(self) -> None:
        self.stream = HeldStream()
        self.link = WebSocketLink(self.stream, 1 << 20)
        self.messages: list[bytes] = []
        self.closes: list[tuple[int, str]] = []
        self.full: list[bool] = []
        self.link.start(
            lambda message, now: self.messages.append(message),
            lambda code, reason: self.closes.append((code, reason)),
            self.full.append,
        )
        self.client = Client(CLIENT, max_size=None)

    def frames(self) -> list[Frame]:
        self.client.receive_data(bytes(self.stream.sent))
        self.stream.sent.clear()
        return self.client.events_received()

    def from_client(self, opcode: int, data: bytes) -> None:
        self.stream.on_data(Frame(opcode, data).serialize(mask=True))


@pytest.fixture
async def rig() -> Rig:
    return Rig()


async def test_a_silent_peer_is_pinged_and_dropped_after_two_misses(rig):
    now = time.monotonic()
    rig.link.heartbeat(now + 19)
    await asyncio.sleep(0)
    assert rig.frames() == [], "no ping before 20 s"
    rig.link.heartbeat(now + 26)
    rig.link.heartbeat(now + 27)
    await asyncio.sleep(0)
    assert [frame.opcode for frame in rig.frames()] == [9], "one ping, not one a second"
    rig.link.heartbeat(now + 52)
    assert rig.stream.open
    rig.link.heartbeat(now + 78)
    rig.link.heartbeat(now + 79)
    await until(lambda: not rig.stream.open)
    assert rig.closes == [(1006, "")]


async def test_a_peer_that_answers_pings_is_kept(rig):
    now = time.monotonic()
    for beat in range(1, 10):
        rig.link.heartbeat(now + 26 * beat)
        rig.from_client(PONG, b"mcp")
    assert rig.stream.open


async def test_messages_of_one_turn_leave_in_one_write(rig):
    rig.link.send(b"a")
    rig.link.send(b"b")
    assert not rig.stream.sent
    await asyncio.sleep(0)
    assert [frame.data for frame in rig.frames()] == [b"a", b"b"]


async def test_a_slow_reader_is_logged_and_then_closed_with_a_reason(rig):
    rig.stream.holds = True
    rig.link.send(b"x" * HIGH_WATER)
    assert rig.full == []
    rig.link.send(b"x")
    assert rig.full == [True]
    await asyncio.sleep(0)
    rig.stream.on_written()
    assert rig.full == [True, False]
    assert rig.link.queued_bytes == 0
    rig.link.send(b"x" * MAX_QUEUED_BYTES)
    rig.link.send(b"x")
    await asyncio.sleep(0)
    rig.frames()
    assert rig.client.close_rcvd.code == 1008
    assert "slow consumer" in rig.client.close_rcvd.reason


async def test_a_client_that_reads_nothing_learns_why_its_link_was_closed_when_it_reads_again():
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    link = WebSocketLink(SocketStream(ours), 1 << 20)
    closes: list[tuple[int, str]] = []
    link.start(lambda message, now: None, lambda code, reason: closes.append((code, reason)))
    for _ in range(40):
        link.send(b"x" * (1 << 20))
        await asyncio.sleep(0)
    assert link.closing
    assert link.queued_bytes < 2 << 20, "what waits is not kept for a client that will not get it"
    client, loop = Client(CLIENT, max_size=None), asyncio.get_running_loop()
    client.state = State.OPEN
    async with asyncio.timeout(BOUND):
        while client.close_rcvd is None:
            client.receive_data(await loop.sock_recv(theirs, 1 << 20))
            client.events_received()
        assert client.close_rcvd.code == 1008
        assert "slow consumer" in client.close_rcvd.reason
        for data in client.data_to_send():
            await loop.sock_sendall(theirs, data)
        await until(lambda: closes)
    theirs.close()


async def test_written_messages_no_longer_count_as_queued(rig):
    rig.stream.holds = True
    for _ in range(40):  # far more than the limit in all, and never more than 1 MiB at a time
        rig.link.send(b"x" * (1 << 20))
        rig.stream.pending = 0
        await asyncio.sleep(0)
    assert not rig.link.closing


async def test_close_is_reported_once_and_nothing_passes_after_it(rig):
    rig.link.close(CloseCode.GOING_AWAY, "bye")
    rig.link.close(CloseCode.INTERNAL, "again")
    rig.link.send(b"late")
    rig.from_client(TEXT, b"late too")
    await asyncio.sleep(0)
    assert [frame.opcode for frame in rig.frames()] == [8]
    assert (rig.client.close_rcvd.code, rig.messages) == (1001, [])
    rig.stream.close()
    words = "bye (closed by the gateway with 1001; the client did not confirm)"
    assert rig.closes == [(1006, words)], "the peer never confirmed it"


async def test_a_socket_stream_keeps_order_and_loses_nothing_under_pressure():
    near, far = socket.socketpair()
    far.setblocking(False)
    stream, written = SocketStream(near), []
    stream.on_written = lambda: written.append(1)
    stream.start(lambda data: None, lambda: None)
    chunks = [bytes([number % 256]) * 50_000 for number in range(100)]
    waits = [stream.write(chunk) for chunk in chunks]
    assert not all(waits)
    received = bytearray()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(BOUND):
        while len(received) < 5_000_000:
            received += await loop.sock_recv(far, 1 << 20)
    assert bytes(received) == b"".join(chunks)
    await until(lambda: written == [1])
    stream.close()
    assert await loop.sock_recv(far, 1) == b""
    far.close()


@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_what_came_with_the_handshake_is_delivered_before_what_the_socket_holds(new_loop):
    async def received() -> list[bytes]:
        near, far = socket.socketpair()
        far.send(b"later")
        stream, chunks = SocketStream(near, b"early"), []
        stream.start(lambda data: chunks.append(bytes(data)), lambda: None)
        await until(lambda: len(chunks) == 2)
        stream.close()
        far.close()
        return chunks

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(received()) == [b"early", b"later"]


async def test_a_socket_stream_whose_peer_is_gone_ends_once():
    near, far = socket.socketpair()
    ends = []
    stream = SocketStream(near)
    stream.on_written = lambda: None
    stream.start(lambda data: None, lambda: ends.append(1))
    far.close()
    stream.write(b"x")
    stream.write(b"y")
    await until(lambda: ends)
    stream.close()
    assert ends == [1]


async def test_an_internal_error_closes_the_link_with_1011_and_stops_reading(rig, caplog):
    def fails(message: bytes, now: float) -> None:
        rig.messages.append(message)
        raise RuntimeError("a bug")

    rig.link.bind(fails, lambda code, reason: rig.closes.append((code, reason)))
    rig.stream.on_data(b"".join(Frame(TEXT, data).serialize(mask=True) for data in (b"1", b"2")))
    await until(lambda: rig.stream.sent)
    assert [frame.data[:2] for frame in rig.frames()] == [(1011).to_bytes(2, "big")]
    assert rig.messages == [b"1"]
    assert "a bug" in caplog.text


async def test_lost_links_leave_nothing_to_the_garbage_collector():
    async def lose() -> None:
        ours, theirs = socket.socketpair()
        link = WebSocketLink(SocketStream(ours), 1 << 20)
        link.start(lambda message, now: None, lambda code, reason: None)
        theirs.close()
        await until(lambda: link.closed)

    await lose()
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            await lose()
        assert gc.collect() < 20, "a collection stops all sessions"
    finally:
        gc.enable()

"""The connection between two gateways: what passes, and what ends it."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager

import pytest

from mcp_ws_ide.fleet import sealed_stream
from mcp_ws_ide.fleet.sealed_stream import GREETING, RANDOM_BYTES, PeerLostError, SealedStream, greet
from mcp_ws_ide.tasks import TaskGroupOwner

KEY = secrets.token_bytes(32)
LONGEST = 1 << 20


@asynccontextmanager
async def pair(one: bytes = KEY, other: bytes = KEY, spy=None):
    """Two ends; ``spy`` sees and may change what the first one sends."""
    tasks, accepted = TaskGroupOwner(), asyncio.get_running_loop().create_future()

    async def accept(reader, writer):
        accepted.set_result(await greet(reader, writer, other, LONGEST, 1 << 16, calls=False))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    if spy is not None:
        write = writer.write
        writer.write = lambda data: write(spy(data))
    calling = await greet(reader, writer, one, LONGEST, 1 << 16, calls=True)
    answering: SealedStream = await accepted
    try:
        yield calling, answering
    finally:
        calling.abort()
        answering.abort()
        server.close()
        await tasks.aclose(1)


async def test_frames_pass_in_order_in_both_directions():
    async with pair() as (calling, answering):
        for number in range(3):
            calling.send(b"D", b"%d" % number)
            answering.send(b"E", b"%d" % number)
        assert [await answering.receive() for _ in range(3)] == [(b"D", b"0"), (b"D", b"1"), (b"D", b"2")]
        assert [await calling.receive() for _ in range(3)] == [(b"E", b"0"), (b"E", b"1"), (b"E", b"2")]


async def test_nothing_of_a_frame_can_be_read_on_the_way():
    seen = bytearray()

    def spy(data):
        seen.extend(data)
        return data

    async with pair(spy=spy) as (calling, answering):
        calling.send(b"D", b"canary-0123456789")
        assert await answering.receive() == (b"D", b"canary-0123456789")
    assert b"canary" not in seen


async def test_a_frame_that_was_changed_on_the_way_ends_the_connection():
    def spy(data):
        return data if data.startswith(GREETING) else data[:-1] + bytes([data[-1] ^ 1])

    async with pair(spy=spy) as (calling, answering):
        calling.send(b"D", b"text")
        with pytest.raises(PeerLostError, match="different keys"):
            await answering.receive()


async def test_a_frame_that_is_sent_twice_ends_the_connection():
    def spy(data):
        return data if data.startswith(GREETING) else data * 2

    async with pair(spy=spy) as (calling, answering):
        calling.send(b"D", b"text")
        assert await answering.receive() == (b"D", b"text")
        with pytest.raises(PeerLostError):
            await answering.receive()


async def test_a_gateway_with_other_keys_can_say_nothing():
    async with pair(other=secrets.token_bytes(32)) as (calling, answering):
        calling.send(b"I", b"instance")
        with pytest.raises(PeerLostError, match="different keys"):
            await answering.receive()


async def test_a_frame_that_is_too_long_is_not_read():
    async with pair() as (calling, answering):
        calling.send(b"D", bytes(LONGEST + 1))
        with pytest.raises(PeerLostError, match="at most"):
            await answering.receive()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(RANDOM_BYTES), b"", None])
async def test_whoever_does_not_greet_is_no_gateway(monkeypatch, answer):
    monkeypatch.setattr(sealed_stream, "TIMEOUT", 0.2)

    async def accept(reader, writer):
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    with pytest.raises(PeerLostError):
        await greet(reader, writer, KEY, LONGEST, 1 << 16, calls=True)
    server.close()

"""A TCP link that misbehaves on purpose, between a client and the gateway; what it does follows from a seed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from typing import Self

KINDS = ("reset", "close", "truncate", "half-open", "dribble", "latency")


class ChaosLink:
    """Forwards to a port, and cuts.

    Args:
        port: where the gateway listens on 127.0.0.1.
        seed: decides what each cut is and how much still arrives.
    """

    def __init__(self, port: int, seed: int) -> None:
        self._target = port
        self._random = random.Random(seed)
        self._open: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.cuts: dict[str, int] = dict.fromkeys(KINDS, 0)
        self.accepted = 0
        self.refusing = False
        """Whether new links are reset at once, as when the network is down."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def open_links(self) -> int:
        return len(self._open)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._accept(reader, writer))
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if task.cancelled():
                writer.transport.abort()

        task.add_done_callback(done)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.refusing:
            return _reset(writer)
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            return _reset(writer)
        pair = _Pair(reader, writer, up_reader, up_writer)
        self._open.add(pair)
        try:
            await pair.run()
        finally:
            self._open.discard(pair)
            pair.close()

    def cut(self, kind: str | None = None) -> str | None:
        """Hurt one open link, chosen by the seed; returns how, None if there is none."""
        healthy = [pair for pair in self._open if not pair.hurt]
        if not healthy:
            return None
        healthy.sort(key=lambda pair: pair.number)
        kind = kind or self._random.choice(KINDS)
        pair = self._random.choice(healthy)
        pair.hurt = True
        if kind == "reset":
            pair.reset()
        elif kind == "close":
            pair.close()
        elif kind == "truncate":
            pair.truncate_after = self._random.randrange(200)
        elif kind == "half-open":
            pair.client_gone()
        elif kind == "dribble":
            pair.chunk, pair.hurt = self._random.randrange(1, 40), False
        else:
            pair.latency, pair.hurt = self._random.random() * 0.05, False
        self.cuts[kind] += 1
        return kind

    def cut_all(self) -> int:
        """Reset every open link at once."""
        pairs = list(self._open)
        for pair in pairs:
            pair.reset()
        return len(pairs)


class _Pair:
    """Both directions of one link."""

    _count = 0

    def __init__(self, reader, writer, up_reader, up_writer) -> None:
        _Pair._count += 1
        self.number = _Pair._count
        self._ways = ((reader, up_writer), (up_reader, writer))
        self._client, self._gateway = writer, up_writer
        self.hurt = False
        self.latency = 0.0
        self.chunk = 65536
        self.truncate_after: int | None = None

    async def run(self) -> None:
        ways = [asyncio.ensure_future(self._copy(reader, writer)) for reader, writer in self._ways]
        try:
            await asyncio.wait(ways, return_when=asyncio.ALL_COMPLETED)
        finally:
            for way in ways:
                way.cancel()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.latency:
                    await asyncio.sleep(self.latency)
                if self.truncate_after is not None:
                    data = data[: self.truncate_after]
                    self.truncate_after -= len(data)
                    if self.truncate_after <= 0:
                        writer.write(data)
                        with contextlib.suppress(OSError):
                            await writer.drain()
                        self.close()
                        return
                size = self.chunk
                for start in range(0, len(data), size):
                    writer.write(data[start : start + size])
                    await writer.drain()
                    if size < 65536:
                        await asyncio.sleep(0)
                self.chunk = min(65536, size * 2)  # dribbling ends, or a test never would
        with contextlib.suppress(OSError):
            writer.close()

    def reset(self) -> None:
        """RST both ways: what the kernel holds is lost."""
        _reset(self._client)
        _reset(self._gateway)

    def close(self) -> None:
        """FIN both ways."""
        self._client.close()
        self._gateway.close()

    def client_gone(self) -> None:
        """The client is cut off; the gateway sees nothing and keeps the link for a while."""
        _reset(self._client)
        asyncio.get_running_loop().call_later(1.0, _reset, self._gateway)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST (SO_LINGER 0)."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()

"""A balancer without cookies: each connection goes to the next server that accepts it."""

from __future__ import annotations

import asyncio
import contextlib

from mcp_ws_ide.tasks import TaskGroupOwner


class Balancer:
    """Round robin over ports of loopback, on the loop of the test.

    Attributes:
        turn: the place of the port that the next connection goes to.
        went: the places of the connections, in order.
    """

    def __init__(self, ports: list[int]) -> None:
        self.turn = 0
        self.went: list[int] = []
        self._ports = ports
        self._tasks = TaskGroupOwner()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Balancer:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await self._tasks.aclose(5)
        await self._server.wait_closed()

    def cut(self) -> None:
        """End all connections, as a network failure does."""
        for writer in self._writers:
            writer.transport.abort()

    def shut(self) -> None:
        """Refuse every further connection."""
        self._ports = []

    def leave_out(self, place: int) -> None:
        """Give no further connection to one server, as a balancer does whose check fails."""
        del self._ports[place]
        self.turn = 0

    def endpoint(self, server: str) -> str:
        return f"ws://127.0.0.1:{self.port}/mcp-ws/servers/{server}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in self._ports:
            place, self.turn = self.turn, (self.turn + 1) % len(self._ports)
            with contextlib.suppress(OSError):
                there = await asyncio.open_connection("127.0.0.1", self._ports[place])
                break
        else:
            return writer.transport.abort()
        self.went.append(place)
        self._writers |= {writer, there[1]}
        back = self._tasks.spawn(_pass(there[0], writer), "balancer")
        await _pass(reader, there[1])
        await asyncio.wait([back])
        self._writers -= {writer, there[1]}


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()

"""An HTTP server over raw sockets, that answers as badly as a test wants."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Self

from tests.transports.peers import read_head

Handler = Callable[["Request"], Awaitable[None]]


class Request:
    """One HTTP request, and the hand to answer it as badly as a test wants."""

    def __init__(self, method: str, target: str, headers: dict[str, str], body: bytes, writer: Any) -> None:
        self.method, self.target, self.headers, self.body = method, target, headers, body
        self.writer = writer

    @property
    def message(self) -> dict[str, Any]:
        return json.loads(self.body)

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(
        self, status: int, body: bytes = b"", media: str = "application/json", **headers: str
    ) -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nContent-Type: {media}\r\n"
        head += "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        await self.raw(head.encode() + b"\r\n" + body)

    async def result(self, result: Any = None, **headers: str) -> None:
        message = {"jsonrpc": "2.0", "id": self.message["id"], "result": result or {}}
        await self.answer(200, json.dumps(message).encode(), **headers)

    async def events(self, *events: bytes) -> None:
        """Begin an event stream; the connection's end is the stream's."""
        await self.raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for event in events:
            await self.raw(event + b"\n\n")

    def hang_up(self) -> None:
        self.writer.transport.abort()


class Server:
    """A raw HTTP server whose handler writes the responses."""

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self.handler = handler
        self.requests: list[Request] = []
        self.connections = 0
        self._tls = tls
        self._tasks: set[Any] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accepted, "127.0.0.1", 0, ssl=self._tls, limit=64 << 20, backlog=1000
        )
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}/mcp"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for _ in range(5):  # a connection that is being accepted has its task in one of the next turns
            await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            while head := await read_head(reader):
                method, target, headers = head
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                request = Request(method, target, headers, body, writer)
                self.requests.append(request)
                await self.handler(request)
                if writer.is_closing():
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

"""The quick server of ``tests/servers/fast.py`` behind every kind of transport, with a hand on each: to freeze it,
to kill it, to cut it off."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from websockets.asyncio.server import serve

from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.transports import Supplies, Transport, make_transport
from mcp_ws_ide.transports.processes import ProcessSupervisor
from tests.conftest import Jupyter

FAST = Path(__file__).parent.parent / "servers" / "fast.py"
LIMIT = 64 << 20


class Recorder:
    """A receiver that remembers."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.noise: list[tuple[str, str]] = []
        self.reasons: list[str] = []
        self.paused: list[bool] = []

    def message_received(self, message: bytes) -> None:
        self.messages.append(message)

    def noise_received(self, source: str, text: str) -> None:
        self.noise += [(source, line) for line in text.split("\n")]

    def transport_closed(self, reason: str) -> None:
        self.reasons.append(reason)

    def write_paused(self, paused: bool) -> None:
        self.paused.append(paused)


class Peer:
    """A server of one kind; ``frozen`` stops it from reading."""

    spec: dict[str, Any]

    def __init__(self) -> None:
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._stack = contextlib.AsyncExitStack()
        self._handlers: set[Any] = set()

    async def start(self, tmp_path: Path) -> None:
        """Begin to listen, and set :attr:`spec`."""

    async def stop(self) -> None:
        self.thaw()
        await self._stack.aclose()
        if self._handlers:
            await asyncio.wait(self._handlers, timeout=5)

    def _handled_here(self) -> None:
        """The current task serves a connection; :meth:`stop` waits for its end."""
        task = asyncio.current_task()
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)

    def freeze(self) -> None:
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    def die(self) -> None:
        """End for good, as by kill -9."""
        raise NotImplementedError


class Fast:
    """One process of fast.py, its lines in and out."""

    def __init__(self) -> None:
        self.process: Any = None

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(FAST)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LIMIT,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        self.process._transport.close()

    async def copy_out(self, write: Callable[[bytes], Awaitable[Any]]) -> None:
        while line := await self.process.stdout.readline():
            await write(line)

    async def write(self, line: bytes) -> None:
        self.process.stdin.write(line.rstrip(b"\n") + b"\n")
        await self.process.stdin.drain()


class Bridging(Peer):
    """One fast.py for each connection."""

    def __init__(self) -> None:
        super().__init__()
        self._running: set[Fast] = set()

    async def stop(self) -> None:
        self.die()
        await super().stop()

    def die(self) -> None:
        for fast in self._running:
            fast.process.kill()

    async def bridge(
        self, read: Callable[[], Awaitable[bytes]], write: Callable[[bytes], Awaitable[Any]]
    ) -> None:
        """Until either side ends."""
        async with Fast() as fast:
            self._running.add(fast)
            ways = [
                asyncio.ensure_future(self._copy_in(fast, read)),
                asyncio.ensure_future(fast.copy_out(write)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._running.discard(fast)
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)

    async def _copy_in(self, fast: Fast, read: Callable[[], Awaitable[bytes]]) -> None:
        while line := await read():
            await self._flowing.wait()
            await fast.write(line)


class Stdio(Peer):
    def __init__(self) -> None:
        super().__init__()
        self.transport: Any = None

    async def start(self, tmp_path: Path) -> None:
        self.spec = {"kind": "stdio", "command": sys.executable, "args": ("-I", "-S", str(FAST))}

    def freeze(self) -> None:
        os.kill(self.transport.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.transport.pid, signal.SIGCONT)

    def die(self) -> None:
        os.kill(self.transport.pid, signal.SIGKILL)


class Unix(Bridging):
    async def start(self, tmp_path: Path) -> None:
        path = tmp_path / "a server.sock"
        server = await asyncio.start_unix_server(self._accepted, path, limit=LIMIT)
        self._stack.callback(server.close)
        self.spec = {"kind": "unix", "url": f"unix://{str(path).replace(' ', '%20')}"}

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def write(line: bytes) -> None:
            writer.write(line)
            await writer.drain()

        self._handled_here()
        await self.bridge(reader.readline, write)
        writer.close()


class PlainWebSocket(Bridging):
    async def start(self, tmp_path: Path) -> None:
        server = await self._stack.enter_async_context(
            serve(
                self._accepted,
                "127.0.0.1",
                0,
                subprotocols=["mcp"],  # type: ignore[list-item]
                max_size=None,
                compression=None,
                close_timeout=0.1,
            )
        )
        self.spec = {"kind": "ws", "url": f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"}

    async def _accepted(self, link: Any) -> None:
        async def read() -> bytes:
            await self._flowing.wait()
            return await link.recv(decode=False)

        async def write(line: bytes) -> None:
            await link.send(line.rstrip(b"\n"), text=True)

        await self.bridge(read, write)


class Wire(Peer):
    """A gateway in another process, reached by a TCP link that can be frozen and cut."""

    def __init__(self, jupyter: Jupyter, scheme: str) -> None:
        super().__init__()
        self._jupyter, self._scheme = jupyter, scheme
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: Any = None
        self.accepted = 0
        self.refusing = False

    async def start(self, tmp_path: Path) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        path = self._jupyter.url.split("/", 3)[3]
        self.spec = {
            "kind": self._scheme,
            "url": f"{self._scheme}://127.0.0.1:{port}/{path}mcp-ws/servers/fast",
            "headers": {"Authorization": f"Bearer {self._jupyter.token}"},
        }

    async def stop(self) -> None:
        self.die()
        await super().stop()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._handled_here()
        if self.refusing:
            return writer.transport.abort()
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._jupyter.port)
        self._writers |= {writer, up_writer}
        await asyncio.gather(self._copy(reader, up_writer, frozen=True), self._copy(up_reader, writer))
        self._writers -= {writer, up_writer}

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frozen: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if frozen:
                    await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self) -> None:
        """Reset every connection; new ones pass."""
        for writer in list(self._writers):
            writer.transport.abort()

    def die(self) -> None:
        self.refusing = True
        self._server.close()
        self.cut()


class Sse(Bridging):
    """The HTTP+SSE transport of 2024-11-05 over raw sockets."""

    def __init__(self) -> None:
        super().__init__()
        self._inboxes: dict[str, asyncio.Queue[bytes]] = {}

    async def start(self, tmp_path: Path) -> None:
        server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, limit=LIMIT)
        self._stack.callback(server.close)
        self.spec = {"kind": "sse", "url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/sse"}

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._handled_here()
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while head := await read_head(reader):
                method, target, headers = head
                if method == "GET":
                    await self._stream(reader, writer)
                    break
                await self._flowing.wait()
                body = await reader.readexactly(int(headers["content-length"]))
                self._inboxes[target].put_nowait(body)
                writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        writer.close()

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = f"/messages?session={len(self._inboxes)}"
        inbox = self._inboxes[target] = asyncio.Queue()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        writer.write(b"event: endpoint\ndata: %b\n\n" % target.encode())

        async def write(line: bytes) -> None:
            writer.write(b"event: message\ndata: %b\n\n" % line.rstrip(b"\n"))
            await writer.drain()

        gone = asyncio.ensure_future(reader.read(1))
        gone.add_done_callback(lambda _: inbox.put_nowait(b""))
        try:
            await self.bridge(inbox.get, write)
        finally:
            gone.cancel()


async def read_head(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]] | None:
    """Method, target and headers (names in lower case) of the next HTTP request; None at the end."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = head[0].split(" ")
    pairs = (line.split(":", 1) for line in head[1:] if line)
    return method, target, {name.strip().lower(): value.strip() for name, value in pairs}


class InProcess(Bridging):
    """A Python object with the interface of the SDK's low-level server; fast.py does its work."""

    current: InProcess

    async def start(self, tmp_path: Path) -> None:
        InProcess.current = self
        self.spec = {"kind": "python", "target": f"{__name__}:bridging_server"}

    def create_initialization_options(self) -> None:
        return None

    async def run(self, read_stream: Any, write_stream: Any, _: Any) -> None:
        from mcp_ws_ide.sdk import as_message, as_text

        async def read() -> bytes:
            await self._flowing.wait()
            return as_text(await read_stream.receive())

        async def write(line: bytes) -> None:
            await write_stream.send(as_message(line))

        await self.bridge(read, write)


def bridging_server() -> InProcess:
    """What the configuration names."""
    return InProcess.current


def transport_of(
    peer: Peer, supervisor: ProcessSupervisor, max_message_bytes: int = 10 << 20, **limits: float
) -> Transport:
    """A transport for a peer, made as the gateway makes it."""
    spec = ServerSpec("peer", "test", limits=limits, **peer.spec)
    transport = make_transport(spec, Supplies(supervisor, {"PATH": os.defpath}, max_message_bytes))
    if isinstance(peer, Stdio):
        peer.transport = transport
    return transport

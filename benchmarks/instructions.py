"""Instructions that one call costs in the gateway's own Python, without sockets: repeatable on a busy machine.

Runs a session, its upstream and a transport that answers at once in one process, under valgrind's callgrind, with two
numbers of calls; the difference, divided by the calls in between, is what one call costs. ``wire`` adds what is before
and after: links on sockets, and the transport to a process, whose pipes this process answers. ``watched`` is the same
while somebody watches the tap: four records a call, each call with a text of its own. ``http`` is like ``wire``, over
Streamable HTTP: POSTs of handshake-era sessions whose head repeats. System calls and the kernel are not in it:
``bench.py`` and ``http_peers.py`` measure those. Compare two states of the code by running this file in each.
``connect`` opens a plain session per call, and ``resume`` resumes one, from the TCP connection on (``connecting.py``).

``stored`` is ``resumable`` with clients that wait for each answer, in a gateway that stores its sessions in an SQLite
file. ``shared`` stores them in Redis, whose own work is not counted; ``unstored`` has no engine. Behind the name stands
the number of clients, which work in lockstep. ``pings`` and ``unstored-pings`` are the same with requests that only
read, which are stored whole.

Usage: ``python benchmarks/instructions.py [MODE...]`` (needs valgrind; takes about half a minute for each mode).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from connecting import connections
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

from mcp_ws_ide.admissions import Admission, Admissions
from mcp_ws_ide.config.spec import Configuration, ServerSpec
from mcp_ws_ide.core import binding, messages
from mcp_ws_ide.core.era import Era
from mcp_ws_ide.engines.base import Engine
from mcp_ws_ide.engines.choosing import NORMAL, EngineSettings, open_engine
from mcp_ws_ide.gateway import Gateway, Limits, server_registry
from mcp_ws_ide.handlers.repeat_router import RepeatRouter
from mcp_ws_ide.links.base import LinkInfo
from mcp_ws_ide.links.half_open import HalfOpen
from mcp_ws_ide.links.http import HttpLink
from mcp_ws_ide.links.streams import SocketStream
from mcp_ws_ide.links.tap_feed import TapFeed
from mcp_ws_ide.links.websocket import WebSocketLink
from mcp_ws_ide.transports.base import Transport
from mcp_ws_ide.transports.processes import Process
from mcp_ws_ide.transports.stdio import StdioTransport

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.redis_server import RedisServer

CALLS: Final = (700, 2100)
"""Calls of the two runs."""
PAYLOAD: Final = b"x" * 900
CACHE: Final = Path(__file__).resolve().parents[1] / ".cache"
"""On the disk of the clone; the directory for temporary files may be in memory."""
WAYS: Final = (
    *("modern", "handshake", "resumable", "wire", "watched", "http", "connect", "resume"),
    *("unstored-1", "stored-1", "shared-1", "unstored-32", "stored-32", "shared-32"),
    *("unstored-pings-1", "pings-1", "unstored-pings-32", "pings-32"),
)
CLIENTS: Final = 14
"""Clients of the ways ``wire`` and ``http``, each with one call at a time."""
META: Final = json.dumps(
    {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
).encode()


def request(own: int, meta: bytes, method: bytes = b"tools/call") -> bytes:
    """Return a client's request."""
    text = b'{"jsonrpc":"2.0","id":%d,"method":"%b","params":{"name":"echo","arguments":{"text":"%b"}%b}}'
    return text % (own, method, b"%08d" % own + PAYLOAD, meta)


def answer_to(message: bytes) -> bytes:
    """Return the server's response to a request."""
    start = message.index(b'"id":') + 5
    raw_id = message[start : message.index(b",", start)]
    result = b'{"content":[{"type":"text","text":"%b"}]}' % (raw_id + PAYLOAD)
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (raw_id, result)


class Answering(Transport):
    """A server that answers each request at once."""

    kind = "answering"
    queued_bytes = 0

    @classmethod
    def from_spec(cls, spec: Any, supplies: Any) -> Answering:
        """Return a transport; it needs nothing."""
        return cls()

    async def connect(self, receiver: Any) -> None:
        """Keep the receiver."""
        self._receiver = receiver

    def send(self, message: bytes) -> None:
        """Answer a request."""
        self._receiver.message_received(answer_to(message))

    def pause_reading(self) -> None:
        """Do nothing: answers are not held back."""

    def resume_reading(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Report the end."""
        self._receiver.transport_closed("closed")


class Counting:
    """A link that counts what it is given."""

    queued_bytes = 0
    count = 0

    def send(self, data: bytes) -> None:
        """Count a frame."""
        self.count += 1

    def deliver(self, message: messages.Message) -> None:
        """Count a message."""
        self.count += 1

    def close(self, *_: Any) -> None:
        """Do nothing."""

    def set_reading(self, reading: bool) -> None:
        """Do nothing."""

    def bind(self, *_: Any) -> None:
        """Do nothing."""


async def calls(way: str, number: int) -> None:
    """Make ``number`` calls through one session."""
    server_registry.make_transport = lambda spec, supplies: Answering()
    gateway = Gateway(Limits())
    gateway.configure(Configuration({"a": ServerSpec("a", "bench", command="x")}, []))
    server, link = gateway.servers["a"], Counting()
    meta = b',"_meta":%b' % META if way != "handshake" else b""
    if way != "handshake":
        server.era = Era.MODERN
    resumable = way == "resumable"
    open_session = gateway.open_resumable_session if resumable else gateway.open_session
    session: Any = open_session(server, link, LinkInfo("me"))
    frames = [request(own, meta) for own in range(number + 1)]

    def receive(data: bytes) -> None:
        if resumable:
            session.receive_frame(link, data, time.perf_counter())
        else:
            session.receive(data, time.perf_counter())

    receive(frames[0])
    while session.core.pending:  # noqa: ASYNC110 - no event: the upstream connects within a few turns
        await asyncio.sleep(0)
    for own, frame in enumerate(frames[1:], 1):
        receive(frame)
        if resumable and own % 7 == 0:
            receive(binding.ack(own))
    assert link.count >= number, f"{link.count} of {number} answers came"


class Lockstep(Counting):
    """The link of a client that makes its next call in the turn after the answer, and acknowledges each seventh."""

    session: Any

    def __init__(self, number: int, method: bytes, done: Callable[[], None]) -> None:
        self._frames = [request(own, b',"_meta":%b' % META, method) for own in range(1, number + 1)]
        self._done = done
        self._loop = asyncio.get_running_loop()

    def send(self, data: bytes) -> None:
        """Take a frame; after the session is open, and after each answer, the next call follows."""
        if data.startswith(b'{"mcp.ws":"ack"'):
            return
        if self.count == len(self._frames):
            return self._done()
        self._loop.call_soon(self._call)
        return None

    def _call(self) -> None:
        own, self.count = self.count, self.count + 1
        self.session.receive_frame(self, self._frames[own], time.perf_counter())
        if own % 7 == 0 and own:
            self.session.receive_frame(self, binding.ack(own), time.perf_counter())


async def lockstep_calls(clients: int, number: int, method: bytes, engine: Engine | None) -> None:
    """Make ``number`` calls through resumable sessions, each client waiting for each answer."""
    server_registry.make_transport = lambda spec, supplies: Answering()
    gateway = Gateway(Limits(), engine=engine)
    gateway.configure(Configuration({"a": ServerSpec("a", "bench", command="x")}, []))
    gateway.servers["a"].era = Era.MODERN
    ended, working = asyncio.get_running_loop().create_future(), clients

    def done() -> None:
        nonlocal working
        working -= 1
        if not working:
            ended.set_result(None)

    for _ in range(clients):
        link = Lockstep(number // clients, method, done)
        link.session = gateway.open_resumable_session(gateway.servers["a"], link, LinkInfo("me"))
    await ended


async def stored_calls(clients: int, number: int, method: bytes, *, shared: bool) -> None:
    """Make calls through sessions that are stored in a file, or in a Redis of their own."""
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        folder = Path(directory)
        redis = RedisServer(folder) if shared else None
        address = f"sqlite://{folder}/s.sqlite" if redis is None else redis.address
        engine = open_engine(EngineSettings(address, NORMAL, 1 << 30, folder / "keys.json", folder))
        assert engine is not None
        await engine.start()
        await lockstep_calls(clients, number, method, engine)
        await engine.stop()
        if redis is not None:
            redis.stop()


class Pipes:
    """Stands for the process supervisor: the server is this process, which answers what comes through the pipe."""

    async def spawn(self, argv: Any, env: Any, cwd: Any, ends: tuple[int, int, int], exited: Any) -> Process:
        """Answer from the event loop."""
        loop = asyncio.get_running_loop()
        self._stdin, self._stdout, _ = map(os.dup, ends)
        self._begun = b""
        loop.add_reader(self._stdin, self._answer)
        return Process(self, 1, exited)  # type: ignore[arg-type]

    def request(self, line: dict[str, Any]) -> None:
        """Do nothing: no process is killed."""

    def _answer(self) -> None:
        *lines, self._begun = (self._begun + os.read(self._stdin, 1 << 18)).split(b"\n")
        for line in lines:
            os.write(self._stdout, answer_to(line) + b"\n")


class Clients:
    """The clients' ends of all connections; each makes one call at a time."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self._loop = asyncio.get_running_loop()
        self._open = 0
        self._answered = self._loop.create_future()

    def add(self, sock: socket.socket) -> None:
        """Add a client."""
        sock.setblocking(False)
        self._sockets.append(sock)
        self._loop.add_reader(sock, self._read, sock)

    def call(self, requests: list[bytes]) -> asyncio.Future[None]:
        """Send one request of each client; the future ends when all are answered."""
        self._open = len(self._sockets)
        self._answered = self._loop.create_future()
        for sock, request in zip(self._sockets, requests, strict=True):
            sock.send(request)
        return self._answered

    def _read(self, sock: socket.socket) -> None:
        if sock.recv(1 << 16).endswith(b"}"):
            self._open -= 1
        if not self._open:
            self._answered.set_result(None)


def piped_gateway() -> Gateway:
    """Return a gateway whose one server, ``a``, is this process at the other end of pipes."""
    server_registry.make_transport = lambda spec, supplies: StdioTransport(
        *(Pipes(),),  # type: ignore[arg-type]
        **{"command": sys.executable, "args": [], "env": {}, "cwd": None},
    )
    gateway = Gateway(Limits())
    gateway.configure(Configuration({"a": ServerSpec("a", "bench", command="x")}, []))
    return gateway


def masked(message: bytes) -> bytes:
    """Return a client's WebSocket frame, with the mask 0 (RFC 6455 section 5.2)."""
    return b"\x81\xfe" + len(message).to_bytes(2, "big") + bytes(4) + message


def watch(gateway: Gateway) -> None:
    """Watch the traffic of ``me`` over a socket, from which nothing but time is taken to read it."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    buffer = bytearray(1 << 18)
    asyncio.get_running_loop().add_reader(theirs, theirs.recv_into, buffer)
    TapFeed(gateway.tap, WebSocketLink(SocketStream(ours), 4096), "me", None, {}).start()


async def wire_calls(number: int, *, watched: bool = False) -> None:
    """Make ``number`` calls from sockets through links, sessions and the transport to a process."""
    gateway = piped_gateway()
    if watched:
        watch(gateway)
    server = gateway.servers["a"]
    server.era = Era.MODERN
    clients = Clients()
    for _ in range(CLIENTS):
        ours, theirs = socket.socketpair()
        link = WebSocketLink(SocketStream(ours), 10 << 20)
        session = gateway.open_session(server, link, LinkInfo("me"))
        link.start(session.receive, session.link_closed)
        clients.add(theirs)
    for own in range(number // CLIENTS):
        calls = range(own * CLIENTS, (own + 1) * CLIENTS)
        await clients.call([masked(request(call, b',"_meta":%b' % META)) for call in calls])


class AdmitsAll(Admissions):
    """Admissions that need no first request of a head."""

    def find(self, request: Any) -> Admission:
        """Return an admission."""
        headers = {"Server": "bench", "X-Content-Type-Options": "nosniff"}
        return Admission("a", "me", ("", "", ""), None, None, headers, time.monotonic() + 3600)


def posted(session_id: str, message: bytes) -> bytes:
    """Return a POST as an SDK sends it."""
    lines = (
        *("POST /mcp-ws/servers/a HTTP/1.1", "Host: 127.0.0.1:8888", "Authorization: token abcdefgh"),
        *("Content-Type: application/json", "Accept: application/json, text/event-stream"),
        *(f"Mcp-Session-Id: {session_id}", "MCP-Protocol-Version: 2025-11-25"),
        *(f"Content-Length: {len(message)}", "", ""),
    )
    return "\r\n".join(lines).encode() + message


async def http_calls(number: int) -> None:
    """Make ``number`` calls from sockets over HTTP, each with the head of its session's first call."""
    gateway = piped_gateway()
    runtime: Any = SimpleNamespace(
        gateway=gateway, admissions=AdmitsAll(lambda token_id: True), half_open=HalfOpen()
    )
    http_server = HTTPServer(RepeatRouter(runtime))
    clients, sessions = Clients(), []
    for _ in range(CLIENTS):
        ours, theirs = socket.socketpair()
        http_server.handle_stream(IOStream(ours), ("127.0.0.1", 0))
        link = HttpLink(gateway.limits.window_frames, gateway.limits.window_bytes)
        gateway.open_http_session(gateway.servers["a"], link, LinkInfo("me", link="http"))
        sessions.append(link.id)
        clients.add(theirs)
    for own in range(number // CLIENTS):
        await clients.call([posted(session_id, request(own, b"")) for session_id in sessions])


def run(way: str, number: int) -> None:
    """Make ``number`` calls in this process."""
    name, _, clients = way.rpartition("-") if way[-1].isdigit() else (way, "", "")
    method = b"ping" if "pings" in name else b"tools/call"
    if name in ("wire", "watched"):
        asyncio.run(wire_calls(number, watched=name == "watched"))
    elif name == "http":
        asyncio.run(http_calls(number))
    elif name in ("connect", "resume"):
        asyncio.run(connections(name, number))
    elif name in ("stored", "shared", "pings"):
        asyncio.run(stored_calls(int(clients), number, method, shared=name == "shared"))
    elif name in ("unstored", "unstored-pings"):
        asyncio.run(lockstep_calls(int(clients), number, method, None))
    else:
        asyncio.run(calls(way, number))


def instructions(way: str, number: int) -> int:
    """Return the instructions of a run in a process of its own."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, __file__]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [*command, way, str(number)], env=environment, capture_output=True, text=True, check=True
    )
    counted = re.search(r"Collected : (\d+)", done.stderr)
    assert counted is not None, done.stderr
    return int(counted[1])


def main() -> None:
    """Print the instructions of one call, for each way."""
    if len(sys.argv) == 3 and sys.argv[2].isdigit():
        return run(sys.argv[1], int(sys.argv[2]))
    few, many = CALLS
    CACHE.mkdir(exist_ok=True)
    for way in sys.argv[1:] or WAYS:
        cost = (instructions(way, many) - instructions(way, few)) / (many - few)
        print(f"{way:10} {cost / 1000:7.1f} thousand instructions a call", flush=True)
    return None


if __name__ == "__main__":
    main()

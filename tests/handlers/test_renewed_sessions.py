"""Remote servers over HTTP+SSE and WebSocket that forget their sessions: handshake-era clients do not notice."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.conftest import Jupyter, Peer, until
from tests.handlers.test_tap import tapped


class Forgetful:
    """A server of the handshake era: a message before ``initialize`` on its connection is refused.

    Attributes:
        seen: the methods of each connection.
        runs: how often the tool ``count`` has run.
    """

    path = ""
    typed = True
    """Whether its entry names its transport."""

    def __init__(self) -> None:
        self.version = "2025-11-25"
        self.seen: list[list[str]] = []
        self.initialized: list[dict[str, Any]] = []
        self.runs = 0

    def answer(self, message: dict[str, Any], seen: list[str]) -> dict[str, Any] | None:
        method, params = message.get("method", ""), message.get("params", {})
        seen.append(method)
        answer = {"jsonrpc": "2.0", "id": message.get("id")}
        if method == "initialize":
            self.initialized.append(params)
            info = {"name": "f", "version": "1"}
            capabilities = {"tools": {}, "logging": {}}
            return {
                **answer,
                "result": {"protocolVersion": self.version, "capabilities": capabilities, "serverInfo": info},
            }
        if "id" not in message or params.get("name") == "hang":
            return None
        if "initialize" not in seen:
            return {**answer, "error": {"code": -32600, "message": "not initialized"}}
        if method == "tools/call":
            self.runs += 1
            return {**answer, "result": {"content": [{"type": "text", "text": str(self.runs)}]}}
        return {**answer, "result": {}}


class WebSocketServer(Forgetful):
    scheme = "ws"

    async def start(self, port: int = 0) -> None:
        self.server = await serve(self.serve, "127.0.0.1", port, subprotocols=["mcp"])
        self.port = self.server.sockets[0].getsockname()[1]

    async def serve(self, link: ServerConnection) -> None:
        seen: list[str] = []
        self.seen.append(seen)
        try:
            async for text in link:
                if (answer := self.answer(json.loads(text), seen)) is not None:
                    await link.send(json.dumps(answer))
        except ConnectionClosed:
            pass

    async def forget(self) -> None:
        for link in list(self.server.connections):
            link.transport.abort()

    async def stop(self) -> None:
        await self.forget()
        self.server.close()
        await self.server.wait_closed()


class SseServer(Forgetful):
    scheme = "http"
    path = "/sse"

    def __init__(self) -> None:
        super().__init__()
        self.streams: dict[str, tuple[asyncio.StreamWriter, list[str]]] = {}
        self.connections: set[asyncio.StreamWriter] = set()

    async def start(self, port: int = 0) -> None:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, target, _ = head.split(" ", 2)
                if method == "GET":
                    return self.open(writer)
                (line,) = [line for line in head.split("\r\n") if line.lower().startswith("content-length:")]
                body = await reader.readexactly(int(line.partition(":")[2]))
                if "session=" not in target:
                    writer.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
                    continue
                self.post(parse_qs(urlsplit(target).query)["session"][0], json.loads(body), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def open(self, writer: asyncio.StreamWriter) -> None:
        session = str(len(self.seen))
        seen: list[str] = []
        self.seen.append(seen)
        self.streams[session] = writer, seen
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        writer.write(f"event: endpoint\ndata: /messages?session={session}\n\n".encode())

    def post(self, session: str, message: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if session not in self.streams:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 22\r\n\r\nCould not find session")
            return
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        stream, seen = self.streams[session]
        if (answer := self.answer(message, seen)) is not None:
            stream.write(f"event: message\ndata: {json.dumps(answer)}\n\n".encode())

    async def forget(self) -> None:
        for stream, _ in self.streams.values():
            stream.transport.abort()
        self.streams.clear()

    async def forget_quietly(self) -> None:
        """Lose the sessions, as behind a load balancer, while their streams stay open."""
        self.streams.clear()

    async def stop(self) -> None:
        self.server.close()
        await self.forget()
        for connection in self.connections:
            connection.transport.abort()
        for connection in self.connections:
            with contextlib.suppress(ConnectionError):
                await connection.wait_closed()
        self.connections.clear()


class UntypedSseServer(SseServer):
    """A server whose entry does not say that it speaks HTTP+SSE."""

    typed = False


@pytest.fixture(params=[WebSocketServer, SseServer, UntypedSseServer])
async def server(request):
    running = request.param()
    await running.start()
    yield running
    await running.stop()


async def opened(make_jupyter, server: Any, **settings: float) -> tuple[Jupyter, Any]:
    entry = {"url": f"{server.scheme}://127.0.0.1:{server.port}{server.path}", "mcp_ws": settings}
    if server.scheme == "http" and server.typed:
        entry["type"] = "sse"
    jupyter = await asyncio.to_thread(make_jupyter, {"far": entry})
    return jupyter, jupyter.connect("far")


async def ask(peer: Peer, number: int, method: str, **params: Any) -> dict[str, Any]:
    """A request of the handshake era, and its answer."""
    await peer.send(id=number, method=method, params=params)
    answer = await peer.receive()
    assert answer["id"] == number
    return answer


async def count(peer: Peer, number: int) -> str:
    return (await ask(peer, number, "tools/call", name="count"))["result"]["content"][0]["text"]


async def test_a_lost_session_is_opened_again_with_the_same_handshake(make_jupyter, server):
    jupyter, connecting = await opened(make_jupyter, server)
    async with connecting as link:
        peer = Peer(link)
        await peer.initialize()
        await ask(peer, 2, "logging/setLevel", level="error")
        assert await count(peer, 3) == "1"
        await peer.send(id=4, method="tools/call", params={"name": "hang"})
        await until(lambda: server.seen[0].count("tools/call") == 2, what="the call that hangs")
        await server.forget()
        error = (await peer.receive())["error"]
        assert error["data"]["outcome"] == "unknown"
        assert "a new session is being opened" in error["message"]
        assert await count(peer, 5) == "2"
        assert server.seen[1] == ["initialize", "notifications/initialized", "logging/setLevel", "tools/call"]
        assert server.initialized[0] == server.initialized[1]
        (shown,) = (await asyncio.to_thread(jupyter.rest, "GET", "servers"))[1]["servers"]
        assert (shown["restarts"], shown["state"]) == (0, "running"), "no crash"


async def test_calls_while_the_server_is_away_run_once_when_it_is_back(make_jupyter, server):
    jupyter, connecting = await opened(make_jupyter, server)
    async with tapped(jupyter) as tap, connecting as link:
        peer = Peer(link)
        await peer.initialize()
        await server.stop()
        await tap.until(lambda r: r["event"] == "upstream_closed")
        for number in (10, 11, 12):
            await peer.send(id=number, method="tools/call", params={"name": "count"})
        await server.start(server.port)
        answers = [await peer.receive() for _ in range(3)]
        assert [answer["id"] for answer in answers] == [10, 11, 12]
        assert [answer["result"]["content"][0]["text"] for answer in answers] == ["1", "2", "3"]


async def test_a_session_that_ends_again_and_again_is_given_up(make_jupyter, server):
    _, connecting = await opened(make_jupyter, server)
    async with connecting as link:
        peer = Peer(link)
        await peer.initialize()
        for number in range(4):
            await until(
                lambda n=number: len(server.seen) > n and "notifications/initialized" in server.seen[n]
            )
            await server.forget()
        with pytest.raises(ConnectionClosed):
            await peer.receive()
        assert link.close_code == 4502


async def test_a_server_that_comes_back_with_another_version_ends_the_session(make_jupyter, server):
    _, connecting = await opened(make_jupyter, server)
    async with connecting as link:
        peer = Peer(link)
        await peer.initialize()
        server.version = "2024-11-05"
        await server.forget()
        with pytest.raises(ConnectionClosed):
            await peer.receive()
        assert link.close_code == 4502
        assert "2024-11-05" in link.close_reason


async def test_a_server_that_stays_away_ends_the_session_and_says_that_nothing_ran(make_jupyter, server):
    jupyter, connecting = await opened(make_jupyter, server, reconnect_timeout=1)
    async with tapped(jupyter) as tap, connecting as link:
        peer = Peer(link)
        await peer.initialize()
        await server.stop()
        await tap.until(lambda r: r["event"] == "upstream_closed")
        await peer.send(id=10, method="tools/call", params={"name": "count"})
        assert (await peer.receive())["error"]["data"]["outcome"] == "not_sent"
        with pytest.raises(ConnectionClosed):
            await peer.receive()
        assert link.close_code == 4502


class LateRefusal(SseServer):
    """A server whose event stream ends before it refuses the message that it has just read."""

    latency = 0.3

    def post(self, session: str, message: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if message.get("method") != "tools/call" or len(self.seen) > 1:
            return super().post(session, message, writer)
        self.streams.pop(session)[0].transport.abort()
        asyncio.get_running_loop().call_later(self.latency, super().post, session, message, writer)


async def test_a_call_that_is_refused_after_the_stream_has_ended_runs_in_the_new_session(make_jupyter):
    server = LateRefusal()
    await server.start()
    _, connecting = await opened(make_jupyter, server)
    async with connecting as link:
        peer = Peer(link)
        await peer.initialize()
        assert await count(peer, 2) == "1"
        assert len(server.initialized) == 2
    await server.stop()


class LateAcceptance(SseServer):
    """A server whose event stream ends before it accepts the message that it has just read.

    Attributes:
        accepted: ids of the calls that came to the ended session.
    """

    def __init__(self) -> None:
        super().__init__()
        self.accepted: list[int] = []

    def post(self, session: str, message: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if message.get("method") != "tools/call" or session != "0":
            return super().post(session, message, writer)
        self.accepted.append(message["id"])
        self.streams["0"][0].transport.abort()
        accept = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
        asyncio.get_running_loop().call_later(LateRefusal.latency, writer.write, accept)


async def test_nothing_is_sent_to_a_session_whose_stream_has_ended(make_jupyter):
    server = LateAcceptance()
    await server.start()
    _, connecting = await opened(make_jupyter, server)
    async with connecting as link:
        peer = Peer(link)
        await peer.initialize()
        for number in (2, 3):
            await peer.send(id=number, method="tools/call", params={"name": "count"})
        answers = {answer["id"]: answer for answer in [await peer.receive(), await peer.receive()]}
        assert answers[2]["error"]["data"]["outcome"] == "unknown"
        assert answers[3]["result"]["content"][0]["text"] == "1"
        assert server.accepted == [2]
    await server.stop()


@pytest.mark.parametrize("kind", [SseServer, UntypedSseServer])
async def test_a_call_that_meets_404_runs_in_the_new_session(make_jupyter, kind):
    server = kind()
    await server.start()
    _, connecting = await opened(make_jupyter, server)
    async with connecting as link:
        peer = Peer(link)
        await peer.initialize()
        assert await count(peer, 2) == "1"
        await server.forget_quietly()
        assert await count(peer, 3) == "2"
        assert len(server.initialized) == 2
    await server.stop()

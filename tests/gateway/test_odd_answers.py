"""No request stays open after an answer that cannot be read or paired, over every transport and in both eras."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import serve

from mcp_ws_ide.config.spec import Configuration, ServerSpec
from mcp_ws_ide.core import messages
from mcp_ws_ide.gateway import Gateway, Limits
from mcp_ws_ide.links.base import LinkInfo
from tests.conftest import MODERN, TESTS, until
from tests.servers import mangled

MANGLED = str(TESTS / "servers" / "mangled.py")
TRANSPORTS = ("stdio", "unix", "ws", "http body", "http events", "sse")
SEEDS = 3
LATEST = 10.0
"""Seconds within which an odd answer must have ended its request; three of them are spent on ruling out others."""


class Link:
    """A link that keeps what it was told."""

    queued_bytes = 0

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.closes: list[tuple[int, str]] = []

    def deliver(self, message: messages.Message) -> None:
        self.sent.append(json.loads(message.data))

    def close(self, code: int, reason: str) -> None:
        self.closes.append((code, reason))

    def set_reading(self, reading: bool) -> None:
        """Nothing is read here."""


class Client:
    """A client of one era without a network."""

    def __init__(self, gateway: Gateway, era: str) -> None:
        self.era, self.link = era, Link()
        self.session = gateway.open_session(gateway.servers["odd"], self.link, LinkInfo("me"))
        self.count = 0

    def send(self, **members: Any) -> None:
        self.session.receive(json.dumps({"jsonrpc": "2.0", **members}).encode(), time.perf_counter())

    def begin(self, method: str, params: dict[str, Any]) -> int:
        self.count += 1
        meta = {"_meta": MODERN} if self.era == "modern" else {}
        self.send(id=self.count, method=method, params={**params, **meta})
        return self.count

    def answer(self, number: int) -> dict[str, Any] | None:
        return next((m for m in self.link.sent if m.get("id") == number and "method" not in m), None)

    async def ended(self, number: int, what: str = "an answer", seconds: float = LATEST) -> dict[str, Any]:
        return await until(lambda: self.answer(number), seconds, what)

    async def call(self, how: str, seed: int = 0) -> dict[str, Any]:
        arguments = {"how": how, "seed": seed, "n": seed}
        return await self.ended(
            self.begin("tools/call", {"name": "t", "arguments": arguments}), f"{how} {seed}"
        )

    async def open(self) -> None:
        if self.era == "modern":
            await self.ended(self.begin("tools/list", {}), seconds=60)
            return
        info = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        }
        answer = await self.ended(self.begin("initialize", info), seconds=60)
        assert "result" in answer, answer
        self.send(method="notifications/initialized")


async def _lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        message = json.loads(line)
        if "id" in message:
            writer.write(mangled.mangled(message) + b"\n")
    writer.close()


async def _sockets(link: Any) -> None:
    with contextlib.suppress(Exception):
        while True:
            message = json.loads(await link.recv())
            if "id" in message:
                await link.send(mangled.mangled(message).decode(errors="replace"))


class Http:
    """Streamable HTTP (answers as bodies or as events of a stream that stays open), and HTTP+SSE."""

    def __init__(self, form: str) -> None:
        self.form = form
        self.streams: list[asyncio.StreamWriter] = []

    async def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self.request(head, reader, writer)
        writer.close()

    async def request(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if head.startswith(b"GET"):
            if self.form != "sse":
                return writer.write(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nevent: endpoint\ndata: /m\n\n"
            )
            return self.streams.append(writer)
        size = next(
            int(h.split(b":")[1]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length")
        )
        message = json.loads(await reader.readexactly(size))
        answers = "id" in message and "method" in message
        body = mangled.mangled(message) if answers else b""
        if self.form == "sse":
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            if answers:
                self.streams[-1].write(b"event: message\ndata: %b\n\n" % body)
        elif not answers:
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        elif self.form == "http body":
            headers = b"Content-Type: application/json\r\nContent-Length: %d" % len(body)
            writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (headers, body))
        else:
            headers = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked"
            event = b"data: %b\n\n" % body
            writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%x\r\n%b\r\n" % (headers, len(event), event))


@contextlib.asynccontextmanager
async def served(transport: str, tmp_path: Path, *arguments: str) -> AsyncIterator[dict[str, Any]]:
    """Run the server behind a transport; yields the transport's part of a spec."""
    if transport == "stdio":
        yield {"command": sys.executable, "args": ("-I", "-S", MANGLED, *arguments)}
    elif transport == "unix":
        server = await asyncio.start_unix_server(_lines, tmp_path / "s.sock")
        yield {"kind": "unix", "url": f"unix://{tmp_path}/s.sock"}
        server.close()
    elif transport == "ws":
        async with serve(_sockets, "127.0.0.1", 0, subprotocols=["mcp"]) as server:  # type: ignore[list-item]
            yield {"kind": "ws", "url": f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"}
    else:
        server = await asyncio.start_server(Http(transport).accepted, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        yield {"kind": "sse" if transport == "sse" else "http", "url": f"http://127.0.0.1:{port}/mcp"}
        server.close()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """Return a function that makes a client of a gateway of its own, on the server behind a transport."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(transport: str, era: str, *arguments: str) -> Client:
            gateway = Gateway(Limits())
            stack.push_async_callback(gateway.aclose)
            spec = await stack.enter_async_context(served(transport, tmp_path, *arguments))
            gateway.configure(Configuration({"odd": ServerSpec("odd", "test", **spec)}, []))
            made = Client(gateway, era)
            await made.open()
            return made

        yield make


@pytest.mark.parametrize("era", ["handshake", "modern"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_has_one_meaning_is_answered_over_every_transport(client, transport, era):
    async def with_seed(seed: int) -> None:
        made = await client(transport, era)
        for how in mangled.READABLE:
            if how == "bytes" and transport == "ws":
                continue  # a text frame is UTF-8, or the link ends
            answer = await made.call(how, seed)
            assert "result" in answer, (how, answer)

    await asyncio.gather(*map(with_seed, range(SEEDS)))


@pytest.mark.parametrize("era", ["handshake", "modern"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_cannot_be_read_fails_its_request_and_spoils_no_other(client, transport, era):
    async def with_seed(seed: int) -> None:
        made = await client(transport, era)
        for how in mangled.FAILING:
            answer = await made.call(how, seed)
            assert answer["error"]["message"], how
        assert "result" in await made.call("plain", seed)
        assert not made.link.closes

    await asyncio.gather(*map(with_seed, range(SEEDS)))


@pytest.mark.parametrize("era", ["handshake", "modern"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_of_many_open_requests_none_stays_open(client, transport, era):
    """Half of the answers can be read: each of these answers its request, whatever comes between them."""

    async def with_seed(seed: int) -> None:
        made = await client(transport, era)
        rng = random.Random(f"{transport} {era} {seed}")
        hows = [rng.choice([*mangled.FAILING, *["plain"] * 4]) for _ in range(12)]
        numbers = [
            made.begin("tools/call", {"name": "t", "arguments": {"how": how, "seed": n, "n": n}})
            for n, how in enumerate(hows)
        ]
        for number, how in zip(numbers, hows, strict=True):
            answer = await made.ended(number, f"{how} among {hows}")
            if how == "plain":
                assert "result" in answer, answer
        assert "result" in await made.call("plain")

    await asyncio.gather(*map(with_seed, range(SEEDS)))


@pytest.mark.parametrize("era", ["handshake", "modern"])
@pytest.mark.parametrize("form", ["utf-16", "pretty", "headers", "frames", "no line end"])
async def test_a_server_that_frames_in_its_own_way_is_understood(client, form, era):
    made = await client("stdio", era, form)
    assert "result" in await made.call("plain")
    assert "result" in await made.call("plain", 1)


@pytest.mark.parametrize("era", ["handshake", "modern"])
async def test_half_an_answer_whose_rest_does_not_come_fails_its_request(client, era):
    made = await client("stdio", era, "half")
    assert "cut off" in (await made.call("plain"))["error"]["message"]


async def test_a_member_whose_answer_cannot_be_read_holds_no_group(tmp_path):
    gateway = Gateway(Limits())
    command = {"command": sys.executable}
    good = ServerSpec("good", "test", args=("-I", "-S", MANGLED), **command)
    bad = ServerSpec("bad", "test", args=("-I", "-S", MANGLED, "bad list"), **command)
    odd = ServerSpec("odd", "test", group=("good", "bad"))
    gateway.configure(Configuration({"good": good, "bad": bad, "odd": odd}, []))
    client = Client(gateway, "modern")
    answer = await client.ended(client.begin("tools/list", {}), seconds=30)
    assert [tool["name"] for tool in answer["result"]["tools"]] == ["good__t"]
    assert "not a JSON-RPC message" in json.dumps(answer["result"]["_meta"])
    await gateway.aclose()

"""HTTP+SSE of 2024-11-05 toward servers that lie, trickle, redirect and break off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest

from mcp_ws_ide.core.era import Era, probe, read_probe, refused_probe
from mcp_ws_ide.core.messages import parse
from mcp_ws_ide.errors import TransportError
from mcp_ws_ide.transports.remote import Bounds, Remote
from mcp_ws_ide.transports.sse import SseTransport
from tests.conftest import until
from tests.transports.peers import Recorder
from tests.transports.raw_http import Request, Server

ENDPOINT = b"event: endpoint\ndata: /messages"
ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{}}'
Attach = Callable[..., Awaitable[tuple[SseTransport, Recorder]]]


@pytest.fixture
async def attach() -> AsyncIterator[Attach]:
    made: list[SseTransport] = []

    async def attached(url: str, **options: Any) -> tuple[SseTransport, Recorder]:
        bounds = Bounds(max_message_bytes=options.pop("max_message_bytes", 10 << 20))
        transport, receiver = SseTransport(Remote(url, {}, **options), bounds), Recorder()
        made.append(transport)
        await transport.connect(receiver)
        return transport, receiver

    yield attached
    for transport in made:
        await transport.close()


class Legacy:
    """A server of HTTP+SSE; the test decides what it streams, and what it answers to POSTs."""

    def __init__(self, *events: bytes, taken: bytes = b"202 Accepted") -> None:
        self.events, self.taken = (ENDPOINT, *events), taken
        self.targets: list[str] = []
        self.stream: Request | None = None

    async def __call__(self, request: Request) -> None:
        if request.method == "GET":
            self.stream = request
            await request.events(*self.events)
            await asyncio.sleep(60)
        self.targets.append(request.target)
        await request.raw(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % self.taken)
        assert self.stream is not None
        if self.taken.startswith(b"2"):
            await self.stream.raw(b"data: " + ANSWER + b"\n\n")


@pytest.mark.parametrize(
    ("body", "messages"),
    [(ANSWER, [ANSWER]), (b"Accepted", []), (b'{"status": "ok"}', []), (b'{"id": 1, "queued": true}', [])],
)
async def test_a_response_in_that_of_the_post_is_read(attach, body, messages):
    async def handler(request: Request) -> None:
        if request.method == "GET":
            await request.events(ENDPOINT)
            await asyncio.sleep(60)
        await request.answer(200, body)

    async with Server(handler) as server:
        transport, receiver = await attach(server.url)
        transport.send(b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
        await until(lambda: not transport.queued_bytes, what="the end of the POST")
        assert receiver.messages == messages


async def test_a_second_endpoint_event_changes_nothing(attach):
    legacy = Legacy(b"event: endpoint\ndata: /elsewhere", b"event: endpoint\ndata: http://evil.invalid/")
    async with Server(legacy) as server:
        transport, receiver = await attach(server.url)
        transport.send(b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
        await until(lambda: receiver.messages)
        assert legacy.targets == ["/messages"]
        assert receiver.messages == [ANSWER]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"event: endpoint\ndata: http://127.0.0.1:1/messages", "another origin"),
        (b"event: endpoint\ndata: //evil.invalid/messages", "another origin"),
        (b"event: endpoint\ndata: file:///etc/passwd", "another origin"),
        (b"event: endpoint\ndata: http://[::1", "an invalid URL"),
        (b"data: " + ANSWER, "did not open an event stream within"),
        (b": nothing", "did not open an event stream within"),
        (b"data: " + b"x" * 200_000, "max_message_bytes"),
        (None, "ended the event stream"),
    ],
)
async def test_a_stream_without_an_endpoint_is_reported(attach, said, words):
    async def handler(request: Request) -> None:
        await request.events(*([] if said is None else [said]))
        if said is None:
            return request.writer.close()
        await asyncio.sleep(60)

    async with Server(handler) as server:
        with pytest.raises(TransportError, match=words):
            await attach(server.url, connect_timeout=0.5, max_message_bytes=100_000)


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (200, {}, "is it a Streamable HTTP server"),
        (404, {}, "nothing at this address"),
        (307, {"Location": "http://127.0.0.1:1/sse"}, "another origin"),
        (307, {"Location": "/mcp"}, "in a loop"),
        (200, {"Content_Encoding": "gzip"}, "compressed"),
    ],
)
async def test_a_response_that_is_no_stream_is_reported(attach, status, headers, words):
    async def handler(request: Request) -> None:
        await request.answer(status, b"no", "text/plain", **headers)

    async with Server(handler) as server:
        with pytest.raises(TransportError, match=words):
            await attach(server.url)


async def test_a_stream_that_ends_at_once_is_reported_once_and_leaves_no_task(attach):
    before = asyncio.all_tasks()

    async def handler(request: Request) -> None:
        await request.events(ENDPOINT)
        request.writer.close()

    async with Server(handler) as server:
        transport, receiver = await attach(server.url)
        await until(lambda: receiver.reasons)
        await transport.close()
        assert [reason.partition(" ")[2] for reason in receiver.reasons] == ["ended the event stream"]
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    ("taken", "outcome", "words"),
    [
        (b"404 Not Found", "not_sent", "404"),
        (b"500 No", "unknown", "500"),
        (b"307 Away\r\nLocation: http://127.0.0.1:1/", "not_sent", "another origin"),
        (b"nonsense", "unknown", "the request to"),
        (b"400 No\r\nTransfer-Encoding: gzip", "unknown", "the request to"),
    ],
)
async def test_a_refused_message_fails_alone(attach, taken, outcome, words):
    legacy = Legacy(taken=taken)
    async with Server(legacy) as server:
        transport, receiver = await attach(server.url)
        transport.send(b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
        await until(lambda: receiver.messages)
        error = json.loads(receiver.messages[0])["error"]
        assert words in error["message"]
        assert error["data"]["outcome"] == outcome
        legacy.taken = b"202 Accepted"
        transport.send(b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
        await until(lambda: len(receiver.messages) == 2)
        assert receiver.messages[1] == ANSWER


async def test_a_trickling_body_delays_the_next_messages_for_a_bounded_time(attach):
    async def handler(request: Request) -> None:
        if request.method == "GET":
            await request.events(ENDPOINT)
        else:
            await request.raw(b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000\r\n\r\n")
        while True:
            await request.raw(b"\n")
            await asyncio.sleep(0.01)

    async with Server(handler) as server:
        transport, receiver = await attach(server.url, read_timeout=0.3)
        for number in (1, 2):
            transport.send(b'{"jsonrpc":"2.0","id":%d,"method":"tools/list"}' % number)
        await until(lambda: len(receiver.messages) == 2)
        for message in map(json.loads, receiver.messages):
            assert "read_timeout" in message["error"]["message"]
            assert message["error"]["data"]["outcome"] == "unknown"


@pytest.mark.parametrize("status", [b"400 No", b"404 No", b"405 No", b"422 No"])
async def test_a_server_that_refuses_the_probe_is_of_the_handshake_era(attach, status):
    async with Server(Legacy(taken=status)) as server:
        transport, receiver = await attach(server.url)
        transport.send(probe("1").data)
        await until(lambda: receiver.messages)
        answer = parse(receiver.messages[0])
        assert refused_probe(answer) == ""
        assert read_probe(answer) is Era.LEGACY
        transport.send(b'{"jsonrpc":"2.0","id":2,"method":"tools/list"}')
        await until(lambda: len(receiver.messages) == 2)
        assert json.loads(receiver.messages[1])["error"]["code"] == -31002


async def test_a_hanging_probe_delays_no_handshake(attach):
    stream: list[Request] = []

    async def handler(request: Request) -> None:
        if request.method == "GET":
            stream.append(request)
            await request.events(ENDPOINT)
        elif request.message["method"] == "initialize":
            await request.answer(202)
            await stream[0].raw(b"data: " + ANSWER + b"\n\n")
        await asyncio.Event().wait()

    async with Server(handler) as server:
        transport, receiver = await attach(server.url)
        transport.send(probe("0").data)
        transport.send(b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}')
        await until(lambda: ANSWER in receiver.messages, what="the answer to the handshake")


@pytest.mark.parametrize("host", ["0.0.0.0", "localhost", "[::1]"])
async def test_another_spelling_of_this_machine_is_taken_as_the_address_of_the_stream(attach, host):
    async with Server(legacy := Legacy()) as server:
        port = httpx2.URL(server.url).port
        legacy.events = (b"event: endpoint\ndata: http://%b:%d/messages" % (host.encode(), port),)
        transport, receiver = await attach(server.url)
        transport.send(b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
        await until(lambda: receiver.messages)
        assert receiver.messages == [ANSWER]
        assert any(f"{host}:{port}" in text for _, text in receiver.noise)


async def test_a_refused_endpoint_is_an_error_with_both_addresses_and_a_cure(attach):
    async with Server(legacy := Legacy()) as server:
        legacy.events = (b"event: endpoint\ndata: http://127.0.0.1:1/messages",)
        with pytest.raises(TransportError) as raised:
            await attach(server.url)
    assert all(
        part in str(raised.value) for part in (server.url, "http://127.0.0.1:1", "public host and port")
    )
    assert legacy.targets == []


async def test_a_404_of_the_announced_address_is_not_blamed_on_the_configured_one(attach):
    async with Server(Legacy(taken=b"404 Not Found")) as server:
        transport, receiver = await attach(server.url)
        transport.send(b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
        await until(lambda: receiver.messages)
    message = json.loads(receiver.messages[0])["error"]["message"]
    assert "/messages answered 404" in message
    assert f"{server.url} announced this address" in message and "prefix" in message

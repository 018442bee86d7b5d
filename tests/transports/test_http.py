"""Streamable HTTP toward servers that redirect, lie, flood, stall and die; and what the specification wants sent."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from mcp_ws_ide.core.era import Era, probe, read_probe, refused_probe
from mcp_ws_ide.core.messages import parse
from mcp_ws_ide.errors import TransportClosedError, TransportError
from mcp_ws_ide.transports import http, http_exchange, http_responses
from mcp_ws_ide.transports.http import HttpTransport
from mcp_ws_ide.transports.mirrored import MAX_ANNOTATIONS, annotated
from mcp_ws_ide.transports.remote import Bounds, Remote
from tests.conftest import BOUND, MODERN, free_port, until
from tests.transports.peers import Recorder
from tests.transports.raw_http import Request, Server


class Client:
    """A transport with its receiver."""

    def __init__(self, transport: HttpTransport) -> None:
        self.transport = transport
        self.receiver = Recorder()

    def send(self, method: str, params: Any = None, number: Any = None, modern: bool = True) -> None:
        params = {**(params or {}), "_meta": MODERN} if modern else (params or {})
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        self.transport.send(json.dumps(message if number is None else {"id": number, **message}).encode())

    async def answer(self, number: Any) -> dict[str, Any]:
        def found() -> Any:
            messages = [json.loads(message) for message in self.receiver.messages]
            return next((m for m in messages if m.get("id") == number and "method" not in m), None)

        try:
            return await until(found, BOUND)
        except TimeoutError:
            raise AssertionError(
                (self.receiver.messages, self.receiver.reasons, self.receiver.noise)
            ) from None

    async def ask(
        self, method: str, params: Any = None, number: Any = 1, modern: bool = True
    ) -> dict[str, Any]:
        self.send(method, params, number, modern)
        return await self.answer(number)

    async def initialize(self) -> dict[str, Any]:
        return await self.ask("initialize", {"protocolVersion": "2025-11-25"}, "init", modern=False)


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    made: list[HttpTransport] = []

    async def client(url: str, headers: dict[str, str] | None = None, **options: Any) -> Client:
        bounds = {k: options.pop(k) for k in ("max_message_bytes", "reconnect_timeout") if k in options}
        transport = HttpTransport(Remote(url, headers or {}, **options), Bounds(**bounds))
        made.append(transport)
        client = Client(transport)
        await transport.connect(client.receiver)
        return client

    yield client
    for transport in made:
        await transport.close()


def event(message: Any, event_id: str = "") -> bytes:
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}event: message\ndata: {json.dumps(message)}".encode()


def outcome(answer: dict[str, Any]) -> str:
    return answer["error"]["data"]["outcome"]


# --- what is sent ---------------------------------------------------------------------------------


async def test_a_modern_request_repeats_itself_in_headers(make):
    schema = {
        "type": "object",
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "deep": {"type": "object", "properties": {"flag": {"type": "boolean", "x-mcp-header": "Flag"}}},
            "other": {"type": "integer", "x-mcp-header": "Count"},
        },
    }

    async def handler(request: Request) -> None:
        await request.result({"tools": [{"name": "größe", "inputSchema": schema}]})

    async with Server(handler) as server:
        client = await make(server.url)
        await client.ask("tools/list")
        arguments = {"region": " eu ", "deep": {"flag": True}}
        await client.ask("tools/call", {"name": "größe", "arguments": arguments}, 2)
        await client.ask("resources/read", {"uri": "file:///a"}, 3)
        for number, method in enumerate(("tasks/get", "tasks/update", "tasks/cancel"), 4):
            await client.ask(method, {"taskId": "größe-1"}, number)
        listing, call, read, *tasks = (request.headers for request in server.requests)
    assert listing["mcp-protocol-version"] == "2026-07-28"
    assert listing["mcp-method"] == "tools/list"
    assert "mcp-name" not in listing
    assert call["mcp-name"] == f"=?base64?{base64.b64encode('größe'.encode()).decode()}?="
    assert call["mcp-param-region"] == f"=?base64?{base64.b64encode(b' eu ').decode()}?="
    assert call["mcp-param-flag"] == "true"
    assert "mcp-param-count" not in call
    assert read["mcp-name"] == "file:///a"
    named = f"=?base64?{base64.b64encode('größe-1'.encode()).decode()}?="
    assert [request["mcp-name"] for request in tasks] == [named] * 3
    assert "mcp-session-id" not in call
    assert call["accept"] == "application/json, text/event-stream"


async def test_a_call_that_lacks_headers_is_repeated_once_the_tools_are_known(make):
    schema = {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}

    async def handler(request: Request) -> None:
        message = request.message
        if message["method"] == "tools/list" and "cursor" not in message["params"]:
            return await request.result({"tools": [], "nextCursor": "2"})
        if message["method"] == "tools/list":
            return await request.result({"tools": [{"name": "t", "inputSchema": schema}]})
        if message["params"]["name"] == "t" and request.headers.get("mcp-param-region") == "eu":
            return await request.result({"ran": True})
        error = {"code": -32020, "message": "Mcp-Param-Region is missing"}
        await request.answer(
            400, json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode()
        )

    async with Server(handler) as server:
        client = await make(server.url)
        call = {"name": "t", "arguments": {"region": "eu"}}
        assert (await client.ask("tools/call", call))["result"] == {"ran": True}
        assert (await client.ask("tools/call", call, 2))["result"] == {"ran": True}
        methods = [request.message["method"] for request in server.requests]
        assert methods == ["tools/call", "tools/list", "tools/list", "tools/call", "tools/call"]
        assert (await client.ask("tools/call", {"name": "other"}, 3))["error"]["code"] == -32020
        assert [json.loads(message)["id"] for message in client.receiver.messages] == [1, 2, 3]


@pytest.mark.parametrize(
    "properties",
    [
        {"a": {"type": "number", "x-mcp-header": "A"}},
        {"a": {"type": "string", "x-mcp-header": "A B"}},
        {"a": {"type": "string", "x-mcp-header": ""}},
        {"a": {"type": "string", "x-mcp-header": "A\r\nB"}},
        {"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}},
        {"a": {"type": "string", "x-mcp-header": 5}},
    ],
)
def test_an_invalid_annotation_mirrors_nothing(properties):
    valid = {"ok": {"type": "string", "x-mcp-header": "Ok"}}
    assert annotated({"properties": valid}) == {("ok",): "Ok"}
    assert annotated({"properties": {**valid, **properties}}) == {}


def test_more_annotations_than_any_server_takes_headers_mirror_nothing():
    def schema(count: int) -> dict[str, Any]:
        return {"properties": {f"p{n}": {"type": "string", "x-mcp-header": f"h{n}"} for n in range(count)}}

    assert len(annotated(schema(MAX_ANNOTATIONS))) == MAX_ANNOTATIONS
    assert annotated(schema(MAX_ANNOTATIONS + 1)) == {}


def test_a_type_that_is_no_string_is_an_invalid_annotation():
    assert annotated({"properties": {"a": {"type": ["string"], "x-mcp-header": "A"}}}) == {}


@pytest.mark.parametrize("cursor", ["", "x"])
async def test_a_list_of_tools_whose_cursor_never_ends_holds_no_call(make, cursor):
    async def handler(request: Request) -> None:
        message = request.message
        if message["method"] == "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in "abc"]
            return await request.result({"tools": tools, "nextCursor": cursor})
        error = {
            "jsonrpc": "2.0",
            "id": message["id"],
            "error": {"code": -32020, "message": "header mismatch"},
        }
        await request.answer(400, json.dumps(error).encode())

    async with Server(handler) as server:
        client = await make(server.url)
        answer = await client.ask("tools/call", {"name": "a", "arguments": {}})
        assert answer["error"]["code"] == -32020
        methods = [request.message["method"] for request in server.requests]
        assert methods.count("tools/list") == 2


@pytest.mark.parametrize(
    "token", ["1.5", "[1]", "{}", "null", "true", "1e999", "9" * 4000, '"' + "x" * 100_000 + '"']
)
@pytest.mark.parametrize("modern", [True, False])
async def test_an_odd_progress_token_is_left_to_the_server(make, token, modern):
    async def handler(request: Request) -> None:
        if request.message["method"] == "tools/call":
            error = {"code": -32020, "message": "look at the tools again"}
            status = 200 if "mcp-param-x" in request.headers or not modern else 400
            reply = {"error": error} if status == 400 else {"result": {}}
            return await request.answer(status, json.dumps({"jsonrpc": "2.0", "id": 1, **reply}).encode())
        schema = {"properties": {"x": {"type": "string", "x-mcp-header": "X"}}}
        await request.result({"tools": [{"name": "t", "inputSchema": schema}]})

    params = {
        "name": "t",
        "arguments": {"x": "y"},
        "_meta": {**(MODERN if modern else {}), "progressToken": 0},
    }
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    sent = json.dumps(call).replace('"progressToken": 0', f'"progressToken": {token}')
    async with Server(handler) as server:
        client = await make(server.url)
        client.transport.send(sent.encode())
        assert "result" in await client.answer(1)
        client.transport.send(
            b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%b}}' % token.encode()
        )
        assert "result" in await client.ask("tools/list", number=2, modern=modern)
        assert server.requests[0].body == sent.encode()


async def test_a_handshake_session_keeps_its_order_id_and_version(make):
    got_initialized = asyncio.Event()

    async def handler(request: Request) -> None:
        if request.method != "POST":
            return await request.answer(405)
        method = request.message["method"]
        if method == "initialize":
            await asyncio.sleep(0.05)  # what follows would overtake it if it could
            return await request.result({"protocolVersion": "2025-11-25"}, Mcp_Session_Id="s-1")
        if method == "notifications/initialized":
            await asyncio.sleep(0.05)
            got_initialized.set()
            return await request.answer(202)
        assert got_initialized.is_set()
        await request.result()

    async with Server(handler) as server:
        client = await make(server.url)
        client.send("initialize", {}, "init", modern=False)
        client.send("notifications/initialized", modern=False)
        for number in range(5):
            client.send("tools/list", {}, number, modern=False)
        assert "result" in await client.answer(4)
        await client.transport.close()
        first, *others = server.requests
    assert "mcp-session-id" not in first.headers
    assert {(r.headers["mcp-session-id"], r.headers["mcp-protocol-version"]) for r in others} == {
        ("s-1", "2025-11-25")
    }
    assert [r.method for r in others].count("GET") == 1
    assert others[-1].method == "DELETE"


async def test_connections_are_reused_and_no_cookie_is_returned(make):
    async def handler(request: Request) -> None:
        await request.result(Set_Cookie="secret=1; Path=/")

    async with Server(handler) as server:
        client = await make(server.url)
        for number in range(5):
            await client.ask("tools/list", number=number)
        assert server.connections == 1
        assert all("cookie" not in request.headers for request in server.requests)


async def test_cancelling_a_modern_request_closes_its_response(make):
    closed = asyncio.Event()

    async def handler(request: Request) -> None:
        await request.events(b": working")
        try:
            while True:
                await request.raw(b": working\n\n")
                await asyncio.sleep(0.01)
        except OSError:
            closed.set()
            raise

    async with Server(handler) as server:
        client = await make(server.url)
        client.send("tools/call", {"name": "slow"}, 1)
        await until(lambda: server.requests)
        client.send("notifications/cancelled", {"requestId": 1}, modern=False)
        async with asyncio.timeout(BOUND):
            await closed.wait()
        assert [request.message["method"] for request in server.requests] == ["tools/call"]
        assert client.receiver.messages == []


async def test_configured_headers_go_along_and_reach_no_log_or_message(make, caplog):
    async def handler(request: Request) -> None:
        if request.message["id"] == 1:
            return await request.answer(401, b"no")
        request.hang_up()

    caplog.set_level(logging.DEBUG)
    async with Server(handler) as server:
        url = server.url.replace("://", "://user:canary-3@") + "?key=canary-2"
        client = await make(url, {"X-Api-Key": "canary-1"})
        refused = await client.ask("tools/list")
        broken = await client.ask("tools/list", number=2)
        assert server.requests[0].headers["x-api-key"] == "canary-1"
        assert server.requests[0].target == "/mcp?key=canary-2"
    assert "401" in refused["error"]["message"]
    assert "headers" in refused["error"]["message"]
    said = json.dumps([refused, broken]) + caplog.text + repr(client.transport) + repr(client.receiver.noise)
    assert "canary" not in said


# --- redirects ------------------------------------------------------------------------------------


async def test_a_redirect_within_the_origin_is_followed_and_one_to_another_is_not(make):
    async def elsewhere(request: Request) -> None:
        await request.result()

    async def handler(request: Request) -> None:
        if request.target == "/mcp":
            return await request.answer(307, Location="/mcp/")
        if request.message["method"] == "evil":
            return await request.answer(307, Location=other.url + "?stolen=1")
        if request.message["method"] == "drops":
            return await request.answer(302, Location="/mcp")
        if request.message["method"] == "circle":
            return await request.answer(308, Location="/mcp")
        await request.result({"target": request.target})

    async with Server(elsewhere) as other, Server(handler) as server:
        client = await make(server.url, {"Authorization": "Bearer canary"})
        assert (await client.ask("tools/list"))["result"] == {"target": "/mcp/"}
        evil = await client.ask("evil", number=2)
        assert "another origin" in evil["error"]["message"]
        assert "stolen" not in evil["error"]["message"]
        assert outcome(evil) == "not_sent"
        assert "would drop the message" in (await client.ask("drops", number=3))["error"]["message"]
        assert "in a loop" in (await client.ask("circle", number=4))["error"]["message"]
        assert other.requests == []


# --- lies -----------------------------------------------------------------------------------------

OTHER_ID = {"jsonrpc": "2.0", "id": 99, "result": {}}


@pytest.mark.parametrize(
    ("media", "body", "words"),
    [
        ("application/json", json.dumps(OTHER_ID).encode(), "that does not answer the request"),
        ("application/json", b"[1,", "that does not answer the request"),
        ("application/json", b"", "that does not answer the request"),
        ("application/json", b'{"jsonrpc":"2.0","id":1,"result":{},"id":1}', "'id' occurs twice"),
        ("application/json", b'{"jsonrpc":"2.0","id":1,"result":{"a":1,}}', "byte 40, at result.a"),
        ("text/html", b"<html>", "text/html"),
        ("text/html", b"<html><Title>\n Login &amp; Co</title>", "a web page titled 'Login & Co'"),
        ("text/html", b'<p>{"jsonrpc":"2.0","id":1,"result":{}}', 'check that "url" is the MCP endpoint'),
        ("text/plain", b"come back later", "'text/plain' instead of JSON: come back later"),
        ("text/plain", b'{"jsonrpc":"2.0","id":1,"result":{"a":1,}}', "byte 40, at result.a"),
        ("text/event-stream", event(OTHER_ID) + b"\n\n", "before the response"),
        ("text/event-stream", b'data: {"jsonrpc":"2.0","result":{"a":01},"id":1}\n\n', "at result.a"),
        ("text/event-stream", b"data: nonsense\n\n", "before the response"),
        ("text/event-stream", b"data: " + b"x" * 300_000 + b"\n\n", "max_message_bytes"),
        (
            "application/json",
            b'{"jsonrpc":"2.0","id":1,"result":"%b"}' % (b"x" * 300_000),
            "max_message_bytes",
        ),
    ],
)
@pytest.mark.parametrize("modern", [True, False])
async def test_an_invalid_response_fails_its_request_alone(make, media, body, words, modern):
    async def handler(request: Request) -> None:
        if request.method != "POST":
            return await request.answer(405)
        if request.message["id"] == 1:
            return await request.answer(200, body, media)
        await request.result({"fine": True})

    async with Server(handler) as server:
        client = await make(server.url, max_message_bytes=100_000)
        if not modern:
            await client.initialize()
        answer = await client.ask("tools/call", {"name": "x"}, modern=modern)
        assert words in answer["error"]["message"]
        assert (await client.ask("tools/list", number=2, modern=modern))["result"] == {"fine": True}
        assert not any(json.loads(m).get("id") == 99 for m in client.receiver.messages)


RESPONSE = b'{"jsonrpc":"2.0","id":1,"result":{"fine":true}}'


async def stay_open(request: Request, *parts: bytes) -> None:
    """Write an event stream piece by piece, and leave it open."""
    await request.raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    for part in parts:
        await request.raw(part)
        await asyncio.sleep(0)
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    "parts",
    [
        [b"data: " + RESPONSE + b"\r\r"],
        [b"event: message\rdata: " + RESPONSE + b"\r", b"\r"],
        [b": hi\r\r", b"data: " + RESPONSE + b"\r", b"\n\r", b"\n"],
        [b'event: message\ndata: {"jsonrpc":"2.0","id":1,"method":"tools/call","result":{"fine":true}}\n\n'],
    ],
)
async def test_an_event_with_any_legal_line_end_is_read_at_once(make, parts):
    async with Server(lambda request: stay_open(request, *parts)) as server:
        client = await make(server.url)
        async with asyncio.timeout(0.9):
            assert (await client.ask("tools/call", {"name": "t"}))["result"] == {"fine": True}


@pytest.mark.parametrize(
    ("written", "quoted"),
    [
        (b"data: null", "null"),
        (b"data: []", "[]"),
        (b"data: [DONE]", "[DONE]"),
        (b'data: {"content":[]}', '{"content":[]}'),
        (b'data: "hi"', '"hi"'),
        (b"data: not json", "not json"),
        (b"data: Internal Server Error", "Internal Server Error"),
        (b"data: Traceback (most recent call last):\ndata:   File x", "Traceback"),
        (b'event: error\ndata: {"message":"kaputt"}', 'an event named \'error\': {"message":"kaputt"}'),
        (b"event: error\ndata: kaputt", "an event named 'error': kaputt"),
    ],
)
async def test_an_event_in_place_of_the_response_fails_its_request_and_is_quoted(make, written, quoted):
    async with Server(lambda request: stay_open(request, written + b"\n\n")) as server:
        client = await make(server.url)
        async with asyncio.timeout(5):
            answer = await client.ask("tools/call", {"name": "t"})
        assert f"does not answer the request: {quoted}" in answer["error"]["message"]
        assert outcome(answer) == "unknown"


async def test_text_in_an_event_without_an_end_fails_its_request_too(make):
    async with Server(lambda request: stay_open(request, b"data: not json\n")) as server:
        client = await make(server.url)
        async with asyncio.timeout(5):
            answer = await client.ask("tools/call", {"name": "t"})
        assert "does not answer the request: not json" in answer["error"]["message"]


@pytest.mark.parametrize(
    "alive",
    [
        *(b"data: {}", b"data: ping", b'data: {"type":"ping"}', b'event: log\ndata: {"a":1}'),
        *(b"data: connected", b"data: Processing your request...", b"data: 17", b"data: ..."),
    ],
)
async def test_events_that_keep_a_stream_open_fail_no_request(make, alive, monkeypatch):
    monkeypatch.setattr(http_responses, "EVENT_DOUBT", 0.0)

    async def handler(request: Request) -> None:
        await request.events(alive)
        await passed.wait()
        await request.raw(b"data: " + RESPONSE + b"\n\n")

    passed = asyncio.Event()
    async with Server(handler) as server:
        client = await make(server.url)
        client.send("tools/call", {"name": "t"}, 1)
        await until(lambda: server.requests)
        asyncio.get_running_loop().call_later(0.3, passed.set)
        assert (await client.answer(1))["result"] == {"fine": True}


async def test_an_odd_event_before_the_response_fails_no_request(make):
    parts = [b"data: null\n\n", b"data: " + RESPONSE + b"\n\n"]
    async with Server(lambda request: stay_open(request, *parts)) as server:
        client = await make(server.url)
        assert (await client.ask("tools/call", {"name": "t"}))["result"] == {"fine": True}


async def test_a_batch_is_read_item_by_item_and_not_while_the_reader_is_paused(make):
    notes = [{"jsonrpc": "2.0", "method": f"notifications/{number}"} for number in range(20)]

    async def handler(request: Request) -> None:
        answer = {"jsonrpc": "2.0", "id": request.message["id"], "result": {}}
        await request.answer(200, json.dumps([*notes, answer], indent=1).encode())

    async with Server(handler) as server:
        client = await make(server.url)
        take = client.receiver.message_received

        def pause_at_five(message: bytes) -> None:
            take(message)
            if len(client.receiver.messages) == 5:
                client.transport.pause_reading()

        client.receiver.message_received = pause_at_five
        client.send("tools/list", {}, 1)
        await until(lambda: len(client.receiver.messages) == 5)
        other = await make(server.url)
        await other.ask("tools/list")  # meanwhile another attachment has a whole exchange
        assert len(client.receiver.messages) == 5
        client.transport.resume_reading()
        assert "result" in await client.answer(1)
        assert len(client.receiver.messages) == len(other.receiver.messages) == 21


ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{}}'


@pytest.mark.parametrize(
    ("body", "words", "answered"),
    [
        (b"[" * 900 + b'"' + b"x" * 1_000_000 + b'"' + b"]" * 900, "does not answer the request: [[[", False),
        (b"[%b,[%b]]" % (ANSWER, ANSWER), "text that is not a message was dropped", True),
        (b'[{"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}]", "does not answer the request", False),
        (b"[" + b"1," * 100_000 + b"1]", "does not answer the request", False),
        (b"[%b]" % b",".join([ANSWER] * 1001), "more than 1000 messages", True),
        (b"[%b" % ANSWER, "read one by one", True),
        (b"[%b,{]" % ANSWER, "read one by one", True),
        (b"[]", "that does not answer the request", False),
    ],
)
async def test_a_batch_is_read_as_far_as_it_has_messages(make, body, words, answered):
    async def handler(request: Request) -> None:
        if request.message["id"] == 1:
            return await request.answer(200, body)
        await request.result()

    async with Server(handler) as server:
        client = await make(server.url)
        answer = await client.ask("tools/list")
        assert ("result" in answer) is answered
        await until(lambda: words in json.dumps([answer, client.receiver.noise]), what=words)
        assert "result" in await client.ask("tools/list", number=2)


async def test_wrong_headers_of_a_response_are_not_trusted(make):
    async def handler(request: Request) -> None:
        if request.message["method"] == "initialize":
            return await request.result({"protocolVersion": "x\r\nEvil: 1"}, Mcp_Session_Id="two words")
        if request.message["id"] == 2:
            return await request.answer(200, b"\x1f\x8b", Content_Encoding="gzip")
        await request.raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n")

    async with Server(handler) as server:
        client = await make(server.url)
        assert "Mcp-Session-Id" in (await client.initialize())["error"]["message"]
        await until(lambda: client.receiver.reasons)
        other = await make(server.url)
        assert "compressed" in (await other.ask("tools/list", number=2))["error"]["message"]
        assert outcome(await other.ask("tools/list", number=3)) == "unknown"


PROGRESS = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n'


@pytest.mark.parametrize("media", ["text/plain", "application/x-ndjson", "text/json", ""])
@pytest.mark.parametrize("before", [b"", PROGRESS])
async def test_a_body_with_another_content_type_that_is_a_response_is_read_and_reported(make, media, before):
    async def handler(request: Request) -> None:
        answer = {"jsonrpc": "2.0", "id": request.message["id"], "result": {"fine": True}}
        await request.answer(200, before + json.dumps(answer).encode() + b"\n", media)

    async with Server(handler) as server:
        client = await make(server.url)
        for number in (1, 2):
            assert (await client.ask("tools/list", number=number))["result"] == {"fine": True}
        reports = [text for _, text in client.receiver.noise if "was read as JSON" in text]
        assert len(reports) == 1
        assert repr(media) in reports[0]


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad: no session"}}', None),
        (
            400,
            b'{"error":{"message":"Bad: no session"}}',
            'answered 400: {"error":{"message":"Bad: no session"}}',
        ),
        (404, b"no such session", "no longer knows the session (404: no such session)"),
        (404, b"<title>Gone</title>", "no longer knows the session (404: a web page titled 'Gone')"),
    ],
)
async def test_a_refusal_is_told_with_its_status_and_the_words_of_the_server(make, status, body, reason):
    async def handler(request: Request) -> None:
        if request.method == "POST" and request.message["method"] == "initialize":
            return await request.result({"protocolVersion": "2025-11-25"}, Mcp_Session_Id="x")
        await request.answer(status, body)

    async with Server(handler) as server:
        client = await make(server.url)
        await client.initialize()
        answer = await client.ask("tools/call", {"name": "t"}, 1, modern=False)
        assert (reason or "no longer knows the session (400: Bad: no session)") in answer["error"]["message"]


async def test_a_json_rpc_error_of_a_4xx_passes_as_it_is(make):
    error = {"code": -32020, "message": "Mcp-Name differs", "data": {"own": [1]}}

    async def handler(request: Request) -> None:
        given = request.message["id"] if request.message["id"] == 1 else None
        await request.answer(400, json.dumps({"jsonrpc": "2.0", "id": given, "error": error}).encode())

    async with Server(handler) as server:
        client = await make(server.url)
        assert (await client.ask("tools/list"))["error"] == error
        assert (await client.ask("tools/list", number=2))["error"] == error


TRICKLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
LENGTHS = b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "again", "words"),
    [
        (b"nonsense\r\n", b"", "the request to"),
        (b"HTTP/1.1 200 OK\r\n" + LENGTHS, b"", "the request to"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", b"", "the request to"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", b"", "the request to"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000, "the request to"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1000, "the request to"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", "did not finish its response"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x", "did not finish its response"),
        (TRICKLE, b" ", "did not finish its response"),
        (TRICKLE.replace(b"200", b"400"), b" ", "did not finish its response"),
        (CHUNKED, b"1\r\n \r\n", "did not finish its response"),
        (CHUNKED + b"1", b"0" * 100, "the request to"),
        (CHUNKED + b"FFFFFFFF\r\n", b"x" * 1000, "max_message_bytes"),
        (CHUNKED + b"1;", b"x" * 1000, "the request to"),
        (
            CHUNKED.replace(b"application/json", b"text/event-stream") + b"5\r\ndata:\r\n",
            None,
            "the request to",
        ),
    ],
)
async def test_a_response_that_never_ends_fails_its_own_request_alone(make, head, again, words):
    async def handler(request: Request) -> None:
        if request.message["id"] != 1:
            return await request.result()
        await request.raw(head)
        while again:
            await request.raw(again)
            await asyncio.sleep(0.01 if len(again) < 100 else 0)
        request.writer.close()

    async with Server(handler) as server:
        read_timeout = 0.5 if words == "did not finish its response" else BOUND  # or it could come first
        client = await make(server.url, read_timeout=read_timeout, max_message_bytes=100_000)
        other = await make(server.url)
        client.send("tools/call", {"name": "x"}, 1)
        assert "result" in await other.ask("tools/list", number=2)
        answer = await client.answer(1)
        assert words in answer["error"]["message"]
        assert answer["error"]["code"] == -31004 or outcome(answer) == "unknown"
        assert "result" in await client.ask("tools/list", number=2)
        assert client.receiver.reasons == []


@pytest.mark.parametrize("charset", ["utf-16", "zlib", "punycode", "rot13", "nonsense"])
async def test_events_are_utf_8_whatever_charset_is_declared(make, charset):
    async def handler(request: Request) -> None:
        media = f"text/event-stream; charset={charset}"
        await request.answer(200, event({"jsonrpc": "2.0", "id": 1, "result": {"a": "ä"}}) + b"\n\n", media)

    async with Server(handler) as server:
        client = await make(server.url)
        assert (await client.ask("tools/list"))["result"] == {"a": "ä"}


# --- slow, dying ------------------------------------------------------------------------------------


async def test_a_silent_server_fails_its_own_request_alone(make):
    async def handler(request: Request) -> None:
        if request.message["id"] == 1:
            return await asyncio.sleep(60)
        await request.result()

    async with Server(handler) as server:
        client = await make(server.url, read_timeout=0.3)
        client.send("tools/call", {"name": "x"}, 1)
        assert "result" in await client.ask("tools/list", number=2)
        answer = await client.answer(1)
        assert "read_timeout" in answer["error"]["message"]
        assert outcome(answer) == "unknown"


async def test_an_unreachable_server_is_reported_and_found_when_it_returns(make):
    async def handler(request: Request) -> None:
        await request.result()

    async with Server(handler) as server:
        url = server.url
        client = await make(url)
        assert "result" in await client.ask("tools/list")
    answer = await client.ask("tools/list", number=2)
    assert "cannot be reached" in answer["error"]["message"] or "the request to" in answer["error"]["message"]
    answer = await client.ask("tools/list", number=3)
    assert outcome(answer) == "not_sent"
    assert client.receiver.reasons == []


@pytest.mark.parametrize("answer", [None, 401, 403, 407, 408, 429, 503])
async def test_probing_an_unreachable_server_decides_no_era(make, answer):
    """Or it would be taken for one that is too old to know the question."""

    async def handler(request: Request) -> None:
        if answer is None:
            return request.hang_up()
        await request.answer(answer)

    async with Server(handler) as server:
        client = await make(server.url)
        client.send("server/discover", {}, 0)
        await until(lambda: client.receiver.reasons)
        assert client.receiver.messages == []
        with pytest.raises(TransportClosedError):
            client.send("tools/list", {}, 1)


@pytest.mark.parametrize("status", [400, 404, 405, 406, 415, 422])
@pytest.mark.parametrize(
    "body", [b"expected initialize", b"<html>no</html>", b'{"detail":"no session"}', b""]
)
async def test_a_server_that_refuses_the_probe_is_of_the_handshake_era(make, status, body):
    async def handler(request: Request) -> None:
        if request.method == "POST" and request.message["method"] == "initialize":
            return await request.result({"protocolVersion": "2025-11-25"}, Mcp_Session_Id="s")
        if request.headers.get("mcp-session-id") == "s":
            return await request.result() if request.method == "POST" else await request.answer(405)
        await request.answer(status, body, "application/json" if body[:1] == b"{" else "text/html")

    async with Server(handler) as server:
        client = await make(server.url)
        client.transport.send(probe("1").data)
        refused = await client.answer(0)
        assert refused["error"]["code"] == -32601
        assert str(status) in refused["error"]["message"]
        message = parse(client.receiver.messages[0])
        assert refused_probe(message) == ""
        assert read_probe(message) is Era.LEGACY
        assert "result" in await client.initialize()
        assert "result" in await client.ask("tools/list", number=1, modern=False)


async def test_a_handshake_with_an_unreachable_server_ends_the_attachment_with_a_reason(make):
    async with Server(Request.result) as server:
        url = server.url
    client = await make(url)
    answer = await client.initialize()
    assert outcome(answer) == "not_sent"
    await until(lambda: client.receiver.reasons)
    assert "cannot be reached" in client.receiver.reasons[0]


async def test_a_flood_of_connections_is_bounded(make, monkeypatch):
    monkeypatch.setattr("mcp_ws_ide.transports.remote.MAX_CONNECTIONS", 8)
    waiting: list[Request] = []

    async def handler(request: Request) -> None:
        waiting.append(request)
        await asyncio.sleep(60)

    async with Server(handler) as server:
        # As long as this one waits for a connection to become free.
        client = await make(server.url, connect_timeout=6)
        for number in range(50):
            client.send("tools/call", {"name": "x"}, number)
        await until(lambda: len(client.receiver.messages) >= 50 - 8)
        for answer in map(json.loads, client.receiver.messages):
            assert "which is the maximum" in answer["error"]["message"]
            assert outcome(answer) == "not_sent"
        assert len(waiting) == 8


# --- sessions and resumption ----------------------------------------------------------------------


async def test_a_broken_response_is_resumed_where_the_server_can(make):
    async def handler(request: Request) -> None:
        if request.method == "POST" and request.message["method"] == "initialize":
            return await request.result({"protocolVersion": "2025-11-25"}, Mcp_Session_Id="s")
        if request.method == "POST":
            progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
            await request.events(b"id: 1\nretry: 10\ndata:", event(progress, "2"))
        elif request.headers.get("last-event-id") == "2":
            await request.events(event({"jsonrpc": "2.0", "id": 5, "result": {"late": True}}, "3"))
        request.writer.close()

    async with Server(handler) as server:
        client = await make(server.url)
        await client.initialize()
        assert (await client.ask("tools/call", {"name": "x"}, 5, modern=False))["result"] == {"late": True}
        assert [request.method for request in server.requests] == ["POST", "POST", "GET"]


@pytest.mark.parametrize(
    ("event_id", "resumed"), [("ä/€ 1", True), ("x" * 1024, True), ("x" * 1025, False), ("a\x1fb", False)]
)
async def test_an_event_id_is_sent_back_unchanged_or_not_at_all(make, event_id, resumed):
    async def handler(request: Request) -> None:
        if request.method == "POST" and request.message["method"] == "initialize":
            return await request.result({"protocolVersion": "2025-11-25"}, Mcp_Session_Id="s")
        if request.method == "POST":
            await request.events(f"id: {event_id}\nretry: 10\ndata:".encode())
        else:
            await request.events(event({"jsonrpc": "2.0", "id": 5, "result": {}}))
        request.writer.close()

    async with Server(handler) as server:
        client = await make(server.url)
        await client.initialize()
        answer = await client.ask("tools/call", {"name": "x"}, 5, modern=False)
        assert ("result" in answer) is resumed
        sent = [request.headers["last-event-id"] for request in server.requests if request.method == "GET"]
        assert [value.encode("latin-1").decode() for value in sent] == ([event_id] if resumed else [])
        if not resumed:
            assert outcome(answer) == "unknown"


async def test_a_response_that_cannot_be_resumed_is_reported(make):
    async def handler(request: Request) -> None:
        if request.method == "POST" and request.message["method"] == "initialize":
            return await request.result({"protocolVersion": "2025-11-25"}, Mcp_Session_Id="s")
        if request.method == "POST":
            await request.events(b"id: 1\ndata:")
            return request.writer.close()
        await request.answer(400)

    async with Server(handler) as server:
        client = await make(server.url)
        await client.initialize()
        answer = await client.ask("tools/call", {"name": "x"}, 5, modern=False)
        assert "cannot replay" in answer["error"]["message"]
        assert outcome(answer) == "unknown"


async def test_the_general_stream_reconnects_after_its_loss(make):
    notes = iter(range(100))

    async def handler(request: Request) -> None:
        if request.method == "POST" and "id" in request.message:
            return await request.result({"protocolVersion": "2025-11-25"}, Mcp_Session_Id="s")
        if request.method != "GET":
            return await request.answer(202)
        number = next(notes)
        await request.events(event({"jsonrpc": "2.0", "method": f"notifications/{number}"}, f"e{number}"))
        request.writer.close()

    async with Server(handler) as server:
        client = await make(server.url)
        await client.initialize()
        client.send("notifications/initialized", modern=False)
        await until(lambda: len(client.receiver.messages) >= 4)
        gets = [
            request.headers.get("last-event-id") for request in server.requests if request.method == "GET"
        ]
        assert gets[:3] == [None, "e0", "e1"]


@pytest.mark.parametrize("delay", [b"9" * 400, b"-" + b"9" * 400, b"1e9", b"", b"9" * 5000])
async def test_an_enormous_retry_delay_is_bounded(make, delay, monkeypatch):
    monkeypatch.setattr(http_exchange, "MAX_RETRY", 0.2)

    async def handler(request: Request) -> None:
        if request.method == "POST" and request.message["method"] == "initialize":
            return await request.result({"protocolVersion": "2025-11-25"}, Mcp_Session_Id="s")
        if request.method == "POST":
            await request.events(b"id: 1\nretry: %b\ndata:" % delay)
        elif request.headers.get("last-event-id") == "1":
            await request.events(event({"jsonrpc": "2.0", "id": 5, "result": {}}, "2"))
        request.writer.close()

    async with Server(handler) as server:
        client = await make(server.url)
        await client.initialize()
        assert "result" in await client.ask("tools/call", {"name": "x"}, 5, modern=False)
        assert client.receiver.reasons == []


class Forgetful:
    """A handshake-era server that forgets its sessions; ``refusal`` is how it says so."""

    def __init__(self, refusal: tuple[int, bytes, str], version: str = "2025-11-25") -> None:
        self.refusal, self.version = refusal, version
        self.sessions: set[str] = set()
        self.opened = 0
        self.ran: list[str] = []
        self.open = True

    async def __call__(self, request: Request) -> None:
        if request.method != "POST":
            return await request.answer(405)
        method, session = request.message["method"], request.headers.get("mcp-session-id", "")
        if method == "initialize" and self.open:
            self.opened += 1
            self.sessions.add(name := f"s{self.opened}")
            return await request.result({"protocolVersion": self.version}, Mcp_Session_Id=name)
        if session not in self.sessions:
            return await request.answer(self.refusal[0], self.refusal[1], self.refusal[2])
        self.ran.append(method)
        if "id" not in request.message:
            return await request.answer(202)
        await request.result({"session": session})


REFUSALS = [
    (
        404,
        b'{"jsonrpc":"2.0","id":"x","error":{"code":-32001,"message":"Session not found"}}',
        "application/json",
    ),
    (404, b"not here", "text/plain"),
    (404, b"", "text/html"),
    (
        400,
        b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"No valid session ID"}}',
        "application/json",
    ),
]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_forgotten_session_is_replaced_and_the_request_repeated(make, refusal):
    async with Server(forgetful := Forgetful(refusal)) as server:
        client = await make(server.url)
        await client.initialize()
        await client.ask("logging/setLevel", {"level": "info"}, 1, modern=False)
        await client.ask("resources/subscribe", {"uri": "a:b"}, 2, modern=False)
        await client.ask("resources/subscribe", {"uri": "a:c"}, 3, modern=False)
        await client.ask("resources/unsubscribe", {"uri": "a:c"}, 4, modern=False)
        forgetful.sessions.clear()
        forgetful.ran.clear()
        answers = await asyncio.gather(
            *(client.ask("tools/call", {"name": "t"}, number, modern=False) for number in range(5, 10))
        )
        assert [answer["result"]["session"] for answer in answers] == ["s2"] * 5
        assert forgetful.ran.count("tools/call") == 5
        assert forgetful.opened == 2
        state = ["notifications/initialized", "logging/setLevel", "resources/subscribe"]
        assert [method for method in forgetful.ran if method != "tools/call"] == state
        assert client.receiver.reasons == []
        assert any("a new session was opened" in text for _, text in client.receiver.noise)


async def test_a_session_that_cannot_be_replaced_fails_each_request_and_not_the_attachment(make):
    async with Server(forgetful := Forgetful(REFUSALS[0])) as server:
        client = await make(server.url)
        await client.initialize()
        forgetful.sessions.clear()
        forgetful.open = False
        for number in (1, 2):
            answer = await client.ask("tools/list", number=number, modern=False)
            assert outcome(answer) == "not_sent"
            assert (
                "no longer knows the session (404: Session not found), and a new one could not be opened"
                in answer["error"]["message"]
            )
        forgetful.open = True
        assert "result" in await client.ask("tools/list", number=3, modern=False)
        assert client.receiver.reasons == []


async def test_a_server_that_forgets_at_once_is_not_asked_for_ever(make):
    async with Server(forgetful := Forgetful(REFUSALS[0])) as server:
        client = await make(server.url)
        await client.initialize()
        forgetful.sessions = frozenset()  # type: ignore[assignment]

        async def forget(request: Request) -> None:
            if request.method == "POST" and request.message["method"] == "initialize":
                return await request.result({"protocolVersion": "2025-11-25"}, Mcp_Session_Id="x")
            await request.answer(*REFUSALS[0])

        server.handler = forget
        server.requests.clear()
        assert outcome(await client.ask("tools/list", number=1, modern=False)) == "not_sent"
        assert len(server.requests) <= 6


async def test_a_session_with_another_version_is_not_taken_for_the_old_one(make):
    async with Server(forgetful := Forgetful(REFUSALS[0])) as server:
        client = await make(server.url)
        await client.initialize()
        forgetful.sessions.clear()
        forgetful.version = "2025-03-26"
        answer = await client.ask("tools/list", number=1, modern=False)
        assert outcome(answer) == "not_sent"
        assert "now speaks '2025-03-26'" in answer["error"]["message"]


async def test_an_unknown_method_with_404_is_an_answer_and_no_lost_session(make):
    async def handler(request: Request) -> None:
        if request.method == "POST" and request.message["method"] == "initialize":
            return await request.result({"protocolVersion": "2025-11-25"}, Mcp_Session_Id="s")
        if request.method == "POST" and "id" not in request.message:
            return await request.answer(202)
        await request.answer(
            404, b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no such method"}}'
        )

    async with Server(handler) as server:
        client = await make(server.url)
        await client.initialize()
        answer = await client.ask("no/such", number=1, modern=False)
        assert answer["error"] == {"code": -32601, "message": "no such method"}
        posts = [request for request in server.requests if request.method == "POST"]
        assert sum(request.message["method"] == "initialize" for request in posts) == 1


@pytest.mark.parametrize("way", ["json", "events"])
@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_session_that_opens_after_the_attachment_has_ended_is_ended_too(make, way, cancelled):
    held = asyncio.Event()

    async def handler(request: Request) -> None:
        if request.method == "POST" and request.message["method"] == "initialize":
            await held.wait()
            if way == "json":
                return await request.result({"protocolVersion": "2025-11-25"}, Mcp_Session_Id="late")
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nMcp-Session-Id: late\r\n\r\n"
            return await request.raw(head)  # the answer itself never comes
        await request.answer(200 if request.method == "DELETE" else 202)

    async with Server(handler) as server:
        client = await make(server.url)
        client.send("initialize", {"protocolVersion": "2025-11-25"}, 1, modern=False)
        await until(lambda: server.requests)
        if cancelled:
            client.send("notifications/cancelled", {"requestId": 1}, modern=False)
        closing = asyncio.ensure_future(client.transport.close())
        await asyncio.sleep(0)
        held.set()
        await closing
        ended = [
            request.headers.get("mcp-session-id") for request in server.requests if request.method == "DELETE"
        ]
        assert ended == ["late"]
        assert len(client.receiver.reasons) == 1


async def test_waiting_for_a_server_to_open_the_session_is_bounded(make, monkeypatch):
    monkeypatch.setattr(http, "OPENING_TIMEOUT", 0.2)

    async def handler(request: Request) -> None:
        await asyncio.sleep(600)

    async with Server(handler) as server:
        client = await make(server.url)
        client.send("initialize", {"protocolVersion": "2025-11-25"}, 1, modern=False)
        await until(lambda: server.requests)
        async with asyncio.timeout(BOUND):
            await client.transport.close()
        assert [request.method for request in server.requests] == ["POST"]


async def test_a_second_handshake_ends_the_session_of_the_first(make):
    sessions = iter(["one", "two"])

    async def handler(request: Request) -> None:
        if request.method == "POST" and "id" in request.message:
            return await request.result({"protocolVersion": "2025-11-25"}, Mcp_Session_Id=next(sessions))
        if request.method == "GET":
            return await request.events(b": listening")
        await request.answer(202)

    async with Server(handler) as server:
        client = await make(server.url)
        await client.initialize()
        client.send("notifications/initialized", modern=False)
        await until(lambda: any(request.method == "GET" for request in server.requests))
        client.send("initialize", {"protocolVersion": "2025-11-25"}, 2, modern=False)
        await client.answer(2)
        client.send("notifications/initialized", modern=False)
        await until(lambda: sum(request.method == "GET" for request in server.requests) == 2)
        await client.transport.close()
        ended = [
            request.headers["mcp-session-id"] for request in server.requests if request.method == "DELETE"
        ]
        assert ended == ["one", "two"]
        listening = [
            request.headers["mcp-session-id"] for request in server.requests if request.method == "GET"
        ]
        assert listening == ["one", "two"]


# --- TLS ------------------------------------------------------------------------------------------


async def test_certificates_are_verified_and_a_private_authority_can_be_configured(make, tmp_path: Path):
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with Server(Request.result, tls) as server:
        client = await make(server.url)
        answer = await client.ask("tools/list")
        assert "ca_file" in answer["error"]["message"]
        assert outcome(answer) == "not_sent"
        assert server.requests == []
        trusting = await make(server.url, ca_file=str(tmp_path / "ca.pem"))
        assert "result" in await trusting.ask("tools/list")
    with pytest.raises(TransportError, match="ca_file"):
        Remote("https://x", {}, ca_file=str(tmp_path / "absent.pem"))


async def test_an_address_with_the_wrong_scheme_or_port_says_what_to_write(make):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)

    refused = asyncio.Event()

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        refused.set()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async with (
        await asyncio.start_server(refuse, "127.0.0.1", 0) as plain,
        await asyncio.start_server(hang_up, "127.0.0.1", 0) as silent,
        Server(Request.result, tls) as secure,
    ):
        port = plain.sockets[0].getsockname()[1]
        wrong = {
            f"https://127.0.0.1:{port}/mcp": "does not speak TLS there; write http://",
            f"https://127.0.0.1:{silent.sockets[0].getsockname()[1]}/mcp": "does not speak TLS there; write http://",
            secure.url.replace("https:", "http:"): "if it expects TLS, write https://",
            f"http://127.0.0.1:{free_port()}/mcp": "cannot be reached: Connection refused",
        }
        for url, cure in wrong.items():
            message = (await (await make(url)).ask("tools/list"))["error"]["message"]
            assert cure in message, message
        await refused.wait()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b"hello\r\n\r\n"])
async def test_a_broken_response_is_not_taken_for_tls(make, answer):
    async def broken(request: Request) -> None:
        await request.raw(answer)
        request.writer.close()

    async with Server(broken) as server:
        message = (await (await make(server.url)).ask("tools/list"))["error"]["message"]
    assert "TLS" not in message, message


# --- proxies --------------------------------------------------------------------------------------


async def test_a_proxy_of_the_environment_is_used_and_an_unusable_one_is_reported(make, monkeypatch):
    async def proxy(request: Request) -> None:
        assert request.target.startswith("http://server.invalid/mcp")
        await request.result()

    async with Server(proxy) as server:
        monkeypatch.setenv("http_proxy", server.url.removesuffix("/mcp"))
        client = await make("http://server.invalid/mcp")
        assert "result" in await client.ask("tools/list")
    monkeypatch.setenv("http_proxy", "gopher://x")
    with pytest.raises(TransportError, match="proxy"):
        Remote("http://server.invalid/mcp", {})


async def test_a_refused_discover_ends_no_other_call(make):
    answer_call = asyncio.Event()

    async def handler(request: Request) -> None:
        if request.message["method"] == "server/discover":
            return await request.answer(429, b"slow down", "text/plain")
        await answer_call.wait()
        await request.result({"content": []})

    async with Server(handler) as server:
        client = await make(server.url)
        client.send("tools/call", {"name": "t"}, 7)
        await until(lambda: server.requests, what="the call")
        refused = await client.ask("server/discover", number=8)
        assert (refused["error"]["code"], outcome(refused)) == (-31002, "not_sent")
        answer_call.set()
        assert (await client.answer(7))["result"] == {"content": []}
        assert client.receiver.reasons == []


async def test_a_notification_answered_with_an_endless_stream_delays_nothing(make):
    async def handler(request: Request) -> None:
        if request.method != "POST":
            return await request.answer(405)
        if request.message["method"] == "initialize":
            return await request.result({"protocolVersion": "2025-11-25", "capabilities": {}})
        if "id" not in request.message:
            await request.events(b": ping")
            await asyncio.Event().wait()
        await request.result({"tools": []})

    async with Server(handler) as server:
        client = await make(server.url)
        await client.initialize()
        client.send("notifications/initialized", modern=False)
        assert (await client.ask("tools/list", modern=False))["result"] == {"tools": []}


async def test_an_unanswered_notification_delays_what_follows_for_a_bounded_time(make, monkeypatch):
    monkeypatch.setattr(http, "NOTIFICATION_TIMEOUT", 0.2)

    async def handler(request: Request) -> None:
        if request.message.get("method") == "initialize":
            return await request.result({"protocolVersion": "2025-11-25", "capabilities": {}})
        if request.method == "POST" and "id" not in request.message:
            await asyncio.Event().wait()
        await request.result({"tools": []})

    async with Server(handler) as server:
        client = await make(server.url)
        await client.initialize()
        client.send("notifications/roots/list_changed", modern=False)
        assert (await client.ask("tools/list", modern=False))["result"] == {"tools": []}

"""No request stays open after an answer that cannot be read or paired, over every transport and in both eras."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import inspect
import itertools
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from mcp_types import CallToolResult
from websockets.asyncio.server import serve

from mcp_ws_ide.config.spec import Configuration, ServerSpec
from mcp_ws_ide.core import messages
from mcp_ws_ide.core.list_items import UNAVAILABLE_KEY
from mcp_ws_ide.core.readable_results import is_readable
from mcp_ws_ide.gateway import Gateway, Limits, doubts
from mcp_ws_ide.links.base import LinkInfo
from tests.conftest import BOUND, MODERN, TESTS, until
from tests.servers import mangled

MANGLED = str(TESTS / "servers" / "mangled.py")
TRANSPORTS = ("stdio", "unix", "ws", "http body", "http events", "sse", "python")
SEEDS = 3
LATEST = 30.0
"""Seconds within which an odd answer must have ended its request on any machine: the gateway's own waits add up to 3.5 s,
and nothing else that could end a request waits less than a minute."""
NUMBERS = itertools.count()
"""Of the sockets, whose servers run at the same time."""

UNREADABLE = {
    ("bytes", "ws"),  # a text frame is UTF-8, or the link ends
    ("foreign id", "http body"),
    ("foreign id", "http events"),  # a stream may carry the late answer to another request
}
"""What one transport cannot read, of what all others read."""


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
            await self.ended(self.begin("tools/list", {}), seconds=BOUND)
            return
        info = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        }
        answer = await self.ended(self.begin("initialize", info), seconds=BOUND)
        assert "result" in answer, answer
        self.send(method="notifications/initialized")


async def _lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        message = json.loads(line)
        if "id" in message:
            writer.write(mangled.mangled(message) + b"\n")
    writer.close()


async def _sockets(link: Any, framing: str = "") -> None:
    with contextlib.suppress(Exception):
        while True:
            message = json.loads(await link.recv())
            if "id" not in message:
                continue
            answer = mangled.mangled(message).decode(errors="replace")
            await link.send(_half(link, answer) if framing and message["method"] == "tools/call" else answer)


async def _half(link: Any, answer: str) -> AsyncIterator[str]:
    """Yield the first fragments of a message, which does not go on."""
    yield answer[:10]
    yield answer[10:20]
    await link.wait_closed()


EVENTS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda body: b"event: message\ndata: %b\n\n" % body,
    "no empty line": lambda body: b"data: %b\n" % body,
    "no line end": lambda body: b"data: %b" % body,
    "bare line": lambda body: body + b"\n",
    "other name": lambda body: b"event: result\ndata: %b\n\n" % body,
    "after progress": lambda body: b'data: {"jsonrpc":"2.0","method":"notifications/x"}\ndata: %b\n' % body,
    "half": lambda body: b"data: " + body[:30],
}
"""How an answer is written as an event."""


class Http:
    """Streamable HTTP (answers as bodies or as events of a stream that stays open), and HTTP+SSE."""

    def __init__(self, form: str, framing: str = "") -> None:
        self.form, self.framing = form, framing
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
        message = json.loads(await reader.readexactly(size) or b"{}")
        answers = "id" in message and "method" in message
        body = mangled.mangled(message) if answers else b""
        framing = self.framing if message.get("method") == "tools/call" else ""
        if self.form == "sse":
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            if answers:
                self.streams[-1].write(EVENTS[framing](body))
        elif not answers:
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        elif self.form == "http body":
            headers = b"Content-Type: application/json\r\nContent-Length: %d" % (len(body) + bool(framing))
            body = body[:30] if framing == "half" else body
            writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (headers, body))
        else:
            headers = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked"
            event = EVENTS[framing](body)
            writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%x\r\n%b\r\n" % (headers, len(event), event))


@contextlib.asynccontextmanager
async def served(transport: str, tmp_path: Path, *arguments: str) -> AsyncIterator[dict[str, Any]]:
    """Run the server behind a transport; yields the transport's part of a spec."""
    if transport == "stdio":
        yield {"command": sys.executable, "args": ("-I", "-S", MANGLED, *arguments)}
    elif transport == "python":
        importlib.import_module("tests.servers.mangled_object")  # the import of the SDK is not measured
        yield {"kind": "python", "target": "tests.servers.mangled_object:server"}
    elif transport == "unix":
        path = tmp_path / f"{next(NUMBERS)}.sock"
        server = await asyncio.start_unix_server(_lines, path)
        yield {"kind": "unix", "url": f"unix://{path}"}
        server.close()
    elif transport == "ws":
        accepted = functools.partial(_sockets, framing=arguments[0] if arguments else "")
        async with serve(accepted, "127.0.0.1", 0, subprotocols=["mcp"]) as server:  # type: ignore[list-item]
            yield {"kind": "ws", "url": f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"}
    else:
        server = await asyncio.start_server(Http(transport, *arguments).accepted, "127.0.0.1", 0)
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


def in_both_eras(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Run a test in both eras at once: most of what it takes is waiting for answers that do not come."""

    async def in_era(era: str, fixtures: dict[str, Any]) -> None:
        try:
            await test(**fixtures, era=era)
        except BaseException as error:
            error.add_note(f"in the {era} era")
            raise

    @functools.wraps(test)
    async def run(**fixtures: Any) -> None:
        await asyncio.gather(*(in_era(era, fixtures) for era in ("handshake", "modern")))

    signature = inspect.signature(test)
    given = [parameter for name, parameter in signature.parameters.items() if name != "era"]
    run.__signature__ = signature.replace(parameters=given)  # type: ignore[attr-defined]
    return run


@pytest.mark.parametrize("transport", TRANSPORTS)
@in_both_eras
async def test_what_has_one_meaning_is_answered_over_every_transport(client, transport, era):
    async def with_seed(seed: int) -> None:
        made = await client(transport, era)
        for how in mangled.READABLE:
            if (how, transport) in UNREADABLE:
                continue
            answer = await made.call(how, seed)
            assert "result" in answer, (how, answer)
            CallToolResult.model_validate(answer["result"])
            assert era == "modern" or is_readable(json.dumps(answer["result"]).encode()), (how, answer)

    await asyncio.gather(*map(with_seed, range(SEEDS)))


@pytest.mark.parametrize("transport", TRANSPORTS)
@in_both_eras
async def test_what_cannot_be_read_fails_its_request_and_spoils_no_other(client, transport, era):
    async def with_seed(seed: int) -> None:
        made = await client(transport, era)
        for how in (*mangled.FAILING, *(how for how, where in UNREADABLE if where == transport != "ws")):
            answer = await made.call(how, seed)
            assert answer["error"]["message"], how
        assert "result" in await made.call("plain", seed)
        assert not made.link.closes

    await asyncio.gather(*map(with_seed, range(SEEDS)))


@pytest.mark.parametrize("transport", TRANSPORTS)
@in_both_eras
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


@pytest.mark.parametrize("transport", TRANSPORTS)
@in_both_eras
async def test_answers_under_an_id_that_was_used_before_end_their_requests(client, transport, era):
    made = await client(transport, era)
    await made.call("first id")
    await made.call("first id")


@pytest.mark.parametrize("transport", TRANSPORTS)
@in_both_eras
async def test_one_bad_item_costs_no_client_the_list(client, transport, era):
    made = await client(transport, era)
    answer = await made.ended(made.begin("tools/list", {"bad": True}))
    assert [tool["name"] for tool in answer["result"]["tools"]] == ["null", "t"]
    assert all(tool["inputSchema"] == {"type": "object"} for tool in answer["result"]["tools"])
    (note,) = answer["result"]["_meta"][UNAVAILABLE_KEY].values()
    assert "omitted" in note


@pytest.mark.parametrize("transport", ["stdio", "ws", "http"])
@in_both_eras
async def test_a_resource_without_a_scheme_is_listed_and_read_by_every_client(client, transport, era):
    made = await client(transport, era)
    result = (await made.ended(made.begin("resources/list", {})))["result"]
    seen = "mcp-ws-ide:notes.txt" if era == "handshake" else "notes.txt"
    assert [resource["uri"] for resource in result["resources"]] == [seen, "x:1"]
    assert (UNAVAILABLE_KEY in result.get("_meta", {})) == (era == "handshake")
    for uri, written in ((seen, "notes.txt"), ("x:1", "x:1")):
        (contents,) = (await made.ended(made.begin("resources/read", {"uri": uri})))["result"]["contents"]
        assert (contents["uri"], contents["text"]) == (uri, f"read {written}")


@pytest.mark.parametrize("transport", ["stdio", "ws", "http"])
@in_both_eras
async def test_a_link_without_a_scheme_costs_no_client_the_result_and_can_be_read(client, transport, era):
    made = await client(transport, era)
    call = made.begin("tools/call", {"name": "t", "arguments": {"links": True}})
    result = (await made.ended(call))["result"]
    seen = "mcp-ws-ide:notes.txt" if era == "handshake" else "notes.txt"
    text, link, embedded, usable = result["content"]
    assert (text, usable) == (mangled.LINKS[0], mangled.LINKS[3])
    assert link == {**mangled.LINKS[1], "uri": seen}
    assert embedded == {"type": "resource", "resource": {"uri": seen, "text": "t"}}
    assert (UNAVAILABLE_KEY in result.get("_meta", {})) == (era == "handshake")
    (contents,) = (await made.ended(made.begin("resources/read", {"uri": link["uri"]})))["result"]["contents"]
    assert (contents["uri"], contents["text"]) == (seen, "read notes.txt")


async def test_a_resource_without_a_scheme_is_followed_under_the_uri_that_the_client_sees(client):
    made = await client("stdio", "handshake")
    for uri in ("mcp-ws-ide:notes.txt", "x:1"):
        await made.ended(made.begin("resources/subscribe", {"uri": uri}))
        await until(
            lambda uri=uri: {"uri": uri} in [message.get("params") for message in made.link.sent], LATEST, uri
        )


@pytest.mark.parametrize("transport", TRANSPORTS)
@in_both_eras
async def test_one_bad_content_item_costs_no_client_the_result(client, transport, era):
    made = await client(transport, era)
    for seed in range(SEEDS):
        result = (await made.call("bad items", seed))["result"]
        assert result["content"][0] == {"type": "text", "text": f"done {seed}"}
        (note,) = result["_meta"][UNAVAILABLE_KEY].values()
        assert "tools/call: item " in note


@pytest.mark.parametrize("transport", TRANSPORTS)
@in_both_eras
async def test_a_result_without_its_message_ends_the_open_request(client, transport, era):
    async def answered(how: str) -> None:
        made = await client(transport, era)
        assert (await made.call(how))["error"]["message"], how
        assert "result" in await made.call("plain")

    await asyncio.gather(*map(answered, mangled.BARE))


@pytest.mark.parametrize("transport", ["stdio", "unix"])
@in_both_eras
async def test_what_no_log_has_ends_the_open_request(client, transport, era):
    async def answered(how: str) -> None:
        made = await client(transport, era)
        error = (await made.call(how))["error"]
        assert "not a JSON-RPC message" in error["message"], (how, error)
        assert "result" in await made.call("plain"), how

    await asyncio.gather(*map(answered, mangled.JUNK))


@pytest.mark.parametrize("how", ["gzip", "header"])
@in_both_eras
async def test_what_is_surely_no_log_ends_every_request_that_gets_no_response(client, how, era):
    made = await client("stdio", era)
    numbers = [
        made.begin("tools/call", {"name": "t", "arguments": {"how": one, "seed": 0, "n": n}})
        for n, one in enumerate(("silent", how, "plain"))
    ]
    assert ["error" in await made.ended(number, how) for number in numbers] == [True, True, False]


@pytest.mark.parametrize("transport", ["ws", "sse", "http events", "http body", "python"])
@in_both_eras
async def test_text_in_place_of_a_message_ends_the_open_request_where_messages_are_framed(
    client, transport, era
):
    made = await client(transport, era)
    assert "kaputt" in (await made.call("prose"))["error"]["message"]
    assert "result" in await made.call("plain")


@pytest.mark.usefixtures("short_doubts")
@in_both_eras
async def test_logs_end_no_request(client, era):
    made = await client("stdio", era)
    calls = [made.begin("tools/call", {"name": "t", "arguments": {"how": how}}) for how in ("logs", "prints")]
    assert "result" in await made.call("logs, then answer")
    await asyncio.sleep(2 * doubts.SUSPICION)
    assert [made.answer(call) for call in calls] == [None, None]


async def test_an_error_without_an_id_after_a_notification_ends_the_request_that_follows(client):
    """The error may be one to the notification, so the request gets some seconds to be answered."""
    made = await client("stdio", "handshake")
    answer = await made.call("no such method")
    assert answer["error"]["message"] == "Method not found"
    began = time.monotonic()
    assert (await made.call("no such method"))["error"]["message"] == "Method not found"
    assert time.monotonic() - began < 1, "no notification was sent since a request was answered"


@pytest.fixture
def short_doubts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let doubts last shorter than the form ``late`` waits between two answers."""
    monkeypatch.setattr(doubts, "SUSPICION", 0.3)
    monkeypatch.setattr(doubts, "RULING_OUT", 0.3)


@pytest.mark.usefixtures("short_doubts")
async def test_errors_of_careless_servers_to_notifications_fail_no_request(client):
    made = await client("stdio", "handshake", "careless")
    assert "result" in await made.call("plain")
    call = made.begin("tools/call", {"name": "t", "arguments": {"how": "silent"}})
    made.send(method="notifications/roots/list_changed")
    await until(lambda: sum(m.get("id") is None for m in made.link.sent) == 2, what="the second error")
    await asyncio.sleep(mangled.SLOW)
    assert made.answer(call) is None


@pytest.mark.usefixtures("short_doubts")
@pytest.mark.parametrize("cancelled", [False, True])
@in_both_eras
async def test_a_second_and_a_late_answer_fail_no_other_request(client, era, cancelled):
    made = await client("stdio", era, "late")
    given = [{"name": "t", "arguments": {"n": number}} for number in range(3)]
    first, second, third = (made.begin("tools/call", params) for params in given)
    if cancelled:
        made.send(method="notifications/cancelled", params={"requestId": second})
    assert "done 0" in json.dumps(await made.ended(first))
    assert "done 2" in json.dumps(await made.ended(third, seconds=60))


@pytest.mark.parametrize("form", ["utf-16", "pretty", "headers", "frames", "no line end"])
@in_both_eras
async def test_a_server_that_frames_in_its_own_way_is_understood(client, form, era):
    made = await client("stdio", era, form)
    assert "result" in await made.call("plain")
    assert "result" in await made.call("plain", 1)


@pytest.mark.parametrize("transport", ["http events", "sse"])
@in_both_eras
async def test_events_that_are_not_as_they_should_be_are_read(client, transport, era):
    async def with_framing(framing: str) -> None:
        made = await client(transport, era, framing)
        answer = await made.call("plain")
        assert ("error" if framing == "half" else "result") in answer, framing

    await asyncio.gather(*(with_framing(framing) for framing in EVENTS if framing))


@pytest.mark.parametrize("framing", ["longer length", "half"])
@in_both_eras
async def test_a_body_that_does_not_end_is_taken_as_far_as_it_came(client, framing, era):
    made = await client("http body", era, framing)
    answer = await made.call("plain")
    assert ("error" if framing == "half" else "result") in answer


@in_both_eras
async def test_a_websocket_message_whose_fragments_do_not_go_on_ends_its_link(client, era):
    made = await client("ws", era, "fragment")
    answer = await made.call("plain")
    assert "of a fragmented message arrived, then nothing" in answer["error"]["message"]


@in_both_eras
async def test_half_an_answer_whose_rest_does_not_come_fails_its_request(client, era):
    made = await client("stdio", era, "half")
    assert "cut off" in (await made.call("plain"))["error"]["message"]


@pytest.mark.parametrize("era", ["handshake", "modern"])
async def test_a_command_that_sends_back_what_it_reads_fails_its_requests(era):
    gateway = Gateway(Limits())
    program = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
    spec = ServerSpec("odd", "test", command=sys.executable, args=("-I", "-S", "-c", program))
    gateway.configure(Configuration({"odd": spec}, []))
    client = Client(gateway, era)
    method = "initialize" if era == "handshake" else "tools/list"
    answer = await client.ended(client.begin(method, {"protocolVersion": "2025-11-25", "capabilities": {}}))
    assert "sent the request back" in answer["error"]["message"]
    await gateway.aclose()


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

"""``connect("http://…")`` with servers that are no gateway: no call stays open, whatever they answer."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from websockets.asyncio.server import ServerConnection, serve

from mcp_ws_ide.client import ConnectError, connect, negotiating, passing_on
from tests.conftest import BOUND
from tests.gateway.test_odd_answers import EVENTS, LATEST, UNREADABLE, served
from tests.servers import mangled
from tests.transports.raw_http import Request, Server

FAILING = [*mangled.FAILING, *mangled.BARE, "prose"]


async def ends(client, how: str, seed: int = 0) -> str:
    """Call the tool; return the text of its result or error."""
    arguments = {"how": how, "seed": seed, "n": seed}
    began = time.monotonic()
    try:
        async with asyncio.timeout(BOUND):
            result = await client.call_tool("t", arguments)
    except (MCPError, ValueError) as error:  # ValueError: the SDK misses members of the result
        text = f"error: {error}"
    else:
        text = "result" if not result.content else result.content[0].text
    assert time.monotonic() - began < LATEST, how
    return text


async def usual(request: Request, header: str = "") -> None:
    """Answer as a server of the handshake era does."""
    message = json.loads(request.body or b"{}")
    if "id" not in message:
        status, body = ("202 Accepted" if request.method == "POST" else "405 No"), b""
    elif message["method"] == "server/discover":
        status, body = "404 Not Found", b""
    else:
        status, body = "200 OK", json.dumps(mangled.answer(message)).encode()
    head = (
        f"HTTP/1.1 {status}\r\n{header}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    await request.raw(head.encode() + body)


async def page(request: Request, title: str, status: int = 200) -> None:
    """Answer with a web page."""
    body = f"<html><title>{title}</title></html>"
    head = f"HTTP/1.1 {status} X\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n\r\n"
    await request.raw((head + body).encode())


@pytest.mark.parametrize("kind", ["http body", "http events", "ws"])
async def test_every_call_ends_whatever_a_foreign_server_answers(tmp_path, kind):
    async with served(kind, tmp_path) as spec:

        async def each(hows: list[str]) -> None:
            async with connect(spec["url"]) as client:
                for how in hows:
                    text = await ends(client, how)
                    readable = how in mangled.READABLE and (how, kind) not in UNREADABLE - {("bytes", "ws")}
                    assert text.startswith("error") != readable, (how, text)
                assert await ends(client, "plain") == "done 0"

        await asyncio.gather(*(each(hows) for hows in (list(mangled.READABLE), FAILING[::2], FAILING[1::2])))


async def test_events_of_a_foreign_server_are_read_in_every_form(tmp_path):
    async def each(framing: str) -> None:
        async with served("http events", tmp_path, framing) as spec, connect(spec["url"]) as client:
            assert (await ends(client, "plain")).startswith("error" if framing == "half" else "done"), framing

    await asyncio.gather(*(each(framing) for framing in EVENTS))


async def test_a_page_in_place_of_a_response_is_quoted(tmp_path):
    async def handler(request: Request) -> None:
        if b"tools/call" in request.body:
            return await page(request, "Sign in")
        await usual(request)

    async with Server(handler) as server, connect(server.url) as client:
        with pytest.raises(MCPError, match="a web page titled 'Sign in'"):
            await client.call_tool("t", {})


async def test_an_address_with_pages_alone_is_named_as_no_endpoint():
    async def handler(request: Request) -> None:
        await page(request, "Shop", 404 if request.target.endswith("/probe") else 200)

    async with Server(handler) as server:
        with pytest.raises(
            ConnectError, match="is not an MCP endpoint: what answers there answered 200 with text/html"
        ):
            async with asyncio.timeout(BOUND), connect(server.url):
                raise AssertionError("it is open")


async def test_a_server_that_is_slow_at_first_is_connected_to(monkeypatch):
    monkeypatch.setattr(negotiating, "FIRST_EVENT", 0.2)
    started = asyncio.Event()
    asyncio.get_running_loop().call_later(0.6, started.set)

    async def handler(request: Request) -> None:
        await started.wait()
        await usual(request)

    async with Server(handler) as server, connect(server.url) as client:
        assert await client.list_tools()


async def test_a_cookie_of_a_foreign_server_comes_back():
    """Load balancers find the instance that has the session by a cookie."""
    seen: list[str | None] = []

    async def handler(request: Request) -> None:
        if request.method == "POST":
            seen.append(request.headers.get("cookie"))
        await usual(request, "Set-Cookie: route=7\r\n")

    async with Server(handler) as server, connect(server.url) as client:
        await client.list_tools()
    assert seen[-1] == "route=7"


FRAMES: dict[str, bytes | str] = {
    "text": "kaputt",
    "page": "<html><title>x</title></html>",
    "binary": b"\x00\x01\x02",
    "compressed": gzip.compress(b'{"jsonrpc":"2.0"}'),
    "string": '"no"',
    "array of text": '["no"]',
    "array of a number": "[1]",
    "array of null": "[null]",
    "empty array": "[]",
    "null": "null",
    "false": "false",
    "object": '{"ok":true}',
    "status": '{"status":"error","message":"no"}',
}
"""Texts that a server sends in place of a response, and that are no messages."""


async def test_a_frame_that_is_no_message_ends_the_open_call_and_no_later_one():
    async def answer(link: ServerConnection) -> None:
        async for data in link:
            message = json.loads(data)
            how = message.get("params", {}).get("arguments", {}).get("how")
            if how in FRAMES:
                await link.send(FRAMES[how])
            elif "id" in message:
                await link.send(mangled.mangled(message).decode())

    async def each(url: str, how: str) -> None:
        async with connect(url) as client:
            assert (await ends(client, how)).startswith("error"), how
            assert await ends(client, "plain") == "done 0"

    async with serve(answer, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
        await asyncio.gather(*(each(url, how) for how in FRAMES))


async def test_a_frame_that_keeps_the_link_open_ends_no_call(monkeypatch):
    """A doubt would end all open calls at once; two calls that are made and answered in between show that there is none."""
    monkeypatch.setattr(passing_on, "SUSPICION", 0.0)
    sent = asyncio.Event()
    waiting: list[dict[str, Any]] = []

    async def answer(link: ServerConnection) -> None:
        async for data in link:
            message = json.loads(data)
            how = message.get("params", {}).get("arguments", {}).get("how")
            if how == "wait":
                waiting.append(message)
                for alive in ("ping", "{}", "7", "", "Processing the request"):
                    await link.send(alive)
                sent.set()
                continue
            if how == "last":
                await link.send(json.dumps(mangled.answer(waiting.pop())))
            if "id" in message:
                await link.send(json.dumps(mangled.answer(message)))

    async with (
        serve(answer, "127.0.0.1", 0) as server,
        connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp") as client,
    ):
        waits = asyncio.ensure_future(ends(client, "wait"))
        await sent.wait()
        for how in ("plain", "plain", "last"):
            assert await ends(client, how) == "done 0"
        assert await waits == "done 0"

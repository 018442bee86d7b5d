"""What a proxy answers in place of the gateway: each client names who answered, what it said, and the cure."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from mcp_ws_ide.client import ConnectError, connect
from mcp_ws_ide.core.intermediaries import CODES, KINDS, STATUSES
from tests.conftest import BOUND
from tests.servers import mangled
from tests.transports.raw_http import Request, Server

STATUS_CURES = {
    **{status: KINDS[code].cure for status, code in CODES.items()},
    **dict.fromkeys(STATUSES, KINDS["proxy_error"].cure),
    418: "check the address, and the proxies on the way",
}


async def page(request: Request, status: int, title: str) -> None:
    await request.answer(status, f"<html><head><title>{title}</title></html>".encode(), "text/html")


async def as_gateway(request: Request) -> None:
    """Answer as a gateway with a server of the handshake era does."""
    if request.target.endswith("/probe"):
        return await request.events(b"data: here")
    message = json.loads(request.body or b"{}")
    if "id" not in message:
        return await request.answer(202 if request.method == "POST" else 405)
    if message["method"] == "server/discover":
        error = {"code": -32601, "message": "handshake era"}
        return await request.answer(
            200, json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode()
        )
    await request.answer(200, json.dumps(mangled.answer(message)).encode())


async def test_over_http_the_call_fails_with_what_the_proxy_said_and_the_next_one_works():
    async def through_proxy(request: Request) -> None:
        if b"tools/call" not in request.body:
            return await as_gateway(request)
        how = request.message["params"]["arguments"].get("how", "")
        await (page(request, int(how), "Proxy says no") if how else as_gateway(request))

    async with Server(through_proxy) as server, asyncio.timeout(BOUND), connect(server.url) as client:
        for status, cure in STATUS_CURES.items():
            with pytest.raises(MCPError) as caught:
                await client.call_tool("t", {"how": str(status)})
            message = str(caught.value)
            assert f"{server.url}: something other than the gateway answered {status}" in message
            assert "a web page titled 'Proxy says no'" in message
            assert message.endswith(f"; {cure}")
            assert caught.value.error.data["outcome"] == ("not_sent" if status < 500 else "unknown")
            assert (await client.call_tool("t", {"n": status})).content[0].text == f"done {status}"


async def test_over_http_the_gateways_own_refusal_stays_as_it_is():
    refusal = {"code": -31008, "message": "too fast", "data": {"status": 429, "outcome": "not_sent"}}

    async def handler(request: Request) -> None:
        if b"tools/call" in request.body:
            return await request.answer(
                429, json.dumps({"jsonrpc": "2.0", "id": None, "error": refusal}).encode()
            )
        await as_gateway(request)

    async with Server(handler) as server, asyncio.timeout(BOUND), connect(server.url) as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("t", {})
    assert caught.value.error.model_dump() == refusal


async def test_over_http_a_refused_notification_costs_nothing(caplog):
    async def handler(request: Request) -> None:
        if b"notifications/" in request.body:
            return await page(request, 413, "Too large")
        await as_gateway(request)

    async with Server(handler) as server, asyncio.timeout(BOUND), connect(server.url) as client:
        await client.send_progress_notification("x", 1.0)
        assert await client.list_tools()
    assert "a message was not accepted" in caplog.text
    assert KINDS["body_limit"].cure in caplog.text


@pytest.mark.parametrize("status", STATUS_CURES)
@pytest.mark.parametrize("transports", [["websocket"], ["poll"], ["http", "websocket", "poll"]])
async def test_a_link_that_a_proxy_refuses_is_explained(transports, status):
    async with Server(lambda request: page(request, status, "Proxy says no")) as server:
        with pytest.raises(ConnectError) as caught:
            async with asyncio.timeout(BOUND), connect(server.url, transports=transports):
                raise AssertionError("it is open")
    assert type(caught.value) is ConnectError
    assert f"answered {status}" in str(caught.value)
    assert STATUS_CURES[status] in str(caught.value)
    assert "Proxy says no" in str(caught.value)


@pytest.mark.parametrize("transport", ["http", "websocket", "poll"])
async def test_the_page_of_nginx_about_a_long_head_is_recognized(transport):
    title = "400 Request Header Or Cookie Too Large"
    async with Server(lambda request: page(request, 400, title)) as server:
        with pytest.raises(ConnectError, match="large_client_header_buffers") as caught:
            async with asyncio.timeout(BOUND), connect(server.url, transports=[transport]):
                raise AssertionError("it is open")
    assert title in str(caught.value)


async def handshake_fails(status: int) -> Any:
    async def handler(request: Request) -> None:
        if request.target.endswith("/probe"):
            return await as_gateway(request)
        await page(request, status, "Proxy says no")

    async with Server(handler) as server:
        with pytest.raises(ConnectError) as caught:
            async with asyncio.timeout(BOUND), connect(server.url, transports=["http"]):
                raise AssertionError("it is open")
    return caught.value


@pytest.mark.parametrize("status", [413, 502])
async def test_a_handshake_that_a_proxy_refuses_does_not_count_as_a_server_that_is_unavailable(status):
    error = await handshake_fails(status)
    assert type(error) is ConnectError
    assert STATUS_CURES[status] in str(error)

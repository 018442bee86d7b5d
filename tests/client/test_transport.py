"""The Python client's transport against servers that refuse, close and misbehave."""

from __future__ import annotations

import asyncio
import http
import json
import re

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from websockets.asyncio.server import serve

from mcp_ws_ide.client import (
    ConnectError,
    UnauthorizedError,
    UnknownServerError,
    connect,
    websocket_transport,
)
from tests.conftest import BOUND

SECRET = "s3cr3t-token"


async def refusing(status: int, body: str):
    def answer(connection, request):
        return connection.respond(http.HTTPStatus(status), body)

    return await serve(lambda link: link.wait_closed(), "127.0.0.1", 0, process_request=answer)


def address(server) -> str:
    return f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp-ws/servers/x?token={SECRET}"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, UnauthorizedError),
        (403, UnauthorizedError),
        (404, UnknownServerError),
        (502, ConnectError),
        (503, ConnectError),
        (200, ConnectError),
    ],
)
async def test_refusals_raise_errors_without_the_token(status, error):
    server = await refusing(status, '{"message": "the reason"}')
    with pytest.raises(error) as caught:
        async with websocket_transport(address(server), token=SECRET):
            pass
    assert "the reason" in str(caught.value)
    assert SECRET not in str(caught.value)
    server.close()


async def test_unreachable_and_wrong_addresses_raise_errors_with_a_reason():
    for url in ("ws://127.0.0.1:9/x", "http://127.0.0.1/x", "ws://127.0.0.1:1/" + SECRET):
        with pytest.raises(ConnectError):
            async with websocket_transport(url, open_timeout=5):
                pass
    with pytest.raises(ConnectError, match="server name"):
        connect("no/name", url="http://127.0.0.1:9/")


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 4401, 4404, 4409, 4502, None]
)
async def test_no_close_code_crashes_the_client(code):
    async def end(link):
        await link.recv()
        if code is None:
            link.transport.abort()
        else:
            await link.close(code, "because")

    server = await serve(end, "127.0.0.1", 0)
    transport = websocket_transport(address(server))
    async with asyncio.timeout(BOUND):
        async with Client(transport, mode="2026-07-28") as client:
            with pytest.raises((MCPError, anyio.ClosedResourceError, anyio.BrokenResourceError)):
                await client.list_tools()
            assert transport.close_code == (code or 1006)
            with pytest.raises((MCPError, anyio.ClosedResourceError, anyio.BrokenResourceError)):
                await client.list_tools()
    server.close()


async def test_an_error_of_the_body_is_raised_unchanged():
    server = await serve(lambda link: link.wait_closed(), "127.0.0.1", 0)
    with pytest.raises(KeyError):
        async with websocket_transport(address(server)):
            raise KeyError("mine")
    server.close()


async def test_leaving_closes_with_1000_also_when_cancelled():
    codes: list[int | None] = []

    async def wait(link):
        await link.wait_closed()
        codes.append(link.close_code)

    server = await serve(wait, "127.0.0.1", 0)
    async with websocket_transport(address(server)):
        pass

    async def hold():
        async with websocket_transport(address(server)):
            entered.set()
            await asyncio.Event().wait()

    entered = asyncio.Event()
    task = asyncio.create_task(hold())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.close()
    await server.wait_closed()
    assert codes == [1000, 1000]


async def test_a_message_that_cannot_be_parsed_is_received_as_an_exception():
    async def nonsense(link):
        await link.send("{nonsense")
        await link.wait_closed()

    server = await serve(nonsense, "127.0.0.1", 0)
    async with websocket_transport(address(server)) as (read, _):
        assert isinstance(await read.receive(), Exception)
    server.close()


async def test_headers_for_a_proxy_are_sent(jupyter):
    credential = {"Authorization": f"Bearer {jupyter.token}"}
    async with connect(jupyter.endpoint("fast"), headers=credential) as client:
        assert (await client.list_tools()).tools
    with pytest.raises(UnauthorizedError):
        async with connect(jupyter.endpoint("fast")):
            pass


async def answering(answers: list[str]):
    """A server of plain ``mcp`` that answers each request with the next of these, in which ID stands for its id."""
    left = list(answers)

    async def serve_one(link):
        async for text in link:
            message = json.loads(text)
            if "id" in message:
                own = json.dumps(message["id"])
                await link.send(left.pop(0).replace("ID", own) if left else json.dumps({}))

    return await serve(serve_one, "127.0.0.1", 0, subprotocols=["mcp"])


DEEP = '{"content":[],"structuredContent":' + '{"down":' * 250 + "1" + "}" * 251
INITIALIZED = (
    '{"jsonrpc":"2.0","id":ID,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},'
    '"serverInfo":{"name":"x","version":"1"}}}'
)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ('{"jsonrpc":"2.0","id":ID,"result":{x}}', "{x}"),
        ('{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what was that?"}}', "what was that?"),
        ('{"jsonrpc":"2.0","result":{"tools', "cut off"),
        ('{"jsonrpc":"2.0","id":ID,"error":{"message":"no code"}}', "no code"),
        ('{"jsonrpc":"2.0","id":ID,"result":[1]}', "[1]"),
    ],
)
async def test_an_answer_that_cannot_be_read_fails_its_call(written, words):
    server = await answering([INITIALIZED, written])
    async with connect(address(server), mode="legacy") as client:
        with anyio.fail_after(20), pytest.raises(MCPError, match=re.escape(words)):
            await client.list_tools()
    server.close()


async def test_a_result_of_any_depth_arrives():
    deep = '\ufeff[{"jsonrpc":"2.0","id":ID,"error":null,"result":DEEP}]'.replace("DEEP", DEEP)
    server = await answering([INITIALIZED, deep, '{"jsonrpc":"2.0","id":ID,"result":{"tools":[]}}'])
    async with connect(address(server), mode="legacy") as client:
        with anyio.fail_after(20):
            called = await client.call_tool("deep", {})
        depth, inner = 0, called.structured_content
        while isinstance(inner, dict):
            depth, inner = depth + 1, inner["down"]
        assert depth == 250
    server.close()

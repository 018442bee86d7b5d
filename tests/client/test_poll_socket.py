"""The poll link of the client (client/poll_socket.py): what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib

import anyio
import pytest

from mcp_ws_ide.client.poll_socket import PollOpener
from mcp_ws_ide.core.binding import poll_head
from tests.conftest import BOUND, until
from tests.transports.raw_http import Request, Server

FRAME = b'{"jsonrpc":"2.0","method":"notifications/x"}'


@pytest.mark.parametrize("by_scope", [False, True], ids=["task", "scope"])
async def test_a_goodbye_that_is_cancelled_leaves_no_connection_open(by_scope):
    goodbye = asyncio.Event()
    held: list[Request] = []

    async def gateway(request: Request) -> None:
        if b'"mcp.ws":"close"' in request.body:
            goodbye.set()
            return None  # without a response
        if len(server.requests) == 2:  # held until a frame has come on another connection
            return held.append(request)
        await request.answer(200, poll_head("abc", 0, 0))
        if held:
            await held[0].answer(200, poll_head("abc", 0, 0) + b"\n" + FRAME)

    async with Server(gateway) as server, asyncio.timeout(BOUND):
        link = await PollOpener(server.url, None, {}).open(resume=False)
        await link.send(b'{"mcp.ws":"open"}')
        receiving = asyncio.create_task(link.recv())
        await until(lambda: held)
        await link.send(FRAME)
        assert await receiving == FRAME
        assert server.connections == 2
        if by_scope:
            with anyio.CancelScope() as scope:
                async with asyncio.TaskGroup() as group:
                    group.create_task(link.close())
                    await goodbye.wait()
                    scope.cancel()
        else:
            closing = asyncio.create_task(link.close())
            await goodbye.wait()
            closing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await closing
        await until(lambda: all(request.writer.is_closing() for request in server.requests))

"""Every kind of client on one server, at the same time."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from mcp_ws_ide.client import connect
from tests.conftest import BOUND
from tests.interop.test_typescript import program

CALLS = 20


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()[-3000:]
    return out.decode()


@pytest.mark.node
@pytest.mark.heavy
async def test_websocket_http_poll_and_stdio_clients_of_every_sdk_share_a_server(
    servers, node_program, mcp1_client
):
    ws, http = servers.endpoint("demo"), f"http{servers.endpoint('demo').removeprefix('ws')}"
    query = f"?token={servers.token}"
    given = json.dumps({"text": "hello"})
    shim = StdioServerParameters(
        command=sys.executable,
        args=["-m", "mcp_ws_ide.client.shim", ws],
        env={**servers.environment, "MCP_WS_TOKEN": servers.token},
    )
    clients = {
        "websocket": lambda: connect(ws, token=servers.token),
        "websocket, handshake": lambda: connect(ws, token=servers.token, mode="legacy"),
        "poll": lambda: connect(http, token=servers.token, transports=("poll",)),
        "http": lambda: Client(streamable_http_client(http + query)),
        "http, handshake": lambda: Client(streamable_http_client(http + query), mode="legacy"),
        "stdio": lambda: Client(stdio_client(shim)),
    }

    async def calls(name: str) -> int:
        async with clients[name]() as client:
            for number in range(CALLS):
                result = await client.call_tool("echo", {"text": f"{name} {number}"})
                assert result.content[0].text == f"{name} {number}"
        return CALLS

    async with asyncio.timeout(BOUND):
        done = await asyncio.gather(
            *(calls(name) for name in clients),
            run(node_program, program("sdk1_client.mjs"), ws + query, "echo", given),
            run(node_program, program("sdk1_client.mjs"), http + query, "echo", given),
            run(node_program, program("sdk2_client.mjs"), http + query, "echo", given, "auto"),
            run(*mcp1_client, ws + query, "echo", given),
        )
    assert done[: len(clients)] == [CALLS] * len(clients)
    assert all("hello" in printed for printed in done[len(clients) :])
    links = {session["link"] for session in servers.rest("GET", "sessions")[1]["sessions"]}
    assert links <= {"http"}, "only sessions of HTTP clients, which do not all say goodbye, may be left"

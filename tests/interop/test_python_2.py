"""``mcp.Client`` of SDK 2.x over our transport and over its own Streamable HTTP, in every mode, against every
server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from mcp_ws_ide.client import websocket_transport
from tests.conftest import BOUND, until
from tests.programs import need

MODERN = "2026-07-28"
NODE_SERVERS = ("everything", "filesystem")


async def elicit(context: Any, params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"name": "Ann"})


async def sample(context: Any, params: Any) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text="forty-two")
    return types.CreateMessageResult(role="assistant", model="test", content=content)


async def roots(context: Any) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri="file:///here")])


@pytest.fixture(params=["websocket", "http"])
def link(request) -> str:
    return request.param


@asynccontextmanager
async def streamable_http(servers, name: str) -> AsyncIterator[Any]:
    url = f"{servers.url}mcp-ws/servers/{name}"
    headers = {"Authorization": f"Bearer {servers.token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=BOUND) as http,
        streamable_http_client(url, http_client=http) as streams,
    ):
        yield streams


def client(servers, link: str, name: str, mode: str, **options: Any) -> Client:
    need(
        name not in NODE_SERVERS or servers.rest("GET", f"servers/{name}")[0] == 200,
        "Node with the npm packages",
    )
    if link == "websocket":
        transport: Any = websocket_transport(servers.endpoint(name), token=servers.token)
    else:
        transport = streamable_http(servers, name)
    callbacks = {"elicitation_callback": elicit, "sampling_callback": sample, "list_roots_callback": roots}
    return Client(transport, mode=mode, **{**callbacks, **options})


def text_of(result: Any) -> str:
    assert not result.is_error, result
    return result.content[0].text


CALLS = {
    "demo": ("echo", {"text": "hello"}, "hello"),
    "git": ("git_log", None, "first"),
    "time": ("get_current_time", {"timezone": "UTC"}, "UTC"),
    "everything": ("echo", {"message": "hello"}, "hello"),
    "filesystem": ("list_allowed_directories", {}, "files"),
}


@pytest.mark.parametrize("mode", ["auto", "legacy", MODERN])
@pytest.mark.parametrize("name", CALLS)
async def test_every_server_in_every_mode(servers, link, repository, name, mode):
    tool, arguments, expected = CALLS[name]
    if arguments is None:
        arguments = {"repo_path": str(repository)}
    if name in NODE_SERVERS and mode == MODERN and link == "http":  # an exchange has no process of its own
        async with client(servers, link, name, mode) as legacy_only:
            with pytest.raises(MCPError, match="initialize handshake"):
                await legacy_only.list_tools()
        return
    async with client(servers, link, name, mode) as connected:
        assert tool in {found.name for found in (await connected.list_tools()).tools}
        assert expected in text_of(await connected.call_tool(tool, arguments))


@pytest.mark.parametrize("mode", ["legacy", MODERN])
async def test_every_feature_of_the_demo(servers, link, mode):
    logs: list[str] = []

    async def on_log(params: Any) -> None:
        logs.append(params.level)

    progress: list[float] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        progress.append(done)

    async with client(servers, link, "demo", mode, logging_callback=on_log) as demo:
        assert text_of(await demo.call_tool("elicit", {})) == "hello Ann"
        assert "forty-two" in text_of(await demo.call_tool("sample", {"prompt": "?"}))
        assert "file:///here" in text_of(await demo.call_tool("roots", {}))
        assert (await demo.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3.0}
        assert (await demo.call_tool("fail", {"text": "no"})).is_error
        assert (await demo.call_tool("image", {})).content[0].mime_type == "image/png"
        slow = await demo.call_tool("slow", {"steps": 3, "delay": 0.01}, progress_callback=on_progress)
        assert text_of(slow) == "3 steps done"
        await until(lambda: progress == [1, 2, 3], what="progress")
        assert "demo://counter" in {str(found.uri) for found in (await demo.list_resources()).resources}
        assert (await demo.read_resource("demo://item/7")).contents[0].text == "item 7"
        prompt = await demo.get_prompt("greet", {"name": "Bo"})
        assert "Bo" in prompt.messages[0].content.text
        big = await demo.call_tool("big", {"size": 1 << 20})
        assert len(text_of(big)) == 1 << 20
        if mode == "legacy":
            await demo.call_tool("log", {})
            await until(lambda: len(logs) == 4, what="logs")


async def test_a_modern_subscription_reports_changes_made_by_another_client(servers, link):
    async with (
        client(servers, link, "demo", MODERN) as listener,
        client(servers, link, "demo", MODERN) as other,
    ):
        async with asyncio.timeout(BOUND):
            async with listener.listen(
                tools_list_changed=True, resource_subscriptions=["demo://counter"]
            ) as events:
                await other.call_tool("bump", {})
                first = await anext(aiter(events))
                await other.call_tool("grow", {})
                second = await anext(aiter(events))
    assert "demo://counter" in repr(first)
    assert "Tools" in type(second).__name__


async def test_cancelling_a_call_stops_it_and_leaves_the_session_usable(servers, link):
    async with client(servers, link, "demo", MODERN) as demo:
        call = asyncio.create_task(demo.call_tool("slow", {"steps": 600, "delay": 0.1}))
        await until(
            lambda: any(s["in_flight"] for s in servers.rest("GET", "sessions")[1]["sessions"]),
            what="the call",
        )
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(
            lambda: not any(s["in_flight"] for s in servers.rest("GET", "sessions")[1]["sessions"]),
            what="the cancellation",
        )
        assert text_of(await demo.call_tool("echo", {"text": "still here"})) == "still here"


async def test_a_crash_ends_the_call_with_its_outcome(servers, link):
    async with client(servers, link, "demo", MODERN) as demo:
        with pytest.raises(MCPError) as caught:
            await demo.call_tool("crash", {"exit_code": 5})
        assert caught.value.error.data == {"outcome": "unknown"}
        assert "code 5" in caught.value.error.message

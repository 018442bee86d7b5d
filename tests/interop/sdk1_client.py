"""The unmodified clients of SDK 1.x: ``URL TOOL ARGUMENTS-JSON``; prints the call's text. The URL decides which.

Run by the tests in an environment of its own.
"""

import asyncio
import json
import sys
import warnings

from mcp import ClientSession, types

warnings.simplefilter("ignore")
from mcp.client.streamable_http import streamablehttp_client  # noqa: E402
from mcp.client.websocket import websocket_client  # noqa: E402


async def elicit(context, params):
    return types.ElicitResult(action="accept", content={"name": "Ann"})


async def sample(context, params):
    return types.CreateMessageResult(
        role="assistant", model="m", content=types.TextContent(type="text", text="forty-two")
    )


async def roots(context):
    return types.ListRootsResult(roots=[types.Root(uri="file:///here")])


async def main(url: str, tool: str, arguments: str) -> None:
    seen = []

    async def on_message(message):
        if isinstance(message, types.ServerNotification):
            seen.append(message.root.method)

    async def on_log(params):
        seen.append(f"log {params.level}")

    async def on_progress(done, total, text):
        seen.append(f"progress {done:g}")

    connect = websocket_client if url.startswith("ws") else streamablehttp_client
    async with connect(url) as (read, write, *_):
        callbacks = {
            "elicitation_callback": elicit,
            "sampling_callback": sample,
            "list_roots_callback": roots,
        }
        async with ClientSession(
            read, write, message_handler=on_message, logging_callback=on_log, **callbacks
        ) as session:
            await session.initialize()
            tools = {found.name for found in (await session.list_tools()).tools}
            assert tool in tools, tools
            print(text(await session.call_tool(tool, json.loads(arguments))))
            if "bump" in tools:
                await every_feature(session, on_progress, seen)


def text(result):
    assert not result.isError, result
    return result.content[0].text


async def every_feature(session, on_progress, seen):
    assert text(await session.call_tool("elicit", {})) == "hello Ann"
    assert "forty-two" in text(await session.call_tool("sample", {"prompt": "?"}))
    assert "file:///here" in text(await session.call_tool("roots", {}))
    await session.call_tool("slow", {"steps": 2, "delay": 0.01}, progress_callback=on_progress)
    await session.subscribe_resource("demo://counter")
    await session.call_tool("bump", {})
    await session.call_tool("grow", {})
    if session.get_server_capabilities().logging:  # a server of 2026-07-28 logs only on request
        await session.set_logging_level("debug")
    await session.call_tool("log", {})
    await session.read_resource("demo://counter")
    await session.get_prompt("greet", {"name": "Bo"})
    await session.send_ping()
    wanted = {
        "progress 1",
        "progress 2",
        "notifications/resources/updated",
        "notifications/tools/list_changed",
        "log error",
    }
    assert wanted <= set(seen), seen


asyncio.run(main(*sys.argv[1:]))

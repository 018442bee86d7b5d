"""The unmodified client of SDK 1.x, which speaks the tasks of 2025-11-25: ``URL TOOL ARGUMENTS-JSON``.

Prints the states of the task, and the text of its result.
"""

import asyncio
import json
import sys
import warnings

from mcp import ClientSession, types

warnings.simplefilter("ignore")
from mcp.client.streamable_http import streamablehttp_client  # noqa: E402
from mcp.client.websocket import websocket_client  # noqa: E402

CLARIFIED = {"interpretation": "technical", "name": "Ann"}


async def elicit(context, params):
    print("asked for", params.meta.model_dump()["io.modelcontextprotocol/related-task"]["taskId"] != "")
    return types.ElicitResult(action="accept", content=CLARIFIED)


async def main(url: str, tool: str, arguments: str) -> None:
    connect = websocket_client if url.startswith("ws") else streamablehttp_client
    async with (
        connect(url) as (read, write, *_),
        ClientSession(read, write, elicitation_callback=elicit) as session,
    ):
        offered = (await session.initialize()).capabilities.tasks
        assert offered.requests.tools.call is not None
        tools = {found.name: found for found in (await session.list_tools()).tools}
        assert tools[tool].execution.taskSupport in ("required", "optional")
        tasks = session.experimental
        task = (await tasks.call_tool_as_task(tool, json.loads(arguments))).task
        async for state in tasks.poll_task(task.taskId):
            if state.status == "input_required":
                break
        result = await tasks.get_task_result(task.taskId, types.CallToolResult)
        print("RESULT", result.content[0].text)
        assert task.taskId in {listed.taskId for listed in (await tasks.list_tasks()).tasks}
        print("ended", (await tasks.get_task(task.taskId)).status)


asyncio.run(main(*sys.argv[1:]))

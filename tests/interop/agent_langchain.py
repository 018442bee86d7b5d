"""LangChain's MCP tools, called as an agent calls them: ``URL TOKEN``; prints states, and what they returned.

Run by the tests in an environment of its own: langchain-mcp-adapters needs the SDK 1.x.
"""

import asyncio
import sys
import warnings

from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools

from mcp_ws_ide.client import Reconnect, connect

warnings.simplefilter("ignore")


def print_state(state) -> None:
    print(type(state).__name__, flush=True)


async def through_our_transport(url: str, token: str) -> None:
    policy = Reconnect(first_delay=0.01, max_delay=0.05)
    async with connect(url, token=token, reconnect=policy, on_state=print_state) as session:
        tools = {tool.name: tool for tool in await load_mcp_tools(session)}
        for name, arguments in (("slow", {"steps": 10, "delay": 0.2}), ("bump", {})):
            call = {"type": "tool_call", "id": name, "name": name, "args": arguments}
            message = await tools[name].ainvoke(call)
            print(message.status, message.tool_call_id, message.content)


async def through_their_own(url: str, token: str) -> None:
    """Their connection type ``websocket``, unmodified: it has no headers, so the token is in the URL."""
    connection = {"transport": "websocket", "url": f"{url}?token={token}"}
    client = MultiServerMCPClient({"demo": connection})
    tools = {tool.name: tool for tool in await client.get_tools()}
    print(await tools["echo"].ainvoke({"text": "by their own websocket"}))


asyncio.run((through_our_transport if sys.argv[3] == "ours" else through_their_own)(*sys.argv[1:3]))

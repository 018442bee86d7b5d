"""The WebSocket client of the Python SDK 1.x, unmodified, as the command that mcp-ws-conformance checks: ``URL``."""

import asyncio
import sys
import warnings

from mcp import ClientSession

warnings.simplefilter("ignore")
from mcp.client.websocket import websocket_client  # noqa: E402


async def main(url: str) -> None:
    async with websocket_client(url) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        for _ in range(3):
            result = await session.call_tool("echo", {"text": "conformance"})
            assert result.content[0].text == "conformance"


asyncio.run(main(sys.argv[1]))

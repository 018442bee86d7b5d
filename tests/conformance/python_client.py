"""The Python client of the project, as the command that mcp-ws-conformance checks: ``[MODE] URL``."""

import asyncio
import sys

from mcp_ws_ide.client import Reconnect, connect


async def main(url: str, mode: str = "auto") -> None:
    async with connect(url, mode=mode, reconnect=Reconnect(first_delay=0.05, max_delay=0.2)) as client:
        for _ in range(3):
            result = await client.call_tool("echo", {"text": "conformance"})
            assert result.content[0].text == "conformance"


asyncio.run(main(*reversed(sys.argv[1:])))

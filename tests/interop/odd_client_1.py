"""The unmodified clients of SDK 1.x on a server of odd answers: ``URL HOW…``; prints how each call ended, as JSON."""

import asyncio
import json
import sys
import time
import warnings


async def main(url: str, *hows: str) -> None:
    from mcp import ClientSession, McpError
    from mcp.client.streamable_http import streamablehttp_client
    from mcp.client.websocket import websocket_client

    ended = {}
    if url.startswith("own "):  # the client of this project, on the SDK 1.x
        from mcp_ws_ide.client import negotiating_transport

        url, connect = url.removeprefix("own "), negotiating_transport
    else:
        connect = websocket_client if url.startswith("ws") else streamablehttp_client
    async with connect(url) as (read, write, *_), ClientSession(read, write) as session:
        await session.initialize()
        for how in hows:
            began = time.monotonic()
            try:
                async with asyncio.timeout(20):
                    await session.call_tool("t", {"how": how, "seed": 1})
                end = "result"
            except McpError as error:
                end = f"error: {error}"
            ended[how] = [end, time.monotonic() - began]
    print(json.dumps(ended))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asyncio.run(main(*sys.argv[1:]))

"""The WebSocket server of the Python SDK 1.x, unmodified: ``PORT``. Run in an environment of its own."""

import asyncio
import sys
import warnings

import uvicorn
from mcp.server.fastmcp import Context, FastMCP

warnings.simplefilter("ignore")
from mcp.server.websocket import websocket_server  # noqa: E402

server = FastMCP("sdk-1")


@server.tool()
def echo(text: str) -> str:
    return text


@server.tool()
async def slow(ctx: Context, steps: int, delay: float) -> str:
    for step in range(steps):
        await asyncio.sleep(delay)
        await ctx.report_progress(step + 1, steps)
    return "done"


async def app(scope, receive, send):
    if scope["type"] != "websocket":
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        return
    async with websocket_server(scope, receive, send) as (read, write):
        core = server._mcp_server
        await core.run(read, write, core.create_initialization_options())


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="critical", lifespan="off")

"""Server objects for ``"python": "module:object"``, built with the major version of the SDK that is installed."""

from __future__ import annotations

import asyncio
from typing import Any

try:
    from mcp.server.mcpserver import Context, MCPServer
except ImportError:  # SDK 1.x
    from mcp.server.fastmcp import Context
    from mcp.server.fastmcp import FastMCP as MCPServer

server = MCPServer("objects")


@server.tool()
async def echo(text: str) -> str:
    """Return the text."""
    return text


@server.tool()
async def slow(steps: int, ctx: Context) -> str:
    """Report progress, then return the number of steps."""
    for step in range(steps):
        await ctx.report_progress(step, steps)
        await asyncio.sleep(0.01)
    return str(steps)


@server.tool()
async def fail() -> str:
    """Raise."""
    raise ValueError("as ordered")


def factory() -> Any:
    """Return a server."""
    return server


async def coroutine() -> Any:
    """Return a server, from a coroutine function."""
    return server


def for_user(principal: str) -> Any:
    """Return a server that names the user."""
    named = MCPServer(f"objects of {principal}")
    named.tool()(echo)
    return named


def broken() -> Any:
    """Fail instead of returning a server."""
    raise RuntimeError("no database")


class Dying:
    """A server whose run fails on the first message."""

    def create_initialization_options(self) -> None:
        """Nothing."""

    async def run(self, read: Any, write: Any, options: Any) -> None:
        """Fail."""
        await read.receive()
        raise RuntimeError("out of order")


not_a_server = 7

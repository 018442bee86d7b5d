"""What the demo does differently on mcp 1.x: questions are requests to the client, in its session."""

from __future__ import annotations

from typing import Any

from mcp.server.fastmcp import Context, FastMCP, Image
from mcp.server.fastmcp.exceptions import ToolError
from mcp.types import SamplingMessage, TextContent
from pydantic import BaseModel

__all__ = [
    "Context",
    "Image",
    "Server",
    "ToolError",
    "add_questions",
    "add_subscriptions",
    "resource_changed",
    "tools_changed",
]

Server = FastMCP


class Answer(BaseModel):
    """What the tool elicit asks for."""

    name: str
    agree: bool = True


def add_questions(server: Any) -> None:
    """Tools that ask the client something."""

    @server.tool()
    async def elicit(ctx: Context) -> str:
        """Ask the user for a name."""
        result = await ctx.elicit("What is your name?", Answer)
        return f"hello {result.data.name}" if result.action == "accept" else f"no answer: {result.action}"

    @server.tool()
    async def sample(ctx: Context, prompt: str) -> str:
        """Ask the client's model."""
        message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
        answer = await ctx.session.create_message([message], max_tokens=100)
        return f"the model says: {getattr(answer.content, 'text', answer.content)}"

    @server.tool()
    async def roots(ctx: Context) -> str:
        """Ask the client for its roots."""
        found = await ctx.session.list_roots()
        return ", ".join(str(root.uri) for root in found.roots) or "none"


def add_subscriptions(server: Any) -> None:
    """``resources/subscribe``; a process serves one session, which is told of every change."""

    @server._mcp_server.subscribe_resource()
    async def subscribe(uri: Any) -> None:
        """Accept."""

    @server._mcp_server.unsubscribe_resource()
    async def unsubscribe(uri: Any) -> None:
        """Accept."""


async def resource_changed(ctx: Any, uri: str) -> None:
    """Tell the client."""
    await ctx.session.send_resource_updated(uri)


async def tools_changed(ctx: Any) -> None:
    """Tell the client."""
    await ctx.session.send_tool_list_changed()

"""The demo's parts for mcp 1.x: questions are requests to the client, within its session."""

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
    """The form of the tool ``elicit``."""

    name: str
    agree: bool = True


def add_questions(server: Any) -> None:
    """Add the tools that ask the client a question."""

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
        result = await ctx.session.list_roots()
        return ", ".join(str(root.uri) for root in result.roots) or "none"


def add_subscriptions(server: Any) -> None:
    """``resources/subscribe``; a process serves one session, which is notified of every change."""

    @server._mcp_server.subscribe_resource()
    async def subscribe(uri: Any) -> None:
        """Accept every subscription."""

    @server._mcp_server.unsubscribe_resource()
    async def unsubscribe(uri: Any) -> None:
        """Accept every cancellation."""


async def resource_changed(ctx: Any, uri: str) -> None:
    """Notify the client."""
    await ctx.session.send_resource_updated(uri)


async def tools_changed(ctx: Any) -> None:
    """Notify the client."""
    await ctx.session.send_tool_list_changed()

"""The demo's parts for mcp 2.x: questions to the client work in both eras through resolvers; changes are sent to
``subscriptions/listen`` and, for clients of the handshake era, to their own session."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import Context, Elicit, Image, ListRoots, MCPServer, Resolve, Sample
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import (
    CreateMessageResult,
    EmptyResult,
    ListRootsResult,
    SamplingMessage,
    SubscribeRequestParams,
    TextContent,
    UnsubscribeRequestParams,
)
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

Server = MCPServer
MODERN = "2026-07-28"


class Answer(BaseModel):
    """The form of the tool ``elicit``."""

    name: str
    agree: bool = True


def _ask_name() -> Elicit[Answer]:
    return Elicit("What is your name?", Answer)


def _ask_model(prompt: str) -> Sample:
    return Sample(
        [SamplingMessage(role="user", content=TextContent(type="text", text=prompt))], max_tokens=100
    )


def _ask_roots() -> ListRoots:
    return ListRoots()


def add_questions(server: Any) -> None:
    """Add the tools that ask the client a question."""

    @server.tool()
    async def elicit(answer: Annotated[Answer, Resolve(_ask_name)]) -> str:
        """Ask the user for a name."""
        return f"hello {answer.name}"

    @server.tool()
    async def sample(prompt: str, answer: Annotated[CreateMessageResult, Resolve(_ask_model)]) -> str:
        """Ask the client's model."""
        content = answer.content
        return f"the model says: {getattr(content, 'text', content)}"

    @server.tool()
    async def roots(result: Annotated[ListRootsResult, Resolve(_ask_roots)]) -> str:
        """Ask the client for its roots."""
        return ", ".join(str(root.uri) for root in result.roots) or "none"


def add_subscriptions(server: Any) -> None:
    """``resources/subscribe`` of the handshake era; the SDK itself serves ``subscriptions/listen``."""

    async def accept(ctx: Any, params: Any) -> EmptyResult:
        return EmptyResult()

    lowlevel = server._lowlevel_server
    lowlevel.add_request_handler("resources/subscribe", SubscribeRequestParams, accept)
    lowlevel.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, accept)


def _is_modern(ctx: Any) -> bool:
    return (ctx.protocol_version or "") >= MODERN


async def resource_changed(ctx: Any, uri: str) -> None:
    """Notify subscribers of either era."""
    await ctx.notify_resource_updated(uri)
    if not _is_modern(ctx):
        await ctx.session.send_resource_updated(uri)


async def tools_changed(ctx: Any) -> None:
    """Notify listeners of either era."""
    await ctx.notify_tools_changed()
    if not _is_modern(ctx):
        await ctx.session.send_tool_list_changed()

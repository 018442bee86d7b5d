"""``MCPServerWebSocket``: MCP over a resumable WebSocket for pydantic-ai agents (extra ``pydantic-ai``)."""

from __future__ import annotations

from typing import Any

from pydantic_ai.mcp import MCPToolset

from mcp_ws_ide.client.connecting import split_options
from mcp_ws_ide.client.fastmcp_transport import WebSocketClientTransport


class MCPServerWebSocket(MCPToolset[Any]):
    """A toolset for ``Agent(toolsets=[…])`` whose calls survive the loss of their connection.

    Args:
        name_or_url: name of a configured server, whose gateway and credential are found, or a URL; ``http://`` stands
            for ``ws://`` there, unless ``transports`` names what to try.
        options: ``token``, ``headers``, ``ssl``, ``transports``, ``reconnect``, ``on_state``, as of
            :func:`~mcp_ws_ide.client.connect`, and everything else that ``MCPToolset`` takes.
    """

    def __init__(self, name_or_url: str, **options: Any) -> None:
        ours, theirs = split_options(options)
        self.transport = WebSocketClientTransport(name_or_url, **ours)
        super().__init__(self.transport, **theirs)

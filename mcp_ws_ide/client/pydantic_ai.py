"""``MCPServerWebSocket``: MCP over a resumable WebSocket for pydantic-ai agents (extra ``pydantic-ai``)."""

from __future__ import annotations

from typing import Any, Final

from pydantic_ai.mcp import MCPToolset

from mcp_ws_ide.client.connecting import split_options
from mcp_ws_ide.client.fastmcp_transport import WebSocketClientTransport

INIT_TIMEOUT: Final = 60.0
"""Seconds for the handshake. The framework's own 5 are too short for a server that is downloaded at its first start."""


class MCPServerWebSocket(MCPToolset[Any]):
    """A toolset for ``Agent(toolsets=[…])`` whose calls survive the loss of a link.

    Args:
        name_or_url: name of a configured server (its gateway and credential are discovered), or a URL; ``http://``
            means ``ws://`` unless ``transports`` is given.
        options: ``token``, ``headers``, ``ssl``, ``transports``, ``reconnect``, ``on_state``, see
            :func:`~mcp_ws_ide.client.connect`, and every other option of ``MCPToolset``. ``init_timeout`` is
            :data:`INIT_TIMEOUT` unless given.
    """

    def __init__(self, name_or_url: str, **options: Any) -> None:
        ours, theirs = split_options(options)
        self.transport = WebSocketClientTransport(name_or_url, **ours)
        super().__init__(self.transport, **{"init_timeout": INIT_TIMEOUT, **theirs})

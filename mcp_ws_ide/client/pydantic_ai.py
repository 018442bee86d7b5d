"""``MCPServerWebSocket``: MCP over a resumable WebSocket for pydantic-ai agents (extra ``pydantic-ai``)."""

from __future__ import annotations

import ssl as ssl_module
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic_ai.mcp import MCPToolset

from mcp_ws_ide.client.fastmcp_transport import WebSocketClientTransport
from mcp_ws_ide.client.links import Token
from mcp_ws_ide.client.states import Reconnect, State


class MCPServerWebSocket(MCPToolset[Any]):
    """A toolset for ``Agent(toolsets=[…])`` whose calls survive the loss of their connection.

    Args:
        name_or_url: name of a configured server, whose gateway and credential are found, or a ``ws://`` URL; an
            ``http://`` one means whatever transport works.
        token: a credential, or a function that gives a fresh one for each link.
        headers: of the handshake.
        ssl: for ``wss``: a context with your own certificates.
        transports: what to try where WebSockets may not pass (see :func:`~mcp_ws_ide.client.connect`).
        reconnect: how to come back after a loss; None never does.
        on_state: called with each new :data:`~mcp_ws_ide.client.State`.
        options: everything else ``MCPToolset`` takes.
    """

    def __init__(
        self,
        name_or_url: str,
        *,
        token: Token | None = None,
        headers: Mapping[str, str] | None = None,
        ssl: ssl_module.SSLContext | None = None,
        transports: Sequence[str] | None = None,
        reconnect: Reconnect | None = Reconnect(),  # noqa: B008 - immutable
        on_state: Callable[[State], None] | None = None,
        **options: Any,
    ) -> None:
        self.transport = WebSocketClientTransport(
            name_or_url,
            token=token,
            headers=headers,
            ssl=ssl,
            transports=transports,
            reconnect=reconnect,
            on_state=on_state,
        )
        super().__init__(self.transport, **options)

"""``MCPServerWebSocket`` for openai-agents: MCP over a resumable WebSocket (extra ``openai-agents``)."""

from __future__ import annotations

import ssl as ssl_module
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

# Private, but it is what the framework's own servers extend by create_streams, and the only such class.
from agents.mcp.server import _MCPServerWithClientSession

from mcp_ws_ide.client.connecting import address
from mcp_ws_ide.client.links import Token
from mcp_ws_ide.client.states import Reconnect, State
from mcp_ws_ide.client.transport import WebSocketTransport, websocket_transport


class MCPServerWebSocket(_MCPServerWithClientSession):
    """A server for ``Agent(mcp_servers=[…])`` whose calls survive the loss of their connection.

    Use it as ``async with``, or ``connect()`` and ``cleanup()`` in one task.

    Args:
        name_or_url: name of a configured server, whose gateway and credential are found, or a ``ws://`` URL.
        token, headers, ssl, reconnect, on_state: as of :func:`~mcp_ws_ide.client.websocket_transport`.
        name: as the framework shows it; the endpoint's URL unless given.
        cache_tools_list: whether the tools are listed once.
        client_session_timeout_seconds: for an answer. None waits, as a call may outlive several links; the
            framework's own servers give up after 5 s.
        options: everything else the framework's servers take.

    Attributes:
        link: the transport of the newest connection; its ``state`` and ``states()`` tell how it fares.
    """

    def __init__(
        self,
        name_or_url: str,
        *,
        token: Token | None = None,
        headers: Mapping[str, str] | None = None,
        ssl: ssl_module.SSLContext | None = None,
        reconnect: Reconnect | None = Reconnect(),  # noqa: B008 - immutable
        on_state: Callable[[State], None] | None = None,
        name: str | None = None,
        cache_tools_list: bool = False,
        client_session_timeout_seconds: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(cache_tools_list, client_session_timeout_seconds, **options)
        self.url, self._token = address(name_or_url, token)
        self._name = name or f"websocket: {self.url.partition('?')[0]}"
        self._link_options: dict[str, Any] = {
            "headers": headers,
            "ssl": ssl,
            "reconnect": reconnect,
            "on_state": on_state,
        }
        self.link: WebSocketTransport | None = None

    @property
    def name(self) -> str:
        """As the framework shows it, and as it prefixes tools that two servers share."""
        return self._name

    def create_streams(self) -> AbstractAsyncContextManager[Any]:
        """The framework's hook."""
        self.link = websocket_transport(self.url, token=self._token, **self._link_options)
        return self.link

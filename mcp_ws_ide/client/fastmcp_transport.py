"""A fastmcp ``ClientTransport`` over a resumable WebSocket. Needs fastmcp 4 (extra ``fastmcp``)."""

from __future__ import annotations

import ssl as ssl_module
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastmcp.client.transports.base import ClientTransport, TransportOptions
from mcp import ClientSession

from mcp_ws_ide.client.connecting import address
from mcp_ws_ide.client.links import Token
from mcp_ws_ide.client.states import Reconnect, State
from mcp_ws_ide.client.transport import WebSocketTransport, websocket_transport


class WebSocketClientTransport(ClientTransport):
    """What ``fastmcp.Client(…)`` takes.

    Args:
        name_or_url: name of a configured server, whose gateway and credential are found, or a ``ws://`` URL.
        token, headers, ssl, reconnect, on_state: as of :func:`~mcp_ws_ide.client.websocket_transport`.

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
    ) -> None:
        self.url, self._token = address(name_or_url, token)
        self.link: WebSocketTransport | None = None
        self._options: dict[str, Any] = {
            "headers": headers,
            "ssl": ssl,
            "reconnect": reconnect,
            "on_state": on_state,
        }

    def __repr__(self) -> str:
        return f"<WebSocketClientTransport {self.url.partition('?')[0]}>"

    @asynccontextmanager
    async def connect_session(
        self, *, transport_options: TransportOptions | None = None, **session_kwargs: Any
    ) -> AsyncGenerator[ClientSession, None]:
        """A link, and a session on it that is not initialised yet."""
        options = transport_options or TransportOptions()
        self.link = websocket_transport(self.url, token=self._token, **self._options)
        async with (
            self.link as (read, write),
            options.session_class(read, write, **session_kwargs) as session,
        ):
            yield session

"""A fastmcp ``ClientTransport`` over a resumable WebSocket. Needs fastmcp 4 (extra ``fastmcp``)."""

from __future__ import annotations

import ssl as ssl_module
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastmcp.client.transports.base import ClientTransport, TransportOptions
from mcp import ClientSession

from mcp_ws_ide.client.connecting import address, transport_for
from mcp_ws_ide.client.links import Token
from mcp_ws_ide.client.negotiating import NegotiatingTransport
from mcp_ws_ide.client.states import Reconnect, State
from mcp_ws_ide.client.transport import WebSocketTransport


class WebSocketClientTransport(ClientTransport):
    """What ``fastmcp.Client(…)`` takes.

    Args:
        name_or_url: name of a configured server, whose gateway and credential are found, or a URL.
        token, headers, ssl, transports, reconnect, on_state: as of :func:`~mcp_ws_ide.client.connect`.

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
        transports: Sequence[str] | None = None,
        reconnect: Reconnect | None = Reconnect(),  # noqa: B008 - immutable
        on_state: Callable[[State], None] | None = None,
    ) -> None:
        self.url, self._token = address(name_or_url, token)
        self.link: WebSocketTransport | NegotiatingTransport | None = None
        self._transports = transports
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
        self.link = transport_for(self.url, self._transports, token=self._token, **self._options)
        async with (
            self.link as (read, write),
            options.session_class(read, write, **session_kwargs) as session,
        ):
            yield session

"""A fastmcp ``ClientTransport`` over a resumable WebSocket. Needs fastmcp 4 (extra ``fastmcp``)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Unpack

from fastmcp.client.transports.base import ClientTransport, TransportOptions
from mcp import ClientSession

from mcp_ws_ide.client.connecting import Endpoint, LinkOptions
from mcp_ws_ide.client.negotiating import NegotiatingTransport
from mcp_ws_ide.client.transport import SessionTransport


class WebSocketClientTransport(ClientTransport):
    """A transport for ``fastmcp.Client(…)``.

    Args:
        name_or_url: name of a configured server (its gateway and credential are discovered), or a URL; ``http://``
            means ``ws://`` unless ``transports`` is given.
        options: ``token``, ``headers``, ``ssl``, ``transports``, ``reconnect``, ``on_state``; see
            :func:`~mcp_ws_ide.client.connect`.
    """

    def __init__(self, name_or_url: str, **options: Unpack[LinkOptions]) -> None:
        self._endpoint = Endpoint(name_or_url, **options)
        self.url = self._endpoint.url

    @property
    def link(self) -> SessionTransport | NegotiatingTransport | None:
        """The transport of the newest connection; see its ``state`` and ``states()``."""
        return self._endpoint.link

    def __repr__(self) -> str:
        return f"<WebSocketClientTransport {self.url.partition('?')[0]}>"

    @asynccontextmanager
    async def connect_session(
        self, *, transport_options: TransportOptions | None = None, **session_kwargs: Any
    ) -> AsyncGenerator[ClientSession, None]:
        """Open a link and yield a session on it that is not yet initialized."""
        options = transport_options or TransportOptions()
        async with (
            self._endpoint.transport() as (read, write),
            options.session_class(read, write, **session_kwargs) as session,
        ):
            yield session

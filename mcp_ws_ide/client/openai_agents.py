"""``MCPServerWebSocket`` for openai-agents: MCP over a resumable WebSocket (extra ``openai-agents``)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

# Private, but the framework's own servers extend it through create_streams, and no public class offers that.
from agents.mcp.server import _MCPServerWithClientSession

from mcp_ws_ide.client.connecting import Endpoint, split_options
from mcp_ws_ide.client.negotiating import NegotiatingTransport
from mcp_ws_ide.client.own_task import OwnTask
from mcp_ws_ide.client.transport import SessionTransport


class MCPServerWebSocket(_MCPServerWithClientSession):
    """A server for ``Agent(mcp_servers=[…])`` whose calls survive the loss of a link.

    Use it with ``async with``, or call ``connect()`` and ``cleanup()``, which may be in different tasks.

    Args:
        name_or_url: name of a configured server (its gateway and credential are discovered), or a URL; ``http://``
            means ``ws://`` unless ``transports`` is given.
        name: as the framework shows it; default: the endpoint's URL.
        cache_tools_list: list the tools only once.
        client_session_timeout_seconds: timeout of one response. None waits indefinitely, because a call may outlive
            several links; the framework's own servers time out after 5 s.
        options: ``token``, ``headers``, ``ssl``, ``transports``, ``reconnect``, ``on_state``, see
            :func:`~mcp_ws_ide.client.connect`, and every other option of the framework's servers.
    """

    def __init__(
        self,
        name_or_url: str,
        *,
        name: str | None = None,
        cache_tools_list: bool = False,
        client_session_timeout_seconds: float | None = None,
        **options: Any,
    ) -> None:
        ours, theirs = split_options(options)
        super().__init__(cache_tools_list, client_session_timeout_seconds, **theirs)
        self._own_task: OwnTask[None] | None = None
        self._endpoint = Endpoint(name_or_url, **ours)
        self.url = self._endpoint.url
        self._name = name or f"websocket: {self.url.partition('?')[0]}"

    @property
    def link(self) -> SessionTransport | NegotiatingTransport | None:
        """The transport of the newest connection; see its ``state`` and ``states()``."""
        return self._endpoint.link

    @property
    def name(self) -> str:
        """The name that the framework shows, and with which it prefixes tools that two servers share."""
        return self._name

    async def connect(self) -> None:
        """Open the link and the session, in a task of their own."""
        opening = OwnTask(self._connected(), f"MCPServerWebSocket({self.url.partition('?')[0]!r})")
        await opening.__aenter__()
        self._own_task = opening

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        await super().connect()
        try:
            yield
        finally:
            await super().cleanup()

    async def cleanup(self) -> None:
        """Close session and link."""
        closing, self._own_task = self._own_task, None
        if closing is not None:
            await closing.__aexit__(None, None, None)

    def create_streams(self) -> AbstractAsyncContextManager[Any]:
        """Called by the framework to open the streams."""
        return self._endpoint.transport()

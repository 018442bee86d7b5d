"""``MCPServerWebSocket`` for openai-agents: MCP over a resumable WebSocket (extra ``openai-agents``)."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

# Private, but it is what the framework's own servers extend by create_streams, and the only such class.
from agents.mcp.server import _MCPServerWithClientSession

from mcp_ws_ide.client.connecting import Endpoint, split_options
from mcp_ws_ide.client.negotiating import NegotiatingTransport
from mcp_ws_ide.client.transport import SessionTransport


class MCPServerWebSocket(_MCPServerWithClientSession):
    """A server for ``Agent(mcp_servers=[…])`` whose calls survive the loss of their connection.

    Use it as ``async with``, or ``connect()`` and ``cleanup()`` in one task.

    Args:
        name_or_url: name of a configured server, whose gateway and credential are found, or a URL; ``http://`` stands
            for ``ws://`` there, unless ``transports`` names what to try.
        name: as the framework shows it; the endpoint's URL unless given.
        cache_tools_list: whether the tools are listed once.
        client_session_timeout_seconds: for an answer. None waits, as a call may outlive several links; the
            framework's own servers give up after 5 s.
        options: ``token``, ``headers``, ``ssl``, ``transports``, ``reconnect``, ``on_state``, as of
            :func:`~mcp_ws_ide.client.connect`, and everything else that the framework's servers take.
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
        self._endpoint = Endpoint(name_or_url, **ours)
        self.url = self._endpoint.url
        self._name = name or f"websocket: {self.url.partition('?')[0]}"

    @property
    def link(self) -> SessionTransport | NegotiatingTransport | None:
        """The transport of the newest connection; its ``state`` and ``states()`` tell how it fares."""
        return self._endpoint.link

    @property
    def name(self) -> str:
        """As the framework shows it, and as it prefixes tools that two servers share."""
        return self._name

    def create_streams(self) -> AbstractAsyncContextManager[Any]:
        """The framework's hook."""
        return self._endpoint.transport()

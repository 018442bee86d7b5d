"""The transports: every way to reach a server, by kind.

To add one, write its file, register it here and name its kind in :data:`mcp_ws_ide.config.spec.URL_SCHEMES`
(docs/contribute/transports.md has the steps).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.transports.base import Supplies, Transport
from mcp_ws_ide.transports.http_older import HttpOrSseTransport
from mcp_ws_ide.transports.inprocess import InProcessTransport
from mcp_ws_ide.transports.sse import SseTransport
from mcp_ws_ide.transports.stdio import StdioTransport
from mcp_ws_ide.transports.unix import UnixTransport
from mcp_ws_ide.transports.websocket import WebSocketTransport

TRANSPORTS: Final[Mapping[str, type[Transport]]] = {
    transport.kind: transport
    for transport in (
        StdioTransport,
        HttpOrSseTransport,
        SseTransport,
        WebSocketTransport,
        UnixTransport,
        InProcessTransport,
    )
}
"""The transports by kind."""

__all__ = ["TRANSPORTS", "Supplies", "Transport", "make_transport"]


def make_transport(spec: ServerSpec, supplies: Supplies) -> Transport:
    """Return a transport for a configured server, not connected yet.

    Raises:
        TransportError: the configuration cannot work.
    """
    return TRANSPORTS[spec.kind].from_spec(spec, supplies)

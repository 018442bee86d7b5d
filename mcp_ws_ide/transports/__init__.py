"""Every way to reach a server, by kind. To add one, write its file and name it here (CONTRIBUTING.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from mcp_ws_ide.transports.base import Supplies, Transport
from mcp_ws_ide.transports.http import HttpTransport
from mcp_ws_ide.transports.inprocess import InProcessTransport
from mcp_ws_ide.transports.sse import SseTransport
from mcp_ws_ide.transports.stdio import StdioTransport
from mcp_ws_ide.transports.unix import UnixTransport
from mcp_ws_ide.transports.websocket import WebSocketTransport

if TYPE_CHECKING:
    from mcp_ws_ide.config.load import ServerSpec

TRANSPORTS: Final[Mapping[str, type[Transport]]] = {
    transport.kind: transport
    for transport in (
        StdioTransport,
        HttpTransport,
        SseTransport,
        WebSocketTransport,
        UnixTransport,
        InProcessTransport,
    )
}
"""The transports by kind; configuration and gateway know no others."""

__all__ = ["TRANSPORTS", "Supplies", "Transport", "make_transport"]


def make_transport(spec: ServerSpec, supplies: Supplies) -> Transport:
    """A transport for a configured server, not connected yet.

    Raises:
        TransportError: the configuration cannot work, in words.
    """
    return TRANSPORTS[spec.kind].from_spec(spec, supplies)

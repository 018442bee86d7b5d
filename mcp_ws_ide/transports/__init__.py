"""The transports: every way to reach a server, by kind.

The module of a transport is imported when a server of its kind is first used: some need large libraries, which would
take a third of the extension's start. To add one, write its file, register it here and name its kind in
:data:`mcp_ws_ide.config.spec.URL_SCHEMES` (docs/contribute/transports.md has the steps).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Final, cast

from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.transports.base import Supplies, Transport

TRANSPORTS: Final[Mapping[str, str]] = {
    "stdio": "stdio.StdioTransport",
    "http": "http_older.HttpOrSseTransport",
    "sse": "sse.SseTransport",
    "ws": "websocket.WebSocketTransport",
    "unix": "unix.UnixTransport",
    "python": "inprocess.InProcessTransport",
}
"""Module and class of the transports, by kind."""
PROCESSES: Final = frozenset({"stdio"})
"""Kinds with :attr:`.Transport.process`, without an import."""

__all__ = ["PROCESSES", "TRANSPORTS", "Supplies", "Transport", "make_transport", "transport_class"]


def transport_class(kind: str) -> type[Transport]:
    """Return the transport of a kind; import it on first use."""
    module, _, name = TRANSPORTS[kind].partition(".")
    return cast(type[Transport], getattr(import_module(f"{__name__}.{module}"), name))


def make_transport(spec: ServerSpec, supplies: Supplies) -> Transport:
    """Return a transport for a configured server, not connected yet.

    Raises:
        TransportError: the configuration cannot work.
    """
    return transport_class(spec.kind).from_spec(spec, supplies)

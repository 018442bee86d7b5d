"""The Python client: MCP over WebSocket for both majors of the SDK.

``websocket_transport(url)`` is what ``mcp.Client`` (2.x) and ``ClientSession`` (1.x) take as transport;
``negotiating_transport(url)`` picks one that the network lets through;
``connect(name_or_url)`` gives a client that is ready to use. ``MCPServerWebSocket`` (pydantic-ai) and
``WebSocketClientTransport`` (fastmcp) are there when those frameworks are.
"""

from importlib import import_module
from typing import Any

from mcp_ws_ide.client.connecting import connect
from mcp_ws_ide.client.negotiating import NegotiatingTransport, negotiating_transport
from mcp_ws_ide.client.states import Connected, Gap, Lost, Negotiated, Reconnect, Reconnecting, Resumed, State
from mcp_ws_ide.client.transport import SessionTransport, websocket_transport
from mcp_ws_ide.errors import (
    ConnectError,
    ConnectionLost,
    Unauthorized,
    UnknownServer,
    UnusableArgument,
    UnusableHeader,
)

__all__ = [
    "ConnectError",
    "Connected",
    "ConnectionLost",
    "Gap",
    "Lost",
    "MCPServerWebSocket",
    "Negotiated",
    "NegotiatingTransport",
    "Reconnect",
    "Reconnecting",
    "Resumed",
    "SessionTransport",
    "State",
    "Unauthorized",
    "UnknownServer",
    "UnusableArgument",
    "UnusableHeader",
    "WebSocketClientTransport",
    "connect",
    "negotiating_transport",
    "websocket_transport",
]

_FRAMEWORKS = {"MCPServerWebSocket": "pydantic_ai", "WebSocketClientTransport": "fastmcp_transport"}


def __getattr__(name: str) -> Any:
    """Import what needs a framework only when it is asked for."""
    if name not in _FRAMEWORKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    extra = _FRAMEWORKS[name].removesuffix("_transport").replace("_", "-")
    try:
        return getattr(import_module(f"{__name__}.{_FRAMEWORKS[name]}"), name)
    except ImportError as error:
        raise ImportError(f"{name} needs {extra}: pip install 'mcp-ws-ide[{extra}]' ({error})") from error

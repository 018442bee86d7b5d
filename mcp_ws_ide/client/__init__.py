"""The Python client: MCP over WebSocket, for both majors of the MCP SDK.

- :func:`connect` returns a client that is ready to use, from a server's name or URL.
- ``connect_sync`` returns one whose calls block, for notebooks and scripts; it is imported when it is first used.
- :func:`websocket_transport` returns a transport for ``mcp.Client`` (2.x) or ``ClientSession`` (1.x).
- :func:`negotiating_transport` returns the first transport that works on this network.
- ``MCPServerWebSocket`` (pydantic-ai) and ``WebSocketClientTransport`` (fastmcp) need those frameworks installed.
"""

from importlib import import_module
from typing import Any

from mcp_ws_ide.client.connecting import connect
from mcp_ws_ide.client.negotiating import NegotiatingTransport, negotiating_transport
from mcp_ws_ide.client.states import Connected, Gap, Lost, Negotiated, Reconnect, Reconnecting, Resumed, State
from mcp_ws_ide.client.transport import SessionTransport, websocket_transport
from mcp_ws_ide.errors import (
    ConnectError,
    ConnectionLostError,
    ServerUnavailableError,
    ToolError,
    UnauthorizedError,
    UnknownServerError,
    UnusableArgumentError,
    UnusableHeaderError,
)

__all__ = [
    "ConnectError",
    "Connected",
    "ConnectionLostError",
    "Gap",
    "Lost",
    "MCPServerWebSocket",
    "Negotiated",
    "NegotiatingTransport",
    "Reconnect",
    "Reconnecting",
    "Resumed",
    "ServerUnavailableError",
    "SessionTransport",
    "State",
    "SyncClient",
    "ToolError",
    "UnauthorizedError",
    "UnknownServerError",
    "UnusableArgumentError",
    "UnusableHeaderError",
    "WebSocketClientTransport",
    "connect",
    "connect_sync",
    "negotiating_transport",
    "websocket_transport",
]

_FRAMEWORKS = {"MCPServerWebSocket": "pydantic_ai", "WebSocketClientTransport": "fastmcp_transport"}


def __getattr__(name: str) -> Any:
    """Import on first use the blocking client, and the classes that need a framework."""
    if name in ("connect_sync", "SyncClient"):
        return getattr(import_module(f"{__name__}.sync.client"), name)
    if name not in _FRAMEWORKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    extra = _FRAMEWORKS[name].removesuffix("_transport").replace("_", "-")
    try:
        return getattr(import_module(f"{__name__}.{_FRAMEWORKS[name]}"), name)
    except ImportError as error:
        raise ImportError(f"{name} needs {extra}: pip install 'mcp-ws-ide[{extra}]' ({error})") from error

"""The Python client: MCP over WebSocket for both majors of the SDK.

``websocket_transport(url)`` is what ``mcp.Client`` (2.x) and ``ClientSession`` (1.x) take as transport;
``connect(name_or_url)`` gives a client that is ready to use.
"""

from mcp_ws_ide.client.connecting import connect
from mcp_ws_ide.client.states import Connected, Gap, Lost, Reconnect, Reconnecting, Resumed, State
from mcp_ws_ide.client.transport import WebSocketTransport, websocket_transport
from mcp_ws_ide.errors import ConnectError, ConnectionLost, Unauthorized, UnknownServer

__all__ = [
    "ConnectError",
    "Connected",
    "ConnectionLost",
    "Gap",
    "Lost",
    "Reconnect",
    "Reconnecting",
    "Resumed",
    "State",
    "Unauthorized",
    "UnknownServer",
    "WebSocketTransport",
    "connect",
    "websocket_transport",
]

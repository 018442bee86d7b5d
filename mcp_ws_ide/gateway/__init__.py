"""The running whole: sessions on one side, upstreams on the other, and the effects performed between."""

from mcp_ws_ide.gateway.gateway import Gateway, Limits
from mcp_ws_ide.gateway.hello import Hello
from mcp_ws_ide.gateway.http import Exchange, HttpLink, Stream
from mcp_ws_ide.gateway.poll import PollLink
from mcp_ws_ide.gateway.session import Link, LinkInfo, Session

__all__ = [
    "Exchange",
    "Gateway",
    "Hello",
    "HttpLink",
    "Limits",
    "Link",
    "LinkInfo",
    "PollLink",
    "Session",
    "Stream",
]

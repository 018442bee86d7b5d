"""The running whole: sessions on one side, upstreams on the other, and the effects performed between."""

from mcp_ws_ide.gateway.gateway import Gateway, Limits
from mcp_ws_ide.gateway.resume_handshake import Hello
from mcp_ws_ide.gateway.session import Link, LinkInfo, Session
from mcp_ws_ide.links.http import Exchange, HttpLink, Stream
from mcp_ws_ide.links.poll import PollLink

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

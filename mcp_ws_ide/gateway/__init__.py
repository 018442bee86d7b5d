"""The running whole: sessions on one side, upstreams on the other, and the effects performed between."""

from mcp_ws_ide.gateway.gateway import Gateway
from mcp_ws_ide.gateway.resume_handshake import Hello
from mcp_ws_ide.gateway.services import Limits
from mcp_ws_ide.gateway.session import Session

__all__ = [
    "Gateway",
    "Hello",
    "Limits",
    "Session",
]

"""The running whole: sessions on one side, upstreams on the other, and the effects performed between."""

from mcp_ws_ide.gateway.gateway import Gateway, Limits
from mcp_ws_ide.gateway.hello import Hello
from mcp_ws_ide.gateway.session import Link, LinkInfo, Session

__all__ = ["Gateway", "Hello", "Limits", "Link", "LinkInfo", "Session"]

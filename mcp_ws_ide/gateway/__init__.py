"""The running gateway: sessions on one side, upstreams on the other."""

from mcp_ws_ide.gateway.gateway import Gateway
from mcp_ws_ide.gateway.resumable import ResumableSession
from mcp_ws_ide.gateway.resume_handshake import ResumeHandshake
from mcp_ws_ide.gateway.services import Limits
from mcp_ws_ide.gateway.session import Session

__all__ = [
    "Gateway",
    "Limits",
    "ResumableSession",
    "ResumeHandshake",
    "Session",
]

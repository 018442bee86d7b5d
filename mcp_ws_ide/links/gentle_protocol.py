"""The ``Protocol`` of ``websockets`` for clients that survive few close codes.

Separate from :mod:`.framing`, which mypyc compiles: a compiled class cannot inherit from one of another package.
"""

from __future__ import annotations

from typing import Final

from websockets.protocol import Protocol as WebSocketProtocol

from mcp_ws_ide.core.binding import CloseCode

ABNORMAL: Final = 1006
"""The close code of a connection that ended without a close frame (RFC 6455 section 7.1.5)."""


class GentleProtocol(WebSocketProtocol):
    """Fails a fragile client with 1001; the only other code that it survives is 1000."""

    def fail(self, code: int, reason: str = "") -> None:
        super().fail(code if code == CloseCode.NORMAL or code == ABNORMAL else CloseCode.GOING_AWAY, reason)

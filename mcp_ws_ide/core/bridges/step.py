"""What the bridge to a server of the handshake era makes of one message. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from mcp_ws_ide.core.messages import Message


@dataclass(slots=True)
class Step:
    """What to write: messages of the handshake era to the server, modern messages toward the clients.

    ``unnamed``: whether the message is a response whose id names no open request.
    """

    to_server: list[Message] = field(default_factory=list)
    to_clients: list[Message] = field(default_factory=list)
    unnamed: bool = False

"""The interface between a session and a client connection of any kind.

Owns the protocols :class:`Link` and :class:`Rebindable`, the callbacks of a link, and :class:`LinkInfo`. Knows
neither sessions nor Tornado; the implementations are in :mod:`.websocket`, :mod:`.poll` and :mod:`.http`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.core.messages import Message
from mcp_ws_ide.core.tools import ToolRules

OnMessage = Callable[[bytes, float], None]
"""Takes one text message from the client and its time of arrival (``time.perf_counter``, seconds)."""
OnClosed = Callable[[int, str], None]
"""Takes the close code (RFC 6455 section 7.4) and the reason; called exactly once, when the link is closed."""
OnFull = Callable[[bool], None]
"""Takes True when too many bytes wait for the client, False when there is room again."""

HIGH_WATER: Final = 1 << 20
"""Bytes queued for a client, above which the server is not read."""
MAX_QUEUED_BYTES: Final = 16 << 20
"""Bytes queued for a client, above which its link is closed, unless configured."""


class LinkInfo(msgspec.Struct, frozen=True):
    """What the gateway knows about the client when its link opens."""

    principal: str
    remote: str = ""
    """IP address of the peer."""
    user_agent: str = ""
    subprotocol: str | None = None
    fragile: bool = False
    """Whether the client survives only the close codes 1000 and 1001 (docs/reference/binding.md, section 4)."""
    token_id: str | None = None
    """The gateway token that opened the link, if any."""
    tools: ToolRules | None = None
    """The tools that the gateway token allows; None for all."""
    link: str = "websocket"
    """``websocket``, ``http`` or ``poll``; ``group`` where a group is the client."""


class Link(Protocol):
    """One physical client connection. No method waits."""

    def deliver(self, message: Message) -> None:
        """Queue one message."""

    def close(self, code: CloseCode, reason: str) -> None:
        """Send what is queued, then close."""

    def set_reading(self, reading: bool) -> None:
        """Pause or resume reading from the client."""

    @property
    def queued_bytes(self) -> int:
        """Bytes that the client has not taken yet."""


class Rebindable(Link, Protocol):
    """A link that carries control frames as well; a resume handshake reads it first and then hands it to a session."""

    def send(self, data: bytes) -> None:
        """Queue one frame: a message or a control frame."""

    def bind(self, on_message: OnMessage, on_closed: OnClosed, on_full: OnFull) -> None:
        """Replace the link's callbacks; the next message goes to the new ``on_message``."""


def slow_consumer(queued: int, limit: int) -> str:
    """The reason to close a link whose client does not read."""
    return f"slow consumer: {queued} bytes are queued; at most {limit} are allowed (max_queued_bytes)"

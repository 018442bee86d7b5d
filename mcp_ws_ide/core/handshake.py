"""What a client of the handshake era has negotiated, so that its session can be opened again at another connection.

Keeps the client's ``initialize``, its log level and its subscriptions. Knows neither transports nor sessions.
"""

from __future__ import annotations

from typing import Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.messages import REQUEST, Message

INITIALIZE: Final = b'"initialize"'
INITIALIZED: Final = b'"notifications/initialized"'
INITIALIZED_MESSAGE: Final = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
_UNSUBSCRIBE: Final = b'"resources/unsubscribe"'
_SETTINGS: Final = {
    b'"logging/setLevel"': b"level",
    b'"resources/subscribe"': b"subscription",
    _UNSUBSCRIBE: b"subscription",
}
"""Requests that change a session, by what they change."""


class Handshake:
    """What one session has negotiated.

    Attributes:
        initialize: the client's ``initialize``; None before that.
        changes: the number of changes of :attr:`state`.
    """

    def __init__(self) -> None:
        self.initialize: Message | None = None
        self.changes = 0
        self._settings: dict[tuple[bytes, bytes], Message] = {}

    def note(self, message: Message) -> None:
        """Remember what another connection needs of a message from the client."""
        if message.kind is not REQUEST:
            return
        if message.method == INITIALIZE:
            self.initialize, self._settings = message, {}
            self.changes += 1
        elif (changes := _SETTINGS.get(message.method)) is not None:
            key = changes, messages.member(message.params, "uri")
            self.changes += 1
            if message.method == _UNSUBSCRIBE:
                self._settings.pop(key, None)
            else:
                self._settings[key] = message

    @property
    def state(self) -> list[bytes]:
        """The messages that were noted, oldest first, for another gateway to :meth:`note`."""
        noted = [self.initialize] if self.initialize is not None else []
        return [message.data for message in [*noted, *self._settings.values()]]

    def settings(self) -> list[Message]:
        """Return the requests that set log level and subscriptions, with ids of their own."""
        kept = enumerate(self._settings.values())
        return [messages.with_id(message, b'"renewed-%d"' % number) for number, message in kept]

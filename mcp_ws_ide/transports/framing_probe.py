"""Find out whether a silent server waits for frames with ``Content-Length``, as language servers do.

It has read what it was sent, and writes nothing, neither answer nor log: then one ``ping`` is sent in a frame. A server
of frames answers it before anything else, and is sent the beginning of the handshake again, in frames; nothing that
could run twice is. Any other server sees lines that are no message, which it skips or answers with an error that is
dropped here. Knows nothing of pipes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.lenient_json import error_code
from mcp_ws_ide.errors import INVALID_REQUEST, PARSE_ERROR, MalformedMessage
from mcp_ws_ide.transports.base import Receiver

PATIENCE: Final = 6.0
"""Seconds of silence after which a server is asked."""
LOOK_AGAIN: Final = 1.0
"""Seconds until the next look at a server that is not silent, or has not read everything."""
BEGINNINGS: Final = (b'"initialize"', b'"server/discover"', b'"notifications/initialized"', b'"ping"')
"""Methods (as JSON) of what may be sent twice; a server that was sent anything else is not asked."""

_ID: Final = b'"mcp-ws-framing"'
PING: Final = b'{"jsonrpc":"2.0","id":%b,"method":"ping"}' % _ID


class FramingProbe:
    """The receiver of a server that has not written anything yet; passes everything on.

    Args:
        receiver: gets what the server writes, except for answers to the ping.
        is_silent: returns whether the server has read everything, and written nothing for :data:`PATIENCE`.
        ask: sends :data:`PING` in a frame.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        receiver: Receiver,
        is_silent: Callable[[], bool],
        ask: Callable[[], None],
    ) -> None:
        self.unheard: list[bytes] = []
        """What was sent before the server wrote a message."""
        self.heard = False
        """Whether the server has written a message."""
        self.needs_frames = False
        """Whether that was the answer to the ping."""
        self.asked = False
        """Whether the ping was sent."""
        self._loop = loop
        self._receiver = receiver
        self._is_silent = is_silent
        self._ask = ask
        self._timer: asyncio.TimerHandle | None = None

    def sent(self, message: bytes) -> None:
        """Note a message that was sent."""
        if self.heard:
            return
        self.unheard.append(message)
        if self._timer is None and not self.asked:
            self._timer = self._loop.call_later(PATIENCE, self._look)

    def _look(self) -> None:
        self._timer = None
        if self.heard or not all(messages.parse(m).method in BEGINNINGS for m in self.unheard):
            return
        if self._is_silent():
            self.asked = True
            self._receiver.noise_received(
                "transport",
                "the server reads and writes nothing; it was sent a ping in a frame with Content-Length",
            )
            self._ask()
        else:
            self._timer = self._loop.call_later(LOOK_AGAIN, self._look)

    def close(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def message_received(self, message: bytes) -> None:
        """Pass on a message, unless the ping has caused it."""
        caused = _is_of_ping(message) if self.asked else b""
        if not self.heard:
            self.heard, self.needs_frames = True, caused == _ID
        if not caused:
            self._receiver.message_received(message)

    def noise_received(self, source: str, text: str) -> None:
        """See :class:`~mcp_ws_ide.transports.base.Receiver`."""
        self._receiver.noise_received(source, text)

    def transport_closed(self, reason: str) -> None:
        """See :class:`~mcp_ws_ide.transports.base.Receiver`."""
        self._receiver.transport_closed(reason)

    def write_paused(self, paused: bool) -> None:
        """See :class:`~mcp_ws_ide.transports.base.Receiver`."""
        self._receiver.write_paused(paused)


def _is_of_ping(message: bytes) -> bytes:
    """Return the id of a message that the ping has caused: its answer, or an error of a server of lines."""
    try:
        parsed = messages.parse(message)
    except MalformedMessage:
        return b""
    refused = parsed.id == b"null" and error_code(parsed.error) in (PARSE_ERROR, INVALID_REQUEST)
    return parsed.id if refused or parsed.id == _ID else b""

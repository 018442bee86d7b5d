"""Find out whether a silent server waits for frames with ``Content-Length``, as language servers do.

If the server has read what it was sent and writes nothing, neither answer nor log, one ``ping`` is sent in a frame. A
server that reads frames answers it before anything else, and is sent the beginning of the handshake again, in frames;
nothing that could run twice is sent again. Any other server sees lines that are not messages, which it skips or answers
with an error that is dropped here. Knows nothing of pipes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.frames import framed
from mcp_ws_ide.core.lenient_json import error_code
from mcp_ws_ide.errors import INVALID_REQUEST, PARSE_ERROR, MalformedMessageError, TransportClosedError
from mcp_ws_ide.transports.base import Receiver

PATIENCE: Final = 6.0
"""Seconds of silence after which a server is asked."""
LOOK_AGAIN: Final = 1.0
"""Seconds until the next check of a server that is not silent, or has not read everything."""
BEGINNINGS: Final = (b'"initialize"', b'"server/discover"', b'"notifications/initialized"', b'"ping"')
"""Methods (as JSON) of what may be sent twice; a server that was sent anything else is not asked."""

MAX_KNOWN: Final = 1000
"""Commands that are remembered."""
_known: dict[tuple[str, ...], None] = {}
"""Commands whose processes need frames; the next process gets them at once. The oldest is first."""

_ID: Final = b'"mcp-ws-framing"'
PING: Final = b'{"jsonrpc":"2.0","id":%b,"method":"ping"}' % _ID


class FramingProbe:
    """The receiver of a server until it has written a message in lines; passes everything on.

    Args:
        receiver: gets what the server writes, except for what the ping has caused.
        has_read: returns whether the server has read everything that it was sent.
        send: sends one message, which comes back through :meth:`outgoing`.
        command: program, arguments and folder of the server, by which it is known again.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        receiver: Receiver,
        has_read: Callable[[], bool],
        send: Callable[[bytes], None],
        command: tuple[str, ...],
    ) -> None:
        self._loop = loop
        self._receiver = receiver
        self._has_read = has_read
        self._send = send
        self._unheard: list[bytes] = []
        """What was sent before the server wrote a message."""
        self._command = command
        self._heard = False
        self._asked = self._needs_frames = self._in_frames = command in _known
        self._last_sign = 0.0
        """When the server last wrote anything, or was sent something, on the loop's clock."""
        self._timer: asyncio.TimerHandle | None = None

    # --- toward the server ------------------------------------------------------------------------

    def outgoing(self, message: bytes) -> bytes:
        """Return what to write for a message, without the line end."""
        if message is PING or self._in_frames:
            return framed(message)
        if not self._heard:
            self._unheard.append(message)
            self.note_sign()
            if self._timer is None and not self._asked:
                self._timer = self._loop.call_later(PATIENCE, self._look)
        return message

    def note_sign(self) -> None:
        """Note that the server has written something, or was sent something."""
        self._last_sign = self._loop.time()

    def _look(self) -> None:
        self._timer = None
        if self._heard or not all(messages.parse(m).method in BEGINNINGS for m in self._unheard):
            return
        if self._loop.time() - self._last_sign < PATIENCE or not self._has_read():
            self._timer = self._loop.call_later(LOOK_AGAIN, self._look)
            return
        self._asked = True
        text = "the server has read everything and writes nothing; it was sent a ping in a frame with Content-Length"
        self._receiver.noise_received("transport", text)
        self._write(PING)

    def _write(self, message: bytes) -> None:
        with contextlib.suppress(TransportClosedError):
            self._send(message)

    def settled(self, in_frames: bool) -> bool:
        """Note that the server has written; return whether the probe is finished.

        Args:
            in_frames: whether it writes frames.
        """
        self.note_sign()
        if self._heard and not self._asked:
            self.close()
            return True
        if self._needs_frames and in_frames and not self._in_frames:
            self._in_frames = True
            self._remember()
            for message in self._unheard:
                self._write(message)
        return False

    def _remember(self) -> None:
        _known[self._command] = None
        if len(_known) > MAX_KNOWN:
            del _known[next(iter(_known))]

    def close(self) -> None:
        """Stop probing. A server that answered nothing may need no frames any more: it is probed the next time."""
        if not self._heard:
            _known.pop(self._command, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- from the server --------------------------------------------------------------------------

    def message_received(self, message: bytes) -> None:
        """Pass on a message, unless the ping has caused it."""
        caused = _is_of_ping(message) if self._asked else b""
        if not self._heard:
            self._heard, self._needs_frames = True, caused == _ID
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
    """Return the id of a message that the ping has caused: its response, or the error of a server that reads lines."""
    try:
        parsed = messages.parse(message)
    except MalformedMessageError:
        return b""
    refused = parsed.id == b"null" and error_code(parsed.error) in (PARSE_ERROR, INVALID_REQUEST)
    return parsed.id if refused or parsed.id == _ID else b""

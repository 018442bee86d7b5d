"""The WebSocket frame layer of a client link: bytes in, complete text messages out (RFC 6455).

Built on the sans-I/O ``Protocol`` of ``websockets``, which parses, checks and answers frames; this module adds what
that leaves to its user: joining fragments and checking that messages are UTF-8. Nearly every frame is a final, masked
text frame within the size limit: those are decoded here directly, in however many pieces they come. All others, and all
illegal ones, go through ``Protocol`` (benchmarks/bench.py measures the gain, tests/fuzz/differences.py compares the two
ways). A ``Protocol`` takes 1.2 KiB, so it exists only while it has something to remember. Performs no I/O and knows
nothing of MCP.
"""

from __future__ import annotations

import logging
from typing import Final

from websockets.exceptions import InvalidState
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import SERVER, State
from websockets.protocol import Protocol as WebSocketProtocol

from mcp_ws_ide.core.binding import VIOLATIONS, CloseCode, close_code_for, close_reason
from mcp_ws_ide.core.messages import is_text
from mcp_ws_ide.links.gentle_protocol import ABNORMAL, GentleProtocol

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled extension
    from websockets.utils import apply_mask

_OPEN: Final = State.OPEN
_TEXT: Final = Opcode.TEXT
_CONT: Final = Opcode.CONT
_FINAL_TEXT: Final = 0x81
"""First byte of a final text frame without extension bits (RFC 6455 section 5.2)."""
_MASKED: Final = 0x80
"""Bit of the second byte that says that the payload is masked; every frame of a client is."""
_PONG: Final = 0x8A
"""First byte of a Pong."""
_PING: Final = (b"\x89\x03", b"mcp")
"""The frame of a Ping (RFC 6455 section 5.5.2): header and payload."""
_MAX_CONTROL: Final = 125
"""Longest payload of a control frame, in bytes (RFC 6455 section 5.5)."""
_EMPTY: Final = bytearray()
"""Nothing received; never changed. A ``bytearray`` of its own would take 56 bytes of an idle link."""
_quiet = logging.getLogger(__name__)
_quiet.setLevel(logging.WARNING)  # the gateway logs opening and closing itself


class FrameLayer:
    """One server-side WebSocket, after the handshake.

    Pass received bytes to :meth:`receive`; write what :meth:`data_to_send` returns.

    Args:
        max_size: length of the longest message to accept, in bytes.
        fragile: whether to close with 1000 or 1001 only (docs/reference/binding.md, section 4).
    """

    __slots__ = (
        "_fragile",
        "_fragments",
        "_in_message",
        "_kept",
        "_max_size",
        "_out",
        "_protocol",
        "_remaining",
        "_wanted",
        "open",
        "pongs",
    )

    def __init__(self, max_size: int, *, fragile: bool = False) -> None:
        self._protocol: WebSocketProtocol | None = None
        """What reads all but plain frames; None while it would be in the state in which it is made."""
        self._fragile = fragile
        self._max_size = max_size
        self._kept = _EMPTY
        """The beginning of a plain frame, or of a frame whose header is incomplete."""
        self._wanted = 0
        """Bytes of that plain frame, from its header to its end; 0 while the header is incomplete."""
        self._remaining = 0
        """Bytes of the current frame that ``Protocol`` still has to get."""
        self._in_message = False
        self._fragments = _EMPTY
        self._out: list[bytes] = []
        self.open = True
        """Whether data can still be sent."""
        self.pongs = 0
        """Pong frames received so far."""

    def _made_protocol(self) -> WebSocketProtocol:
        if self._protocol is None:
            kind = GentleProtocol if self._fragile else WebSocketProtocol
            self._protocol = kind(SERVER, max_size=self._max_size, logger=_quiet)
        return self._protocol

    def _release_protocol(self) -> None:
        """Forget the protocol, if it is open, has read whole messages only, and has nothing to send."""
        if self.open and not (self._in_message or self._remaining or self.has_control):
            self._protocol = None

    def _note_state(self, protocol: WebSocketProtocol) -> None:
        """Note whether the protocol is still open; asking it for each message would cost more than the rest here."""
        self.open = protocol.state is _OPEN

    @property
    def has_control(self) -> bool:
        """Whether control frames (Pong, Close) wait to be sent."""
        return self._protocol is not None and bool(self._protocol.writes)

    @property
    def close_code(self) -> int | None:
        """The close code; None while the WebSocket is open.

        After a violation by the peer: the code that was sent to it. Otherwise the code that the peer sent, or 1006 if
        it sent none, because then it is unknown what it has received.
        """
        if self.open:
            return None
        end = self._end
        return end.code if end is not None else ABNORMAL

    @property
    def close_reason(self) -> str:
        """The reason that belongs to :attr:`close_code`; if only this side closed, its own reason and code."""
        end, sent = self._end, self._protocol.close_sent if self._protocol is not None else None
        if end is not None or sent is None:
            return end.reason if end is not None else ""
        return f"{sent.reason} (closed by the gateway with {sent.code}; the client did not confirm)".lstrip()

    @property
    def _end(self) -> Close | None:
        """How the WebSocket was closed, after a violation by this side, otherwise by the peer; None if by neither."""
        if self._protocol is None:
            return None
        sent = self._protocol.close_sent
        return sent if sent is not None and sent.code in VIOLATIONS else self._protocol.close_rcvd

    def receive(self, data: bytes | memoryview) -> list[bytes]:
        """Take bytes from the socket and return the text messages that they complete; ``data`` is not kept.

        A violation closes the WebSocket: then :attr:`open` is False and :meth:`data_to_send` returns the close frame
        (1002, 1003, 1007 or 1009).
        """
        messages: list[bytes] = []
        if self._kept:
            self._kept += data
            if len(self._kept) < self._wanted and self.open:
                return messages
            data, self._kept, self._wanted = memoryview(self._kept), _EMPTY, 0
        position, end = 0, len(data)
        while position < end and self.open:
            if self._remaining:
                position += self._continue(data, position, messages)
                continue
            start, size = _header(data, position, end)
            stop = start + size
            plain = (
                start > 0
                and data[position] == _FINAL_TEXT
                and size <= self._max_size
                and data[position + 1] >= _MASKED
                and not self._in_message
            )
            if plain and stop <= end:
                self._complete(apply_mask(data[start:stop], bytes(data[start - 4 : start])), messages)
                position = stop
            elif plain or start == 0:
                self._kept = bytearray(data[position:])
                self._wanted = stop - position if plain else 0
                return messages
            elif stop <= end and _is_pong(data, position):
                self.pongs += 1
                position = stop
            else:
                self._remaining = stop - position
        if position < end:  # closing: only the peer's close frame still matters
            protocol = self._made_protocol()
            protocol.receive_data(bytes(data[position:]))
            protocol.events_received()
            self._note_state(protocol)
        return messages

    def _continue(self, data: bytes | memoryview, position: int, messages: list[bytes]) -> int:
        """Pass the rest of the current frame to ``Protocol``; return how many bytes of ``data`` it took."""
        size = min(self._remaining, len(data) - position)
        self._remaining -= size
        self._feed(bytes(data[position : position + size]), messages)
        return size

    def _feed(self, data: bytes, messages: list[bytes]) -> None:
        protocol = self._made_protocol()
        protocol.receive_data(data)
        self._note_state(protocol)
        for frame in protocol.events_received():
            if type(frame) is Frame and not self._take(frame, messages):
                break

    def receive_eof(self) -> None:
        """Note that the socket has ended; nothing else may follow."""
        if self._protocol is None:  # as after a network failure, which ends thousands of links at once
            self.open = False
            return
        self._protocol.receive_eof()
        self._note_state(self._protocol)

    def _take(self, frame: Frame, messages: list[bytes]) -> bool:
        if frame.opcode is _TEXT and frame.fin:
            return self._complete(bytes(frame.data), messages)
        if frame.opcode is _TEXT or frame.opcode is _CONT:
            if frame.opcode is _TEXT:
                self._fragments = bytearray()
            self._fragments += frame.data
            self._in_message = not frame.fin
            if self._in_message:
                return True
            payload, self._fragments = bytes(self._fragments), _EMPTY
            return self._complete(payload, messages)
        if frame.opcode is Opcode.PONG:
            self.pongs += 1
        elif frame.opcode is Opcode.BINARY:
            self.close(CloseCode.UNSUPPORTED_DATA, "send JSON-RPC as text messages, not binary")
            return False
        return frame.opcode is not Opcode.CLOSE

    def _complete(self, payload: bytes, messages: list[bytes]) -> bool:
        if not payload.isascii() and not is_text(payload):
            self.close(CloseCode.INVALID_TEXT, "text messages must be valid UTF-8")
            return False
        messages.append(payload)
        return True

    def send_text(self, payload: bytes) -> None:
        """Queue one message as a single unmasked frame (RFC 6455 section 5.2)."""
        if not self.open:
            return
        size = len(payload)
        if size < 126:
            header = bytes((0x81, size))
        elif size < 65536:
            header = b"\x81\x7e" + size.to_bytes(2, "big")
        else:
            header = b"\x81\x7f" + size.to_bytes(8, "big")
        self._out.append(header)
        self._out.append(payload)

    def drop_queued(self) -> None:
        """Drop the messages that :meth:`data_to_send` has not returned yet."""
        self._out.clear()

    def ping(self) -> None:
        """Queue a Ping, which an idle link sends from time to time."""
        if self.open:
            self._out += _PING
            self._release_protocol()

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Start the closing handshake, if it has not started yet."""
        protocol = self._made_protocol()
        try:
            protocol.send_close(close_code_for(code, self._fragile), close_reason(reason))
        except InvalidState:
            return
        self._note_state(protocol)

    def data_to_send(self) -> list[bytes]:
        """Return the bytes to write, in order. A last item ``b""`` means: then close the socket."""
        out, self._out = self._out, []
        if self._protocol is not None and self._protocol.writes:
            # Data queued before a close frame goes out before it; a Ping or Pong may pass either way.
            out += self._protocol.data_to_send()
            self._release_protocol()
        return out


def _is_pong(data: bytes | memoryview, position: int) -> bool:
    """Return whether a legal Pong begins at ``position``."""
    return data[position] == _PONG and _MASKED <= data[position + 1] <= _MASKED + _MAX_CONTROL


def _header(data: bytes | memoryview, position: int, end: int) -> tuple[int, int]:
    """Return the start and size of the payload of the frame at ``position``; ``(0, 0)`` if more bytes are needed.

    An unmasked frame, which is illegal here, is measured as if it had a mask; ``Protocol`` rejects it anyway.
    """
    if end - position < 2:
        return 0, 0
    size, start = data[position + 1] & 0x7F, position + 6
    if size < 126:
        return start, size
    if size == 126:
        return (0, 0) if end - position < 4 else (start + 2, data[position + 2] << 8 | data[position + 3])
    if end - position < 10:
        return 0, 0
    return start + 8, int.from_bytes(data[position + 2 : position + 10], "big")

"""Messages in frames with ``Content-Length`` headers, as language servers write them (LSP 3.17, base protocol). Pure.

Servers that mix frames and lines are read too.
"""

from __future__ import annotations

import re
from typing import Final

from mcp_ws_ide.core import json_scan, reader

END_BYTES: Final = 2048
"""Bytes kept of each end of a message over the limit, to find the request that it answers."""
MAX_HEADER_BYTES: Final = 8192
"""Longest header line, in bytes; what is longer is not a header."""

_LENGTH: Final = re.compile(rb"content-length[ \t]*:[ \t]*(\d{1,12})[ \t]*", re.IGNORECASE)
_MEMBERS: Final = frozenset({b"jsonrpc", b"id", b"method", b"result", b"error"})
_HEADER: Final = re.compile(rb"[A-Za-z][A-Za-z0-9-]{0,63}[ \t]*:.*")


def is_header(line: bytes) -> bool:
    """Return whether a line is the header that says how long a message is."""
    return _LENGTH.fullmatch(line.strip()) is not None


def _without_message(body: bytes) -> bool:
    """Return whether a body has nothing of a JSON-RPC message, in whatever form."""
    text = body.strip()
    if reader.encoding_of(body) or reader.may_be_message(text):
        return False
    names = json_scan.top_of(text).names if text[:1] == b"{" else set()
    return text != b"{}" and not any(name.lower() in _MEMBERS for name in names)


def framed(message: bytes) -> bytes:
    """Return a message in a frame, to be followed by a line end, which the frame includes."""
    return b"Content-Length: %d\r\n\r\n%b" % (len(message) + 1, message)


class FrameSplitter:
    """Splits a byte stream into messages.

    Args:
        limit: longest message, in bytes.
        with_headers: whether a body that has nothing of a message is returned behind its header, on one line.

    Attributes:
        skipped: size of the last message over the limit, in bytes; the caller resets it to 0.
        ends: the first and last :data:`END_BYTES` of that message.
    """

    def __init__(self, limit: int, *, with_headers: bool = False) -> None:
        self._limit = limit
        self._with_headers = with_headers
        self._buffer = bytearray()
        self._size = -1
        """Bytes of the body that comes next; -1 while its header is not known."""
        self._in_body = False
        self._dropping = 0
        """Bytes of a body over the limit that are still to come."""
        self.skipped = 0
        self.ends = (b"", b"")

    @property
    def has_partial(self) -> bool:
        """Whether part of an incomplete message or line has arrived."""
        return bool(self._buffer or self.announced)

    @property
    def announced(self) -> bytes:
        """The header of a message that has not arrived; ``b""`` for none."""
        return b"Content-Length: %d" % self._size if self._size >= 0 and not self._dropping else b""

    @property
    def partial(self) -> bytes:
        """The part of an incomplete message or line that has arrived."""
        return bytes(self._buffer)

    def take_partial(self) -> bytes:
        """Treat what has arrived as a message: its header was wrong, or nothing follows."""
        partial = self.partial
        self._buffer.clear()
        self._size, self._in_body = -1, False
        return partial

    def abandon_partial(self) -> None:
        """Drop what has arrived."""
        self.take_partial()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages, and other lines, that ``data`` completes."""
        self._buffer += data
        pieces: list[bytes] = []
        while self._step(pieces):
            pass
        return pieces

    def _step(self, pieces: list[bytes]) -> bool:
        """Take one line or body off the buffer; return False if none is complete."""
        if self._dropping:
            return self._drop()
        if self._in_body:
            return self._body(pieces)
        end = self._buffer.find(b"\n")
        if end < 0:
            return self._overlong(pieces)
        line = bytes(self._buffer[:end]).strip()
        del self._buffer[: end + 1]
        if length := _LENGTH.fullmatch(line):
            self._size = int(length[1])
        elif not line:
            self._in_body = self._size >= 0
            if self._size > self._limit:
                self._dropping, self.skipped, self._in_body = self._size, self._size, False
                self.ends = (b"", b"")
        elif self._size < 0 or not _HEADER.fullmatch(line):
            pieces.append(line)
        return True

    def _body(self, pieces: list[bytes]) -> bool:
        if len(self._buffer) < self._size:
            return False
        body = bytes(self._buffer[: self._size])
        line = bytes(self._buffer[: self._buffer.find(b"\n", self._size) + 1])
        if line and not json_scan.is_whole(body) and json_scan.is_whole(line):
            if self._with_headers and len(line.strip().decode(errors="replace")) != self._size:
                pieces.append(
                    self.announced + b" "
                )  # not the header of this line: it does not count characters either
            body = line
        foreign = self._with_headers and _without_message(body)
        pieces.append(b"%b %b" % (self.announced, body) if foreign else body)
        del self._buffer[: len(body)]
        self._size, self._in_body = -1, False
        return True

    def _overlong(self, pieces: list[bytes]) -> bool:
        """Pass on a line that grows without end, in pieces."""
        if len(self._buffer) <= max(self._limit, MAX_HEADER_BYTES):
            return False
        pieces.append(bytes(self._buffer))
        self._buffer.clear()
        return True

    def _drop(self) -> bool:
        part = bytes(self._buffer[: self._dropping])
        head, tail = self.ends
        self.ends = (head + part)[:END_BYTES], (tail + part)[-END_BYTES:]
        self._dropping -= len(part)
        del self._buffer[: len(part)]
        if not self._dropping:
            self._size = -1
        return not self._dropping

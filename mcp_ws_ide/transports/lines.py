"""One JSON object per line: splits a byte stream into messages, within limits. Knows nothing of pipes or sockets."""

from __future__ import annotations

from typing import Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.errors import RESPONSE_TOO_LARGE
from mcp_ws_ide.transports.base import Receiver

END_BYTES: Final = 2048
"""Bytes kept of each end of a line over the limit, to find the request that it answers."""
NOISE_CHARACTERS: Final = 2000
"""Characters passed on of a line that is not a message."""


class MessageLines:
    """Passes the lines of a server to its receiver.

    Args:
        limit: longest line, in bytes. A longer one is dropped and reported as noise; an answer is replaced by an error
            with its id.
        source: source of the noise (:meth:`Receiver.noise_received`).
    """

    def __init__(self, limit: int, source: str) -> None:
        self._limit = limit
        self._source = source
        self._splitter = LineSplitter(limit)

    def feed(self, data: bytes, receiver: Receiver) -> None:
        """Pass on the lines that ``data`` completes."""
        for line in self._splitter.feed(data):
            if line[:1] == b"{":
                receiver.message_received(line)
            elif stripped := line.strip():
                self._take_unusual(stripped, receiver)
        if self._splitter.skipped:
            size, self._splitter.skipped = self._splitter.skipped, 0
            report = f"a line of {size} bytes was dropped, {over_limit(self._limit)}"
            receiver.noise_received(self._source, report)
            if raw_id := messages.answered_id(*self._splitter.ends):
                receiver.message_received(too_large(raw_id, f"the response has {size} bytes", self._limit))

    def _take_unusual(self, stripped: bytes, receiver: Receiver) -> None:
        """Take a line that does not begin with a brace: an indented message, or noise."""
        if stripped[:1] == b"{":
            receiver.message_received(stripped)
        else:
            receiver.noise_received(self._source, printable(stripped))


class LineSplitter:
    """Splits a byte stream into lines, in time linear in its length."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._skipping = False
        self.skipped = 0
        """Size of the last line over the limit, in bytes; the caller resets it to 0."""
        self.ends = (b"", b"")
        """The first and last :data:`END_BYTES` of that line."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that ``data`` completes, without line ends."""
        lines = []
        start, end = 0, data.find(b"\n")
        while end >= 0:
            line = self._complete(data[start:end])
            if line is not None:
                lines.append(line)
            start = end + 1
            end = data.find(b"\n", start)
        if start < len(data):
            self._keep(data[start:])
        return lines

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._skipping:
            head, tail = self.ends
            self.ends = head, (tail + part)[-END_BYTES:]
        elif self._size > self._limit:
            line = b"".join((*self._parts, part))
            self.ends = line[:END_BYTES], line[-END_BYTES:]
            self._parts.clear()
            self._skipping = True
        else:
            self._parts.append(part)

    def _complete(self, part: bytes) -> bytes | None:
        if not self._parts and not self._skipping and len(part) <= self._limit:
            return part
        self._keep(part)
        line = None if self._skipping else b"".join(self._parts)
        if line is None:
            self.skipped = self._size
        self._parts.clear()
        self._size, self._skipping = 0, False
        return line


def over_limit(limit: int) -> str:
    """Say which limit was exceeded, in bytes."""
    return f"over the limit of {limit} bytes (max_message_bytes)"


def too_large(raw_id: bytes, what: str, limit: int) -> bytes:
    """Return the JSON-RPC error that replaces an answer over the limit."""
    return messages.error_response(raw_id, RESPONSE_TOO_LARGE, f"{what}, {over_limit(limit)}")


def printable(line: bytes) -> str:
    """Return the beginning of a line as text."""
    return line[: NOISE_CHARACTERS * 4].decode(errors="replace")[:NOISE_CHARACTERS]

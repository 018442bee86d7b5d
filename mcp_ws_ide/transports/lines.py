"""One JSON object a line: cuts a byte stream into messages, bounded. Knows nothing of pipes or sockets."""

from __future__ import annotations

from typing import Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.errors import RESPONSE_TOO_LARGE
from mcp_ws_ide.transports.base import Receiver

END_BYTES: Final = 2048
"""What is kept of either end of a line that is over the limit, to tell whose answer it was."""
NOISE_CHARACTERS: Final = 2000
"""How much of a line that is no message is passed on."""


class MessageLines:
    """Passes the lines of a server to its receiver.

    Args:
        limit: longest line, in bytes; a longer one is skipped and reported as noise; if it was an answer, an
            error of that id takes its place.
        source: what the noise is said to come from.
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
                self._odd_line(stripped, receiver)
        if self._splitter.skipped:
            size, self._splitter.skipped = self._splitter.skipped, 0
            words = f"a line of {size} bytes was dropped, {over_limit(self._limit)}"
            receiver.noise_received(self._source, words)
            if raw_id := messages.answered_id(*self._splitter.ends):
                receiver.message_received(too_large(raw_id, f"the answer has {size} bytes", self._limit))

    def _odd_line(self, stripped: bytes, receiver: Receiver) -> None:
        if stripped[:1] == b"{":
            receiver.message_received(stripped)
        else:
            receiver.noise_received(self._source, printable(stripped))


class LineSplitter:
    """Cuts a byte stream into lines, in time proportional to its length."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._skipping = False
        self.skipped = 0
        """Size of the last line that was over the limit; the reader resets it."""
        self.ends = (b"", b"")
        """How that line began and ended, :data:`END_BYTES` each."""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ``data`` completes, without their ends."""
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
    """Says which limit was exceeded."""
    return f"over the limit of {limit} (max_message_bytes)"


def too_large(raw_id: bytes, what: str, limit: int) -> bytes:
    """The error that takes the place of an answer over the limit."""
    return messages.error_response(raw_id, RESPONSE_TOO_LARGE, f"{what}, {over_limit(limit)}")


def printable(line: bytes) -> str:
    """The beginning of what is no message, as text."""
    return line[: NOISE_CHARACTERS * 4].decode(errors="replace")[:NOISE_CHARACTERS]

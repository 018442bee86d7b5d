"""A message that a peer wrote on several lines: pretty-printed, or with raw line breaks in its strings. Pure."""

from __future__ import annotations

import re
from typing import Final

from mcp_ws_ide.core.reader import may_be_message

_BEGINNING: Final = re.compile(rb'\{\s*(?:".*)?|\[\s*(?:\{.*)?', re.DOTALL)
"""How a message on several lines begins; text in brackets, as logs have it, does not."""
_PIECE: Final = 1 << 20
"""Bytes of a line that are split at a time."""


class Fragment:
    """The lines so far of a message that is not complete.

    Attributes:
        size: bytes of these lines.
    """

    def __init__(self, line: bytes) -> None:
        self.size = 0
        self._lines: list[bytes] = []
        self._depth = 0
        self._in_string = False
        self.add(line)

    def add(self, line: bytes) -> bool:
        """Add a line; return whether it completes the message."""
        self._lines.append(line)
        self.size += len(line) + 1
        # Not a step for each bracket or string: a line may consist of them, and would stop the event loop for seconds.
        plain = line.replace(b"\\\\", b"").replace(b'\\"', b"")
        for start in range(0, len(plain), _PIECE):
            between_quotes = plain[start : start + _PIECE].split(b'"')
            outside = b"".join(between_quotes[self._in_string :: 2])
            self._depth += (
                outside.count(b"{") + outside.count(b"[") - outside.count(b"}") - outside.count(b"]")
            )
            self._in_string ^= len(between_quotes) % 2 == 0
        return not self._in_string and self._depth <= 0

    @property
    def data(self) -> bytes:
        """All lines."""
        return b"\n".join(self._lines)


def begins(line: bytes) -> bool:
    """Return whether a line, which is not a complete message, begins one on several lines."""
    return _BEGINNING.fullmatch(line) is not None


def interrupts(line: bytes) -> bool:
    """Return whether a line begins a message of its own, so that the one before was never completed."""
    return line[:1] == b"{" and may_be_message(line)

"""Splits a byte stream into lines, within a limit. Pure; knows nothing of messages."""

from __future__ import annotations

from mcp_ws_ide.core.frames import END_BYTES


class LineSplitter:
    """Splits a byte stream into lines, in time linear in its length.

    Attributes:
        skipped: size of the last line over the limit, in bytes; the caller resets it to 0.
        ends: the first and last :data:`~mcp_ws_ide.core.frames.END_BYTES` of that line.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._skipping = False
        self._abandoned = False
        self.skipped = 0
        self.ends = (b"", b"")

    @property
    def has_partial(self) -> bool:
        """Whether something has arrived of a line that has not ended."""
        return bool(self._parts)

    @property
    def partial(self) -> bytes:
        """What has arrived of a line that has not ended; ``b""`` if it is dropped."""
        return b"".join(self._parts)

    def take_partial(self) -> bytes:
        """Return the unfinished line as a line."""
        partial = self.partial
        self._parts.clear()
        self._size = 0
        return partial

    def abandon_partial(self) -> None:
        """Drop the line that has not ended, and its rest."""
        self._parts.clear()
        self._skipping = self._abandoned = True

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
        if line is None and not self._abandoned:
            self.skipped = self._size
        self._parts.clear()
        self._size, self._skipping, self._abandoned = 0, False, False
        return line

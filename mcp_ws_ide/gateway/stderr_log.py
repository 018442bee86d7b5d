"""The ring of stderr lines that is kept of one user's processes of a server."""

from __future__ import annotations

import time
from collections import deque
from typing import Final, NamedTuple

STDERR_LINES: Final = 500
"""Lines that a ring holds."""
STDERR_CHARACTERS: Final = 64 << 10
"""Characters that a ring holds; a longer line is cut to this length."""


class StderrLine(NamedTuple):
    """One line of stderr.

    Attributes:
        seq: the line's number among those of one user's processes, from 1.
        at: when it arrived, in seconds since the epoch.
        pid: the process that wrote it, if it has a process id.
    """

    seq: int
    at: float
    pid: int | None
    text: str


class StderrLog:
    """The newest stderr lines of one user's processes of a server, including processes that have exited.

    Attributes:
        seq: number of the newest line; 0 before the first.
    """

    def __init__(self) -> None:
        self.seq = 0
        self._lines: deque[StderrLine] = deque(maxlen=STDERR_LINES)
        self._size = 0

    def add(self, pid: int | None, text: str) -> None:
        """Append a line, or several with a line feed between them; the oldest lines make room for them."""
        lines, now = text.split("\n"), time.time()
        self.seq += len(lines[:-STDERR_LINES])
        for line in lines[-STDERR_LINES:]:
            self._append(StderrLine(self.seq + 1, now, pid, line[:STDERR_CHARACTERS]))

    def _append(self, line: StderrLine) -> None:
        if len(self._lines) == STDERR_LINES:
            self._size -= len(self._lines[0].text)
        self.seq = line.seq
        self._lines.append(line)
        self._size += len(line.text)
        while self._size > STDERR_CHARACTERS:
            self._size -= len(self._lines.popleft().text)

    def after(self, seq: int) -> list[StderrLine]:
        """Return the kept lines with a number above ``seq``, oldest first."""
        return [line for line in self._lines if line.seq > seq]

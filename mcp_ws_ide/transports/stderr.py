"""The stderr of a server process: always drained, at a bounded share of the event loop's time, and passed on by lines.

Also the primitives for raw pipes. Knows nothing of processes.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from mcp_ws_ide.transports.lines import text_of_lines

READ_BYTES: Final = 16 << 10
"""Maximum number of bytes taken from stderr in one read."""
LOOP_SHARE: Final = 0.1
"""Largest share of the event loop's time for stderr; a server that floods it waits at its pipe in the meantime."""
SHORTEST_PAUSE: Final = 0.001
"""Seconds below which a pause is not worth a timer."""
PIPE_BYTES: Final = 64 << 10
"""Capacity of the pipe (Linux; less elsewhere)."""
LINE_BYTES: Final = 256 << 10
"""Bytes kept of one line."""
LAST_LINES: Final = 3
"""Number of lines quoted when a process has exited."""


class StderrReader:
    """Reads stderr, and passes on its lines.

    Args:
        descriptor: non-blocking read end of the pipe; closed by :meth:`close`.
        on_lines: takes the lines of each read that are not blank, with a line feed between them.

    Attributes:
        last_lines: the newest :data:`LAST_LINES` lines.
    """

    def __init__(self, descriptor: int, on_lines: Callable[[str], None]) -> None:
        self._descriptor = descriptor
        self._on_lines = on_lines
        self._loop = asyncio.get_running_loop()
        self._partial_line = b""
        self._pause: asyncio.TimerHandle | None = None
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)

    def watch(self) -> None:
        """Read whenever there is something to read."""
        watch(self._loop.add_reader, self._descriptor, self._readable)

    def _readable(self) -> None:
        began = time.perf_counter()
        if not self._read():
            self._loop.remove_reader(self._descriptor)
            return
        pause = (time.perf_counter() - began) * (1 / LOOP_SHARE - 1)
        if pause > SHORTEST_PAUSE:
            self._loop.remove_reader(self._descriptor)
            self._pause = self._loop.call_later(pause, self.watch)

    def _read(self) -> bool:
        """Take one read's worth; return False at the end of the stream."""
        data = read_pipe(self._descriptor, READ_BYTES)
        if data is None:
            return True
        if not data:
            lines, self._partial_line = self._partial_line, b""
        else:
            lines, _, rest = (self._partial_line + data).rpartition(b"\n")
            self._partial_line = rest[-LINE_BYTES:]
        if text := text_of_lines(lines, str.rstrip):
            self.last_lines.extend(text.rsplit("\n", LAST_LINES)[-LAST_LINES:])
            self._on_lines(text)
        return bool(data)

    def read_rest(self) -> None:
        """Read only what the pipe holds now: another process may still be writing to it."""
        for _ in range(PIPE_BYTES // READ_BYTES + 1):
            if not self._read():
                break

    def close(self) -> None:
        """Stop reading and close the descriptor; idempotent."""
        if self._pause is not None:
            self._pause.cancel()
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


def read_pipe(descriptor: int, size: int) -> bytes | None:
    """Return up to ``size`` bytes of a pipe; ``b""`` at its end; None if it is empty."""
    try:
        return os.read(descriptor, size)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def watch(register: Any, descriptor: int, callback: Any) -> None:
    """Register a callback with the event loop in an empty context, which keeps no request handler alive."""
    contextvars.Context().run(register, descriptor, callback)

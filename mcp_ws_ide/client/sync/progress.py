"""Bars of progress: HTML in a notebook, one line in a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
import time
from html import escape
from typing import Any, Final

from mcp_ws_ide.client.sync.notebooks import kernel, shell
from mcp_ws_ide.client.sync.plain import first_line

PERIOD: Final = 0.1
"""Least seconds between two updates."""
WIDTH: Final = 30
"""Characters of a bar in a terminal."""


class Progress:
    """The progress of one call. Used in the thread that waits for the call; shows nothing before the first report.

    Args:
        name: what is called.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = time.monotonic()
        self._shown = -PERIOD
        self._current = True
        """Whether the last report is shown."""
        self._newest: tuple[float, float | None, str] | None = None
        self._sink: _Cell | _Terminal | None = None

    def update(self, done: float, total: float | None, message: str | None) -> None:
        """Show a report, unless the last one was shown just now."""
        if self._newest is None:
            self._sink = _sink()
        self._newest, self._current = (done, total, message or ""), False
        if (now := time.monotonic()) - self._shown >= PERIOD:
            self._shown = now
            self._show()

    def end(self) -> None:
        """Show the last report, and leave the bar."""
        if not self._current:
            self._show()
        if self._sink is not None:
            self._sink.end()

    def _show(self) -> None:
        if self._newest is None or self._sink is None:
            return
        done, total, message = self._newest
        of = f"{done:g} of {total:g}" if total else f"{done:g}"
        seconds = time.monotonic() - self._began
        label = f"{self._name}: {of} · {seconds:.1f} s" + (f" · {first_line(message)}" if message else "")
        share = min(max(done / total, 0.0), 1.0) if total else None
        self._current = True
        self._sink.show(label, share)


def _sink() -> _Cell | _Terminal | None:
    if kernel() is not None:
        return _Cell.of(shell())
    return _Terminal() if sys.stderr is not None and sys.stderr.isatty() else None


class _Cell:
    """The bar of a cell of a notebook; all calls of one cell share it, so that a loop does not fill the cell."""

    _newest: tuple[int, _Cell] | None = None

    def __init__(self) -> None:
        self._handle: Any = None

    @classmethod
    def of(cls, running: Any) -> _Cell:
        """Return the bar of the cell that runs."""
        if cls._newest is None or cls._newest[0] != running.execution_count:
            cls._newest = (running.execution_count, cls())
        return cls._newest[1]

    def show(self, label: str, share: float | None) -> None:
        from IPython import display

        value = "" if share is None else f' value="{share:.4f}"'
        bar = f'<progress max="1"{value} style="width:20em;vertical-align:middle"></progress> '
        shown = {"text/html": f"{bar}{escape(label)}", "text/plain": label}
        if self._handle is None:
            self._handle = display.display(shown, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(shown, raw=True)

    def end(self) -> None:
        """Leave the bar as it is."""


class _Terminal:
    """A line of the terminal that is written again."""

    def show(self, label: str, share: float | None) -> None:
        filled = round((share or 0) * WIDTH)
        bar = "" if share is None else f"[{'#' * filled}{'.' * (WIDTH - filled)}] "
        sys.stderr.write(f"\r\x1b[K{bar}{label}")
        sys.stderr.flush()

    def end(self) -> None:
        """Remove the line."""
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()

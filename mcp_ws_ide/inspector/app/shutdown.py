"""End the application from outside: on a signal, or when its terminal is gone.

An exception raised in a signal handler ends whichever Textual task is running, and not always the application; and
Textual reads from a terminal that is gone in an endless loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import sys
import termios
import threading
from collections.abc import Iterator
from typing import Any, Final

from textual.app import App

from mcp_ws_ide.inspector.collecting import stop_on_signals

LEAVE: Final = 15.0
"""Seconds that an orderly exit may take, including the end of a private gateway."""
TERMINAL: Final = 0
"""The file descriptor from which Textual reads."""
LOOK: Final = 2.0
"""Seconds between two checks whether the terminal is still there."""


class ShutdownApp(App[None]):
    """An application that exits when told to, whatever it is doing."""

    _told: int | None = None
    _serving: asyncio.AbstractEventLoop | None = None

    def watch_for_the_end(self) -> None:
        """Start watching for the end; called once messages are handled."""
        self._serving = asyncio.get_running_loop()
        if self._told is not None:
            self.exit(return_code=self._told)
        if not self.is_headless:
            self.set_interval(LOOK, self._look_at_terminal)

    def leave(self, code: int) -> None:
        """Exit with a code, within :data:`LEAVE`; may be called from a signal handler."""
        insist(code)
        self._told = code
        if self._serving is not None:
            self._serving.call_soon_threadsafe(self.exit, None, code)

    def _look_at_terminal(self) -> None:
        if self._told is None and is_gone(TERMINAL):
            self.leave(128 + signal.SIGHUP)

    def run_to_the_end(self) -> None:
        """Like :meth:`run`; SIGINT, SIGTERM and SIGHUP exit cleanly."""
        with self._told_by_signals(), forgiving_terminal():
            try:
                self.run()
            except BaseException:
                insist(1)  # its threads may continue, and with them the process
                raise

    @contextlib.contextmanager
    def _told_by_signals(self) -> Iterator[None]:
        interrupt = signal.getsignal(signal.SIGINT)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, frame: self.leave(128 + number))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, interrupt)
            stop_on_signals()


class Forgiving:
    """A stream that ignores errors.

    The first error would end the thread that writes for Textual, and everything waiting for that thread would hang.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, if possible."""
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush, if possible."""
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def forgiving_terminal() -> Iterator[None]:
    """Make Textual's output stream (``sys.__stderr__``) ignore errors."""
    before: Any = sys.__stderr__
    setattr(sys, "__stderr__", Forgiving(before))  # noqa: B010 - it is declared constant
    try:
        yield
    finally:
        setattr(sys, "__stderr__", before)  # noqa: B010


def is_gone(terminal: int) -> bool:
    """Return whether the other end of this terminal is gone."""
    try:
        termios.tcgetattr(terminal)
    except termios.error as error:
        return bool(error.args[0] == errno.EIO)
    return False


def insist(code: int) -> None:
    """End the process with a code after :data:`LEAVE`, even if something keeps it alive."""
    timer = threading.Timer(LEAVE, os._exit, (code,))
    timer.daemon = True
    timer.start()

"""The end of the application from outside: a signal, or a terminal that is gone.

What the handler of a signal raises ends whichever task of Textual runs just then, and not always the application; and
Textual reads a terminal that is gone over and over without a pause.
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
"""Seconds that leaving in order may take, with the end of a gateway of our own."""
TERMINAL: Final = 0
"""The file descriptor from which Textual reads."""
LOOK: Final = 2.0
"""Seconds between two looks whether the terminal is still there."""


class ShutdownApp(App[None]):
    """Ends when it is told to, whatever it is doing."""

    _told: int | None = None
    _serving: asyncio.AbstractEventLoop | None = None

    def watch_for_the_end(self) -> None:
        """Called when messages are handled."""
        self._serving = asyncio.get_running_loop()
        if self._told is not None:
            self.exit(return_code=self._told)
        if not self.is_headless:
            self.set_interval(LOOK, self._look_at_terminal)

    def leave(self, code: int) -> None:
        """Exit with a code, within :data:`LEAVE`; the handler of a signal may call it at any time."""
        insist(code)
        self._told = code
        if self._serving is not None:
            self._serving.call_soon_threadsafe(self.exit, None, code)

    def _look_at_terminal(self) -> None:
        if self._told is None and is_gone(TERMINAL):
            self.leave(128 + signal.SIGHUP)

    def run_to_the_end(self) -> None:
        """As :meth:`run`; SIGINT, SIGTERM and SIGHUP end it in order."""
        with self._told_by_signals(), forgiving_terminal():
            try:
                self.run()
            except BaseException:
                insist(1)  # its threads may go on, and the process with them
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
    """A stream whose errors are nobody's: the first one would end the thread that writes for Textual, and then all who
    wait for it would wait for ever."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, where that is possible."""
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush, where that is possible."""
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def forgiving_terminal() -> Iterator[None]:
    """Textual writes to ``sys.__stderr__``."""
    before: Any = sys.__stderr__
    setattr(sys, "__stderr__", Forgiving(before))  # noqa: B010 - it is declared constant
    try:
        yield
    finally:
        setattr(sys, "__stderr__", before)  # noqa: B010


def is_gone(terminal: int) -> bool:
    """Whether nobody is at the other end of this terminal any more."""
    try:
        termios.tcgetattr(terminal)
    except termios.error as error:
        return bool(error.args[0] == errno.EIO)
    return False


def insist(code: int) -> None:
    """End the process with a code after :data:`LEAVE`, whatever still keeps it."""
    timer = threading.Timer(LEAVE, os._exit, (code,))
    timer.daemon = True
    timer.start()

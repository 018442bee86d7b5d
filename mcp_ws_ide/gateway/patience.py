"""How long a server may take to answer ``initialize``. Pure.

A remote server that accepts a connection and is silent is useless. A process may be downloading itself: one that
reports its progress gets the longest time, one that writes nothing less, because it may as well hang.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

REMOTE_FACTOR: Final = 6
"""Time for a remote server, in multiples of ``probe_timeout``."""
SILENT_FACTOR: Final = 9
"""Time for a process after what it last wrote to stderr."""
WRITING_FACTOR: Final = 30
"""Time for a process that keeps writing."""

RUNNERS: Final = frozenset(
    {"npx", "npm", "pnpm", "yarn", "bunx", "uvx", "uv", "pipx", "dnx", "docker", "podman"}
)
"""Programs that download a server before they run it, often without a word."""


def download_hint(command: str | None) -> str:
    """Return what to do about a program that was ended while it may have been downloading; ``""`` for other programs.

    What npx has downloaded is lost with it, so that the next start would take as long.
    """
    name = (command or "").rpartition("/")[2]
    return f"; if {name} downloads it, run the command once in a terminal first" if name in RUNNERS else ""


class Patience:
    """The wait for handshakes with one server.

    Args:
        unit: ``probe_timeout``, in seconds.
        clock: returns the time, in seconds.
    """

    def __init__(self, unit: float, clock: Callable[[], float]) -> None:
        self._unit, self._clock = unit, clock
        self._process = False
        self._began = self._wrote = 0.0

    def begin(self, *, process: bool) -> None:
        """Begin to wait; ``process``: whether the server is a process that the gateway has started."""
        self._process = process
        self._began = self._wrote = self._clock()

    def note_writing(self) -> None:
        """Note that the server has written something that is no message."""
        self._wrote = self._clock()

    def watch(self, wait: Callable[[Callable[[], None], float], None], too_late: Callable[[], None]) -> None:
        """Call ``too_late`` at the end; ``wait`` calls a function after some seconds."""
        left = self.end - self._clock()
        if left > 0:  # at first, or because the process has written something since
            wait(lambda: self.watch(wait, too_late), left)
        else:
            too_late()

    @property
    def _longest(self) -> float:
        return self._began + WRITING_FACTOR * self._unit

    @property
    def end(self) -> float:
        """When the response is too late; later, once the process has written something."""
        if not self._process:
            return self._began + REMOTE_FACTOR * self._unit
        return min(self._wrote + SILENT_FACTOR * self._unit, self._longest)

    def __str__(self) -> str:
        """The time that has passed, for an error: ``90 s (9 times probe_timeout)``."""
        factor, since = REMOTE_FACTOR, ""
        if self._process:
            factor = WRITING_FACTOR if self.end == self._longest else SILENT_FACTOR
            written = self._wrote != self._began and factor == SILENT_FACTOR
            since = " after its last line on stderr" if written else ""
        return f"{factor * self._unit:g} s ({factor} times probe_timeout){since}"

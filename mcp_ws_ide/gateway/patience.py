"""How long a server may take to answer ``initialize``. Pure.

A remote server that accepts a connection and is silent is useless. A process may be downloading itself: one that
reports its progress gets the longest time, one that writes nothing less, because it may as well hang.
"""

from __future__ import annotations

from typing import Final

REMOTE_FACTOR: Final = 6
"""Time for a remote server, in multiples of ``probe_timeout``."""
SILENT_FACTOR: Final = 9
"""Time for a process after what it last wrote to stderr."""
WRITING_FACTOR: Final = 30
"""Time for a process that keeps writing."""


class Patience:
    """The wait for one handshake.

    Args:
        unit: ``probe_timeout``, in seconds.
        process: whether the server is a process that the gateway has started.
        began: when the request was sent, on any clock that counts seconds.

    Attributes:
        wrote: when the process last wrote something that is no message, on the same clock.
    """

    def __init__(self, unit: float, began: float, *, process: bool) -> None:
        self._unit, self._began, self._process = unit, began, process
        self.wrote = began

    @property
    def _longest(self) -> float:
        return self._began + WRITING_FACTOR * self._unit

    @property
    def end(self) -> float:
        """When the response is too late; later, once the process has written something."""
        if not self._process:
            return self._began + REMOTE_FACTOR * self._unit
        return min(self.wrote + SILENT_FACTOR * self._unit, self._longest)

    def __str__(self) -> str:
        """The time that has passed, for an error: ``90 s (9 times probe_timeout)``."""
        factor, since = REMOTE_FACTOR, ""
        if self._process:
            factor = WRITING_FACTOR if self.end == self._longest else SILENT_FACTOR
            written = self.wrote != self._began and factor == SILENT_FACTOR
            since = " after its last line on stderr" if written else ""
        return f"{factor * self._unit:g} s ({factor} times probe_timeout){since}"

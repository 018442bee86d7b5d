"""When a server that keeps failing may be started again: crash backoff and circuit breaker.

Knows only the times of past crashes; its callers decide what a crash is.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Final

BACKOFF_FIRST: Final = 0.5
"""Delay before the process after the first crash, in seconds; each further crash doubles it."""
BACKOFF_LAST: Final = 30.0
"""Longest delay between two processes, in seconds."""
CRASH_WINDOW: Final = 60.0
"""Seconds in which crashes are counted together; after as long without a crash, the delays start over."""
CRASH_LIMIT: Final = 5
"""Crashes within :data:`CRASH_WINDOW` that open the breaker."""
BREAKER_SECONDS: Final = 30.0
"""Seconds for which an open breaker refuses new processes."""


class CrashLoop:
    """The crash backoff and the breaker of one server for one user.

    Args:
        now: a monotonic clock, in seconds.
        jitter: a random number between 0 and 1 for each delay.
    """

    def __init__(self, now: Callable[[], float], jitter: Callable[[], float] = random.random) -> None:
        self._now = now
        self._jitter = jitter
        self._crashes: deque[float] = deque(maxlen=CRASH_LIMIT)
        self._backoff = 0.0
        """The delay after the last of several crashes in a row, before jitter."""

    def crashed(self) -> None:
        """Count a process that exited unexpectedly, or a failed attempt to start one."""
        now = self._now()
        in_row = self._crashes and now - self._crashes[-1] < CRASH_WINDOW
        self._backoff = min(2 * self._backoff, BACKOFF_LAST) if in_row else BACKOFF_FIRST
        self._crashes.append(now)

    @property
    def refusal(self) -> str | None:
        """Why the breaker refuses new processes now; None if it is closed."""
        left = self._breaker_left()
        if left <= 0:
            return None
        return (
            f"it failed {CRASH_LIMIT} times within {CRASH_WINDOW:.0f} s; retry in {left:.0f} s, or restart it"
        )

    def _breaker_left(self) -> float:
        crashes = self._crashes
        if len(crashes) < CRASH_LIMIT or crashes[-1] - crashes[0] > CRASH_WINDOW:
            return 0.0
        return crashes[-1] + BREAKER_SECONDS - self._now()

    def delay(self) -> float:
        """Return the seconds to wait before the next process, with jitter."""
        if not self._crashes:
            return 0.0
        return max(0.0, self._crashes[-1] + self._backoff * (0.5 + self._jitter() / 2) - self._now())

"""Failed authentications by address: many of them are answered one after another, so that guessing takes its time.

Requests that succeed are never held up, whatever their address: many users may come through one proxy. Registrations of
OAuth clients, which need no credential, are counted in the same way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

FREE: Final = 200
"""Failures of one address within :data:`WINDOW` that are answered at once."""
WINDOW: Final = 60.0
"""Seconds in which failures are counted together."""
STEP: Final = 0.05
"""Seconds between two answers to one address, beyond the free ones."""
LONGEST: Final = 5.0
"""Longest wait, in seconds; a failure that had to wait longer is refused at once."""
MAX_ADDRESSES: Final = 10_000
"""Addresses that are remembered; one more forgets the oldest."""


class _Address:
    __slots__ = ("began", "count", "until")

    def __init__(self, now: float) -> None:
        self.began = self.until = now
        self.count = 0


class FailedAuthentications:
    """Counts failures, and holds up the answers to too many.

    Args:
        now: a monotonic clock, in seconds.
        free: failures of one address that are answered at once.
        step: seconds between two answers beyond these.
    """

    def __init__(
        self, now: Callable[[], float] = time.monotonic, free: int = FREE, step: float = STEP
    ) -> None:
        self._now, self._free, self._step = now, free, step
        self._known: dict[str, _Address] = {}

    def wait(self, remote_ip: str) -> float | None:
        """Note one failure; return the seconds to wait before its answer, or None if there are far too many."""
        now = self._now()
        address = self._known.get(remote_ip)
        if address is None or now - address.began > WINDOW:
            self._known.pop(remote_ip, None)
            if len(self._known) >= MAX_ADDRESSES:
                del self._known[next(iter(self._known))]
            address = self._known[remote_ip] = _Address(now)
        address.count += 1
        if address.count <= self._free:
            return 0.0
        address.until = max(address.until, now)
        if address.until - now > LONGEST:
            return None
        address.until += self._step
        return address.until - now

    async def slow_down(self, remote_ip: str) -> bool:
        """Note one failure, and wait as long as it must; return False if there are far too many."""
        seconds = self.wait(remote_ip)
        if seconds:
            await asyncio.sleep(seconds)
        return seconds is not None

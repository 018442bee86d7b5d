"""Links that end without a close frame, always after the same time: something on the network path has a limit.

Owns how such a limit is recognized, and how often links ping because of it. The kernel knows how long a connection was
idle, so that messages cost nothing.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Final

PING_INTERVAL: Final = (20.0, 25.0)
"""Range of seconds between Pings; each interval is random. Load balancers cut links that are idle for 60 s."""
LEAST_INTERVAL: Final = (5.0, 6.0)
"""The same where links are cut early. Any user can provoke it, and Pings of many links cost time."""
ALIKE: Final = 4
"""Cuts in a row after the same time that show a limit; clients that end in other ways are never so regular."""
APART: Final = 1.0
"""Seconds between two cuts that count: an outage cuts many links at once."""
LEAST_IDLE: Final = 2.0
"""Seconds without traffic, below which the end of a client is more likely than a limit."""
LEAST_AGE: Final = 20.0
"""The same for the age of a link."""
_LAST_SENT: Final = 44
_LAST_RECEIVED: Final = 52
"""Offsets of the milliseconds since data was sent and received in Linux' ``struct tcp_info``."""


def idle_seconds(connection: socket.socket) -> float | None:
    """Return for how long nothing has passed over a TCP connection in either direction; None if it is not known."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, option, 256)
        sent, received = (struct.unpack_from("=I", info, at)[0] for at in (_LAST_SENT, _LAST_RECEIVED))
    except (OSError, struct.error):
        return None
    return float(min(sent, received)) / 1000


class CutLinks:
    """Recognizes limits from the ends of links.

    Args:
        note: takes a code of :mod:`mcp_ws_ide.core.intermediaries` and its detail; kept as an attribute.

    Attributes:
        ping_interval: range of seconds between Pings; shorter once an idle limit is known.
    """

    def __init__(self, note: Callable[[str, str], None]) -> None:
        self.note = note
        self._cuts: deque[tuple[float, float]] = deque(maxlen=ALIKE)
        self._last = 0.0
        self.ping_interval = PING_INTERVAL

    def cut(self, now: float, idle: float, age: float) -> None:
        """Note that a link ended without a close frame.

        Args:
            now: ``time.monotonic``.
            idle: seconds since anything passed over it.
            age: seconds since it was opened.
        """
        if now - self._last < APART:
            return
        self._last = now
        self._cuts.append((idle, age))
        if len(self._cuts) < ALIKE:
            return
        idles, ages = zip(*self._cuts, strict=True)
        if _alike(idles, LEAST_IDLE):
            seconds = sum(idles) / ALIKE
            self.ping_interval = _interval(seconds)
            self.note("idle_limit", f"{seconds:.0f}")
        elif _alike(ages, LEAST_AGE):
            self.note("age_limit", f"{sum(ages) / ALIKE:.0f}")


def _alike(times: tuple[float, ...], least: float) -> bool:
    shortest, longest = min(times), max(times)
    return shortest >= least and longest - shortest <= max(0.6, 0.05 * shortest)


def _interval(limit: float) -> tuple[float, float]:
    """Return the range of seconds between Pings that keeps links open under a limit, if that is possible."""
    low, high = (min(usual, factor * limit) for usual, factor in zip(PING_INTERVAL, (0.4, 0.5), strict=True))
    return max(low, LEAST_INTERVAL[0]), max(high, LEAST_INTERVAL[1])

"""The counters of one server: plain integer arithmetic, on the path of each message. Knows nothing of Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

BUCKETS: Final[tuple[float, ...]] = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    60.0,
    300.0,
)
"""Upper bounds of the latency buckets, in seconds."""


class Latency:
    """A histogram of seconds."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Add one observation."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Return pairs of upper bound and cumulative count, as Prometheus needs them."""
        total, rows = 0, []
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self.counts, strict=True):
            total += count
            rows.append((bound, float(total)))
        return rows


class ServerCounters:
    """The counters of one configured server; they are never reset."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "dropped",
        "messages_in",
        "messages_out",
        "request_seconds",
        "restarts",
        "upstream_seconds",
    )

    def __init__(self) -> None:
        self.messages_in = self.messages_out = 0
        self.bytes_in = self.bytes_out = 0
        self.dropped = 0
        self.restarts = 0
        self.request_seconds = Latency()
        """From a client's request to its response."""
        self.upstream_seconds = Latency()
        """The part of it between the server's receipt and its response."""

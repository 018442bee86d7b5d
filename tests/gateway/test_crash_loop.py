"""Crash backoff and breaker, on a clock of the test."""

from __future__ import annotations

import pytest

from mcp_ws_ide.gateway.crash_loop import BREAKER_SECONDS, CRASH_LIMIT, CrashLoop


class Crashes:
    """A server that lives for some seconds, and is started again as soon as it may be."""

    def __init__(self, jitter: float = 1.0) -> None:
        self.now = 1000.0
        self.loop = CrashLoop(lambda: self.now, lambda: jitter)

    def crash(self) -> None:
        self.loop.crashed()

    def crash_after(self, seconds: float) -> float:
        """Crash after this time; return the delay in seconds, with the clock at the start of the next process."""
        self.now += seconds
        self.loop.crashed()
        delay = self.loop.delay()
        self.now += delay
        return delay


@pytest.mark.parametrize(
    ("lives", "delays"),
    [
        (0.0, [0.5, 1, 2, 4, 8, 16, 30, 30]),
        (16.0, [0.5, 1, 2, 4, 8, 16, 30, 30]),
        (29.0, [0.5, 1, 2, 4, 8, 16, 30, 30]),
        (60.0, [0.5, 0.5, 0.5]),
    ],
)
def test_delays_double_up_to_the_longest(lives, delays):
    server = Crashes()
    assert [server.crash_after(lives) for _ in delays] == delays


def test_after_a_minute_without_a_crash_the_delays_start_over():
    server = Crashes()
    for _ in range(1100):
        server.crash_after(0.0)
    assert server.crash_after(0.0) == 30
    assert server.crash_after(60.0) == 0.5


def test_jitter_takes_at_most_half_of_a_delay():
    server = Crashes(jitter=0.0)
    assert [server.crash_after(0.0) for _ in range(3)] == [0.25, 0.5, 1]


def test_time_since_the_crash_counts():
    server = Crashes()
    assert server.loop.delay() == 0, "nothing has crashed"
    for _ in range(4):
        server.crash()
    server.now += 3
    assert server.loop.delay() == 1
    server.now += 2
    assert server.loop.delay() == 0


@pytest.mark.parametrize(("apart", "opens"), [(0.0, True), (15.0, True), (15.1, False)])
def test_the_breaker_opens_after_too_many_crashes_within_a_minute(apart, opens):
    server = Crashes()
    for number in range(CRASH_LIMIT):
        assert server.loop.refusal is None, number
        server.now += apart
        server.crash()
    assert (server.loop.refusal is not None) == opens
    server.now += BREAKER_SECONDS
    assert server.loop.refusal is None

"""Responses that belong to one of several open requests, on a clock that the tests move."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import pytest

from mcp_ws_ide.gateway.doubts import INTERVAL, LONGEST, RULING_OUT, Doubts


class Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """The part of an event loop that doubts use."""

    def __init__(self) -> None:
        self.now = 0.0
        self._count = 0
        self._timers: list[tuple[float, int, Timer]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        self._count += 1
        timer = Timer(callback)
        heapq.heappush(self._timers, (self.now + delay, self._count, timer))
        return timer

    def move(self, seconds: float) -> None:
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            self.now, _, timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                timer.callback()
        self.now = end


class Doubted:
    """Requests that are open, and those that failed, with the time of each."""

    def __init__(self, count: int) -> None:
        self.clock = Clock()
        self.open = [b"%d" % number for number in range(count)]
        self.failed: dict[bytes, float] = {}
        self.doubts = Doubts(self.clock, lambda: list(self.open), self._fail)  # type: ignore[arg-type]

    def _fail(self, raw_id: bytes, error: bytes) -> None:
        self.open.remove(raw_id)
        self.failed[raw_id] = self.clock.now


@pytest.fixture
def of_ten() -> Doubted:
    return Doubted(10)


def test_where_nothing_else_is_answered_all_fail_at_once(of_ten):
    of_ten.doubts.add(b"{}")
    of_ten.clock.move(RULING_OUT - 0.1)
    assert of_ten.failed == {}
    of_ten.clock.move(0.1 + INTERVAL)
    assert len(of_ten.failed) == 10


def test_while_the_server_writes_responses_none_fails_and_then_the_one_that_is_left_does(of_ten):
    of_ten.doubts.add(b"{}")
    for number in range(9):
        of_ten.clock.move(RULING_OUT / 2)
        assert of_ten.failed == {}
        of_ten.open.remove(b"%d" % number)
    of_ten.clock.move(INTERVAL)
    assert list(of_ten.failed) == [b"9"]


def test_a_server_that_never_stops_writing_keeps_no_request_open_for_long():
    many = Doubted(1000)
    many.doubts.add(b"{}")
    while many.clock.now < LONGEST:
        many.clock.move(INTERVAL)
        if not many.failed:
            many.open.pop()
    many.clock.move(INTERVAL)
    assert many.open == []
    assert max(many.failed.values()) <= LONGEST + INTERVAL


def test_after_closing_none_fails(of_ten):
    of_ten.doubts.add(b"{}")
    of_ten.doubts.close()
    of_ten.clock.move(LONGEST)
    assert of_ten.failed == {}

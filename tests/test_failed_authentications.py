"""Failed authentications are slowed down by address."""

from __future__ import annotations

from mcp_ws_ide.failed_authentications import (
    FREE,
    LONGEST,
    MAX_ADDRESSES,
    STEP,
    WINDOW,
    FailedAuthentications,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_many_failures_are_answered_one_after_another_and_then_not_at_all():
    failures = FailedAuthentications(Clock())
    assert [failures.wait("a") for _ in range(FREE)] == [0.0] * FREE
    waits = [failures.wait("a") for _ in range(1000)]
    assert waits[:2] == [STEP, 2 * STEP] or abs((waits[1] or 0) - 2 * STEP) < 1e-9
    assert waits[-1] is None
    assert max(wait for wait in waits if wait is not None) <= LONGEST + 2 * STEP
    assert failures.wait("b") == 0.0, "another address is not concerned"


def test_after_a_minute_an_address_starts_over():
    clock = Clock()
    failures = FailedAuthentications(clock)
    for _ in range(FREE + 5):
        failures.wait("a")
    clock.now += WINDOW + 1
    assert failures.wait("a") == 0.0


def test_addresses_are_bounded():
    failures = FailedAuthentications(Clock())
    for number in range(MAX_ADDRESSES + 10):
        failures.wait(str(number))
    assert len(failures._known) == MAX_ADDRESSES

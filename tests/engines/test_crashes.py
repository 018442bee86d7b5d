"""A process that is killed with SIGKILL leaves whole batches, and everything that it was told to be committed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mcp_ws_ide.engines.crash_points import Point
from tests.engines.crash_child import BATCHES, SESSIONS, expected, opened

ROOT = Path(__file__).parents[2]
OF_FILES = (Point.COMPACTING, Point.COMPACTED, Point.COMPACTION_STORED)
"""Points that only an engine with a file passes."""


@pytest.fixture(params=["sqlite", "redis"])
def place(request, tmp_path):
    """Where an engine of each kind that survives its process stores."""
    if request.param == "sqlite":
        return str(tmp_path / "sessions.sqlite")
    return request.getfixturevalue("redis").address


def run_child(place: str, point: str, passes: int, mutant: str = "") -> Counter[str]:
    """Let a child work until it kills itself; return the last batch of each session that it saw committed."""
    command = [sys.executable, "-m", "tests.engines.crash_child", place, point, str(passes), mutant]
    child = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=120, check=False)
    assert child.returncode == -signal.SIGKILL, "the point was not reached"
    seen: Counter[str] = Counter()
    for line in child.stdout.decode().splitlines():
        name, k = line.split()
        seen[name] = int(k)
    return seen


async def check_what_is_left(place: str, seen: Counter[str]) -> None:
    """What was seen as committed is stored, and what is stored is one whole batch after the other."""
    engine = opened(place)
    await engine.start()
    try:
        assert not engine.statistics.lost
        for name in [f"s{number}" for number in range(SESSIONS)]:
            stored = await engine.take(name, "alice")
            if stored is None:
                assert name not in seen
                continue
            assert seen[name] <= stored.number <= seen[name] + 1 <= BATCHES + 1
            assert stored == expected(name, stored.number)
    finally:
        await engine.stop()


@pytest.mark.parametrize("passes", [0, 3])
@pytest.mark.parametrize("point", [point for point in Point if point.of_engine])
async def test_a_process_that_is_killed_at_a_named_point_leaves_whole_batches(place, point, passes):
    if point in OF_FILES and place.startswith("redis"):
        return
    if point not in (Point.OPENED, Point.TAKEN):
        return await check_what_is_left(place, run_child(place, point, passes))
    seen = run_child(place, Point.STORED, 20)
    run_child(place, point, 0 if point is Point.OPENED else passes)
    if point is Point.OPENED:
        await check_what_is_left(place, seen)
    else:
        await check_taken(place)


async def check_taken(place: str) -> None:
    """A session whose new owner died at once was taken once: its request in flight has one end."""
    engine = opened(place)
    await engine.start()
    stored = await engine.take("s0", "alice")
    assert stored is not None
    assert (stored.epoch, [bool(frame.outcome) for frame in stored.frames].count(True)) == (3, 1)
    await engine.stop()


@pytest.mark.parametrize(
    ("mutant", "point", "passes"),
    [
        ("answer_and_request_in_two_transactions", Point.STORED, 21),
        ("reported_before_it_is_written", Point.HANDED_OVER, 0),
        ("log_deleted_before_the_sessions_are_written", Point.COMPACTED, 5),
    ],
)
async def test_a_mistake_in_the_order_of_writing_is_noticed(tmp_path, mutant, point, passes):
    place = str(tmp_path / "sessions.sqlite")
    seen = run_child(place, point, passes, mutant)
    with pytest.raises(AssertionError):
        await check_what_is_left(place, seen)


@pytest.mark.parametrize(
    ("mutant", "point", "passes"),
    [
        ("redis_answer_and_request_in_two_scripts", Point.STORED, 21),
        ("redis_reported_before_it_is_written", Point.HANDED_OVER, 12),
    ],
)
async def test_a_mistake_in_the_order_of_exchanges_is_noticed(redis, mutant, point, passes):
    place = redis.address
    seen = run_child(place, point, passes, mutant)
    with pytest.raises(AssertionError):
        await check_what_is_left(place, seen)

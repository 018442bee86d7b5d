"""The short form of ``make soak-fleet``: gateways and Redis end under load, and no request is lost or runs twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.soak import PARTS, Behind, checked, gateways, nothing_is_readable, row, under_load


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Behind]:
    with gateways(tmp_path) as running:
        yield running


@pytest.mark.heavy
async def test_kills_rolls_and_ends_of_redis_lose_and_repeat_nothing(behind):
    for part, times in (("kills", 2), ("rolls", 1), ("ends", 2)):
        run = await under_load(behind, 6, PARTS[part], times)
        checked(part, run)
        assert row(part, run, 6).startswith(f"| {part} × {times} | 6 |")
    nothing_is_readable(behind)

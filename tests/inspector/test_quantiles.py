"""Quantiles over all calls: exact while there are few, within half a percent afterwards."""

from __future__ import annotations

import math
import random

import pytest

from mcp_ws_ide.inspector.model.quantiles import EXACT, Quantiles
from tests.inspector.records import Transcript, call, done


def quantiles_of(values):
    counted = Quantiles()
    for value in values:
        counted.add(value)
    return counted


def test_quantiles_cover_every_call_and_not_only_the_newest():
    """36,000 calls took 1 ms, then 4,000 took 100 ms: of all, 90 % took 1 ms."""
    counted = quantiles_of([1.0] * 36_000 + [100.0] * 4_000)
    assert counted.quantile(0.5) == pytest.approx(1, rel=0.005)
    assert counted.quantile(0.9) == pytest.approx(1, rel=0.005)
    assert counted.quantile(0.95) == pytest.approx(100, rel=0.005)
    assert (len(counted), counted.worst) == (40_000, 100.0)


@pytest.mark.parametrize("count", [1, 2, 3, 100, EXACT, EXACT + 1, 3 * EXACT])
def test_quantiles_are_close_to_those_of_the_sorted_values(count):
    values = [random.Random(7).lognormvariate(2, 3) for _ in range(count)]
    counted, ordered = quantiles_of(values), sorted(values)
    for share in (0.0, 0.5, 0.95, 0.99, 1.0):
        exact = ordered[max(0, math.ceil(share * count) - 1)]
        assert counted.quantile(share) == pytest.approx(exact, rel=0.006)


def test_without_a_value_there_is_no_quantile_and_zero_is_a_value():
    assert Quantiles().quantile(0.5) is None
    assert quantiles_of([0.0] * (EXACT + 5)).quantile(0.5) == 0.0


def test_count_maximum_and_quantiles_of_an_operation_cover_the_same_calls():
    t = Transcript(step=0.001)
    for number in range(1500):
        t.send("c>", call(number))
        t.send("c<", done(number))
    (line,) = t.journal.statistics.lines.values()
    assert line.count == len(line.durations) == 1500

"""A short run of every fuzz target, from a fixed seed; the long one is ``make fuzz``."""

from __future__ import annotations

import pytest

from tests.fuzz.targets import PURE, rest, run


@pytest.mark.parametrize("name", PURE)
def test_random_input_breaks_no_promise(name):
    assert run(PURE[name], seconds=20, seed=1, most=400) > 0


def test_random_bodies_are_no_internal_errors():
    with rest() as target:
        assert run(target, seconds=30, seed=1, most=300) > 0

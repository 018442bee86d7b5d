"""Owned tasks, and functions that are called after the same delay."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from mcp_ws_ide.tasks import SameDelay, TaskGroupOwner
from tests.conftest import until


async def test_a_failing_task_is_logged_and_its_siblings_continue(caplog):
    owner, done = TaskGroupOwner(), asyncio.Event()

    async def fail() -> None:
        raise RuntimeError("broken")

    async def work() -> None:
        done.set()
        await asyncio.Event().wait()

    owner.spawn(fail(), "failing")
    sibling = owner.spawn(work(), "working")
    await done.wait()
    assert not sibling.done()
    assert "task failing failed" in caplog.text
    await owner.aclose(1.0)
    assert sibling.cancelled()
    assert len(owner) == 0


async def test_functions_are_called_after_the_same_delay_in_order_unless_cancelled():
    delay, called = SameDelay(0.05), []
    begun = time.monotonic()
    first = delay.wait(lambda: called.append("first"))
    delay.wait(lambda: called.append("second"))
    first.cancel()
    await until(lambda: called)
    assert time.monotonic() - begun >= 0.05
    delay.wait(lambda: called.append("third"))  # the timer is set again after all were called
    await until(lambda: len(called) == 2)
    assert called == ["second", "third"]


async def test_one_timer_waits_for_the_oldest_of_many_functions():
    delay, called, loop = SameDelay(0.05), [], asyncio.get_running_loop()
    before = len(loop._scheduled)
    for number in range(100):
        waiting = delay.wait(partial(called.append, number))
        if number % 2:
            waiting.cancel()
    assert len(loop._scheduled) == before + 1
    await until(lambda: len(called) == 50)
    assert called == list(range(0, 100, 2))

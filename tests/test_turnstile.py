"""Work that comes in bursts: how much of it is done in a turn of the event loop, and in which order."""

from __future__ import annotations

import asyncio
import socket
import time
from functools import partial
from itertools import pairwise

from mcp_ws_ide.links.streams import SocketStream
from mcp_ws_ide.turnstile import TASK_SECONDS, Turnstile
from tests.conftest import BOUND, until

WORK = 0.002
"""Seconds that each function of these tests takes."""


def work(done: list[int], number: int) -> None:
    """Take some time."""
    end = time.perf_counter() + WORK
    while time.perf_counter() < end:
        pass
    done.append(number)


async def amounts(done: list[int], all_of_them: int) -> list[int]:
    """Return how much was done in each turn of the event loop."""
    turns = []
    async with asyncio.timeout(BOUND):
        while len(done) < all_of_them:
            before = len(done)
            await asyncio.sleep(0)
            turns.append(len(done) - before)
    return turns


async def test_a_storm_of_tasks_passes_a_few_at_a_time_and_in_order():
    stile, passed = Turnstile(asyncio.get_running_loop(), 2.5 * TASK_SECONDS), []

    async def come(number: int) -> None:
        await stile.enter()
        passed.append(number)

    tasks = [asyncio.ensure_future(come(number)) for number in range(12)]
    tasks[5].cancel()
    turns = await amounts(passed, 11)
    assert passed == [n for n in range(12) if n != 5]
    assert max(turns) <= 6, "what passes in one turn may run beside what passed in the one before"
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_single_task_does_not_wait():
    stile = Turnstile(asyncio.get_running_loop(), TASK_SECONDS)
    for _ in range(3):
        task = asyncio.ensure_future(stile.enter())
        await asyncio.sleep(0)
        assert task.done()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_work_is_done_in_order_for_a_bounded_time_in_each_turn():
    stile, done = Turnstile(asyncio.get_running_loop(), 2.5 * WORK), []
    for number in range(20):
        stile.call(partial(work, done, number))
    assert not done, "nothing is done before the turn of the caller has ended"
    turns = await amounts(done, 20)
    assert done == list(range(20))
    assert max(turns) <= 3


async def test_one_task_passes_before_the_functions_of_each_turn_and_the_others_after_all_functions():
    stile, done = Turnstile(asyncio.get_running_loop(), 2 * TASK_SECONDS), []

    async def come(number: int) -> None:
        await stile.enter()
        done.append(number)

    for number in range(5):
        stile.call(partial(work, done, number))
    tasks = [asyncio.ensure_future(come(number)) for number in range(10, 20)]
    await amounts(done, 15)
    functions = [at for at, number in enumerate(done) if number < 10]
    assert [done[at] for at in functions] == [0, 1, 2, 3, 4]
    assert [number for number in done if number >= 10] == list(range(10, 20))
    assert all(next_ - at <= 2 for at, next_ in pairwise(functions)), "at most one task between two functions"
    assert functions[-1] < 10, "the other tasks follow"
    await asyncio.gather(*tasks)


async def test_time_that_a_function_cannot_be_measured_for_is_counted():
    stile, done = Turnstile(asyncio.get_running_loop()), []

    def begin(number: int) -> None:
        done.append(number)
        stile.spend(1.0)

    for number in range(5):
        stile.call(partial(begin, number))
    assert max(await amounts(done, 5)) == 1


async def test_failing_work_is_logged_and_the_rest_is_done(caplog):
    stile, done = Turnstile.running(), []

    def fail() -> None:
        raise RuntimeError("broken")

    stile.call(fail)
    stile.call(partial(done.append, 1))
    await until(lambda: done)
    assert "work that waited for its turn failed" in caplog.text


async def test_links_that_are_lost_at_once_end_over_many_turns_and_a_message_passes_in_between():
    pairs, ended, heard = [socket.socketpair() for _ in range(41)], [], []
    streams = [SocketStream(ours) for ours, _ in pairs]
    *lost, kept = streams
    for number, stream in enumerate(lost):
        stream.start(lambda data: None, partial(work, ended, number))
    kept.start(lambda data: heard.append(len(ended)), lambda: None)
    for _, theirs in pairs[:-1]:
        theirs.close()
    pairs[-1][1].send(b"a message that comes after the loss")
    turns = await amounts(ended, 40)
    assert sorted(ended) == list(range(40))
    assert max(turns) <= 2
    assert heard[0] <= 2, "it did not wait for the ends"
    kept.close()
    pairs[-1][1].close()


async def test_a_lost_link_that_is_closed_before_its_turn_ends_once_and_is_not_read_again():
    ours, theirs = socket.socketpair()
    stream, ends = SocketStream(ours), []
    stream.start(lambda data: None, lambda: ends.append(1))
    for number in range(50):  # of which a turn does one or two
        Turnstile.running().call(partial(work, [], number))
    theirs.close()
    await until(lambda: not stream._reading)
    assert not ends, "its turn has not come"
    stream.set_reading(True)
    assert not stream._reading, "an event loop would report its end again and again"
    stream.write(b"into the void")
    stream.close()
    assert ends == [1]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert ends == [1]

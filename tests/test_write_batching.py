"""Writers share a turn of the event loop, and a single writer does not wait for others."""

from __future__ import annotations

import asyncio

from mcp_ws_ide.write_batching import AT_ONCE, LONE_TURNS, WriteBatcher


class Writer:
    """Queues messages as a link does, and records the messages of each write."""

    def __init__(self, turns: WriteBatcher) -> None:
        self.turns = turns
        self.queued: list[int] = []
        self.writes: list[list[int]] = []

    def send(self, message: int) -> None:
        self.queued.append(message)
        if len(self.queued) > 1:
            return
        if self.turns.at_once:
            self.flush()
        else:
            self.turns.wait(self.flush)

    def flush(self) -> int:
        written, self.queued = self.queued, []
        self.writes.append(written)
        return len(written)


async def a_turn() -> None:
    """Until everything that was scheduled so far has run."""
    ready = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(ready.set_result, None)
    await ready


async def test_messages_of_one_turn_leave_in_one_write_per_writer():
    turns = WriteBatcher(asyncio.get_running_loop())
    one, other = Writer(turns), Writer(turns)
    for number in range(3):
        one.send(number)
        other.send(number)
    assert one.writes == other.writes == []
    await a_turn()
    assert one.writes == other.writes == [[0, 1, 2]]


async def test_single_messages_are_soon_written_at_once_and_a_turn_is_sampled_now_and_then():
    turns = WriteBatcher(asyncio.get_running_loop())
    writer = Writer(turns)
    waited = 0
    for number in range(2 * (LONE_TURNS + AT_ONCE)):
        writer.send(number)
        waited += bool(writer.queued)
        await a_turn()
    assert writer.writes == [[number] for number in range(2 * (LONE_TURNS + AT_ONCE))]
    assert LONE_TURNS < waited <= 2 * LONE_TURNS


async def test_several_messages_in_one_turn_end_immediate_writing():
    turns = WriteBatcher(asyncio.get_running_loop())
    one, other = Writer(turns), Writer(turns)
    for number in range(LONE_TURNS):
        one.send(number)
        await a_turn()
    for number in range(AT_ONCE):
        one.send(number)
    assert one.queued == [], "they were written at once"
    for _ in range(2):
        one.send(0)
        other.send(0)
        assert one.queued and other.queued
        await a_turn()
    one.send(1)
    assert one.queued == [1], "two in a turn: messages wait again"
    await a_turn()


async def test_a_writer_that_fails_does_not_keep_the_others_from_writing():
    loop = asyncio.get_running_loop()
    turns = WriteBatcher(loop)
    told: list[dict] = []
    loop.set_exception_handler(lambda _, context: told.append(context))

    def fail() -> int:
        raise OSError("broken")

    writer = Writer(turns)
    turns.wait(fail)
    writer.send(1)
    await a_turn()
    assert writer.writes == [[1]]
    assert isinstance(told[0]["exception"], OSError)


async def test_the_writers_of_a_loop_share_its_turns():
    assert WriteBatcher.running() is WriteBatcher.running()

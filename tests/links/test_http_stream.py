"""The stream of one response of the gateway, apart from HTTP."""

from __future__ import annotations

import asyncio

from mcp_ws_ide.links.http import Stream


async def test_an_answer_that_comes_as_the_patience_ends_is_not_lost():
    stream = Stream("p1")
    waiting = asyncio.create_task(stream.next(0))
    await asyncio.sleep(0)  # it waits, and its time is over
    stream.put("p1.1", b"answer", last=True)
    assert await waiting == ("p1.1", b"answer")


async def test_silence_is_told_as_nothing_and_the_end_as_the_last():
    stream = Stream("p1")
    assert await stream.next(0) is None
    assert not stream.last
    stream.finish()
    assert await stream.next(1000) is None
    assert stream.last

"""The stream of one response of the gateway, apart from HTTP."""

from __future__ import annotations

import asyncio

from mcp_ws_ide.links.http import Stream


async def test_a_response_at_the_end_of_the_wait_is_not_lost():
    stream = Stream("p1")
    waiting = asyncio.create_task(stream.next(0))
    await asyncio.sleep(0)  # it waits, and its time is over
    stream.put("p1.1", b"answer", last=True)
    assert await waiting == ("p1.1", b"answer")


async def test_next_returns_none_on_silence_and_at_the_end():
    stream = Stream("p1")
    assert await stream.next(0) is None
    assert not stream.last
    stream.finish()
    assert await stream.next(1000) is None
    assert stream.last

"""Who sends too many messages, from counts that are looked at once a second."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from mcp_ws_ide.gateway.message_rates import BURST_SECONDS, LONGEST_WAIT, MessageRates
from tests.conftest import BOUND, FAST_SERVER, MODERN, Peer, until


def test_a_user_above_the_limit_waits_until_the_mean_is_below_it():
    rates = MessageRates(100)
    assert rates.opened("ana") is None and rates.opened("ben") is None
    assert rates.look(1.0, [("ana", 1000), ("ben", 10)]) == {}, "a burst"
    changed = rates.look(2.0, [("ana", 2500), ("ben", 20)])
    throttled = changed["ana"]
    assert list(changed) == ["ana"]
    assert throttled is not None and 3.0 <= throttled.until <= 20.0
    assert rates.opened("ana") is throttled, "also in new sessions"
    assert rates.look(throttled.until + 1, [("ana", 2500), ("ana", 0), ("ben", 30)]) == {"ana": None}


def test_messages_of_sessions_that_have_ended_count():
    rates = MessageRates(10)
    for _ in range(1000):
        rates.opened("ana")
        rates.ended("ana", 1)
    assert list(rates.look(1.0, [])) == ["ana"]
    assert rates.sessions("ana") == 0


def test_nobody_waits_longer_than_the_bound_and_nobody_is_kept_for_ever():
    rates = MessageRates(10)
    rates.opened("ana")
    throttled = rates.look(1.0, [("ana", 10_000_000)])["ana"]
    assert throttled is not None and throttled.until == 1.0 + LONGEST_WAIT
    rates.ended("ana", 10_000_000)
    rates.look(throttled.until + 2 * BURST_SECONDS, [])
    assert rates._users == {}


def test_without_a_limit_nothing_is_refused():
    rates = MessageRates(0)
    rates.opened("ana")
    assert rates.look(1.0, [("ana", 10_000_000)]) == {}
    rates.ended("ana", 10_000_000)
    rates.look(2.0, [])
    assert rates._users == {}


async def test_a_flood_is_refused_with_the_time_to_wait_and_then_goes_on(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.max_messages_per_second=20")
    call: dict[str, Any] = {"name": "echo", "arguments": {"text": "x"}}
    async with jupyter.connect() as link:
        peer = Peer(link)
        for number in range(300):  # 10 s' worth are 200
            await peer.send(id=number, method="tools/call", params={**call, "_meta": MODERN})
        for _ in range(300):
            await peer.receive()

        async def answer() -> dict[str, Any]:
            """Call once, a moment after the last time."""
            moment = time.monotonic() + 0.3
            await until(lambda: time.monotonic() > moment, what="a moment")
            return await peer.call("again", "tools/call", call)

        async with asyncio.timeout(BOUND):
            while "error" not in (refused := await answer()):
                pass
        error = refused["error"]
        assert (error["code"], error["data"]["limit"]) == (-31003, "max_messages_per_second")
        assert error["data"]["outcome"] == "not_sent"
        assert 1 <= error["data"]["retry_after"] <= 30
        async with asyncio.timeout(BOUND):
            while "result" not in await answer():
                pass

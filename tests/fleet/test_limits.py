"""The sessions of a user count at all gateways."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from websockets.exceptions import InvalidStatus

from tests.conftest import BOUND, FAST_SERVER, until
from tests.fleet.house import Fleet, caller
from tests.handlers.test_restart import ask

MOST = 2


@pytest.fixture
def fleet(tmp_path):
    running = Fleet(
        tmp_path, 2, {"fast": FAST_SERVER}, f"--MCPWebSocketApp.max_sessions_per_principal={MOST}"
    )
    yield running
    running.stop()


async def is_refused(fleet: Fleet, place: int) -> bool:
    """Whether a further session is refused because of the limit."""
    try:
        async with fleet.jupyters[place].connect("fast"):
            return False
    except InvalidStatus as refused:
        assert refused.response.status_code == 503
        return b"max_sessions_per_principal" in refused.response.body


async def until_async(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(BOUND):
        while not await condition():
            await asyncio.sleep(0.1)


async def test_a_user_has_no_more_sessions_than_allowed_at_all_gateways_together(fleet):
    async with AsyncExitStack() as links:
        for _ in range(MOST):
            await links.enter_async_context(fleet.jupyters[0].connect("fast"))
        await until_async(lambda: is_refused(fleet, 1))
        assert await is_refused(fleet, 0)
        assert "principals" not in fleet.instances()[0]

    async def is_accepted() -> bool:
        return not await is_refused(fleet, 1)

    await until_async(is_accepted)


async def test_sessions_of_a_killed_gateway_are_taken_over_although_it_still_counts_them(fleet):
    async with AsyncExitStack() as opened, fleet.balancer() as balancer:
        callers = []
        for _ in range(MOST):
            balancer.turn = 0
            callers.append(await opened.enter_async_context(caller(balancer, fleet.jupyters[0].token)))
            assert await ask(callers[-1], 1, text="before") == "before"
        assert len(fleet.sessions(0)) == MOST
        await until_async(lambda: is_refused(fleet, 1))
        await fleet.killed(0)
        for one in callers:
            assert await ask(one, 2, text="after") == "after"
        await until(lambda: len(fleet.instances(1)) == 1, what="the end of the lease")

"""Sessions of a gateway that has ended, or was suspended, go on at another one."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import until
from tests.fleet.house import caller
from tests.handlers.test_restart import ask


@pytest.mark.parametrize(("server", "legacy"), [("fast", False), ("always", True)])
async def test_a_session_of_a_gateway_that_is_killed_goes_on_at_another(fleet, server, legacy):
    token = fleet.jupyters[0].token
    async with fleet.balancer() as balancer, caller(balancer, token, server, legacy=legacy) as one:
        assert await ask(one, 1, text="before") == "before"
        (before,) = fleet.sessions(0)
        await fleet.killed(0)
        assert await ask(one, 2, text="after") == "after"
        (after,) = fleet.sessions(1)
        assert (after["id"], after["restored"]) == (before["id"], True)
        assert (one.states["Connected"], one.states["Lost"]) == (1, 0)
        await fleet.started(0)


async def test_a_session_of_a_gateway_that_is_stopped_is_given_up_and_goes_on_at_once(fleet):
    async with fleet.balancer() as balancer, caller(balancer, fleet.jupyters[0].token) as one:
        assert await ask(one, 1, text="before") == "before"
        stopping = asyncio.create_task(asyncio.to_thread(fleet.jupyters[0].stop))
        assert await ask(one, 2, text="after") == "after"
        await stopping
        await until(lambda: len(fleet.sessions(1)) == 1, what="the take-over")
        assert (one.states["Connected"], one.states["Lost"]) == (1, 0)
        await fleet.started(0)


async def test_a_suspended_gateway_that_wakes_up_drops_the_session_that_another_has_taken(fleet):
    async with fleet.balancer() as balancer, caller(balancer, fleet.jupyters[0].token) as one:
        assert await ask(one, 1, text="before") == "before"
        fleet.suspend(0)
        try:
            balancer.leave_out(0)
            balancer.cut()
            assert await ask(one, 2, text="after") == "after"
        finally:
            fleet.wake(0)
        await until(lambda: fleet.sessions(0) == [], what="the end of the copy")
        assert "another gateway has taken the session over" in fleet.jupyters[0].log.read_text()
        assert await ask(one, 3, text="still") == "still"
        assert len(fleet.sessions(1)) == 1
        assert (one.states["Connected"], one.states["Lost"]) == (1, 0)


async def test_sessions_whose_clients_do_not_come_back_after_their_gateway_was_killed_expire(fleet):
    engine = fleet.redis
    async with fleet.balancer() as balancer:
        async with caller(balancer, fleet.jupyters[0].token) as one:
            assert await ask(one, 1, text="before") == "before"
            balancer.shut()
            await fleet.killed(0)
            await until(lambda: b":1" in engine.ask("ZCARD", f"{fleet.prefix}expiry"), what="a time")
        await fleet.started(0)


async def test_each_gateway_names_all_that_live(fleet):
    async with fleet.balancer() as balancer, caller(balancer, fleet.jupyters[0].token) as one:
        assert await ask(one, 1, text="here") == "here"

        def seen(place: int) -> list[tuple[bool, int]]:
            found = fleet.jupyters[place].rest("GET", "instances")[1]["instances"]
            return [(instance["self"], instance["sessions"]) for instance in found]

        await until(lambda: sorted(seen(0)) == [(False, 0), (True, 1)])
        await until(lambda: sorted(seen(1)) == [(False, 1), (True, 0)])

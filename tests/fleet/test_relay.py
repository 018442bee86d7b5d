"""A client that reaches a gateway which does not serve its session is passed on to the one that does."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.conftest import until
from tests.fleet.house import caller
from tests.handlers.test_restart import ask, in_flight


async def moved(balancer, one, place: int) -> None:
    """Cut the client's link, and let its next one reach the gateway at this place."""
    resumed = one.states["Resumed"]
    balancer.turn = place
    balancer.cut()
    await until(lambda: one.states["Resumed"] > resumed, what="a resumed session")


@pytest.mark.parametrize(("server", "legacy"), [("fast", False), ("fast", True), ("always", True)])
async def test_a_client_that_reaches_another_gateway_goes_on_at_the_first_attempt(fleet, server, legacy):
    token = fleet.jupyters[0].token
    async with fleet.balancer() as balancer, caller(balancer, token, server, legacy=legacy) as one:
        assert await ask(one, 1, text="before") == "before"
        (before,) = fleet.sessions(0)
        for number, place in enumerate([1, 0, 1, 1], 2):
            links = len(balancer.went)
            await moved(balancer, one, place)
            assert balancer.went[links:] == [place], "one attempt"
            assert await ask(one, number, text=f"at {place}") == f"at {place}"
        (after,) = fleet.sessions(0)
        assert (after["id"], after["restored"], fleet.sessions(1)) == (before["id"], False, [])
        assert (one.states["Connected"], one.states["Lost"]) == (1, 0)
    await until(lambda: fleet.sessions(0) == [], what="the end of a session that its client has closed")


async def test_a_call_in_flight_is_answered_over_another_gateway(fleet):
    async with fleet.balancer() as balancer, caller(balancer, fleet.jupyters[0].token) as one:
        assert await ask(one, 1, text="before") == "before"
        call = asyncio.create_task(ask(one, 2, "slow", steps=20, delay=0.1))
        await until(lambda: fleet.sessions(0)[0]["in_flight"] == 1)
        await moved(balancer, one, 1)
        assert await call == "20 steps"


async def test_large_messages_pass_in_both_directions(fleet):
    async with fleet.balancer() as balancer, caller(balancer, fleet.jupyters[0].token) as one:
        assert await ask(one, 1, text="before") == "before"
        await moved(balancer, one, 1)
        texts = [chr(97 + number) * 3_000_000 for number in range(4)]
        answers = await asyncio.gather(*(ask(one, 2 + n, text=text) for n, text in enumerate(texts)))
        assert answers == texts


async def test_when_the_gateway_between_is_killed_the_session_goes_on_where_it_is(fleet):
    async with fleet.balancer() as balancer, caller(balancer, fleet.jupyters[0].token, legacy=True) as one:
        assert await ask(one, 1, text="before") == "before"
        await moved(balancer, one, 1)
        await fleet.killed(1)
        assert await ask(one, 2, text="after") == "after"
        assert fleet.sessions(0)[0]["restored"] is False
        assert (one.states["Connected"], one.states["Lost"]) == (1, 0)
        await fleet.started(1)


async def test_when_the_gateway_that_serves_is_killed_the_other_takes_over_before_the_lease_ends(fleet):
    async with fleet.balancer() as balancer, caller(balancer, fleet.jupyters[0].token) as one:
        assert await ask(one, 1, text="before") == "before"
        await moved(balancer, one, 1)
        call = await in_flight(fleet.jupyters[0], one, 2)
        since = time.monotonic()
        await fleet.killed(0)
        assert (await call)["error"]["data"] == {"outcome": "unknown", "method": "tools/call"}
        print(f"taken over after {time.monotonic() - since:.2f} s")
        assert await ask(one, 3, text="after") == "after"
        assert fleet.sessions(1)[0]["restored"] is True
        assert (one.states["Connected"], one.states["Lost"]) == (1, 0)
        await fleet.started(0)


async def test_when_the_gateway_that_serves_is_suspended_a_link_over_another_one_does_not_wait_for_it(fleet):
    async with fleet.balancer() as balancer, caller(balancer, fleet.jupyters[0].token) as one:
        assert await ask(one, 1, text="before") == "before"
        await moved(balancer, one, 1)
        balancer.leave_out(0)
        fleet.suspend(0)
        try:
            assert await ask(one, 2, text="after") == "after"
        finally:
            fleet.wake(0)
        assert [session["restored"] for session in fleet.sessions(1)] == [True]
        assert (one.states["Connected"], one.states["Lost"]) == (1, 0)


async def test_when_the_gateway_between_is_suspended_its_link_is_given_up(fleet):
    async with fleet.balancer() as balancer, caller(balancer, fleet.jupyters[0].token) as one:
        assert await ask(one, 1, text="before") == "before"
        await moved(balancer, one, 1)
        assert fleet.sessions(0)[0]["attached"]
        fleet.suspend(1)
        try:
            await until(lambda: not fleet.sessions(0)[0]["attached"], what="the end of the link")
        finally:
            fleet.wake(1)
        assert await ask(one, 2, text="after") == "after"


async def test_a_token_of_another_server_resumes_nothing_at_any_gateway(fleet):
    async with fleet.balancer() as balancer, caller(balancer, fleet.jupyters[0].token) as one:
        assert await ask(one, 1, text="before") == "before"
        token = one.transport._end._token
        for place in (0, 1):
            async with fleet.jupyters[place].connect("always", subprotocols=["mcp.resume.v1"]) as link:
                await link.send(f'{{"mcp.ws":"resume","token":"{token}","recv":0}}')
                assert '"gone"' in str(await link.recv())
        assert await ask(one, 2, text="after") == "after"

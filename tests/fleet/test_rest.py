"""REST at any gateway shows and ends the sessions of all."""

from __future__ import annotations

from tests.conftest import until
from tests.fleet.house import Fleet, caller
from tests.handlers.test_restart import ask


def listed(fleet: Fleet, place: int) -> list[tuple[str, str]]:
    """The sessions that a gateway lists, with the gateways that serve them."""
    answer = fleet.jupyters[place].rest("GET", "sessions")[1]
    assert answer["silent"] == []
    return sorted((one["id"], one["instance"]) for one in answer["sessions"])


async def test_each_gateway_lists_the_sessions_of_all(fleet):
    async with fleet.balancer() as balancer, caller(balancer, fleet.jupyters[0].token) as one:
        assert await ask(one, 1, text="here") == "here"
        async with caller(balancer, fleet.jupyters[0].token, legacy=True) as other:
            assert await ask(other, 1, text="there") == "there"
            both = {fleet.instance(0), fleet.instance(1)}
            # A gateway that gets no CPU for seconds loses its lease, and the other one forgets it until it has a new one.
            await until(
                lambda: {instance for _, instance in listed(fleet, 0)} == both, what="the sessions of both"
            )
            assert listed(fleet, 0) == listed(fleet, 1)


async def test_a_session_can_be_ended_at_any_gateway(fleet):
    async with fleet.balancer() as balancer, caller(balancer, fleet.jupyters[0].token) as one:
        assert await ask(one, 1, text="here") == "here"
        ((session, _),) = listed(fleet, 1)
        assert fleet.jupyters[1].rest("DELETE", f"sessions/{session}")[0] == 204
        await until(lambda: one.states["Lost"], what="the end of the session")
        assert listed(fleet, 0) == []
        assert fleet.jupyters[1].rest("DELETE", f"sessions/{session}")[0] == 404


async def test_a_session_that_is_not_stored_can_be_ended_at_any_gateway(fleet):
    async with fleet.jupyters[0].connect("fast", subprotocols=["mcp"]) as link:
        ((session, _),) = listed(fleet, 1)
        assert fleet.jupyters[1].rest("DELETE", f"sessions/{session}")[0] == 204
        await link.wait_closed()
    assert listed(fleet, 0) == []


async def test_a_gateway_that_does_not_answer_is_named(fleet):
    suspended = fleet.instance(1)
    with fleet.silenced(1):
        assert fleet.jupyters[0].rest("GET", "sessions")[1]["silent"] == [suspended]

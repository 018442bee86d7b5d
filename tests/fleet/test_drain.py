"""A gateway that drains gives its sessions to the others, and costs no request."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from mcp_ws_ide.inspector.cli import main
from tests.conftest import BOUND, response_in, until
from tests.fleet.house import Fleet, caller
from tests.handlers.test_poll import Poller
from tests.handlers.test_restart import ask
from tests.handlers.test_streamable_http import Http


@pytest.fixture
async def drained(fleet):
    """Restarts the first gateway after a test that drains it."""
    yield
    await asyncio.to_thread(fleet.jupyters[0].stop)
    await fleet.started(0)


def drain(fleet: Fleet, over: int = 0) -> int:
    """Have the first gateway drain; return how many sessions it has to give away."""
    status, answer = fleet.jupyters[over].rest("POST", f"instances/{fleet.instance(0)}/drain")
    assert status == 202
    return answer["to_drain"]


def ready(fleet: Fleet, place: int) -> int:
    return httpx.get(f"{fleet.jupyters[place].url}mcp-ws/api/ready").status_code


@pytest.mark.parametrize(("server", "legacy"), [("fast", False), ("always", True)])
async def test_a_call_in_flight_finishes_then_the_session_moves(fleet, drained, server, legacy):
    async with (
        fleet.balancer() as balancer,
        caller(balancer, fleet.jupyters[0].token, server, legacy=legacy) as one,
    ):
        assert await ask(one, 1, text="before") == "before"
        call = asyncio.create_task(ask(one, 2, "slow", steps=20, delay=0.1))
        await until(lambda: fleet.sessions(0)[0]["in_flight"] == 1)
        assert drain(fleet) == 1
        late = asyncio.create_task(ask(one, 3, text="meanwhile"))
        assert (await call, await late) == ("20 steps", "meanwhile")
        assert fleet.sessions(0) == []
        assert [session["restored"] for session in fleet.sessions(1)] == [True]
        assert (one.states["Connected"], one.states["Lost"]) == (1, 0)


async def test_a_session_that_cannot_move_goes_on_where_it_is(fleet, drained):
    async with fleet.balancer() as balancer, caller(balancer, fleet.jupyters[0].token, legacy=True) as one:
        assert await ask(one, 1, text="before") == "before"
        assert drain(fleet, over=1) == 0
        assert await ask(one, 2, text="after") == "after"
        assert len(fleet.sessions(0)) == 1
        balancer.turn = 1
        balancer.cut()
        assert await ask(one, 3, text="over the other") == "over the other"
        assert one.states["Lost"] == 0


async def test_a_call_of_a_session_that_cannot_move_is_waited_for(fleet, drained):
    async with fleet.balancer() as balancer, caller(balancer, fleet.jupyters[0].token, legacy=True) as one:
        assert await ask(one, 1, text="before") == "before"
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(ask(one, 2, "slow", steps=20, delay=0.1))
            await until(lambda: fleet.sessions(0)[0]["in_flight"] == 1)
            assert drain(fleet) == 1
        assert call.result() == "20 steps"
        assert drain(fleet) == 0


async def test_new_sessions_are_refused_and_lone_requests_are_served(fleet, drained):
    jupyter = fleet.jupyters[0]
    drain(fleet)
    assert (ready(fleet, 0), ready(fleet, 1)) == (503, 204)
    async with httpx.AsyncClient(timeout=BOUND) as client:
        http = Http(jupyter, client)
        lone = await http.modern(1, "tools/call", {"name": "echo", "arguments": {"text": "served"}})
        assert response_in(lone)["result"]["content"][0]["text"] == "served"
        opened = await http.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}})
        assert (opened.status_code, opened.headers["Retry-After"]) == (503, "5")
        assert "draining" in opened.json()["message"]
        poller = Poller(jupyter, client)
        lines = (await poller.post({"mcp.ws": "open"})).text
        assert '"code":1013' in lines
    with pytest.raises(InvalidStatus) as refused:
        await jupyter.connect("fast").__aenter__()
    assert refused.value.response.status_code == 503


async def test_a_link_whose_session_is_elsewhere_moves_too(fleet, drained):
    async with fleet.balancer() as balancer:
        balancer.turn = 1
        async with caller(balancer, fleet.jupyters[0].token) as one:
            assert await ask(one, 1, text="before") == "before"
            balancer.turn = 0
            balancer.cut()
            assert await ask(one, 2, text="passed on") == "passed on"
            assert balancer.went == [1, 0]
            balancer.turn = 1
            drain(fleet)
            await until(lambda: one.states["Resumed"] == 2, what="a link at the other gateway")
            assert await ask(one, 3, text="after") == "after"
            assert balancer.went == [1, 0, 1]


async def test_sessions_at_rest_move_while_the_inspector_waits(fleet, drained, tmp_path, capsys):
    credential = tmp_path / "token"
    credential.write_text(fleet.jupyters[0].token)
    options = ["--url", fleet.jupyters[0].url, "--token-file", str(credential)]
    async with fleet.balancer() as balancer, caller(balancer, fleet.jupyters[0].token) as one:
        assert await ask(one, 1, text="before") == "before"
        code = await asyncio.to_thread(main, ["drain", "--wait", *options])
        assert (code, fleet.sessions(0)) == (0, [])
        assert "0 sessions are left" in capsys.readouterr().err
        assert await ask(one, 2, text="after") == "after"
        assert len(fleet.sessions(1)) == 1


async def test_a_gateway_that_does_not_exist_cannot_drain(fleet):
    assert fleet.jupyters[0].rest("POST", f"instances/{'0' * 16}/drain")[0] == 404

"""The sessions of tests/handlers/test_restart.py on Redis, and what becomes of them when Redis itself fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.conftest import DEMO, FAST_SERVER, Jupyter, until
from tests.handlers import test_restart
from tests.handlers.test_restart import ask, caller, killed, session, stopped
from tests.redis_server import RedisServer

test_a_call_in_flight = (
    test_restart.test_a_call_in_flight_ends_with_the_outcome_unknown_and_runs_no_second_time
)
test_a_private_process = test_restart.test_a_session_with_a_process_of_its_own_ends_in_words
test_followed = test_restart.test_what_was_followed_is_followed_again


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that keeps what it has acknowledged."""
    server = RedisServer(tmp_path_factory.mktemp("redis"), appendonly="yes", appendfsync="always")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory, server: RedisServer) -> Iterator[Jupyter]:
    """A Jupyter that stores its sessions there."""
    servers = {
        "fast": FAST_SERVER,
        "always": {**FAST_SERVER, "mcp_ws": {"sharing": "always"}},
        "demo": DEMO,
    }
    home = tmp_path_factory.mktemp("stored")
    running = Jupyter(home, servers, f"--MCPWebSocketApp.engine={server.address}")
    yield running
    running.stop()


@pytest.mark.parametrize(
    ("server_name", "legacy", "poll", "end"),
    [
        ("fast", False, False, killed),
        ("fast", False, True, stopped),
        ("always", True, False, killed),
        ("+fast+always", False, False, stopped),
    ],
)
async def test_a_session_that_can_be_kept_goes_on(jupyter, server_name, legacy, poll, end):
    async with caller(jupyter, server_name, legacy=legacy, poll=poll) as one:
        tool = "fast__echo" if server_name.startswith("+") else "echo"
        assert await ask(one, 1, tool, text="before") == "before"
        before = session(jupyter)
        await end(jupyter)
        assert await ask(one, 2, tool, text="after") == "after"
        after = session(jupyter)
        assert (after["id"], after["restored"]) == (before["id"], True)
        assert (one.states["Connected"], one.states["Lost"]) == (1, 0)


def engine_of(jupyter: Jupyter) -> dict[str, object]:
    health: dict[str, object] = jupyter.rest("GET", "health")[1]["engine"]
    return health


async def test_while_redis_is_down_nothing_is_answered_and_then_everything_is(jupyter, server):
    async with caller(jupyter) as one:
        assert await ask(one, 1, text="before") == "before"
        await asyncio.to_thread(server.kill)
        call = asyncio.create_task(ask(one, 2, text="meanwhile"))
        await until(lambda: not engine_of(jupyter)["writes"], what="the loss of Redis")
        assert "cannot be reached" in str(engine_of(jupyter)["problem"])
        assert not call.done()
        await asyncio.to_thread(server.start)
        assert await call == "meanwhile"
        assert engine_of(jupyter) == {"name": "redis", "writes": True, "problem": ""}
        assert one.states["Connected"] == 1, "no session was started over"


async def test_a_redis_that_comes_back_empty_gets_the_sessions_again(jupyter, server):
    async with caller(jupyter) as one:
        assert await ask(one, 1, text="before") == "before"
        await asyncio.to_thread(server.lose_everything)
        assert await ask(one, 2, text="after") == "after"
        await killed(jupyter)
        assert await ask(one, 3, text="restored") == "restored"
        assert session(jupyter)["restored"] is True
        assert one.states["Connected"] == 1, "no session was started over"


async def test_a_suspended_redis_holds_up_calls_and_loses_none(jupyter, server):
    async with caller(jupyter) as one:
        assert await ask(one, 1, text="before") == "before"
        with server.suspended():
            call = asyncio.create_task(ask(one, 2, text="meanwhile"))
            await until(lambda: not engine_of(jupyter)["writes"], what="the loss of Redis")
            assert not call.done()
        assert await call == "meanwhile"
        assert one.states["Connected"] == 1, "no session was started over"

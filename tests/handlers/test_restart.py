"""What becomes of each kind of session when Jupyter is killed, or stopped, and started again with an engine.

The table in docs/operate/stored-sessions.md, cell by cell, with the clients of this project over real links.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from mcp_ws_ide.client import negotiating_transport
from mcp_ws_ide.core.binding import CloseCode
from tests.conftest import DEMO, FAST_SERVER, MODERN, Jupyter, until
from tests.interop.test_chaos import QUICK, Caller

ENGINE = "--MCPWebSocketApp.engine=sqlite"
SLOW = {"name": "slow", "arguments": {"steps": 1000, "delay": 1}}


class Patient(Caller):
    """A client that reads on when its session has ended: its last answers may still come."""

    def note(self, state: Any) -> None:
        self.states[type(state).__name__] += 1


async def killed(jupyter: Jupyter) -> None:
    """Kill Jupyter and start it again, while the clients of the test go on on this loop."""
    await asyncio.to_thread(jupyter.kill)
    await asyncio.to_thread(jupyter.start)


async def stopped(jupyter: Jupyter) -> None:
    """The same with SIGTERM."""
    await asyncio.to_thread(jupyter.stop)
    await asyncio.to_thread(jupyter.start)


@asynccontextmanager
async def caller(
    jupyter: Jupyter, server: str = "fast", *, legacy: bool = False, poll: bool = False, token: str = ""
) -> AsyncIterator[Caller]:
    """A client on raw streams of the transport of this project."""
    one = Patient(jupyter.endpoint(server), token or jupyter.token, 1, legacy)
    if poll:
        url = jupyter.endpoint(server).replace("ws://", "http://")
        one.transport = negotiating_transport(  # type: ignore[assignment]
            url, token=token or jupyter.token, reconnect=QUICK, transports=["poll"], on_state=one.note
        )
    async with one:
        yield one


async def ask(one: Caller, own: int, tool: str = "echo", **arguments: Any) -> str:
    """Call a tool; return its text."""
    meta = {} if one.legacy else {"_meta": MODERN}
    params = {"name": tool, "arguments": arguments or {"text": f"call {own}"}, **meta}
    answer = await one.call(own, "tools/call", params)
    assert "result" in answer, answer
    return answer["result"]["content"][0]["text"]


async def in_flight(jupyter: Jupyter, one: Caller, own: int) -> asyncio.Task[dict[str, Any]]:
    """Make a call that does not end by itself, and wait until its server runs it."""
    meta = {} if one.legacy else MODERN
    params = {**SLOW, "_meta": {"progressToken": own, **meta}}
    call = asyncio.create_task(one.call(own, "tools/call", params))
    await until(lambda: one.progress.get(own), what="progress")
    return call


def session(jupyter: Jupyter) -> dict[str, Any]:
    """The only session that a client of a test has."""
    (only,) = [s for s in jupyter.rest("GET", "sessions")[1]["sessions"] if s["link"] != "group"]
    return only


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """A Jupyter with an engine, and servers of each kind; one of them is behind another Jupyter, which goes on."""
    inner = Jupyter(tmp_path_factory.mktemp("inner"), {"fast": FAST_SERVER})
    headers = {"Authorization": f"Bearer {inner.token}"}
    servers = {
        "fast": FAST_SERVER,
        "always": {**FAST_SERVER, "mcp_ws": {"sharing": "always"}},
        "never": {**FAST_SERVER, "mcp_ws": {"sharing": "never"}},
        "remote": {"url": f"{inner.url}mcp-ws/servers/fast", "headers": headers},
        "demo": DEMO,
    }
    running = Jupyter(tmp_path_factory.mktemp("stored"), servers, ENGINE)
    yield running
    running.stop()
    inner.stop()


async def test_while_nothing_can_be_stored_health_says_so_and_messages_wait(jupyter):
    def limit(size: int) -> None:
        resource.prlimit(jupyter.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def probed(name: str) -> int:
        return jupyter.request("GET", f"mcp-ws/api/{name}")[0]

    async with caller(jupyter, "fast") as one:
        assert await ask(one, 1) == "call 1"
        limit(1 << 19)
        async with asyncio.TaskGroup() as group:
            call = group.create_task(ask(one, 2, text="x" * 600_000))
            try:
                await until(lambda: jupyter.rest("GET", "health")[0] == 503, what="the report of the failure")
                health = jupyter.rest("GET", "health")[1]
                assert (health["status"], health["engine"]["writes"]) == ("not_storing", False)
                assert f"may have at most {1 << 19} bytes" in health["engine"]["problem"]
                assert (probed("live"), probed("ready"), call.done()) == (204, 204, False)
            finally:
                limit(resource.RLIM_INFINITY)
        assert len(call.result()) == 600_000
        status, health = jupyter.rest("GET", "health")
        assert (status, health["status"], health["engine"]["problem"]) == (200, "ok", "")


@pytest.mark.parametrize("end", [killed, stopped])
@pytest.mark.parametrize(
    ("server", "legacy", "poll"),
    [
        ("fast", False, False),
        ("fast", False, True),
        ("never", False, False),
        ("remote", False, False),
        ("+fast+always", False, False),
        ("always", True, False),
        ("always", True, True),
        ("remote", True, False),
    ],
)
async def test_a_session_that_can_be_kept_goes_on(jupyter, server, legacy, poll, end):
    async with caller(jupyter, server, legacy=legacy, poll=poll) as one:
        tool = "fast__echo" if server.startswith("+") else "echo"
        assert await ask(one, 1, tool, text="before") == "before"
        before = session(jupyter)
        await end(jupyter)
        assert await ask(one, 2, tool, text="after") == "after"
        after = session(jupyter)
        assert (after["id"], after["created"], after["restored"]) == (before["id"], before["created"], True)
        assert after["era"] == ("legacy" if legacy else "modern")
        assert one.states["Connected"] == 1, "no session was started over"
        assert one.states["Lost"] == 0


@pytest.mark.parametrize("legacy", [False, True])
async def test_a_call_in_flight_ends_with_the_outcome_unknown_and_runs_no_second_time(jupyter, legacy):
    async with caller(jupyter, "always", legacy=legacy) as one:
        assert await ask(one, 1, text="warm") == "warm"
        call = await in_flight(jupyter, one, 2)
        await killed(jupyter)
        assert (await call)["error"]["data"] == {"outcome": "unknown", "method": "tools/call"}
        assert await ask(one, 3, text="after") == "after"


@pytest.mark.parametrize("end", [killed, stopped])
async def test_a_session_with_a_process_of_its_own_ends_in_words(jupyter, end):
    async with caller(jupyter, legacy=True) as one:
        assert await ask(one, 1, text="before") == "before"
        call = await in_flight(jupyter, one, 2)
        await end(jupyter)
        assert (await call)["error"]["data"] == {"outcome": "unknown", "method": "tools/call"}
        await until(lambda: one.states["Lost"], what="the end of the session")
        assert one.transport.close_code == CloseCode.UPSTREAM_ENDED
        assert "ended with the gateway" in str(one.transport.error)
    await until(lambda: not jupyter.rest("GET", "sessions")[1]["sessions"])


async def outcomes_of_late(jupyter: Jupyter, one: Caller, end: Callable[[], Awaitable[None]]) -> list[str]:
    """Make two calls that the gateway does not accept any more, before it ends; return their outcomes, once the
    session has ended."""
    params = {"name": "echo", "arguments": {"text": "late"}}
    written = one.transport._end._written
    async with asyncio.TaskGroup() as tasks:
        calls = [tasks.create_task(one.call(own, "tools/call", params)) for own in (100, 101)]
        await until(lambda: one.transport._end._written == written + 2)
        await end()
    await until(lambda: one.states["Lost"], what="the end of the session")
    await until(lambda: not jupyter.rest("GET", "sessions")[1]["sessions"])
    return [call.result()["error"]["data"]["outcome"] for call in calls]


async def test_what_a_stopping_gateway_does_not_accept_for_a_process_of_its_own_ends_as_not_sent(jupyter):
    async with caller(jupyter, legacy=True) as one, asyncio.TaskGroup() as tasks:
        call = tasks.create_task(ask(one, 1, "slow", steps=10, delay=0.1))
        await until(lambda: session(jupyter)["in_flight"] == 1)
        stop = tasks.create_task(asyncio.to_thread(jupyter.stop))
        await until(lambda: not jupyter.listens())  # which it stops before it lets calls finish

        async def ended() -> None:
            await stop
            assert await call == "10 steps"
            await asyncio.to_thread(jupyter.start)

        assert await outcomes_of_late(jupyter, one, ended) == ["not_sent"] * 2


async def test_what_a_killed_gateway_has_not_read_for_a_process_of_its_own_ends_as_not_sent(jupyter):
    async with caller(jupyter, legacy=True) as one:
        assert await ask(one, 1, text="before") == "before"
        jupyter.process.send_signal(signal.SIGSTOP)
        assert await outcomes_of_late(jupyter, one, lambda: killed(jupyter)) == ["not_sent"] * 2


async def test_a_stop_waits_for_calls_and_fails_none_that_finishes(jupyter):
    async with caller(jupyter) as one:
        await ask(one, 1, text="warm")
        calls = [asyncio.create_task(ask(one, own, "slow", steps=2, delay=0.2)) for own in (2, 3)]
        await until(lambda: session(jupyter)["in_flight"] == 2)
        await stopped(jupyter)
        assert await asyncio.gather(*calls) == ["2 steps", "2 steps"]


async def left(jupyter: Jupyter, number: int) -> list[str]:
    """Open sessions whose clients do not come back after a restart; return the ids of all sessions."""
    async with AsyncExitStack() as clients:
        for own in range(number):
            one = await clients.enter_async_context(caller(jupyter))
            await ask(one, own + 1)
        ids = [listed["id"] for listed in jupyter.rest("GET", "sessions")[1]["sessions"]]
        await asyncio.to_thread(jupyter.kill)
    await asyncio.to_thread(jupyter.start)
    return ids


async def test_a_session_is_listed_as_stored_and_can_be_ended_until_its_client_is_back(jupyter):
    ids = await left(jupyter, 2)
    listed = jupyter.rest("GET", "sessions")[1]["sessions"]
    assert {(one["id"], one["stored"], one["attached"], one["server"]) for one in listed} == {
        (own, True, False, "fast") for own in ids
    }
    assert all(one["expires_in"] > 9 for one in listed)
    command = [sys.executable, "-m", "mcp_ws_ide.inspector.cli", "sessions"]
    environment = {name: value for name, value in jupyter.environment.items() if name != "JUPYTER_TOKEN"}
    options = {"env": environment, "capture_output": True, "text": True, "check": True}
    shown = await asyncio.to_thread(subprocess.run, command, **options)
    assert shown.stdout.count("(stored)") == len(ids)
    assert jupyter.rest("DELETE", f"sessions/{ids[0]}?after=9")[0] == 204
    assert [one["expires_in"] <= 9 for one in by_id(jupyter, ids[:2])] == [True, False]
    for own in ids:
        assert jupyter.rest("DELETE", f"sessions/{own}")[0] == 204
        assert jupyter.rest("DELETE", f"sessions/{own}")[0] == 404
    assert jupyter.rest("GET", "sessions")[1]["sessions"] == []


async def test_each_start_logs_the_number_of_all_stored_sessions(jupyter):
    start = len(jupyter.log.read_text())  # what earlier tests have left may still wait for its clients, too
    ids = await left(jupyter, 2)
    await killed(jupyter)  # the first start has given all of them their grace period
    line = f"stored sessions that wait for their clients: {len(ids)}\n"
    await until(lambda: jupyter.log.read_text()[start:].count(line) == 2)


def by_id(jupyter: Jupyter, ids: list[str]) -> list[dict[str, Any]]:
    """The sessions that REST lists, in this order."""
    listed = {one["id"]: one for one in jupyter.rest("GET", "sessions")[1]["sessions"]}
    return [listed[own] for own in ids]


async def test_a_gateway_token_survives_and_jupyters_own_may_not(jupyter):
    minted = jupyter.rest("POST", "tokens", {"servers": ["fast"], "expires_in": 600})[1]
    async with caller(jupyter, token=minted["token"]) as one:
        await ask(one, 1, text="before")
        jupyter.environment["JUPYTER_TOKEN"], own = "another-run-0123456789", jupyter.token
        jupyter.token = "another-run-0123456789"
        try:
            await killed(jupyter)
            assert await ask(one, 2, text="after") == "after"
        finally:
            jupyter.environment["JUPYTER_TOKEN"] = jupyter.token = own
            await killed(jupyter)
        assert jupyter.rest("DELETE", f"tokens/{minted['id']}")[0] == 204
        await until(lambda: one.states["Lost"], what="the end of a revoked session")


@pytest.mark.parametrize("transport", [(), ("--transport", "poll")])
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_program_behind_mcp_ws_connect_goes_on(jupyter, mode, transport):
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "mcp_ws_ide.client.shim", *transport, jupyter.endpoint("always")],
        env={**jupyter.environment, "MCP_WS_TOKEN": jupyter.token},
    )
    async with Client(stdio_client(parameters), mode=mode) as client:
        assert (await client.call_tool("echo", {"text": "before"})).content[0].text == "before"
        await killed(jupyter)
        assert (await client.call_tool("echo", {"text": "after"})).content[0].text == "after"


async def test_what_was_followed_is_followed_again(jupyter):
    async with caller(jupyter) as one:
        notes: list[dict[str, Any]] = []
        one.notified = notes.append
        params = {"notifications": {"toolsListChanged": True}, "_meta": MODERN}
        listening = asyncio.create_task(one.call(1, "subscriptions/listen", params))
        await until(lambda: notes, what="the acknowledgement")
        await killed(jupyter)
        assert await ask(one, 2, "change") == "1"
        await until(lambda: [n["method"] for n in notes].count("notifications/tools/list_changed") == 1)
        listening.cancel()

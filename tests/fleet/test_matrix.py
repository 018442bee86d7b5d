"""What each event costs each kind of session: the table of docs/operate/several.md, cell by cell."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from mcp_ws_ide.client import negotiating_transport
from tests.conftest import BOUND, response_in, until
from tests.fleet.balancer import Balancer
from tests.fleet.house import Fleet
from tests.handlers.test_restart import Patient, ask
from tests.handlers.test_streamable_http import Http
from tests.interop.test_chaos import QUICK

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "several.md"
Call = Callable[[str], Awaitable[str]]
"""Makes a call with this text; returns the text of its result, or ``ended`` if the session has ended."""


def table() -> dict[tuple[str, str], str]:
    """The cells of the table, by session and event."""
    text = PAGE.read_text().partition("## What each event costs")[2]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", text, re.M)
    ]
    (_, *events), _, *sessions = rows
    return {
        (session, event): cell
        for session, *cells in sessions
        for event, cell in zip(events, cells, strict=True)
    }


# --- sessions ---------------------------------------------------------------------------------------


def streams(server: str, *, legacy: bool = False, poll: bool = False, tool: str = "echo") -> Any:
    """A session of a client on raw streams."""

    @asynccontextmanager
    async def opened(balancer: Balancer, token: str) -> AsyncIterator[Call]:
        one = Patient(balancer.endpoint(server), token, 1, legacy)
        if poll:
            url = balancer.endpoint(server).replace("ws://", "http://")
            one.transport = negotiating_transport(
                url, token=token, reconnect=QUICK, transports=["poll"], on_state=one.note
            )
        numbers = iter(range(1, 100))

        async def call(text: str) -> str:
            asked = asyncio.ensure_future(ask(one, next(numbers), tool, text=text))
            await until(lambda: asked.done() or one.states["Lost"] or one.states["Connected"] > 1)
            try:
                return await (asked if asked.done() else asyncio.wait_for(asked, 0))
            except (AssertionError, TimeoutError):  # an error, or no answer at all
                await until(lambda: one.states["Lost"] or one.states["Connected"] > 1)
                return "ended"

        async with one:
            yield call

    return opened


@asynccontextmanager
async def handshake_http(balancer: Balancer, token: str) -> AsyncIterator[Call]:
    """A handshake-era session over HTTP; each request has a connection of its own."""
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=BOUND, limits=limits) as client:
        one = Http.__new__(Http)
        one.client, one.url = client, balancer.endpoint("fast").replace("ws://", "http://")
        one.headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
        await one.initialize()

        async def call(text: str) -> str:
            while (answer := await one.legacy(1, "echo", {"text": text})).status_code == 503:
                await asyncio.sleep(float(answer.headers["Retry-After"]))
            if answer.status_code == 404:
                return "ended"
            return response_in(answer)["result"]["content"][0]["text"]

        yield call


SESSIONS: dict[str, Any] = {
    "modern": streams("fast"),
    "modern, poll link": streams("fast", poll=True),
    "modern, group": streams("+fast+always", tool="always__echo"),
    "handshake era, `sharing: always`": streams("always", legacy=True),
    "handshake era, a process of its own": streams("fast", legacy=True),
    "handshake era over HTTP": handshake_http,
}


# --- events, at the gateway that serves the session ---------------------------------------------------


async def cut(fleet: Fleet, balancer: Balancer) -> None:
    balancer.cut()


async def killed(fleet: Fleet, balancer: Balancer) -> None:
    await fleet.killed(0)


async def drained(fleet: Fleet, balancer: Balancer) -> None:
    assert fleet.jupyters[0].rest("POST", f"instances/{fleet.instance(0)}/drain")[0] == 202
    gone = lambda: fleet.jupyters[0].rest("GET", "instances")[1]["instances"]  # noqa: E731
    await until(lambda: all(one["to_drain"] == 0 for one in gone() if one["self"]))


async def suspended(fleet: Fleet, balancer: Balancer) -> None:
    """For longer than a lease."""
    fleet.suspend(0)
    asyncio.get_running_loop().call_later(7, fleet.wake, 0)
    balancer.leave_out(0)
    balancer.cut()


async def engine_killed(fleet: Fleet, balancer: Balancer) -> None:
    fleet.redis.process.send_signal(signal.SIGKILL)
    fleet.redis.process.wait(BOUND)
    await asyncio.to_thread(fleet.redis.start)


EVENTS = {
    "its link is cut": cut,
    "its gateway is killed": killed,
    "its gateway drains": drained,
    "its gateway is suspended for 7 s": suspended,
    "Redis is killed, and starts again": engine_killed,
}


@pytest.fixture
async def whole(fleet):
    """Starts the first gateway again if a test has ended or drained it."""
    yield
    if fleet.jupyters[0].process.poll() is None:
        await asyncio.to_thread(fleet.jupyters[0].stop)
    await fleet.started(0)


def test_the_table_has_a_cell_for_each_session_and_event():
    assert set(table()) == {(session, event) for session in SESSIONS for event in EVENTS}


@pytest.mark.heavy
@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("session", SESSIONS)
async def test_each_event_costs_a_session_what_the_table_says(fleet, whole, session, event):
    async with fleet.balancer() as balancer, SESSIONS[session](balancer, fleet.jupyters[0].token) as call:
        assert await call("before") == "before"
        assert await call("again") == "again"
        await EVENTS[event](fleet, balancer)
        after = await call("after")
    assert {"after": "kept", "ended": "ends"}[after] == table()[session, event]

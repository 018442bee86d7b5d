"""What each event costs each kind of session: the table of docs/operate/several.md, cell by cell.

Three gateways behind HAProxy. A session of each kind is opened at the first gateway, and has a request in flight; then
all of them meet the event.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.conftest import DEMO, FAST_SERVER, Jupyter, until
from tests.fleet.haproxy import HAProxy, OwnHAProxy
from tests.fleet.house import Fleet
from tests.fleet.kinds import KINDS, Session

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "several.md"
SUSPENDED = 10.0
"""Seconds; a lease has 5."""
PATIENCE = 60.0
"""Seconds that a client may take until it knows what an event has cost."""


def table() -> dict[str, dict[str, str]]:
    """The cells of the table, by event and session."""
    text = PAGE.read_text().partition("## What each event costs")[2]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", text, re.M)
    ]
    (_, *events), _, *sessions = rows
    return {
        event: {session: cells[place] for session, *cells in sessions} for place, event in enumerate(events)
    }


# --- events, at the gateway that serves the sessions -------------------------------------------------


async def cut(fleet: Fleet, proxy: HAProxy) -> None:
    proxy.cut()


async def killed(fleet: Fleet, proxy: HAProxy) -> None:
    await fleet.killed(0)


async def suspended(fleet: Fleet, proxy: HAProxy) -> None:
    """The balancer notices it, and its clients come back while it is suspended."""
    fleet.suspend(0)
    proxy.use(1, 2)
    proxy.cut()
    await asyncio.sleep(SUSPENDED)
    fleet.wake(0)


async def drained(fleet: Fleet, proxy: HAProxy) -> None:
    await fleet.drained(0)


async def engine_killed(fleet: Fleet, proxy: HAProxy) -> None:
    fleet.redis.kill()
    await asyncio.to_thread(fleet.redis.start)


async def engine_suspended(fleet: Fleet, proxy: HAProxy) -> None:
    with fleet.redis.suspended():
        await asyncio.sleep(SUSPENDED)


async def peers_cut(fleet: Fleet, proxy: HAProxy) -> None:
    await until(
        lambda: fleet.cut_peers(len(KINDS)), what="a connection between two gateways for each session"
    )


Event = Callable[[Fleet, HAProxy], Awaitable[None]]
EVENTS: dict[str, Event] = {
    "its link is cut": cut,
    "its gateway is killed": killed,
    "its gateway is suspended for 10 s": suspended,
    "its gateway drains": drained,
    "Redis is killed, and starts again": engine_killed,
    "Redis is suspended for 10 s": engine_suspended,
    "the connection between two gateways is cut": peers_cut,
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three gateways; one of their servers is behind another Jupyter."""
    inner = Jupyter(tmp_path_factory.mktemp("inner"), {"fast": FAST_SERVER})
    headers = {"Authorization": f"Bearer {inner.token}"}
    servers = {
        "fast": FAST_SERVER,
        "always": {**FAST_SERVER, "mcp_ws": {"sharing": "always"}},
        "remote": {"url": f"{inner.url}mcp-ws/servers/fast", "headers": headers},
        "demo": DEMO,
    }
    running = Fleet(tmp_path_factory.mktemp("fleet"), 3, servers)
    yield running
    running.stop()
    inner.stop()


@pytest.fixture(scope="module")
def proxy(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HAProxy]:
    running = OwnHAProxy(tmp_path_factory.mktemp("haproxy"), [jupyter.port for jupyter in fleet.jupyters])
    yield running
    running.stop()


@pytest.fixture
async def whole(fleet, proxy):
    """Starts the first gateway again after a test that has ended or drained it."""
    await asyncio.to_thread(proxy.until_up, 0, 1, 2)
    yield
    fleet.wake(0)
    if fleet.jupyters[0].process.poll() is None and not any(i["draining"] for i in fleet.instances(0)):
        return
    await asyncio.to_thread(fleet.jupyters[0].stop)
    await fleet.started(0)


async def cell(session: Session, call: asyncio.Task[str]) -> str:
    """Return what has become of a session and its request in flight."""
    try:
        async with asyncio.timeout(PATIENCE):
            after, outcome = await session.call("after"), await call
            if "ended" in (after, outcome):
                return "ends"
    except TimeoutError:
        return f"no answer within {PATIENCE:g} s"
    finally:
        call.cancel()
    return "kept" if outcome == "answered" else f"kept; {outcome}"


def test_the_table_has_a_cell_for_each_session_and_event():
    assert {event: list(cells) for event, cells in table().items()} == {
        event: list(KINDS) for event in EVENTS
    }


@pytest.mark.heavy
@pytest.mark.parametrize("event", EVENTS)
async def test_each_event_costs_each_session_what_the_table_says(fleet, whole, proxy, event):
    async with AsyncExitStack() as opened:
        proxy.use(0)
        token = fleet.jupyters[0].token
        sessions = [await opened.enter_async_context(kind(proxy, token)) for kind in KINDS.values()]
        for session in sessions:
            assert await session.call("before") == "before"
        if EVENTS[event] is peers_cut:  # of which the links of the sessions must make use
            proxy.use(1, 2)
            proxy.cut()
        else:
            proxy.use(0, 1, 2)
        for session in sessions:
            assert await session.call("again") == "again"
        calls = await asyncio.gather(*(session.begin() for session in sessions))
        await EVENTS[event](fleet, proxy)
        cells = await asyncio.gather(*map(cell, sessions, calls))
    assert dict(zip(KINDS, cells, strict=True)) == table()[event]

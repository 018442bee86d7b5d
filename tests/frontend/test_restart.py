"""The TypeScript client goes on when Jupyter is killed and started again with an engine."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import FAST_SERVER, Jupyter, until
from tests.frontend.conftest import BUILT, ONE_LOOP, RUNTIMES, RefusedError, endpoint

pytestmark = ONE_LOOP
NODE, CHROMIUM = (runtime.marks for runtime in RUNTIMES)
CLIENTS = [
    pytest.param("node", "websocket", 2, "2026-07-28", "fast", marks=NODE),
    pytest.param("node", "websocket", 1, "legacy", "always", marks=NODE),
    pytest.param("node", "poll", 2, "auto", "always", marks=NODE),
    pytest.param("chromium", "websocket", 2, "auto", "fast", marks=CHROMIUM),
]


@pytest.fixture(scope="module")
def stored(tmp_path_factory, frontend):
    """A Jupyter with an engine, which serves the driver's bundle."""
    servers = {"fast": FAST_SERVER, "always": {**FAST_SERVER, "mcp_ws": {"sharing": "always"}}}
    statics = f"--ServerApp.extra_static_paths=['{BUILT.parent}']"
    running = Jupyter(tmp_path_factory.mktemp("stored"), servers, statics, "--MCPWebSocketApp.engine=sqlite")
    yield running
    running.stop()


def in_flight(jupyter: Jupyter, session: str) -> int:
    """Requests of this session that are stored and open."""
    (shown,) = [s for s in jupyter.rest("GET", "sessions")[1]["sessions"] if s["id"] == session]
    return shown["in_flight"]


@pytest.mark.parametrize(("runtime", "kind", "sdk", "mode", "server"), CLIENTS)
async def test_a_client_goes_on_after_a_restart(stored, drivers, runtime, kind, sdk, mode, server):
    driver = await drivers(runtime, stored)
    options = {
        "token": stored.token,
        "reconnect": {"firstDelay": 20, "maxDelay": 500, "giveUpAfter": 120_000},
    }
    await driver.connect(endpoint(stored, server), kind=kind, sdk=sdk, mode=mode, options=options)
    assert await driver.do("call", tool="echo", args={"text": "before"}) == "before"
    session = driver.session
    before = in_flight(stored, session)  # a subscription is in flight all the time
    open_call = driver.start("call", tool="slow", args={"steps": 1000, "delay": 1})
    await until(lambda: in_flight(stored, session) > before, what="the call")
    await asyncio.to_thread(stored.kill)
    await asyncio.to_thread(stored.start)
    with pytest.raises(RefusedError) as refused:
        await open_call
    assert refused.value.error["data"] == {"outcome": "unknown", "method": "tools/call"}
    assert await driver.do("call", tool="echo", args={"text": "after"}) == "after"
    assert (driver.session, "resumed" in driver.states) == (session, True)
    await driver.do("close")

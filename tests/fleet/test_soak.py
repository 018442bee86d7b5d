"""Gateways and Redis end again and again under load: no request is lost, none runs twice, each is answered.

The servers write the key of each call that they run to a ledger; the clients note how each of their calls ended.
`make soak-fleet` runs the long forms.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import FAST_SERVER, Jupyter
from tests.fleet.haproxy import OwnHAProxy
from tests.fleet.house import Fleet
from tests.interop.test_restarts import KINDS, Load


class Behind:
    """Three gateways behind HAProxy, which clients reach as if they were one Jupyter."""

    def __init__(self, fleet: Fleet, proxy: OwnHAProxy, ledger: Path) -> None:
        self.fleet, self.proxy, self.ledger = fleet, proxy, ledger
        self.token = fleet.jupyters[0].token
        self.endpoint = proxy.endpoint


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Behind]:
    """All servers write one ledger; one is behind another Jupyter, which goes on."""
    ledger = tmp_path / "ledger"
    ledger.touch()
    server = {**FAST_SERVER, "args": [*FAST_SERVER["args"], str(ledger)]}
    (tmp_path / "inner").mkdir()
    inner = Jupyter(tmp_path / "inner", {"fast": server}, "--MCPWebSocketApp.max_sessions=1000")
    headers = {"Authorization": f"Bearer {inner.token}"}
    servers = {
        "fast": server,
        "always": {**server, "mcp_ws": {"sharing": "always"}},
        "never": {**server, "mcp_ws": {"sharing": "never"}},
        "remote": {"url": f"{inner.url}mcp-ws/servers/fast", "headers": headers},
    }
    fleet = Fleet(tmp_path, 3, servers, "--MCPWebSocketApp.drain_timeout=30")
    proxy = OwnHAProxy(tmp_path, [jupyter.port for jupyter in fleet.jupyters])
    yield Behind(fleet, proxy, ledger)
    proxy.stop()
    fleet.stop()
    inner.stop()


async def kill(behind: Behind) -> None:
    """Kill a gateway that serves sessions, and start it again."""
    fleet = behind.fleet
    counts = await asyncio.to_thread(lambda: [len(fleet.sessions(place)) for place in range(3)])
    place = random.choice([place for place, count in enumerate(counts) if count])
    await fleet.killed(place)
    await fleet.started(place)
    await asyncio.to_thread(behind.proxy.until_up, place)


async def roll(behind: Behind) -> None:
    """Drain, stop and start each gateway, one after the other."""
    for place, jupyter in enumerate(behind.fleet.jupyters):
        await behind.fleet.drained(place)
        await asyncio.to_thread(jupyter.stop)
        await behind.fleet.started(place)
        await asyncio.to_thread(behind.proxy.until_up, place)


async def kill_engine(behind: Behind) -> None:
    """Kill Redis, and start it again with what is on its disk."""
    await asyncio.to_thread(behind.fleet.redis.kill)
    await asyncio.to_thread(behind.fleet.redis.start)


async def under_load(
    behind: Behind, clients: int, disturb: Callable[[Behind], Awaitable[None]], times: int
) -> Load:
    """Let clients call without pause while something happens this often; return what they have noted."""
    behind.ledger.write_text("")
    load, started, over = Load(behind, clients), time.monotonic(), False  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(load.run(number, lambda made: over))
        await load.until(lambda: len(load.begun) == clients)
        for _ in range(times):
            await disturb(behind)
            before = load.done
            await load.until(lambda before=before: load.done >= before + 2 * clients)  # type: ignore[misc]
        over = True
    load.check(behind.ledger)
    seconds = time.monotonic() - started
    print(f"\n{disturb.__name__} x {times}, {clients} clients, {load.done} calls, {seconds:.0f} s")
    print(load.table())
    return load


def nothing_is_readable(behind: Behind) -> None:
    """Look for what every message, credential and session contains in the files of Redis."""
    redis = behind.fleet.redis
    redis.ask("SAVE")
    files = [path for path in redis.directory.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".rdb", ".aof"}
    for word in (b"jsonrpc", b"tools/call", b"progressToken", behind.token.encode()):
        assert not [path for path in files if word in path.read_bytes()], word


def outcomes(load: Load, *, of_all: bool = False) -> set[str]:
    """What calls have ended with; without ``of_all``, those of sessions that outlive their gateway."""
    return {one for kind in (KINDS if of_all else KINDS[:-1]) for one in load.ends[kind]}


@pytest.mark.heavy
async def test_kills_rolls_and_ends_of_redis_lose_and_repeat_nothing(behind):
    await under_load(behind, 6, kill, 2)
    assert outcomes(await under_load(behind, 6, roll, 1)) == {"result"}
    assert outcomes(await under_load(behind, 6, kill_engine, 2), of_all=True) == {"result"}
    nothing_is_readable(behind)


@pytest.mark.soak
async def test_fifty_kills_under_load_lose_and_repeat_nothing(behind):
    await under_load(behind, 50, kill, 50)
    nothing_is_readable(behind)


@pytest.mark.soak
async def test_ten_rolling_restarts_under_200_clients_leave_no_outcome_unknown(behind):
    assert outcomes(await under_load(behind, 200, roll, 10)) == {"result"}
    nothing_is_readable(behind)


@pytest.mark.soak
async def test_ten_kills_of_redis_cost_nothing(behind):
    assert outcomes(await under_load(behind, 50, kill_engine, 10), of_all=True) == {"result"}
    nothing_is_readable(behind)

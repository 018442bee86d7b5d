"""Gateways and Redis end again and again under load: no request is lost, none runs twice, each is answered.

The servers write the key of each call that they run to a ledger; the clients note how each of their calls ended. As a
program (``make soak-fleet``) it makes the long runs, and prints their ledgers as a table.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.conftest import FAST_SERVER, Jupyter
from tests.fleet.haproxy import OwnHAProxy
from tests.fleet.house import Fleet
from tests.interop.test_restarts import KINDS, Load

OUTCOMES: Final = ("result", "not_sent", "unknown")


class Behind:
    """Three gateways behind HAProxy, which clients reach as if they were one Jupyter."""

    def __init__(self, fleet: Fleet, proxy: OwnHAProxy, ledger: Path) -> None:
        self.fleet, self.proxy, self.ledger = fleet, proxy, ledger
        self.token = fleet.jupyters[0].token
        self.endpoint = proxy.endpoint


@contextmanager
def gateways(folder: Path) -> Iterator[Behind]:
    """All servers write one ledger; one is behind another Jupyter, which goes on."""
    ledger = folder / "ledger"
    ledger.touch()
    server = {**FAST_SERVER, "args": [*FAST_SERVER["args"], str(ledger)]}
    (folder / "inner").mkdir()
    inner = Jupyter(folder / "inner", {"fast": server}, "--MCPWebSocketApp.max_sessions=1000")
    headers = {"Authorization": f"Bearer {inner.token}"}
    servers = {
        "fast": server,
        "always": {**server, "mcp_ws": {"sharing": "always"}},
        "never": {**server, "mcp_ws": {"sharing": "never"}},
        "remote": {"url": f"{inner.url}mcp-ws/servers/fast", "headers": headers},
    }
    fleet = Fleet(folder, 3, servers, "--MCPWebSocketApp.drain_timeout=30")
    proxy = OwnHAProxy(folder, [jupyter.port for jupyter in fleet.jupyters])
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


Disturbance = Callable[[Behind], Awaitable[None]]


class Run:
    """What clients have noted while something happened again and again.

    Attributes:
        times: how often it happened.
        seconds: how long that took.
    """

    def __init__(self, load: Load, times: int, seconds: float) -> None:
        self.load, self.times, self.seconds = load, times, seconds

    def outcomes(self, *, of_all: bool = False) -> Counter[str]:
        """What calls have ended with; without ``of_all``, those of sessions that outlive their gateway."""
        return sum((self.load.ends[kind] for kind in (KINDS if of_all else KINDS[:-1])), Counter())


async def under_load(
    behind: Behind, clients: int, disturb: Disturbance, times: int, seconds: float = float("inf")
) -> Run:
    """Let clients call without pause while something happens again and again; check what they have noted.

    Args:
        times: how often it happens.
        seconds: after which it does not happen again.
    """
    behind.ledger.write_text("")
    load, started, over, happened = Load(behind, clients), time.monotonic(), False, 0  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(load.run(number, lambda made: over))
        await load.until(lambda: len(load.begun) == clients)
        while happened < times and time.monotonic() - started < seconds:
            await disturb(behind)
            happened += 1
            before = load.done
            await load.until(lambda before=before: load.done >= before + 2 * clients)  # type: ignore[misc]
        over = True
    load.check(behind.ledger)
    return Run(load, happened, time.monotonic() - started)


def nothing_is_readable(behind: Behind) -> None:
    """Look for what every message, credential and session contains in the files of Redis."""
    redis = behind.fleet.redis
    redis.ask("SAVE")
    files = [path for path in redis.directory.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".rdb", ".aof"}
    for word in (b"jsonrpc", b"tools/call", b"progressToken", behind.token.encode()):
        assert not [path for path in files if word in path.read_bytes()], word


# --- as a program -----------------------------------------------------------------------------------------------------

PARTS: Final[dict[str, Disturbance]] = {"kills": kill, "rolls": roll, "ends": kill_engine}
"""Those of gateways, rolling restarts, and those of Redis."""
HEAD: Final = (
    "| what | clients | calls | results | `not_sent` | `unknown` | sessions that ended | seconds |\n"
    "|---|---|---|---|---|---|---|---|"
)


def checked(part: str, run: Run) -> None:
    """Check what has to hold beyond the ledgers: :meth:`Load.check` has compared those."""
    if part == "ends":
        assert set(run.outcomes(of_all=True)) == {"result"}
    elif part == "rolls":
        assert set(run.outcomes()) == {"result"}
        assert set(run.outcomes(of_all=True)) <= {"result", "not_sent"}


def row(part: str, run: Run, clients: int) -> str:
    """A row of the table."""
    counts = run.outcomes(of_all=True)
    ended = sum(run.load.states[kind, "Lost"] for kind in KINDS)  # type: ignore[index]
    numbers = [clients, run.load.done, *(counts[outcome] for outcome in OUTCOMES), ended, round(run.seconds)]
    return f"| {part} × {run.times} | {' | '.join(map(str, numbers))} |"


def main() -> None:
    """Make the parts that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="0 leaves a part out")
    parser.add_argument("--rolls", type=int, default=10)
    parser.add_argument("--ends", type=int, default=10)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--rolled-clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of each part, at most")
    options = parser.parse_args()
    logging.getLogger("mcp_ws_ide").setLevel(logging.ERROR)  # clients warn of each session that ends
    print(f"load average {os.getloadavg()[0]:.1f}\n\n{HEAD}", flush=True)
    details = []
    for part, disturb in PARTS.items():
        if not (times := getattr(options, part)):
            continue
        clients = options.rolled_clients if part == "rolls" else options.clients
        with tempfile.TemporaryDirectory() as folder, gateways(Path(folder)) as behind:
            run = asyncio.run(under_load(behind, clients, disturb, times, options.seconds))
            print(row(part, run, clients), flush=True)
            checked(part, run)
            nothing_is_readable(behind)
        details.append(f"{part}:\n\n{run.load.table()}")
    print("\n" + "\n\n".join(details))
    print(f"\nNone was lost, none ran twice. Load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

"""What storing sessions costs: ``make bench-engine``, without a gateway and without a client.

A call is two commits: the request that is counted and in flight, then its response of 512 bytes, sealed. One client
waits for each commit before the next; 32 clients work in lockstep, so that they share commits. CPU time is that of the
process, the writing thread included. The best of several rounds counts, because other programs only ever slow it down.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from mcp_ws_ide.engines.base import Batch, Done, Engine, Frame, InFlight, Outcome, StoredSession
from mcp_ws_ide.engines.choosing import DURABILITIES, EngineSettings, open_engine

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.redis_server import RedisServer

CACHE = Path(__file__).parents[1] / ".cache"
"""On the disk of the clone; the directory for temporary files may be in memory."""
RESPONSE = os.urandom(512)
ACKNOWLEDGED_LATE = 8
"""Frames that are not acknowledged, as with a client that is there."""


def opened(directory: Path, durability: str, address: str = "") -> Engine:
    """An engine with files in a directory, or on the Redis of an address; not started."""
    address = address or f"sqlite://{os.path.abspath(directory)}/sessions.sqlite"
    settings = EngineSettings(address, durability, 1 << 30, directory / "keys.json", directory / "unused")
    engine = open_engine(settings)
    assert engine is not None
    return engine


def request(session: str, call: int) -> Batch:
    """The batch that counts request ``call`` (from 1)."""
    received, sent = call - 1, call - 1
    base = max(0, sent - ACKNOWLEDGED_LATE)
    added = [InFlight(b"%d" % call, b"%d" % call)]
    return Batch(session, 1, 2 * call - 1, received, sent, call, sent, base, added=added)


def response(session: str, call: int) -> Batch:
    """The batch that appends its response."""
    base = max(0, call - ACKNOWLEDGED_LATE)
    frames = [Frame(call, RESPONSE)]
    return Batch(
        *(session, 1, 2 * call, call, call - 1, call, call, base), frames=frames, removed=[b"%d" % call]
    )


class Client:
    """One session that makes calls, one after the other; for each commit it waits for the outcome."""

    def __init__(self, engine: Engine, session: str, calls: int) -> None:
        self._engine = engine
        self._session = session
        self._last = 2 * calls
        self._step = 0
        self.seconds: list[float] = []
        self.ended = asyncio.get_running_loop().create_future()

    def start(self) -> None:
        """Stage the next batch."""
        self._step += 1
        call, odd = (self._step + 1) // 2, self._step % 2
        self._since = time.perf_counter()
        self._engine.commit((request if odd else response)(self._session, call), self._done)

    def _done(self, outcome: Outcome) -> None:
        assert outcome is Outcome.COMMITTED, outcome
        self.seconds.append(time.perf_counter() - self._since)
        if self._step < self._last:
            self.start()
        else:
            self.ended.set_result(None)


class Nothing:
    """An engine that stores nothing: what the clients of this benchmark cost themselves."""

    def __init__(self) -> None:
        self._waiting: list[Done] = []

    def commit(self, batch: Batch, done: Done) -> None:
        """Report the batches of a turn together in the next one, as the engines do."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._report)
        self._waiting.append(done)

    def _report(self) -> None:
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done(Outcome.COMMITTED)


async def run(engine: Engine | Nothing, clients: int, calls: int, name: str) -> tuple[list[float], float]:
    """Return the seconds of each commit, and CPU seconds for each call."""
    sessions = [f"{name}-{number}" for number in range(clients)]
    if not isinstance(engine, Nothing):
        for session in sessions:
            await engine.create(StoredSession(session, "user", "git", 0.0, 4096, 4 << 20, b"facts", b"state"))
    working = [Client(engine, session, calls) for session in sessions]  # type: ignore[arg-type]
    cpu = time.process_time()
    for client in working:
        client.start()
    await asyncio.gather(*(client.ended for client in working))
    cpu = time.process_time() - cpu
    return [second for client in working for second in client.seconds], cpu / (clients * calls)


async def measure(name: str, engine: Engine, rounds: int) -> None:
    """Print the costs of one engine."""
    await engine.start()
    alone = [await run(engine, 1, 500, f"one{n}") for n in range(rounds)]
    many = [await run(engine, 32, 100, f"many{n}") for n in range(rounds)]
    nothing = [await run(Nothing(), 32, 100, "") for _ in range(rounds)]
    p50 = min(statistics.median(seconds) for seconds, _ in alone)
    p99 = min(statistics.quantiles(seconds, n=100)[98] for seconds, _ in alone)
    cpu = min(cpu for _, cpu in many) - min(cpu for _, cpu in nothing)
    rate = 32 / (2 * min(statistics.fmean(seconds) for seconds, _ in many))
    print(f"{name:6}  one client: commit p50 {p50 * 1e3:.3f} ms, p99 {p99 * 1e3:.3f} ms, ", end="")
    print(
        f"so a call + {2 * p50 * 1e3:.3f} ms;  32 clients: {cpu * 1e6:.1f} µs CPU a call, {rate:.0f} calls/s"
    )
    await engine.stop()


def measure_redis(rounds: int) -> None:
    """Print the costs of Redis on this machine, without a log; and of taking over 2,000 sessions."""
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        server = RedisServer(Path(directory))
        try:
            asyncio.run(measure("redis", opened(Path(directory), DURABILITIES[0], server.address), rounds))
            asyncio.run(take_over(Path(directory), server.address, 2000, 20))
        finally:
            server.stop()


async def fill(engine: Engine, sessions: int, messages: int) -> None:
    """Store sessions, each with messages that its client has not acknowledged."""
    frames = [Frame(position, RESPONSE) for position in range(1, messages + 1)]
    for number in range(sessions):
        stored = StoredSession(f"s{number}", "user", "git", 0.0, 4096, 4 << 20, b"facts", b"state")
        stored.frames, stored.sent = frames, messages
        await engine.create(stored)


async def take_over(directory: Path, address: str, sessions: int, messages: int) -> None:
    """Print how long it takes to take over sessions of a gateway that has ended."""
    engine = opened(directory, DURABILITIES[0], address)
    await engine.start()
    await fill(engine, sessions, messages)
    await engine.stop()
    engine = opened(directory, DURABILITIES[0], address)
    await engine.start()
    start = time.perf_counter()
    await asyncio.gather(*(engine.take(f"s{number}", "user") for number in range(sessions)))
    print(
        f"redis   {sessions} sessions of {messages} messages taken over in {time.perf_counter() - start:.2f} s"
    )
    await engine.stop()


async def restore(sessions: int, messages: int) -> None:
    """Print how long it takes to open a file and take over all of its sessions."""
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        engine = opened(Path(directory), DURABILITIES[0])
        await engine.start()
        await fill(engine, sessions, messages)
        await engine.stop()
        size = engine.statistics.bytes
        start = time.perf_counter()
        engine = opened(Path(directory), DURABILITIES[0])
        await engine.start()
        opening = time.perf_counter() - start
        await asyncio.gather(*(engine.take(f"s{number}", "user") for number in range(sessions)))
        taking = time.perf_counter() - start - opening
        print(
            f"{sessions} sessions of {messages} messages ({size >> 20} MiB): opened in {opening:.2f} s, ",
            end="",
        )
        print(f"taken over in {taking:.2f} s")
        await engine.stop()


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    CACHE.mkdir(exist_ok=True)
    for durability in DURABILITIES:
        with tempfile.TemporaryDirectory(dir=CACHE) as directory:
            asyncio.run(measure(durability, opened(Path(directory), durability), rounds))
    asyncio.run(restore(2000, 20))
    measure_redis(rounds)


if __name__ == "__main__":
    main()

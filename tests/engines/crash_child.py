"""A process that owns sessions and kills itself at a named point; tests/engines/test_crashes.py reads what it left.

Batch ``k`` of a session adds request ``k``, answers request ``k - 1``, and appends frame ``k``, so that a stored session
tells by its number what it must be. What is reported as committed goes to standard output, in lines of ``session k``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from mcp_ws_ide.engines import crash_points, sqlite
from mcp_ws_ide.engines.base import Batch, Engine, Frame, InFlight, Outcome, StoredSession
from mcp_ws_ide.engines.redis import RedisEngine
from mcp_ws_ide.engines.redis_address import redis_address

SESSIONS = 4
BATCHES = 60
KEPT = 3
"""Frames that are not acknowledged."""


def batch(session: str, k: int, epoch: int = 1) -> Batch:
    return Batch(
        *(session, epoch, k, k - 1, k - 1, k, k, max(0, k - KEPT)),
        frames=[Frame(k, b"frame %d" % k)],
        removed=[b"%d" % (k - 1)] if k > 1 else [],
        added=[InFlight(b"%d" % k, b"request %d" % k)],
    )


def expected(session: str, k: int) -> StoredSession:
    """What is stored after batch ``k``, taken over."""
    stored = StoredSession(session, "alice", "git", 1.0, 64, 1 << 20, epoch=2, number=k, received=k, sent=k)
    stored.base = max(0, k - KEPT)
    stored.frames = [Frame(n, b"frame %d" % n) for n in range(stored.base + 1, k + 1)]
    if k:
        stored.frames.append(Frame(k + 1, b"request %d" % k, outcome="unknown", key=b"%d" % k))
        stored.sent += 1
    return stored


def opened(place: str) -> Engine:
    """An engine on a session file, or on the Redis of an address; not started."""
    address = redis_address(place)
    if address is not None:
        return RedisEngine(address, 64 << 20)
    sqlite.LOG_BYTES = 2000  # so that there are compactions
    return sqlite.SqliteEngine(Path(place), False, 64 << 20)


async def work(place: str) -> None:
    engine = opened(place)
    await engine.start()
    names = [f"s{number}" for number in range(SESSIONS)]
    for name in names:
        if await engine.take(name, "alice") is None:
            await engine.create(StoredSession(name, "alice", "git", 1.0, 64, 1 << 20))
        os.write(1, f"{name} 0\n".encode())

    async def commit(name: str, k: int) -> None:
        reported = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if outcome is Outcome.COMMITTED:
                os.write(1, f"{name} {k}\n".encode())
            reported.set_result(outcome)

        engine.commit(batch(name, k), done)
        assert await reported is Outcome.COMMITTED

    for k in range(1, BATCHES + 1):
        await asyncio.gather(*(commit(name, k) for name in names))
    await engine.stop()


if __name__ == "__main__":
    place, point, passes, mutant = sys.argv[1:]
    if mutant:
        from tests.engines import mutants

        getattr(mutants, mutant)()
    crash_points.arm(point, int(passes))
    asyncio.run(work(place))

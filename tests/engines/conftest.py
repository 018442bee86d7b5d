"""The engines that the contract suite runs over. Another one joins by one more entry in :data:`ENGINES`."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mcp_ws_ide.engines.log_file import LogFile
from mcp_ws_ide.engines.memory import MemoryEngine
from mcp_ws_ide.engines.redis import RedisEngine
from mcp_ws_ide.engines.redis_address import redis_address
from mcp_ws_ide.engines.sealed import SealedEngine
from mcp_ws_ide.engines.sqlite import SqliteEngine
from mcp_ws_ide.engines.writer import Compaction, Stop
from tests.redis_server import RedisServer

MAX_BYTES = 64 << 20


def new_sqlite(directory: Path, max_bytes: int = MAX_BYTES) -> SqliteEngine:
    return SqliteEngine(directory / "sessions.sqlite", False, max_bytes)


def sealed_sqlite(directory: Path, max_bytes: int = MAX_BYTES) -> SqliteEngine:
    return SqliteEngine(directory / "sessions.sqlite", False, max_bytes, directory / "keys.json")


def new_redis(address: str, max_bytes: int = MAX_BYTES) -> RedisEngine:
    parsed = redis_address(address)
    assert parsed is not None
    return RedisEngine(parsed, max_bytes)


ENGINES = {
    "memory": lambda directory, redis: MemoryEngine(),
    "sqlite": lambda directory, redis: new_sqlite(directory),
    "redis": lambda directory, redis: new_redis(redis().address),
    "sealed memory": lambda directory, redis: SealedEngine(MemoryEngine(), directory / "keys.json"),
    "sealed sqlite": lambda directory, redis: sealed_sqlite(directory),
    "sealed redis": lambda directory, redis: SealedEngine(
        new_redis(redis().address), directory / "keys.json"
    ),
    "sqlite full": lambda directory, redis: SqliteEngine(directory / "sessions.sqlite", True, MAX_BYTES),
}


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that the tests share, each with a prefix of its own; none may stop it."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


async def abandon(engine: SqliteEngine) -> None:
    """Leave an engine as a killed process does: what is committed stays, and the file is not closed in order.

    Its thread closes the file and ends: SQLite crashes if a connection is closed while another thread uses it.
    """
    engine._running = False
    closed = threading.Event()

    def leave(job: Stop) -> None:
        engine._writer._file.close()
        closed.set()

    engine._writer._stop = leave
    engine._writer.put(Stop(Compaction({}), asyncio.get_running_loop().create_future()))
    assert await asyncio.to_thread(closed.wait, 60)


@contextlib.contextmanager
def changed_file(directory: Path) -> Iterator[sqlite3.Connection]:
    """Change the file of an engine that does not run."""
    with contextlib.closing(sqlite3.connect(directory / "sessions.sqlite")) as db:
        yield db
        db.commit()


Row = tuple[int, bytes]


def rows_of_log(directory: Path, change: Callable[[list[Row]], list[Row]] = list) -> list[Row]:
    """Return number and content of each row in the log of an engine that does not run; change them before."""
    with changed_file(directory) as db:
        (token,) = db.execute("SELECT value FROM facts WHERE name = 'log'").fetchone()
    log = LogFile(directory / "sessions.sqlite-log", False)
    log.open(token)
    with contextlib.closing(log):
        rows = change(list(log.rows()))
        log.clear()
        for row in rows:
            log.append(*row)
    return rows


@pytest.fixture(params=list(ENGINES))
async def engine(request, tmp_path):
    """A started engine of each kind."""
    engine = ENGINES[request.param](tmp_path, lambda: request.getfixturevalue("redis"))
    await engine.start()
    yield engine
    await engine.stop()

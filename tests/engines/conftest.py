"""The engines that the contract suite runs over. Another one joins by one more entry in :data:`ENGINES`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_ws_ide.engines.memory import MemoryEngine
from mcp_ws_ide.engines.redis import RedisEngine
from mcp_ws_ide.engines.redis_address import redis_address
from mcp_ws_ide.engines.sealed import SealedEngine
from mcp_ws_ide.engines.sqlite import SqliteEngine
from tests.redis_server import RedisServer

MAX_BYTES = 64 << 20


def new_sqlite(directory: Path, max_bytes: int = MAX_BYTES) -> SqliteEngine:
    return SqliteEngine(directory / "sessions.sqlite", False, max_bytes)


def new_redis(address: str, max_bytes: int = MAX_BYTES) -> RedisEngine:
    parsed = redis_address(address)
    assert parsed is not None
    return RedisEngine(parsed, max_bytes)


ENGINES = {
    "memory": lambda directory, redis: MemoryEngine(),
    "sqlite": lambda directory, redis: new_sqlite(directory),
    "redis": lambda directory, redis: new_redis(redis().address),
    "sealed memory": lambda directory, redis: SealedEngine(MemoryEngine(), directory / "keys.json"),
    "sealed sqlite": lambda directory, redis: SealedEngine(new_sqlite(directory), directory / "keys.json"),
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


@pytest.fixture(params=list(ENGINES))
async def engine(request, tmp_path):
    """A started engine of each kind."""
    engine = ENGINES[request.param](tmp_path, lambda: request.getfixturevalue("redis"))
    await engine.start()
    yield engine
    await engine.stop()

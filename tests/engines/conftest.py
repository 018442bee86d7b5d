"""The engines that the contract suite runs over. Another one joins by one more entry in :data:`ENGINES`."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_ws_ide.engines.memory import MemoryEngine
from mcp_ws_ide.engines.sealed import SealedEngine
from mcp_ws_ide.engines.sqlite import SqliteEngine

MAX_BYTES = 64 << 20


def new_sqlite(directory: Path, max_bytes: int = MAX_BYTES) -> SqliteEngine:
    return SqliteEngine(directory / "sessions.sqlite", False, max_bytes)


ENGINES = {
    "memory": lambda directory: MemoryEngine(),
    "sqlite": lambda directory: new_sqlite(directory),
    "sealed memory": lambda directory: SealedEngine(MemoryEngine(), directory / "keys.json"),
    "sealed sqlite": lambda directory: SealedEngine(new_sqlite(directory), directory / "keys.json"),
    "sqlite full": lambda directory: SqliteEngine(directory / "sessions.sqlite", True, MAX_BYTES),
}


@pytest.fixture(params=list(ENGINES))
async def engine(request, tmp_path):
    """A started engine of each kind."""
    engine = ENGINES[request.param](tmp_path)
    await engine.start()
    yield engine
    await engine.stop()

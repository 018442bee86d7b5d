"""The engines that the contract suite runs over. Another one joins by one more entry in :data:`ENGINES`."""

from __future__ import annotations

import pytest

from mcp_ws_ide.engines.memory import MemoryEngine

ENGINES = {"memory": lambda directory: MemoryEngine()}


@pytest.fixture(params=list(ENGINES))
async def engine(request, tmp_path):
    """A started engine of each kind."""
    engine = ENGINES[request.param](tmp_path)
    await engine.start()
    yield engine
    await engine.stop()

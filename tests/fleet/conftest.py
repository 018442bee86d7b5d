"""Two Jupyters on one Redis, for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import DEMO, FAST_SERVER
from tests.fleet.house import Fleet


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two gateways, with a server of both eras that is shared or not, and one that asks questions."""
    servers = {
        "fast": FAST_SERVER,
        "always": {**FAST_SERVER, "mcp_ws": {"sharing": "always"}},
        "demo": DEMO,
    }
    running = Fleet(tmp_path_factory.mktemp("fleet"), 2, servers)
    yield running
    running.stop()

"""A gateway of these tests' own: what they cut off and leave behind must not show in the tests of others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import FAST_SERVER, Jupyter


@pytest.fixture(scope="package")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """A real gateway with the quick server; its base_url needs quoting, as a hub's may."""
    home = tmp_path_factory.mktemp("jupyter")
    running = Jupyter(home, {"fast": FAST_SERVER}, "--MCPWebSocketApp.grace=60", base_url="/user/a%40b/")
    yield running
    running.stop()

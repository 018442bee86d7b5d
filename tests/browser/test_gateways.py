"""The page of one of several gateways shows all of them, and the traffic of each."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from websockets.sync.client import connect

from tests.conftest import FAST_SERVER, MODERN
from tests.fleet.house import Fleet

pytestmark = [pytest.mark.chromium, pytest.mark.node]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    running = Fleet(tmp_path_factory.mktemp("fleet"), 2, {"fast": FAST_SERVER})
    yield running
    running.stop()


def test_the_page_of_one_gateway_shows_all_gateways_and_their_traffic(fleet, open_tab):
    here, there = fleet.jupyters
    other = fleet.instance(1)
    tab = open_tab(own=here)
    tab.go("sessions")
    table = tab.page.get_by_role("region", name="Table of gateways")
    line = table.get_by_role("row").filter(has_text=other[:8])
    line.filter(has_text="ready").wait_for()
    table.get_by_role("row").filter(has_text="this one").wait_for()
    tab.accessible()
    line.get_by_role("link", name="Traffic").click()
    tab.page.locator("section[aria-label=Traffic]").wait_for()
    headers = {"Authorization": f"Bearer {there.token}"}
    with connect(there.endpoint("fast"), subprotocols=["mcp"], additional_headers=headers) as link:
        params = {"name": "echo", "arguments": {"text": "seen from afar"}, "_meta": MODERN}
        link.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))
        assert "seen from afar" in str(link.recv())
        row = tab.page.get_by_text("tools/call").first
        row.click()
        tab.page.keyboard.press("Enter")
        tab.shows(other, ".traffic-detail")
        tab.go("sessions")
        tab.page.get_by_role("region", name="Table of sessions").get_by_role(
            "link", name=other[:4]
        ).wait_for()
    tab.quiet()

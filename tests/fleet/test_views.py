"""What users see of the gateways: ``mcp-ws-inspect instances``, the full-screen inspector and the page."""

from __future__ import annotations

import json

import pytest

from mcp_ws_ide.inspector.cli import main
from tests.conftest import Peer, wait_until
from tests.handlers.test_tap import echo
from tests.inspector.test_app import seat


@pytest.fixture
def options(fleet, tmp_path):
    wait_until(lambda: len(fleet.instances()) == 2, what="the gateways know each other")
    credential = tmp_path / "token"
    credential.write_text(fleet.jupyters[0].token)
    return ["--url", fleet.jupyters[0].url, "--token-file", str(credential)]


def test_the_command_lists_every_gateway(fleet, options, capsys):
    assert main(["instances", *options]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(fleet.instance(0))
    assert first.endswith("(this one)")
    assert second.startswith(fleet.instance(1))
    assert " ready " in second
    assert main(["instances", "--json", *options]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["id"] for one in listed] == [fleet.instance(0), fleet.instance(1)]


def test_the_command_says_that_a_gateway_stands_alone(jupyter, tmp_path, capsys):
    credential = tmp_path / "token"
    credential.write_text(jupyter.token)
    assert main(["instances", "--url", jupyter.url, "--token-file", str(credential)]) == 0
    assert "shares its sessions with no other" in capsys.readouterr().err


async def test_an_inspector_of_one_gateway_shows_all_and_their_traffic(fleet):
    first, second = fleet.jupyters
    other = fleet.instance(1)
    async with seat(first) as person, second.connect("fast") as link:
        assert (await echo(Peer(link), 1))["result"]
        await person.until(lambda: "7 GW" in person.tabs, "the gateways")
        await person.press("7")
        await person.until(lambda: other[:8] in person.screen(), "the other gateway")
        assert "this one" in person.screen()
        await person.press("j", "enter")
        await person.until(lambda: f"/gateway:{other}"[:12] in person.tabs, "the filter")
        await person.until(lambda: "tools/call echo" in person.screen(), "its traffic")
        await person.press("enter")
        await person.until(lambda: f"gateway: {other}" in person.screen(), "the name of the gateway")

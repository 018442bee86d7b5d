"""Unmodified clients of SDK 1.x get an end of every request, whatever the server answers and over either transport."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import TESTS, Jupyter
from tests.gateway.test_odd_answers import LATEST, served
from tests.interop.test_typescript import program
from tests.servers import mangled

MANGLED = str(TESTS / "servers" / "mangled.py")
ALL_FAILING = frozenset(mangled.FAILING)
HOWS = [*mangled.FAILING, "foreign id", "nan", "array", "bad items", "lone item", "odd members"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    command = {"command": sys.executable, "args": ["-I", "-S", MANGLED]}
    running = Jupyter(tmp_path_factory.mktemp("odd"), {"odd": command})
    yield running
    running.stop()


def assert_all_ended(printed: str, record_property, failing: frozenset[str] = ALL_FAILING) -> None:
    ended = json.loads(printed.splitlines()[-1])
    record_property("seconds", {how: round(seconds, 2) for how, (_, seconds) in ended.items()})
    late = {how: seconds for how, (_, seconds) in ended.items() if seconds > LATEST}
    assert not late
    failed = {how for how, (end, _) in ended.items() if end.startswith("error")}
    assert failed == failing


@pytest.mark.parametrize("scheme", ["ws", "http"])
def test_a_python_client_waits_for_no_answer_that_cannot_be_read(
    odd, mcp1_python, run_program, scheme, record_property
):
    url = f"{scheme}{odd.endpoint('odd').removeprefix('ws')}?token={odd.token}"
    script = str(TESTS / "interop" / "odd_client_1.py")
    assert_all_ended(run_program(mcp1_python, script, url, *HOWS), record_property)


@pytest.mark.parametrize("transport", ["http body", "http events"])
async def test_the_own_client_on_the_old_sdk_waits_for_no_foreign_server(
    tmp_path, mcp1_python, run_program, transport, record_property
):
    script = str(TESTS / "interop" / "odd_client_1.py")
    async with served(transport, tmp_path) as spec:
        hows = [how for how in HOWS if how != "foreign id"]
        printed = await asyncio.to_thread(run_program, mcp1_python, script, f"own {spec['url']}", *hows)
    assert_all_ended(printed, record_property)


@pytest.mark.node
@pytest.mark.parametrize("scheme", ["ws", "http"])
def test_a_typescript_client_waits_for_no_answer_that_cannot_be_read(
    odd, node_program, run_program, scheme, record_property
):
    url = f"{scheme}{odd.endpoint('odd').removeprefix('ws')}?token={odd.token}"
    assert_all_ended(run_program(node_program, program("odd_client_1.mjs"), url, *HOWS), record_property)


@pytest.mark.node
@pytest.mark.parametrize("transport", ["http body", "http events"])
async def test_the_own_typescript_client_waits_for_no_foreign_server(
    tmp_path, node_program, run_program, transport, record_property
):
    hows = [*mangled.FAILING, "plain", "array", "null id", "text id", "no jsonrpc", "null result"]
    async with served(transport, tmp_path) as spec:
        arguments = node_program, program("odd_client_1.mjs"), f"own {spec['url']}", *hows
        printed = await asyncio.to_thread(run_program, *arguments)
    # JavaScript reads the last of two ids, and long numbers; an id of another type is one that was never used.
    assert_all_ended(printed, record_property, ALL_FAILING - {"two ids", "false", "long number"})

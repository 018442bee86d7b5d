"""``mcp-ws-conformance client -- COMMAND`` against the clients of this project, which pass, and against others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mcp_ws_ide.conformance.client.play import ClientTarget
from mcp_ws_ide.conformance.client.run import NoClientError, check_client
from mcp_ws_ide.conformance.verdicts import Verdict
from tests.conformance.test_server import having, others
from tests.conftest import PROGRAMS
from tests.interop.conftest import MCP1, ON_SDK_1, node
from tests.programs import need

HERE = Path(__file__).parent
TRANSPORTS = HERE.parents[1] / "frontend_static" / "dist" / "index.js"
PATIENCE = 60.0
"""Seconds to wait for a frame that comes."""


async def test_the_python_client_passes():
    PROGRAMS.begin()
    command = PROGRAMS.command(str(HERE / "python_client.py"))
    run = await check_client(ClientTarget(tuple(command), PATIENCE), [])
    assert others(run) == {}
    assert run.count(Verdict.PASS) == len(run.results) > 20


@pytest.mark.node
async def test_the_typescript_client_passes():
    program = node()
    need(program is not None and TRANSPORTS.exists(), "the built TypeScript client")
    command = (
        str(program),
        str(HERE / "typescript_client.mjs"),
        str(TRANSPORTS),
        "@modelcontextprotocol/client",
    )
    only = ["6.2", "6.3", "6.6", "control-frame", "control-gap", "control-gone", "close-normal"]
    run = await check_client(ClientTarget(command, PATIENCE), only)
    assert others(run) == {}
    assert run.count(Verdict.PASS) == len(run.results) > 10


async def test_the_websocket_client_of_the_python_sdk_1_passes_as_a_plain_one():
    need(MCP1.exists(), "the environment with mcp 1.x")
    ON_SDK_1.begin()
    command = ON_SDK_1.command(str(HERE / "sdk1_client.py"))
    run = await check_client(ClientTarget(tuple(command), PATIENCE), [])
    assert having(run, Verdict.FAIL) | having(run, Verdict.WARN) | having(run, Verdict.NOT_REACHED) == set()
    assert "resume-replay" in having(run, Verdict.NOT_APPLICABLE)
    assert having(run, Verdict.PASS) == {
        "endpoint-upgrade",
        "subprotocol-mcp",
        "frames-text",
        "frames-text/fragments",
        "liveness-pong",
        "close-normal",
    }


FAULTS = {
    "none": set(),
    "count": {"control-resume"},
    "again": {"once"},
    "old token": {"control-resumed"},
    "no ack": {"ack-resumed"},
    "gap": {"control-gap"},
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_a_client_is_found(fault):
    command = (sys.executable, str(HERE / "faulty_client.py"), fault)
    only = sorted(FAULTS[fault]) or sorted(set().union(*FAULTS.values()))
    run = await check_client(ClientTarget(command, 10.0), only)
    assert having(run, Verdict.FAIL) == FAULTS[fault]
    assert run.status == bool(FAULTS[fault])


async def test_a_command_that_opens_no_link_is_no_failure_of_a_check():
    with pytest.raises(NoClientError, match=r"the command ended, with status 3 and …no such thing"):
        command = (sys.executable, "-c", "import sys; print('no such thing', file=sys.stderr); sys.exit(3)")
        await check_client(ClientTarget(command, PATIENCE), [])

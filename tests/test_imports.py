"""What a command imports before it does anything: most of the time that its start takes."""

from __future__ import annotations

import subprocess
import sys

import pytest

SERVER_SIDE = {"jupyter_server", "tornado", "prometheus_client", "psutil", "ahocorasick_rs"}
SDK = {"mcp", "mcp_types", "pydantic"}
UNUSED = {"websockets.sync.client", "mcp_ws_ide.core.call_results", "mcp_ws_ide.core.list_items"}
"""What a client of a gateway does not need: the tap, and mending the lists and results of foreign servers."""


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("mcp_ws_ide.client.shim", {*SERVER_SIDE, *SDK, *UNUSED, "textual", "httpx2", "regex", "jsonschema"}),
        ("mcp_ws_ide.inspector.cli", {*SERVER_SIDE, *SDK, "textual", "httpx2", "regex", "jsonschema"}),
        ("mcp_ws_ide.inspector.app.app", {*SERVER_SIDE, *SDK, "httpx2", "regex", "jsonschema"}),
        ("mcp_ws_ide.app", {*SDK, "textual", "psutil", "regex"}),
    ],
)
def test_a_start_imports_nothing_that_it_does_not_need(module, unwanted):
    program = f"import sys, {module}; print(*({unwanted!r} & sys.modules.keys()))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).split() == []

"""What a command imports before it does anything: most of the time that its start takes."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from mcp_ws_ide.importing import many_imports

SERVER_SIDE = {"jupyter_server", "tornado", "prometheus_client", "psutil", "ahocorasick_rs"}
SDK = {"mcp", "mcp_types", "pydantic"}
UNUSED = {"websockets.sync.client", "mcp_ws_ide.core.call_results", "mcp_ws_ide.core.list_items"}
"""What a client of a gateway does not need: the tap, and mending the lists and results of foreign servers."""

TRANSPORTS = {
    "httpx2",
    "websockets.asyncio.client",
    "mcp_ws_ide.transports.stdio",
    "mcp_ws_ide.transports.remote",
}
"""What only servers of some kind need."""


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("mcp_ws_ide.client.shim", {*SERVER_SIDE, *SDK, *UNUSED, "textual", "httpx2", "regex", "jsonschema"}),
        ("mcp_ws_ide.inspector.cli", {*SERVER_SIDE, *SDK, "textual", "httpx2", "regex", "jsonschema"}),
        ("mcp_ws_ide.inspector.app.app", {*SERVER_SIDE, *SDK, "httpx2", "regex", "jsonschema"}),
        ("mcp_ws_ide.app", {*SDK, *TRANSPORTS, "textual", "psutil", "regex"}),
    ],
)
def test_a_start_imports_nothing_that_it_does_not_need(module, unwanted):
    program = f"import sys, {module}; print(*({unwanted!r} & sys.modules.keys()))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).split() == []


def test_collections_are_suspended_while_many_modules_are_imported():
    assert gc.isenabled()
    with pytest.raises(ImportError), many_imports():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()
    assert gc.get_freeze_count()
    gc.unfreeze()
    gc.disable()
    try:
        with many_imports():
            pass
        assert not gc.isenabled(), "whoever has suspended them resumes them"
    finally:
        gc.unfreeze()
        gc.enable()


@pytest.mark.parametrize("script", ["inspect", "connect"])
def test_a_command_suspends_collections_while_it_is_imported(script):
    program = (
        "import gc, sys; from mcp_ws_ide.scripts import %s as main; before = gc.get_stats()[2]['collections']; "
        "sys.argv = ['x', '--help']; import atexit; "
        "atexit.register(lambda: print(gc.get_stats()[2]['collections'] - before, gc.isenabled())); main()"
    )
    out = subprocess.check_output([sys.executable, "-c", program % script], text=True)
    assert out.splitlines()[-1] == "0 True"

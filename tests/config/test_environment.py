"""Variables in entries, and those of server processes."""

from __future__ import annotations

from mcp_ws_ide.config.environment import child_environment
from mcp_ws_ide.config.spec import ServerSpec
from tests.config.loading import load


def test_variables_are_substituted_everywhere(tmp_path):
    entry = {
        "command": "${env:BIN}/x",
        "args": ["${A}", "${B:-default}", "$A $$"],
        "env": {"K": "${A}"},
        "cwd": "${A}",
    }
    spec = load(tmp_path, {"mcpServers": {"a": entry}}, BIN="/bin", A="1").servers["a"]
    assert (spec.command, spec.args, dict(spec.env), spec.cwd) == (
        "/bin/x",
        ("1", "default", "$A $$"),
        {"K": "1"},
        "1",
    )


def test_a_child_gets_a_short_environment():
    environ = {
        "HOME": "/h",
        "PATH": "/p",
        "LC_ALL": "C",
        "https_proxy": "p",
        "JUPYTER_TOKEN": "secret",
        "LD_PRELOAD": "x",
    }
    spec = ServerSpec("a", "s", command="x", env={"EXTRA": "1", "PATH": "/own"})
    assert child_environment(spec, environ) == {
        "HOME": "/h",
        "PATH": "/own",
        "LC_ALL": "C",
        "https_proxy": "p",
        "EXTRA": "1",
    }

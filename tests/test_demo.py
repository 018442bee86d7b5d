"""``make run``: what it leaves behind."""

from __future__ import annotations

import json

from mcp_ws_ide.demo.run import _configuration


def test_starting_again_on_a_port_leaves_no_second_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    first = _configuration(8888)
    first.write_text("{}")
    assert _configuration(8888) == first
    assert list(json.loads(first.read_text())["mcpServers"]) == ["demo"]
    assert first.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [first]
    assert _configuration(8889) != first, "another gateway may be running"

"""Changed files are noticed."""

from __future__ import annotations

import os

from mcp_ws_ide.config.watcher import ConfigWatcher


def test_changes_of_files_are_noticed(tmp_path):
    path = tmp_path / "mcp.json"
    watcher = ConfigWatcher([str(path)])
    assert not watcher.changed()
    path.write_text("{}")
    assert watcher.changed()
    assert not watcher.changed()
    os.utime(path, ns=(1, 1))
    assert watcher.changed()
    path.with_suffix(".new").write_text("[]")
    path.with_suffix(".new").replace(path)
    os.utime(path, ns=(1, 1))  # an editor that replaces the file and keeps time and size
    assert watcher.changed()
    path.chmod(0o400)
    assert watcher.changed(), "it may be readable now"
    path.unlink()
    assert watcher.changed()
    assert not watcher.changed()

"""Replacing the user's own file: never one that changed, and never half."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from mcp_ws_ide.config.document import DefinitionFile, FileChangedError
from mcp_ws_ide.config.json_edit import with_entry


def test_a_file_that_changed_after_it_was_read_is_not_overwritten_and_nothing_is_left_behind(tmp_path):
    path = tmp_path / "mcp.json"
    file = DefinitionFile(str(path), lambda data: sha256(data).hexdigest())
    before = file.read()
    assert before.version == "none"
    path.write_text('{"mcpServers": {}}')
    with pytest.raises(FileChangedError):
        file.write(before, "{}")
    assert path.read_text() == '{"mcpServers": {}}'
    file.write(file.read(), '{"servers": {}}')
    assert path.read_text() == '{"servers": {}}'
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_distinguished_from_a_missing_one(tmp_path, data):
    path = tmp_path / "mcp.json"
    path.write_bytes(data)
    file = DefinitionFile(str(path), lambda data: sha256(data).hexdigest())
    before = file.read()
    assert before.text == ""
    assert before.version != "none"
    path.unlink()
    with pytest.raises(FileChangedError):
        file.write(before, with_entry("", "new", {"command": "true"}))
    path.write_bytes(data)
    file.write(before, with_entry(before.text, "new", {"command": "true"}))
    assert json.loads(path.read_text("utf-8-sig")) == {"mcpServers": {"new": {"command": "true"}}}

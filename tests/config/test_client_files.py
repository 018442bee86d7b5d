"""The files of other MCP clients in a home directory: which are found, and what is read of them."""

from __future__ import annotations

import json
import sys

import pytest

from mcp_ws_ide.config.client_files import IN_CONFIGURATION, IN_HOME, find_entry, find_files


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_every_known_file_is_found_in_the_home_of_its_platform(tmp_path, monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    settings = ".config" if platform == "linux" else "Library/Application Support"
    places = [*IN_HOME, *((program, f"{settings}/{path}") for program, path in IN_CONFIGURATION)]
    written = {}
    for program, place in places:
        file = tmp_path / place.replace("*", "one")
        file.parent.mkdir(parents=True, exist_ok=True)
        document = {"mcpServers": {"git": {"command": "mcp-server-git"}}}
        file.write_text(
            '[mcp_servers.git]\ncommand = "mcp-server-git"\n'
            if place.endswith(".toml")
            else json.dumps(document)
        )
        written[str(file)] = program
    found = find_files(str(tmp_path), "")
    assert {file.path: file.program for file in found} == written
    assert {(entry.name, entry.entry["command"]) for file in found for entry in file.entries} == {
        ("git", "mcp-server-git")
    }


def test_files_without_servers_are_left_out_and_broken_ones_say_why(tmp_path):
    (tmp_path / ".gemini").mkdir()
    (tmp_path / ".gemini" / "settings.json").write_text('{"theme": "dark"}')
    (tmp_path / ".cursor").mkdir()
    (tmp_path / ".cursor" / "mcp.json").write_text('{"mcpServers": {')
    (tmp_path / ".lmstudio" / "mcp.json").mkdir(parents=True)
    cursor, studio = find_files(str(tmp_path), "")
    assert (cursor.program, cursor.entries, "line 1" in cursor.problem) == ("Cursor", [], True)
    assert (studio.program, studio.problem) == ("LM Studio", "cannot be read: not a regular file")


def test_an_entry_is_found_again_by_its_key_and_only_in_a_known_file(tmp_path):
    served, other = tmp_path / "served", tmp_path / "other"
    document = {
        "mcpServers": {"Search It": {"type": "stdio", "command": "search"}},
        "projects": {
            str(served): {"mcpServers": {"here": {"command": "h"}}},
            str(other): {"mcpServers": {"x": {"command": "x"}}},
        },
    }
    file = tmp_path / ".claude.json"
    file.write_text(json.dumps(document))
    elsewhere = tmp_path / "mcp.json"
    elsewhere.write_text(json.dumps(document))
    (found,) = find_files(str(tmp_path), str(served))
    assert [entry.name for entry in found.entries] == ["here", "Search It"]
    assert found.entries[1].address == "Search-It"
    key = found.entries[1].key
    again = find_entry(str(tmp_path), str(served), str(file), key)
    assert again is not None and again.entry["command"] == "search"
    assert find_entry(str(tmp_path), str(served), str(file), "mcpServers.gone") is None
    assert find_entry(str(tmp_path), str(served), str(elsewhere), key) is None

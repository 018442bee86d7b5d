"""JSON with comments: what VS Code writes is read, and mistakes are placed where they are."""

from __future__ import annotations

import json

import pytest

from tests.config.loading import load, only_problem


def test_comments_and_trailing_commas_are_accepted(tmp_path):
    configuration = load(
        tmp_path,
        r"""// as VS Code writes it
        {"servers": { /* one
            of them */
            "a": {"command": "x", "args": ["http://h/*y*/", "a,]", "\\", "//"],},
        },}""",
    )
    assert configuration.problems == []
    assert configuration.servers["a"].args == ("http://h/*y*/", "a,]", "\\", "//")


def test_a_number_with_too_many_digits_spoils_its_own_key_only(tmp_path):
    servers = {"a": {"command": "x", "mcp_ws": {"idle_timeout": "WIDE"}}, "b": {"command": "x"}}
    text = json.dumps({"mcpServers": servers}).replace('"WIDE"', "1" + "0" * 5000)
    configuration = load(tmp_path, text)
    assert only_problem(configuration).key == "mcpServers.a.mcp_ws.idle_timeout"
    assert configuration.servers["b"].command == "x"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{ // one\n /* two\n */ "a": oops}', "line 3, column 10"),
        ('{"mcpServers": {}} /* no end', "line 1, column 20"),
        ('{"mcpServers": {}} /*/', "line 1, column 20"),
        ('{"mcpServers": {,}}', "line 1, column 17"),
    ],
)
def test_a_mistake_in_a_file_with_comments_has_the_right_line(tmp_path, text, place):
    assert place in only_problem(load(tmp_path, text)).reason

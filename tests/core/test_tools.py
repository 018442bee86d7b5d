"""Allow and deny lists: the tools that a client sees and may call."""

from __future__ import annotations

import json

import pytest

from mcp_ws_ide.core.tools import ToolRules, refusal, visible
from mcp_ws_ide.errors import INVALID_PARAMS


def refused(params: bytes, *rules: ToolRules) -> str | None:
    """The text of the error for a call; None if it is permitted."""
    error = refusal(rules, b"1", params)
    if error is None:
        return None
    answer = json.loads(error.data)
    assert (answer["id"], answer["error"]["code"]) == (1, INVALID_PARAMS)
    return answer["error"]["message"]


def test_a_name_must_match_an_allowed_pattern_and_no_denied_one():
    rules = ToolRules(allow=("read_*", "list"), deny=("read_secret",))
    assert [name for name in ("read_file", "list", "LIST", "read_secret", "write") if rules.permit(name)] == [
        "read_file",
        "list",
    ]
    assert ToolRules().permit("anything")


def test_a_forbidden_call_reads_like_that_of_a_tool_that_does_not_exist():
    assert refused(b'{"name":"a"}', ToolRules(), ToolRules(deny=("b",))) is None
    assert refused(b'{"name":"a"}', ToolRules(), ToolRules(deny=("a",))) == "Unknown tool: a"


@pytest.mark.parametrize("params", [b"", b"[]", b'{"name":7}'])
def test_a_call_without_a_readable_name_is_refused(params):
    assert refused(params, ToolRules(deny=("x",))) == "params.name must be a string"


def test_a_second_name_in_another_case_is_refused():
    text = refused(b'{"name":"a","Name":"secret"}', ToolRules(deny=("secret",)))
    assert text is not None
    assert "'Name'" in text


def test_lists_hide_forbidden_tools_and_keep_the_bytes_of_the_others():
    result = b'{"tools":[{"name":"a","x":1.10},{"name":"b"}],"nextCursor":"c"}'
    shown = visible((ToolRules(deny=("b",)),), result)
    assert b'{"name":"a","x":1.10}' in shown
    assert json.loads(shown) == {"tools": [{"name": "a", "x": 1.1}], "nextCursor": "c"}


def test_a_list_that_cannot_be_read_shows_nothing():
    assert json.loads(visible((ToolRules(deny=("b",)),), b'{"tools":[7]}')) == {"tools": []}

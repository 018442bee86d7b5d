"""Allow and deny lists: the tools that a client sees and may call."""

from __future__ import annotations

import json

import pytest

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.tools import ToolRules, problem, visible
from mcp_ws_ide.errors import INVALID_PARAMS, INVALID_REQUEST

DENY = (ToolRules(deny=("secret",)),)


def refused(params: bytes, *rules: ToolRules) -> str | None:
    """The text of the error for a call; None if it is permitted."""
    call = messages.request(b"1", "tools/call", params)
    error = problem(rules, call)
    if error is None:
        return None
    assert error[0] == INVALID_PARAMS
    return error[1]


def shown(result: bytes, *rules: ToolRules) -> bytes:
    """A result as the client gets it."""
    return visible(rules, messages.response(b"1", result)).result


def test_a_name_must_match_an_allowed_pattern_and_no_denied_one():
    rules = ToolRules(allow=("read_*", "list"), deny=("read_secret",))
    assert [name for name in ("read_file", "list", "LIST", "read_secret", "write") if rules.permit(name)] == [
        "read_file",
        "list",
    ]
    assert ToolRules().permit("anything")


def test_a_forbidden_tool_is_refused_like_one_that_does_not_exist():
    assert refused(b'{"name":"a"}', ToolRules(), ToolRules(deny=("b",))) is None
    assert refused(b'{"name":"a"}', ToolRules(), ToolRules(deny=("a",))) == "Unknown tool: a"


@pytest.mark.parametrize("params", [b"", b"[]", b'{"name":7}'])
def test_a_call_without_a_readable_name_is_refused(params):
    assert refused(params, ToolRules(deny=("x",))) == "params.name must be a string"


def test_a_second_name_in_another_case_is_refused():
    text = refused(b'{"name":"a","Name":"secret"}', ToolRules(deny=("secret",)))
    assert text is not None
    assert "'Name'" in text


@pytest.mark.parametrize(
    "params",
    [
        '{"name":"a","NAME":"secret"}',
        '{"Name":"secret","name":"a"}',
        '{"name":"a","n\\u0061Me":"secret"}',
        '{"name":"a","na_me":"secret"}',
        '{"name":"a","n-ame":"secret"}',
        '{"name":"a"," name":"secret"}',
        '{"name":"a","name\\u0000x":"secret"}',
        '{"name":"a","\\uff4e\\uff41\\uff4d\\uff45":"secret"}',
        '{"name":"a","arguments":{},"Arguments":{"x":1}}',
        '{"name":"a","ta\u017fk":{}}',
        '{"name":"a","tas\u212a":{}}',
        '{"name":"a","input_responses":{}}',
    ],
)
def test_a_member_that_some_parsers_confuse_with_a_known_one_is_refused(params):
    text = refused(params.encode(), *DENY)
    assert text is not None
    assert "which some servers read as" in text


@pytest.mark.parametrize(
    "params",
    [
        b'{"name":"secret","name":"a"}',
        b'{"name":"secret", "n\\u0061me":"a"}',
        b'{"arguments":{"name":"x"},"name":"secret","name":"a"}',
        b'{"name":"a","arguments":{},"arguments":{}}',
        b'{"name":"secret","arguments":' + b'{"a":' * 50 + b"1" + b"}" * 50 + b',"name":"a"}',
    ],
)
def test_a_duplicate_member_of_params_is_refused(params):
    text = refused(params, *DENY)
    assert text is not None
    assert "twice" in text


@pytest.mark.parametrize(
    "params",
    [
        b'{ "name" : "a", "arguments" : {"name":"secret","name":"x","Name":"secret","n":1e400,"big":'
        + b"9" * 5000
        + b"}}",
        b'{"name":"a","_meta":{"Name":"secret","io.modelcontextprotocol/protocolVersion":"2026-07-28"}}',
        b'{"n\\u0061me":"a","cursor":null,"title":"x"}',
    ],
)
def test_arguments_and_meta_are_not_checked(params):
    assert refused(params, *DENY) is None


def test_a_name_with_a_nul_character_is_refused():
    text = refused(b'{"name":"secret\\u0000x"}', *DENY)
    assert text is not None
    assert "U+0000" in text


@pytest.mark.parametrize(
    "members",
    [
        '"method":"ping","Method":"tools/call","params":{"name":"secret"}',
        '"method":"tools/call","params":{"name":"a"},"Params":{"name":"secret"}',
        '"method":"tools/call","params":{"name":"a"},"param\u017f":{"name":"secret"}',
        '"method":"tools/call","params":{"name":"a"},"\u0131d":2',
        '"method":"notifications/x","ID":2',
        '"result":{},"METHOD":"tools/call","PARAMS":{"name":"secret"}',
        '"method":"Tools/Call","params":{"name":"secret"}',
        '"method":"tools/call\\u0000","params":{"name":"secret"}',
    ],
)
@pytest.mark.parametrize("raw_id", ['"id":1,', ""])
def test_an_envelope_that_parsers_read_differently_is_refused(members, raw_id):
    if members.startswith('"result"'):
        raw_id = '"id":1,'
    message = messages.parse(f'{{"jsonrpc":"2.0",{raw_id}{members}}}'.encode())
    error = problem(DENY, message)
    assert error is not None
    assert error[0] == INVALID_REQUEST


def test_a_call_without_an_id_is_refused():
    assert problem(DENY, messages.notification("tools/call", b'{"name":"a"}')) is not None


def test_unknown_members_of_an_envelope_pass():
    message = messages.parse(b'{"jsonrpc":"2.0","id":1,"method":"ping","trace":{"Method":1},"options":2}')
    assert problem(DENY, message) is None


def test_lists_hide_forbidden_tools_and_keep_the_bytes_of_the_others():
    result = b'{"tools":[{"name":"a","x":1.10},{"name":"b"}],"nextCursor":"c"}'
    filtered = shown(result, ToolRules(deny=("b",)))
    assert b'{"name":"a","x":1.10}' in filtered
    assert json.loads(filtered) == {"tools": [{"name": "a", "x": 1.1}], "nextCursor": "c"}


@pytest.mark.parametrize(
    "result",
    [
        b'{"t\\u006fols":[{"name":"b"}]}',
        b'{"Tools":[{"name":"b"}]}',
        b'{"tools":[{"name":"b"}],"tools":null}',
        b'{"tools":[{"name":"b"}],"tools":[{"n\\u0061me":"b"}]}',
    ],
)
def test_no_spelling_of_a_list_shows_a_forbidden_tool(result):
    assert b'"b"' not in shown(result, ToolRules(deny=("b",)))


def test_a_list_that_cannot_be_read_shows_nothing():
    assert json.loads(shown(b'{"tools":[7]}', ToolRules(deny=("b",)))) == {"tools": []}


def test_a_tool_that_cannot_be_read_is_hidden_and_hides_no_other():
    result = b'{"tools":[{"name":"a"},7,{"name":["b"]},{"name":"b"},{"name":"c"}]}'
    assert json.loads(shown(result, ToolRules(deny=("b",)))) == {"tools": [{"name": "a"}, {"name": "c"}]}


def test_params_whose_members_cannot_be_counted_are_refused():
    """How deep that is depends on the stack: the second parser gives up a little earlier than the first."""
    nested = (
        b'{"name":"a", "arguments":%b1%b}' % (b'{"a":' * depth, b"}" * depth) for depth in range(500, 1000)
    )
    assert any("cannot be searched" in (refused(params, *DENY) or "") for params in nested)


@pytest.mark.parametrize("name", ["RM", "ｒｍ", " rm", "r\u200bm", "rm\n"])
def test_a_name_that_only_looks_different_is_denied_as_well(name):
    assert not ToolRules(None, ("rm",)).permit(name)
    assert ToolRules(("R*",)).permit("RM")
    assert ToolRules(None, ("rm",)).permit("rm2")

"""One bad item of a list never costs a client the good ones, and what is good stays as it was written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mcp_ws_ide.core.bridges.methods import LISTS
from mcp_ws_ide.core.list_items import UNAVAILABLE_KEY, read_list, with_note

SCHEMA = {"type": "object"}
GOOD: dict[str, dict[str, Any]] = {
    "tools": {
        "name": "t",
        "title": "T",
        "inputSchema": {**SCHEMA, "properties": {"a": {"default": None}}, "required": ["a"]},
        "outputSchema": SCHEMA,
        "annotations": {"readOnlyHint": True, "own": 1},
        "icons": [{"src": "x:1", "sizes": ["any"]}],
        "execution": {"taskSupport": "optional"},
        "own": None,
        "_meta": {"a": None},
    },
    "prompts": {"name": "p", "arguments": [{"name": "a", "required": False}]},
    "resources": {
        "uri": "x:1",
        "name": "r",
        "size": 3,
        "annotations": {"audience": ["user"], "priority": 1, "lastModified": "2025-01-12T15:00:58Z"},
    },
    "resourceTemplates": {"uriTemplate": "x:{a}", "name": "t", "mimeType": "text/plain"},
}


def read(key: str, *items: Any, strict: bool = True, **members: Any) -> tuple[dict[str, Any], list[str]]:
    result, notices = read_list(key, json.dumps({key: items, **members}).encode(), strict=strict)
    return json.loads(result), list(notices.values())


@pytest.mark.parametrize("key", LISTS.values())
def test_a_list_that_clients_can_read_stays_to_the_byte(key):
    written = json.dumps(
        {key: [GOOD[key]] * 2, "nextCursor": "", "own": [None], "_meta": {"a": None}}, indent=1
    )
    result, notices = read_list(key, written.encode(), strict=True)
    assert result.decode() == written
    assert notices == {}


@pytest.mark.parametrize("key", LISTS.values())
@pytest.mark.parametrize("bad", [None, 7, [], {}, {"name": 7}, "x"])
def test_an_item_without_a_name_is_omitted_and_the_good_ones_stay(key, bad):
    result, (notice,) = read(key, bad, GOOD[key])
    assert result[key] == [GOOD[key]]
    assert notice.startswith(f"{key}: number 1: omitted")


def test_a_note_names_the_server_and_keeps_the_rest_of_meta():
    written = b'{"tools":[],"_meta":{"own":1},"nextCursor":"c"}'
    noted = json.loads(with_note(written, "git", ["first", "second"]))
    assert noted == {
        "tools": [],
        "_meta": {"own": 1, UNAVAILABLE_KEY: {"git": "first; second"}},
        "nextCursor": "c",
    }
    assert json.loads(with_note(b"{}", "git", ["x" * 9999]))["_meta"] == {UNAVAILABLE_KEY: {"git": "x" * 500}}


@pytest.mark.parametrize(
    ("key", "name", "written", "shown"),
    [
        ("tools", "title", 7, ...),
        ("tools", "description", None, ...),
        ("tools", "annotations", [], ...),
        ("tools", "annotations", {"title": None, "readOnlyHint": True}, {"readOnlyHint": True}),
        ("tools", "annotations", {"readOnlyHint": "yes"}, ...),
        ("tools", "icons", "x:1", ...),
        ("tools", "icons", [{"src": "x:1", "mimeType": None}], [{"src": "x:1"}]),
        ("tools", "execution", {"taskSupport": "never"}, ...),
        ("tools", "outputSchema", True, ...),
        ("tools", "outputSchema", {"properties": {"a": {}}}, {**SCHEMA, "properties": {"a": {}}}),
        ("tools", "inputSchema", {**SCHEMA, "properties": {"a": True}}, {**SCHEMA, "properties": {"a": {}}}),
        (
            "tools",
            "inputSchema",
            {**SCHEMA, "properties": {"a": False}},
            {**SCHEMA, "properties": {"a": {"not": {}}}},
        ),
        ("tools", "_meta", [], ...),
        ("prompts", "arguments", [{"name": "a", "description": None}], [{"name": "a"}]),
        ("prompts", "arguments", {"a": {}}, ...),
        ("resources", "size", "3", ...),
        ("resources", "annotations", {"lastModified": "yesterday"}, ...),
        ("resourceTemplates", "mimeType", 7, ...),
    ],
)
def test_a_member_that_clients_refuse_costs_neither_the_list_nor_its_item(key, name, written, shown):
    other = {**GOOD[key], "own": 1}
    result, (notice,) = read(key, {**GOOD[key], name: written}, other)
    usual = {member: value for member, value in GOOD[key].items() if value is not None and member != name}
    mended, kept = result[key]
    assert mended == (usual if shown is ... else {**usual, name: shown})
    assert kept == other
    assert name in notice or "null" in notice


def test_the_schema_of_a_result_need_not_be_one_of_an_object_in_the_modern_era():
    tool = {**GOOD["tools"], "outputSchema": {"type": "array"}}
    assert read("tools", tool, strict=False) == ({"tools": [tool]}, [])
    result, _ = read("tools", tool)
    assert "outputSchema" not in result["tools"][0]


@pytest.mark.parametrize(
    "written", ['{"tools":null}', '{"tools":{}}', "{}", '{"tools":[],"nextCursor":null}']
)
def test_a_result_without_a_list_is_one_without_items(written):
    result, notices = read_list("tools", written.encode(), strict=True)
    assert json.loads(result) == {"tools": []}
    assert len(notices) == 1


def test_members_beside_the_items_cost_no_list():
    result, notices = read("tools", GOOD["tools"], nextCursor=2, _meta=[])
    assert result == {"tools": [GOOD["tools"]], "nextCursor": "2"}
    assert len(notices) == 2
    assert "nextCursor" not in read("tools", nextCursor=False)[0]


def test_a_result_with_another_list_stays_as_it_is():
    written = b'{"prompts":[]}'
    assert read_list("tools", written, strict=True) == (written, {})


def test_a_result_that_is_not_a_list_yet_stays_as_it_is():
    written = b'{"resultType":"input_required","inputRequests":{}}'
    assert read_list("tools", written, strict=False)[0] == written

"""Schemas of tools whose references lead nowhere are named, each with its tool; sound ones are not."""

from __future__ import annotations

import time
from typing import Any

import pytest

from mcp_ws_ide.inspector.model.references import dangling
from mcp_ws_ide.inspector.model.schemas import MAX_FAULTS
from tests.inspector.records import Transcript

NODE = {"type": "object", "properties": {"n": {"type": "integer"}, "next": {"$ref": "#/$defs/Node"}}}


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({"properties": {"n": {"$ref": "#/$defs/X"}}}, "'#/$defs/X' leads nowhere"),
        ({"$ref": "#nowhere"}, "'#nowhere' leads nowhere"),
        ({"$defs": {"A": {"$ref": "#/$defs/B"}}, "$ref": "#/$defs/A"}, "'#/$defs/B' leads nowhere"),
        ({"$defs": {"Loop": {"$ref": "#/$defs/Loop"}}, "$ref": "#/$defs/Loop"}, "is circular"),
        ({"$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}, "items": {"$ref": "#/$defs/A"}}, "is circular"),
        ({"allOf": [{"$ref": "#/allOf/5"}]}, "leads nowhere"),
        ({"items": {"$dynamicRef": "#T"}}, "leads nowhere"),
    ],
)  # fmt: skip
def test_a_reference_without_a_target_is_named(schema, fault):
    assert any(fault in text for text in dangling(schema)), dangling(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"child": {"$ref": "#"}}},
        {"$defs": {"Node": NODE}, **NODE},
        {"definitions": {"a/b~c d": {}}, "items": {"$ref": "#/definitions/a~1b~0c%20d"}},
        {"$defs": {"A": {"$anchor": "here"}}, "$ref": "#here"},
        {"definitions": {"A": {"$id": "#here"}}, "$ref": "#here"},
        {"$defs": {"A": {"$dynamicAnchor": "T"}}, "$dynamicRef": "#T"},
        {"properties": {"n": {"$ref": "https://schemas.example/n.json#/x"}}},
        {"properties": {"$ref": {"type": "string"}}},
        {"default": {"$ref": "#/nowhere"}, "enum": [{"$ref": "#/nowhere"}], "const": {"$ref": "#/nowhere"}},
        {
            "$defs": {
                "A": {
                    "$id": "https://h.example/a",
                    "items": {"$ref": "#/$defs/inner"},
                    "$defs": {"inner": {}},
                }
            }
        },
        {"allOf": [{"type": "object"}, {"$ref": "#/allOf/0"}]},
        True,
        None,
        [],
    ],
)
def test_a_sound_schema_is_not_named(schema):
    assert dangling(schema) == []


def listed(*tools: dict[str, Any]) -> list[str]:
    transcript = Transcript()
    transcript.send("c>", {"id": 1, "method": "tools/list"})
    row = transcript.send("c<", {"id": 1, "result": {"tools": list(tools)}})
    return [
        problem.text for problem in transcript.journal.problems_of(row) if problem.code == "schema-reference"
    ]


def test_a_problem_names_the_tool_and_which_schema():
    bad = {"type": "object", "properties": {"n": {"$ref": "#/$defs/X"}}}
    texts = listed(
        {"name": "good", "inputSchema": NODE | {"$defs": {"Node": NODE}}},
        {"name": "out", "inputSchema": {}, "outputSchema": bad},
        {"name": "in", "inputSchema": bad},
    )
    assert texts == [
        "outputSchema of 'out': the reference '#/$defs/X' leads nowhere",
        "inputSchema of 'in': the reference '#/$defs/X' leads nowhere",
    ]


def test_many_broken_schemas_make_few_problems_in_bounded_time():
    deep: Any = {}
    for _ in range(900):
        deep = {"items": deep}
    wide = {"allOf": [{"$ref": f"#/$defs/{number}"} for number in range(20_000)]}
    started = time.process_time()
    assert len(listed(*({"name": str(number), "inputSchema": wide} for number in range(20)))) == MAX_FAULTS
    assert listed({"name": "deep", "inputSchema": deep}) == []
    assert time.process_time() - started < 30

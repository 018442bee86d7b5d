"""Arguments and results of tools are held against the schemas that the server listed, in bounded time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import pytest

from mcp_ws_ide.inspector.model.schemas import BUDGET, STRIKES, Schemas
from tests.inspector.records import Transcript, call

POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "name": {"type": "string", "pattern": "^[a-z]+$"}},
    "required": ["x"],
}


def knowing(tool: dict[str, Any]) -> Transcript:
    t = Transcript()
    t.send("c>", {"id": "l", "method": "tools/list"})
    t.send(
        "c<", {"id": "l", "result": {"tools": [{"name": "run", "inputSchema": {"type": "object"}, **tool}]}}
    )
    return t


def calling(t: Transcript, arguments: Any, **members: Any) -> list[str]:
    row = t.send(
        "c>", {"id": 1, "method": "tools/call", "params": {"name": "run", "arguments": arguments}}, **members
    )
    return [f"{v.code}: {v.text}" for v in t.journal.problems_of(row)]


def test_arguments_that_break_the_input_schema_are_violations():
    t = knowing({"inputSchema": POINT})
    assert calling(t, {"x": 1, "name": "ok"}) == []
    assert calling(t, {"x": "1"})[1:] == ["input-schema: x: '1' is not of type 'integer'"]
    assert "required property" in calling(t, {})[-1]
    assert "does not match" in calling(t, {"x": 1, "name": "NO"})[-1]


def test_structured_content_is_checked_against_the_output_schema():
    t = knowing({"outputSchema": POINT})
    found = []
    results: list[dict[str, Any]] = [
        {"structuredContent": {"x": 1}},
        {"structuredContent": {"x": None}},
        {},
        {"isError": True},
        {"resultType": "input_required", "requestState": "s"},
    ]
    for number, result in enumerate(results):
        t.send("c>", call(number))
        row = t.send("c<", {"id": number, "result": {"content": [], **result}})
        found.append([code for code in t.codes(row) if code == "output-schema"])
    assert found == [[], ["output-schema"], ["output-schema"], [], []]


def test_uncertain_cases_are_not_reported():
    t = knowing({"inputSchema": POINT})
    hidden = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run","arguments":{"x":"••••"}}}'
    assert calling(t, {}, raw=hidden) == [], "a secret was hidden"
    assert [v for v in calling(t, {"x": "1"}, truncated=True) if "schema" in v] == []
    assert [v for v in calling(t, {"x": "1"}, server="other") if "schema" in v] == []
    for schema in (
        {"$ref": "http://127.0.0.1:9/x"},
        {"$ref": "#/nowhere"},
        {"type": 7},
        {"patternProperties": {"(a+)+$": False}},
        True,
        None,
        {"properties": 3},
        {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": "x"},
    ):
        schemas = Schemas()
        schemas.learn("s", [{"name": "run", "inputSchema": schema}])
        assert schemas.arguments("s", "run", {"a": 1}) == [], schema


def doubling() -> dict[str, Any]:
    """2^60 steps without a limit."""
    levels = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(60)}
    return {"$ref": "#/$defs/l0", "$defs": {**levels, "l60": {"type": "object"}}}


@pytest.mark.parametrize(
    "schema",
    [
        doubling(),
        {"properties": {"a": {"pattern": "(a|aa)+$"}}},
        {"properties": {"a": {"allOf": [{"pattern": "(a|aa)+$"}] * 200}}},
        {"$ref": "#"},
    ],
    ids=["exponential", "regex", "many regexes", "circle"],
)
def test_a_hostile_schema_takes_bounded_time_and_is_not_tried_again(schema):
    schemas = Schemas()
    schemas.learn("s", [{"name": "run", "inputSchema": schema}])
    start = time.process_time()
    for _ in range(STRIKES + 200):
        schemas.arguments("s", "run", {"a": "a" * 60 + "!"})
    # Against hours; the slowest of these is one regular expression's limit for each call.
    assert time.process_time() - start < 60 * BUDGET * STRIKES + 10


def test_a_schema_of_a_hundred_thousand_levels_is_harmless():
    deep: dict[str, Any] = {"type": "object"}
    for _ in range(100_000):
        deep = {"not": deep}
    schemas = Schemas()
    schemas.learn("s", [{"name": "run", "inputSchema": deep}])
    assert schemas.arguments("s", "run", {}) == []
    while deep and "not" in deep:  # taken apart by hand: the interpreter would do it by recursion
        deep = deep["not"]


def test_the_first_list_of_tools_compiles_no_grammar_that_nothing_needs(tmp_path):
    """jsonschema would import it, if it is installed, to check a format: that takes more than a second."""
    (tmp_path / "rfc3987_syntax.py").write_text("raise SystemExit('it was imported')")
    code = "from mcp_ws_ide.inspector.model.schema_import import schemas; import sys; schemas(); print(*sys.modules)"
    variables = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.getcwd()}"}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "jsonschema" in ran.stdout.split()
    assert "rfc3987_syntax" not in ran.stdout.split()

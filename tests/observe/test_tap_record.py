"""The tap record has one definition; tests/vectors/tap_record.json is its copy for the page's TypeScript.

After a change of mcp_ws_ide/observe/tap_record.py: ``python -m tests.observe.test_tap_record`` rewrites the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from mcp_ws_ide.inspector.model.records import KINDS as INSPECTOR_KINDS
from mcp_ws_ide.inspector.model.records import LANES
from mcp_ws_ide.observe.tap_record import (
    DIRECTIONS,
    KINDS,
    LEGS,
    AttachedRecord,
    GapRecord,
    TapRecord,
    encode,
)

VECTOR = Path(__file__).parent.parent / "vectors" / "tap_record.json"
JSON_TYPES = {
    **{int: "number", float: "number", str: "string", bool: "boolean", msgspec.Raw: "unknown"},
    msgspec.UnsetType: "undefined",
}
VALUES = {"kind": KINDS, "leg": LEGS, "direction": DIRECTIONS}


def typescript(field: msgspec.structs.FieldInfo) -> str:
    """The type of a member as TypeScript writes it."""
    annotated = getattr(field.type, "__args__", (field.type,))
    return " | ".join("null" if item is type(None) else JSON_TYPES[item] for item in annotated)


def members(record: type[TapRecord]) -> dict[str, str]:
    return {field.encode_name: typescript(field) for field in msgspec.structs.fields(record)}


def described() -> dict[str, Any]:
    common = members(TapRecord)
    optional = {
        name: common.pop(name) for name, kind in list(common.items()) if kind.endswith(" | undefined")
    }
    known = common.keys() | optional.keys()
    return {
        "about": "Written by tests/observe/test_tap_record.py from mcp_ws_ide/observe/tap_record.py",
        "record": common,
        "optional": {name: kind.removesuffix(" | undefined") for name, kind in optional.items()},
        "attached": {name: kind for name, kind in members(AttachedRecord).items() if name not in known},
        "gap": {name: kind for name, kind in members(GapRecord).items() if name not in known},
        "values": {name: list(values) for name, values in VALUES.items()},
        "examples": {
            "record": json.loads(
                encode(TapRecord(id=msgspec.Raw(b"7"), kind="request", leg="client", direction="in"))
            ),
            "attached": json.loads(encode(AttachedRecord(event="attached", instance="9f3a"))),
            "gap": json.loads(encode(GapRecord(kind="gap", event="gap", from_=1, to=3, count=3))),
        },
    }


def test_the_vector_describes_the_record_that_the_gateway_writes():
    assert json.loads(VECTOR.read_text()) == described()


def test_a_record_without_id_says_null_on_the_wire():
    assert json.loads(encode(TapRecord()))["id"] is None


def test_the_inspector_has_a_kind_for_each_value_and_a_lane_for_each_leg_and_direction():
    assert set(INSPECTOR_KINDS) == set(KINDS)
    assert set(LANES) == {(leg, direction) for leg in LEGS for direction in DIRECTIONS}


if __name__ == "__main__":
    VECTOR.write_text(json.dumps(described(), indent=2) + "\n")

"""References inside a JSON Schema that lead nowhere (JSON Schema 2020-12, sections 8.2.2 and 8.2.3). Pure.

Only references within the schema are followed; a schema with an ``$id`` of its own inside is not judged, because its
references count from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

MAX_REFERENCES: Final = 1000
"""References of one schema that are followed."""
MAX_SHOWN: Final = 100
"""Characters of a reference that a text repeats."""
_REFERENCES: Final = ("$ref", "$dynamicRef")
_ANCHORS: Final = ("$anchor", "$dynamicAnchor")
_DATA: Final = frozenset({"const", "enum", "default", "examples"})
"""Keywords whose values are data, not schemas."""


def dangling(schema: Any) -> list[str]:
    """Return what is wrong with the references of a schema: each that leads nowhere, or only to itself."""
    parts = list(_parts(schema))
    if any("$id" in part and part is not schema and not _is_anchor(part["$id"]) for part in parts):
        return []
    anchors = {part[key] for part in parts for key in _ANCHORS if isinstance(part.get(key), str)}
    anchors |= {part["$id"][1:] for part in parts if _is_anchor(part.get("$id"))}
    references = [part[key] for part in parts for key in _REFERENCES if isinstance(part.get(key), str)]
    faults = (_fault(schema, reference, anchors) for reference in references[:MAX_REFERENCES])
    return list(dict.fromkeys(fault for fault in faults if fault))


def _is_anchor(identifier: Any) -> bool:
    """Return whether an ``$id`` is an anchor, as in draft 7."""
    return isinstance(identifier, str) and identifier.startswith("#")


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every object within a schema that may be a schema; not recursive."""
    waiting = [schema]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting.extend(value for key, value in item.items() if key not in _DATA)
        elif isinstance(item, list):
            waiting.extend(item)


def _fault(schema: Any, reference: str, anchors: set[str]) -> str:
    """Return what is wrong with a reference; ``""`` if it leads somewhere, or out of the schema."""
    passed: set[str] = set()
    at = reference
    while at.startswith("#"):
        if at in passed:
            return f"the reference {reference[:MAX_SHOWN]!r} is circular"
        passed.add(at)
        target = _target(schema, at, anchors)
        if target is None:
            return f"{at[:MAX_SHOWN]!r} leads nowhere"
        if not isinstance(target, dict) or set(target) != {"$ref"} or not isinstance(target["$ref"], str):
            return ""
        at = target["$ref"]
    return ""


def _target(schema: Any, reference: str, anchors: set[str]) -> Any:
    """Return the part of a schema at a reference (a JSON pointer, RFC 6901, or an anchor); None if there is none."""
    fragment = unquote(reference[1:])
    if fragment and not fragment.startswith("/"):
        return True if fragment in anchors else None
    value = schema
    for step in fragment.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value

"""What may follow in a filter that is being typed: keys, and values that the traffic has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from mcp_ws_ide.inspector.model.filters import FLAGS, LEGS, TOWARD, literal
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.model.records import Kind, Status

MOST: Final = 50
"""Possibilities that are returned."""
KEYS: Final = (
    *("tool:", "method:", "server:", "session:", "status:", "lat:", "kind:", "size:", "is:", "since:"),
    *("dir:", "leg:", "id:", "gateway:"),
)
"""Keys of the filter language, the most used first."""
_WORD: Final = re.compile(r"[^\s()|&!]*$")
_PLAIN: Final = re.compile(r"[\w<>][\w./:@<>-]*")
_FIXED: Final[dict[str, Sequence[str]]] = {
    "status": [status.name.lower() for status in Status if status is not Status.NONE],
    "kind": [kind.name.lower() for kind in Kind],
    "is": [*FLAGS, "linked"],
    "dir": list(TOWARD),
    "leg": list(LEGS),
    "lat": [">100", ">500", ">1s", ">10s"],
    "size": [">1k", ">10k", ">1m"],
    "since": ["1m", "10m", "1h"],
}


def completions(text: str, journal: Journal) -> list[str]:
    """Return whole filters that begin with ``text`` and have its last word completed; the most likely ones first."""
    match = _WORD.search(text)
    word = match[0] if match is not None else ""
    start = text[: len(text) - len(word)]
    key, mark, value = word.partition(":")
    if not mark:
        found = [name for name in KEYS if name.startswith(word) and name != word]
    elif '"' in value or "~" in key:
        found = []
    else:
        known = dict.fromkeys(_values(key, journal))
        found = [f"{key}:{_quoted(one)}" for one in known if one.startswith(value) and one != value]
    return [start + one for one in found[:MOST]]


def _quoted(value: str) -> str:
    """Return a value as a filter must have it: in quotes where it has other than common characters."""
    return value if _PLAIN.fullmatch(value) else literal(value)


def _values(key: str, journal: Journal) -> Iterable[str]:
    if key in _FIXED:
        return _FIXED[key]
    lines = journal.statistics.ordered()
    if key == "tool":
        return (line.target for line in lines if line.target)
    if key == "method":
        return (line.method for line in lines)
    if key == "server":
        return (line.server for line in lines)
    if key == "session":
        return (name[:8] for name in reversed(journal.sessions))
    return ()


def common_start(texts: Sequence[str]) -> str:
    """Return what all of these texts begin with."""
    if not texts:
        return ""
    low, high = min(texts), max(texts)
    return next((low[:index] for index, letter in enumerate(low) if high[index : index + 1] != letter), low)

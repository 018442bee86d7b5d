"""Format JSON for reading, token by token: numbers, duplicates and order are unchanged.

Nothing is parsed into objects, so that the time is proportional to the length at any depth, and a truncated message is
formatted up to its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

Piece = tuple[str, str]
"""Text, and its kind: ``key``, ``string``, ``number``, ``word``, ``mark`` or ``other``."""

COLLAPSED: Final = "{…}"
"""Stands for an object that is not shown."""
MAX_LINES: Final = 20_000
"""Lines that are formatted; the rest is cut."""
MAX_INDENT: Final = 24
"""Levels up to which the indent grows."""
_TOKEN: Final = re.compile(
    r'("[^"\\]*(?:\\.[^"\\]*)*"?)|(-?\d[\d.eE+-]*)|(true|false|null)|([{}\[\],:])|\s+|(.)', re.DOTALL
)
_KINDS: Final = {1: "string", 2: "number", 3: "word", 5: "other"}


def pretty(text: str, collapsed: frozenset[str] = frozenset()) -> list[list[Piece]]:
    """Return the lines of ``text``, each as pieces; the objects of members named in ``collapsed`` as ``{…}``."""
    lines: list[list[Piece]] = [[]]
    depth = 0
    previous = ""
    for kind, piece in _collapsing(_pieces(text), collapsed):
        if piece in ("}", "]"):
            depth = max(0, depth - 1)
            if previous not in ("{", "["):
                lines.append(_indent(depth))
        elif previous in ("{", "[", ","):
            lines.append(_indent(depth))
        if piece == ":" and lines[-1] and lines[-1][-1][1] == "string":
            lines[-1][-1] = (lines[-1][-1][0], "key")
        lines[-1].append((": " if piece == ":" else piece, kind))
        if piece in ("{", "["):
            depth += 1
        previous = piece
        if len(lines) > MAX_LINES:
            lines.append([("… truncated here; see Raw", "other")])
            break
    return lines


def blocks(lines: Sequence[Sequence[Piece]]) -> dict[int, int]:
    """Return the objects and arrays of more than one line: the number of the first line, and that of the last."""
    found: dict[int, int] = {}
    opened: list[int] = []
    for number, line in enumerate(lines):
        for piece, kind in line:
            if kind == "mark" and piece in ("{", "["):
                opened.append(number)
            elif kind == "mark" and piece in ("}", "]") and opened and (first := opened.pop()) < number:
                found[first] = number
    return found


def _collapsing(pieces: Iterator[tuple[str, str]], names: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Replace the objects of the members ``names`` by one piece."""
    name, before, depth = "", "", 0
    for kind, piece in pieces:
        if depth:
            depth += (piece in ("{", "[")) - (piece in ("}", "]"))
            if not depth:
                yield "mark", COLLAPSED
        elif piece == "{" and before == ":" and name in names:
            depth = 1
        else:
            if piece == ":":
                name = before.strip('"')
            yield kind, piece
        before = piece


def _indent(depth: int) -> list[Piece]:
    return [("  " * min(depth, MAX_INDENT), "other")] if depth else []


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(text):
        if match[4]:
            yield "mark", match[4]
        elif match.lastindex:
            yield _KINDS[match.lastindex], match[0]

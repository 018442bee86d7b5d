"""JSON laid out for reading, token by token: numbers, duplicates and order stay as they came.

Nothing is parsed into objects, so that depth and length cost no more than time in proportion, and a message
that was cut in the middle is laid out up to there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

Piece = tuple[str, str]
"""Text, and what it is: ``key``, ``string``, ``number``, ``word``, ``mark`` or ``other``."""

MAX_LINES: Final = 20_000
"""Lines that are laid out; nobody scrolls further."""
MAX_INDENT: Final = 24
"""Levels that are still indented further."""
_TOKEN: Final = re.compile(
    r'("[^"\\]*(?:\\.[^"\\]*)*"?)|(-?\d[\d.eE+-]*)|(true|false|null)|([{}\[\],:])|\s+|(.)', re.DOTALL
)
_KINDS: Final = {1: "string", 2: "number", 3: "word", 5: "other"}


def pretty(text: str) -> list[list[Piece]]:
    """The lines of ``text``, each as pieces."""
    lines: list[list[Piece]] = [[]]
    depth = 0
    previous = ""
    for kind, piece in _pieces(text):
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
            lines.append([("… there is more; see Raw", "other")])
            break
    return lines


def _indent(depth: int) -> list[Piece]:
    return [("  " * min(depth, MAX_INDENT), "other")] if depth else []


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    for found in _TOKEN.finditer(text):
        if found[4]:
            yield "mark", found[4]
        elif found.lastindex:
            yield _KINDS[found.lastindex], found[0]

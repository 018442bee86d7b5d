"""Highlight in a line what a filter or a search looks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from mcp_ws_ide.inspector.app.rows import Part

LINE_TIME: Final = 0.005
"""Seconds that a regular expression may take for one part of a line; if it takes longer, it is given up."""
LONGEST: Final = 20_000
"""Characters of a part above which nothing is highlighted in it."""


class Highlight:
    """Finds the texts that match one of ``marks``, which are regular expressions."""

    def __init__(self, marks: Sequence[str] = ()) -> None:
        self._pattern: Any = None
        if marks:
            import regex  # here, because it takes time to load and few filters look for a text

            try:
                self._pattern = regex.compile("|".join(f"(?:{mark})" for mark in marks), regex.MULTILINE)
            except regex.error:
                self._pattern = None  # for instance flags that may stand only at the beginning

    def parts(self, line: list[Part]) -> list[Part]:
        """Return the line, in which what matches has the style ``match``."""
        if self._pattern is None:
            return line
        return [piece for part in line for piece in self._split(*part)]

    def _split(self, text: str, style: str) -> list[Part]:
        if self._pattern is None:
            return [(text, style)]
        try:
            spans = (
                []
                if len(text) > LONGEST
                else [m.span() for m in self._pattern.finditer(text, timeout=LINE_TIME)]
            )
        except TimeoutError:  # the next part would hold up the screen as long
            self._pattern, spans = None, []
        pieces: list[Part] = []
        position = 0
        for start, end in spans:
            pieces += [(text[position:start], style), (text[start:end], "match")]
            position = end
        return [piece for piece in (*pieces, (text[position:], style)) if piece[0]] or [("", style)]

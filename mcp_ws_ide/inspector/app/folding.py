"""Which objects and arrays of a formatted message are shown as one line."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from mcp_ws_ide.inspector.app.rows import Part


class Folding:
    """Lines of a text of which some are folded. Line numbers are those of the whole text.

    Args:
        blocks: the first and the last line of each object and array, by :func:`~..model.pretty.blocks`.
        head: how many lines stand before the message.
    """

    def __init__(self, blocks: Mapping[int, int] | None = None, head: int = 0) -> None:
        self._blocks = {first + head: last + head for first, last in (blocks or {}).items()}
        self._head = head
        self._folded: set[int] = set()
        self._shown: list[int] = []
        """The numbers of the lines that are shown."""

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def keep(self, before: Folding) -> None:
        """Fold what was folded in an earlier version of the same message."""
        moved = {line - before._head + self._head for line in before._folded}
        self._folded = moved & set(self._blocks)

    def toggle(self, place: int) -> None:
        """Fold the block that begins at a shown line, or else the innermost one around it; or unfold it.

        The whole message folds at its own first line only.
        """
        line, outermost = self._shown[place], min(self._blocks, default=0)
        around = [first for first, last in self._blocks.items() if first <= line <= last]
        if around and (max(around) > outermost or line == outermost):
            self._folded ^= {max(around)}

    def fold(self, folded: bool) -> None:
        """Fold all blocks within the message, or none."""
        outermost = min(self._blocks, default=0)
        self._folded = set(self._blocks) - {outermost} if folded else set()

    def place(self, line: int) -> int:
        """Return where a line is shown, or the one that stands for it."""
        place = bisect_left(self._shown, line)
        return place if place < len(self._shown) and self._shown[place] == line else max(0, place - 1)

    def line(self, place: int) -> int:
        """Return the number of a shown line."""
        return self._shown[place] if place < len(self._shown) else 0

    def shown(self, lines: Sequence[list[Part]]) -> list[list[Part]]:
        """Return the lines to show."""
        self._shown = []
        found: list[list[Part]] = []
        number = 0
        while number < len(lines):
            self._shown.append(number)
            last = self._blocks.get(number, number) if number in self._folded else number
            if last < len(lines) and last > number:
                closing = [part for part in lines[last] if part[0].strip()]
                hidden = last - number - 1
                found.append(
                    [*lines[number], (f"… {hidden} lines " if hidden > 1 else "… ", "dim"), *closing]
                )
                number = last + 1
            else:
                found.append(lines[number])
                number += 1
        return found

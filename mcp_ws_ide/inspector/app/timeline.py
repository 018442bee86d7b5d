"""The timeline of Traffic: one bar for each operation, on the scale of the rows that are visible."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mcp_ws_ide.inspector.app.columns import STATUSES
from mcp_ws_ide.inspector.app.rows import Part
from mcp_ws_ide.inspector.model.records import Kind, Status
from mcp_ws_ide.inspector.model.store import Store

SERVER: Final = "█"
OTHER: Final = "▒"
"""Cells in which the server had the request, and in which the gateway or a link had it."""
WAITING: Final = "░"
MOMENT: Final = "│"
LEAST: Final = 1e-6
"""Seconds of the shortest scale."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The monotonic time that the width of the column stands for, in seconds."""

    start: float = 0.0
    end: float = 1.0

    @property
    def seconds(self) -> float:
        """The time from edge to edge."""
        return max(LEAST, self.end - self.start)

    def cell(self, moment: float, width: int) -> int:
        """Return the cell in which a moment lies."""
        return max(0, min(width - 1, int((moment - self.start) / self.seconds * width)))


def scale_of(store: Store, rows: Iterable[int], now: float) -> Scale:
    """Return the scale on which all of these rows can be seen; what is open lasts until ``now``."""
    held = [row for row in rows if store.holds(row)]
    if not held:
        return Scale()
    starts = [store.mono[row - store.first] for row in held]
    return Scale(min(starts), max(_end(store, row, now) for row in held))


def _end(store: Store, row: int, now: float) -> float:
    start = store.mono[row - store.first]
    if store.status_of(row) is Status.PENDING:
        return max(start, now)
    return start + (store.latency_of(row) or 0.0) / 1000


def bar(store: Store, row: int, now: float, scale: Scale, width: int) -> Part:
    """Return the bar of an operation, or the moment of what takes no time, in ``width`` cells."""
    start, end = store.mono[row - store.first], _end(store, row, now)
    first, last = scale.cell(start, width), scale.cell(end, width)
    if store.kind_of(row) is not Kind.REQUEST:
        return " " * first + MOMENT, "dim"
    status = store.status_of(row)
    style = STATUSES[status][1]
    if status is Status.PENDING:
        return " " * first + WAITING * (last - first + 1), style
    twin = store.linked(store.twin, row)
    if twin is None:
        return " " * first + SERVER * (last - first + 1), style
    begin, stop = (
        scale.cell(moment, width) for moment in (store.mono[twin - store.first], _end(store, twin, now))
    )
    begin, stop = max(first, begin), min(last, stop)
    return " " * first + OTHER * (begin - first) + SERVER * (stop - begin + 1) + OTHER * (last - stop), style

"""The visible rows with the greatest values of a column: a sorted list of traffic that grows and changes.

Only the first :data:`MOST` rows are kept, so that a new record is placed in a millisecond, however many there are. Rows
that are there already are ranked a slice at a time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Sequence
from heapq import nlargest, nsmallest
from typing import Any, Final

from mcp_ws_ide.inspector.model.journal import Changes
from mcp_ws_ide.inspector.model.records import Kind
from mcp_ws_ide.inspector.model.store import Store
from mcp_ws_ide.inspector.model.view import View

MOST: Final = 1000
"""Rows that are kept."""
SLICE: Final = 4_000
"""Rows that are ranked at a time."""
LIMITED: Final = {"total": "latency", "size": "size"}
"""The store's column with a number that must reach the last kept row's, or the row need not be ranked."""
LIMITED_SLICE: Final = 20_000
"""Rows at a time where most need not be ranked."""

Value = Callable[[Store, int], Any]
"""Returns what a row is ranked by; None if it has no value."""


def _gateway(store: Store, row: int) -> float | None:
    upstream, total = _upstream(store, row), store.latency_of(row)
    return None if upstream is None or total is None else total - upstream


def _upstream(store: Store, row: int) -> float | None:
    twin = store.linked(store.twin, row)
    return store.latency_of(twin) if twin is not None and store.kind_of(row) is Kind.REQUEST else None


NUMBERS: Final[dict[str, Value]] = {
    "total": lambda store, row: store.latency_of(row) if store.kind_of(row) is Kind.REQUEST else None,
    "upstr": _upstream,
    "gw+": _gateway,
    "size": lambda store, row: store.size[row - store.first],
}
"""What is ranked from the greatest value down, by the heading of its column."""
TEXTS: Final[dict[str, Value]] = {
    "server": lambda store, row: store.server_of(row),
    "sess": lambda store, row: store.session_of(row) or None,
    "method, target": lambda store, row: f"{store.method_of(row)} {store.target_of(row)}",
    "st": lambda store, row: store.status_of(row).name if store.status_of(row) else None,
}
"""What is ranked alphabetically; within the same text, the newest first."""


class Ranking:
    """Rows of a view, sorted by the column ``name``: the greatest number or the first text first, else ``reverse``."""

    def __init__(self, store: Store, view: View, name: str, reverse: bool = False) -> None:
        self._store, self._view = store, view
        self.name, self.reverse = name, reverse
        self._value = (NUMBERS | TEXTS)[name]
        self._greatest = (name in NUMBERS) is not reverse
        self._from, self._upto = store.end, store.end
        self.rows: list[int] = []

    @property
    def left(self) -> int:
        """How many visible rows were not ranked yet."""
        return self._view.place(self._from)

    def step(self) -> None:
        """Rank further rows, newest first."""
        end = self._view.place(self._from)
        size = LIMITED_SLICE if self.name in LIMITED and len(self.rows) >= MOST else SLICE
        rows = self._view.rows[max(0, end - size) : end]
        self._from = rows[0] if rows else self._store.first
        if promising := self._promising(rows):
            self._rank(promising)

    def update(self, changes: Sequence[Changes]) -> None:
        """Rank new and changed rows again; the view must have been updated before."""
        rows = self._view.rows
        changed = {row for one in changes for row in one.changed if row >= self._from and self._view.has(row)}
        new = rows[bisect_left(rows, self._upto) :]
        self._upto = self._store.end
        kept = [row for row in self.rows if self._view.has(row)]
        promising = self._promising({*changed, *new})
        if promising or len(kept) < len(self.rows) or not changed.isdisjoint(kept):
            self.rows = kept
            self._rank(promising)

    def _promising(self, rows: Collection[int]) -> Collection[int]:
        """Return the rows that may be among those that are kept: all, until there are enough of them."""
        name = LIMITED.get(self.name)
        if name is None or len(self.rows) < MOST:
            return rows
        column, first = getattr(self._store, name), self._store.first
        last = self.rows[-1]
        if not self._store.holds(last):
            return rows
        limit = column[last - first]
        if self._greatest:
            return [row for row in rows if column[row - first] >= limit]
        return [row for row in rows if 0 <= column[row - first] <= limit]

    def _rank(self, rows: Iterable[int]) -> None:
        store, value = self._store, self._value
        valued = ((value(store, row), row) for row in {*self.rows, *rows})
        ranked = (nlargest if self._greatest else nsmallest)(
            MOST,
            ((found, row if self._greatest else -row) for found, row in valued if found is not None),
        )
        self.rows = [abs(row) for _, row in ranked]

"""The rows that pass a filter, kept up to date as the store changes. Free of Textual.

A filter is applied a slice at a time, newest rows first, so that a screen can show and do something between two slices.

A folded view has one row for each operation: its request, as the client leg shows it. The row is there if any message
of the operation passes the filter, so that an answer is never hidden together with what it answers.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from typing import Final

from mcp_ws_ide.inspector.model.filters import Filter, parse
from mcp_ws_ide.inspector.model.journal import Changes
from mcp_ws_ide.inspector.model.records import UPSTREAM_LEG, Kind
from mcp_ws_ide.inspector.model.store import Store, Texts

TAIL: Final = 4096
"""Changed rows this close to the end are tested together, older ones one by one."""
SLICE: Final = 20_000
"""Rows that are tested at a time."""
FOLDED_SLICE: Final = 4_000
"""Rows that are tested at a time in a folded view, where each that passes takes longer."""
SLICE_BYTES: Final = 4 << 20
"""Bytes of text that are tested at a time, more only for one row."""


def representative(store: Store, row: int) -> int:
    """Return the row that stands for the operation of ``row`` in a folded view."""
    if (
        store.kind_of(row) in (Kind.RESPONSE, Kind.ERROR)
        and (request := store.linked(store.pair, row)) is not None
    ):
        row = request
    if store.lane_of(row) in UPSTREAM_LEG and (twin := store.linked(store.twin, row)) is not None:
        row = twin
    return row


def _operation(store: Store, row: int) -> set[int]:
    """Return the rows for which ``row``, their representative, stands."""
    twin = store.linked(store.twin, row)
    rows = {row, twin, store.linked(store.pair, row)}
    if twin is not None:
        rows.add(store.linked(store.pair, twin))
    return {one for one in rows if one is not None}


class View:
    """Rows of a store in order; ``rows`` is a ``range`` while everything passes."""

    def __init__(self, store: Store, filter_: Filter | None = None) -> None:
        self._store = store
        self._filter = parse("")
        self._folding = False
        self._upto = self._from = store.end
        self._own: array[int] | None = None
        self._carried: set[int] = set()
        """Rows that stand for newer ones that pass, and that were not reached yet."""
        self.rows: Sequence[int] = range(store.first, store.end)
        if filter_ is not None:
            self.apply(filter_)

    def __len__(self) -> int:
        return len(self.rows)

    def apply(self, filter_: Filter | None, folding: bool = False) -> None:
        """Show what passes ``filter_``; None for everything."""
        self.begin(filter_, folding)
        while self.step():
            pass

    def begin(self, filter_: Filter | None, folding: bool = False) -> None:
        """Show what passes ``filter_``, once :meth:`step` has tested the rows that are there."""
        self._filter, self._folding = filter_ or parse(""), folding
        self._upto = self._from = self._store.end
        self._own = None if filter_ is None and not folding else array("Q")
        self._carried = set()
        self._publish()

    @property
    def left(self) -> int:
        """How many rows were not tested yet."""
        return 0 if self._own is None else max(0, self._from - self._store.first)

    @property
    def needs_search(self) -> bool:
        """Whether the next step needs :meth:`search` first, as the filter has a regular expression."""
        return bool(self._filter.searches)

    def texts(self) -> Texts:
        """Return what :meth:`search` needs for the next step."""
        return self._store.texts(self._slice(), self._from)

    def search(self, texts: Texts) -> None:
        """Match the regular expressions of the next step; may run in another thread than everything else.

        Raises:
            FilterTooSlowError: one of them takes too long.
        """
        for search in self._filter.searches:
            search.prepare(texts)

    def step(self) -> bool:
        """Test a slice of the rows; return whether there is another."""
        start, end, own = self._slice(), self._from, self._own
        if own is None or start >= end:
            return False
        rows = self._filter.rows(self._store, start, end)
        self._from = start
        own[0:0] = self._fold(rows, start, end) if self._folding else rows
        self._publish()
        return start > self._store.first

    def _slice(self) -> int:
        """Return the first row of the next slice, which ends before the first one that was tested."""
        store, end = self._store, self._from
        if end <= store.first:
            return end
        limit = store.offset[end - 1 - store.first] + store.length[end - 1 - store.first] - SLICE_BYTES
        fitting = bisect_left(store.offset, max(0, limit)) + store.first
        size = FOLDED_SLICE if self._folding else SLICE
        return max(store.first, end - size, min(fitting, end - 1))

    def _fold(self, rows: Iterable[int], start: int, end: int) -> array[int]:
        wanted = {representative(self._store, row) for row in rows} | self._carried
        self._carried = {row for row in wanted if row < start}
        for row in wanted:
            if row >= end:
                self._put(row, True)
        return array("Q", sorted(row for row in wanted if start <= row < end))

    def _publish(self) -> None:
        self.rows = range(self._store.first, self._upto) if self._own is None else self._own

    # --- changes ----------------------------------------------------------------------------------

    def update(self, changes: Sequence[Changes]) -> None:
        """Apply what happened since the last call, oldest first."""
        start, self._upto = self._upto, self._store.end
        own = self._own
        if own is not None:
            changed = {row for one in changes for row in one.changed if row >= self._store.first}
            if self._folding:
                self._update_folded(changed, start)
            else:
                self._update_plain(own, changed if self._filter.changing else set(), start)
            del own[: bisect_left(own, self._store.first)]
        self._publish()

    def _update_plain(self, own: array[int], changed: set[int], start: int) -> None:
        known = {row for row in changed if row >= self._from}
        recent = min((row for row in known if row >= start - TAIL), default=start)
        for row in known:
            if row < recent:
                self._put(row, self._filter.matches(self._store, row))
        del own[bisect_left(own, recent) :]
        own.extend(self._filter.rows(self._store, recent))

    def _update_folded(self, changed: set[int], start: int) -> None:
        store = self._store
        for row in self._filter.rows(store, start):
            self._put(representative(store, row), True)
        for row in changed:
            stands = representative(store, row)
            if row != stands:
                self._put(row, False)
            self._put(stands, any(self._filter.matches(store, one) for one in _operation(store, stands)))

    def _put(self, row: int, there: bool) -> None:
        """Add a row or remove it; one that was not reached yet is only noted."""
        own = self._own
        if row < self._from:
            (self._carried.add if there else self._carried.discard)(row)
        elif own is not None and there != self.has(row):
            if there:
                insort(own, row)
            else:
                del own[bisect_left(own, row)]

    # --- places -----------------------------------------------------------------------------------

    def place(self, row: int) -> int:
        """Return the index of ``row``, or of the first one after it."""
        return bisect_left(self.rows, row)

    def has(self, row: int) -> bool:
        """Return whether a row passes."""
        rows = self._own
        if rows is None:
            return row in self.rows  # a range
        place = bisect_left(rows, row)
        return place < len(rows) and rows[place] == row

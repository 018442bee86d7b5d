"""The rows that pass a filter, kept up to date as the store changes. Free of Textual."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Final

from mcp_ws_ide.inspector.model.filters import Filter, parse
from mcp_ws_ide.inspector.model.journal import Changes
from mcp_ws_ide.inspector.model.store import Store

TAIL: Final = 4096
"""Changed rows this close to the end are tested together, older ones one by one."""


class View:
    """Rows of a store in order; ``rows`` is a ``range`` while everything passes."""

    def __init__(self, store: Store, filter_: Filter | None = None) -> None:
        self._store = store
        self._filter = parse("")
        self._upto = store.end
        self.rows: Sequence[int] = range(store.first, store.end)
        self._own: array[int] | None = None
        if filter_ is not None:
            self.apply(filter_)

    def __len__(self) -> int:
        return len(self.rows)

    def apply(self, filter_: Filter | None) -> None:
        """Show what passes ``filter_``; None for everything."""
        self._filter = filter_ or parse("")
        self._upto = self._store.end
        self._own = None if filter_ is None else filter_.rows(self._store)
        self._publish()

    def _publish(self) -> None:
        self.rows = range(self._store.first, self._upto) if self._own is None else self._own

    def update(self, changes: Sequence[Changes]) -> None:
        """Apply what happened since the last call, oldest first."""
        start, self._upto = self._upto, self._store.end
        own = self._own
        if own is not None:
            changed = {row for one in changes for row in one.changed} if self._filter.changing else set()
            recent = min((row for row in changed if row >= start - TAIL), default=start)
            for row in changed:
                if row < recent:
                    self._test_again(own, row)
            del own[bisect_left(own, recent) :]
            own.extend(self._filter.rows(self._store, recent))
            del own[: bisect_left(own, self._store.first)]
        self._publish()

    def _test_again(self, own: array[int], row: int) -> None:
        place = bisect_left(own, row)
        there = place < len(own) and own[place] == row
        matches = self._filter.matches(self._store, row)
        if matches and not there:
            insort(own, row)
        elif there and not matches:
            del own[place]

    def place(self, row: int) -> int:
        """Return the index of ``row``, or of the first one after it."""
        return bisect_left(self.rows, row)

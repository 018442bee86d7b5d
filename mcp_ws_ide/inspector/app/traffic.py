"""The Traffic screen: every message, newest last."""

from __future__ import annotations

from typing import Any

from mcp_ws_ide.inspector.app.columns import traffic_heading, traffic_line
from mcp_ws_ide.inspector.app.rows import Part, Rows
from mcp_ws_ide.inspector.model import filters
from mcp_ws_ide.inspector.model.filters import Filter
from mcp_ws_ide.inspector.model.journal import Changes, Journal
from mcp_ws_ide.inspector.model.view import View


class Traffic(Rows):
    """The rows of the store that pass the filter. ``following`` keeps the cursor on the newest row."""

    def __init__(self, journal: Journal, **options: Any) -> None:
        super().__init__(**options)
        self._journal = journal
        self.view = View(journal.store)
        self.filter = filters.parse("")
        self.folding = False
        self.marked_only = False
        self.following = True
        self.paused = False
        self._held: list[Changes] = []
        self.now = 0.0

    # --- content ------------------------------------------------------------------------------------

    def count(self) -> int:
        """Return the number of rows that pass."""
        return len(self.view)

    def heading(self, width: int) -> list[Part]:
        """Return the column headings."""
        return traffic_heading(width)

    def parts(self, index: int, width: int) -> list[Part]:
        """Return one row."""
        row = self.view.rows[index]
        if not self._journal.store.holds(row):
            return [("(removed: only the newest rows are kept)", "dim")]
        return traffic_line(self._journal.store, row, width, self.now)

    def empty(self) -> str:
        """Return the text shown for an empty list."""
        if len(self._journal.store) and (self.filter.text or self.marked_only or self.folding):
            return "Nothing matches. Esc clears the filter."
        return self.nothing or "No traffic yet. Connect a client to the gateway (c shows how)."

    @property
    def row(self) -> int | None:
        """The row under the cursor."""
        rows = self.view.rows
        if not rows:
            return None
        row = rows[min(self.cursor, len(rows) - 1)]
        return row if self._journal.store.holds(row) else None

    # --- changes ------------------------------------------------------------------------------------

    def update(self, changes: list[Changes], now: float) -> None:
        """Show new and changed rows; while paused, only remember them."""
        if self.paused:
            self._hold(changes)
            return
        self.now = now
        row = self.row
        self.view.update(changes)
        if self.following:
            self.cursor = max(0, self.count() - 1)
        elif row is not None:
            shift = self.view.place(row) - self.cursor
            self.cursor += shift
            self.top += shift
        self.changed()

    def _hold(self, changes: list[Changes]) -> None:
        self._held += changes
        if len(self._held) > 1000:
            changed = [row for one in self._held for row in one.changed]
            self._held = [Changes(self._held[0].start, self._held[-1].end, changed[-100_000:])]

    def pause(self, paused: bool) -> None:
        """Pause the display, or catch up."""
        self.paused = paused
        if not paused:
            held, self._held = self._held, []
            self.update(held, self.now)

    def apply(self, filter_: Filter | None = None) -> None:
        """Apply filter and switches; the cursor stays on its row if possible."""
        self.filter = filter_ or self.filter
        row = self.row
        wanted = [self.filter] if self.filter.text.strip() else []
        if self.folding:
            wanted.append(filters.folded())
        if self.marked_only:
            wanted.append(filters.parse("is:marked"))
        whole = wanted[0] if wanted else None
        for other in wanted[1:]:
            whole = filters.both(whole, other) if whole is not None else other
        self.view.apply(whole)
        if self.following or row is None:
            self.cursor = max(0, self.count() - 1)
        else:
            self.cursor = self.view.place(row)
        self.changed()
        self.post_message(self.Moved(self))

    def follow(self, following: bool) -> None:
        """Follow the newest row, or stop following."""
        self.following = following
        if following:
            self.pause(False)
            self.go_last()

    def go_last(self) -> None:
        """Go to the newest row."""
        self.go(self.count() - 1)

    def go_row(self, row: int) -> bool:
        """Go to a row of the store; return False if the filter hides it."""
        index = self.view.place(row)
        if index >= self.count() or self.view.rows[index] != row:
            return False
        self.following = False
        self.go(index)
        return True

    def action_move(self, lines: int) -> None:
        """Move; moving up ends following."""
        self.following = self.following and lines > 0
        super().action_move(lines)

    def action_page(self, pages: int) -> None:
        """Page; paging up ends following."""
        self.following = self.following and pages > 0
        super().action_page(pages)

    def action_first(self) -> None:
        """Go to the first row; ends following."""
        self.following = False
        super().action_first()

    def go(self, index: int) -> None:
        """Go to a row; leaving the last row ends following."""
        if index < self.count() - 1:
            self.following = False
        super().go(index)

"""The Traffic screen: every message, newest last."""

from __future__ import annotations

import functools
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, Final

from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from mcp_ws_ide.inspector.app import traffic_columns
from mcp_ws_ide.inspector.app.columns import span
from mcp_ws_ide.inspector.app.highlight import Highlight
from mcp_ws_ide.inspector.app.rows import Part, Rows, fit
from mcp_ws_ide.inspector.app.timeline import Scale, scale_of
from mcp_ws_ide.inspector.model import filters
from mcp_ws_ide.inspector.model.filters import Filter
from mcp_ws_ide.inspector.model.journal import Changes, Journal
from mcp_ws_ide.inspector.model.ranking import NUMBERS, TEXTS, Ranking
from mcp_ws_ide.inspector.model.store import PROBLEM
from mcp_ws_ide.inspector.model.view import SLICE, View, representative

SORTED: Final = NUMBERS | TEXTS
"""What rows can be sorted by, by heading."""
SEEKING: Final = 10
"""Visible rows that are looked at in the time in which one row is looked for among them."""
AT_ONCE: Final = 0.03
"""Seconds for which a filter is applied before the screen is painted; afterwards it goes on between other things."""


class Traffic(Rows):
    """The rows of the store that pass the filter. ``following`` keeps the cursor on the newest row."""

    class Unfinished(Message):
        """Rows may be left to sort."""

    def __init__(self, journal: Journal, **options: Any) -> None:
        super().__init__(**options)
        self._journal = journal
        self.view = View(journal.store)
        self.filter = filters.parse("")
        self.searched: Filter | None = None
        self.highlight = Highlight()
        """What the search, or else the filter, looks for in texts."""
        self.matches: View | None = None
        """The visible rows that match the search."""
        self.ranking: Ranking | None = None
        """The order of the rows; None if they stand as they came."""
        self._aim: int | None = None
        """The row on which the cursor belongs, until the filter has found it."""
        self.folding = False
        self.timeline = False
        self._scale = Scale()
        """What the width of the timeline stands for; follows from the visible rows."""
        self.marked_only = False
        self.following = True
        self.paused = False
        self._held: list[Changes] = []
        self.now = 0.0
        self.chosen: tuple[str, ...] = ()
        """The columns that the user chose, by heading; empty for those that fit the window."""

    # --- content ------------------------------------------------------------------------------------

    def count(self) -> int:
        """Return the number of rows that pass; of sorted ones, those that are kept."""
        return len(self.listed)

    @property
    def listed(self) -> Sequence[int]:
        """The rows in the order in which they are shown."""
        return self.view.rows if self.ranking is None else self.ranking.rows

    def place(self, row: int) -> int:
        """Return the line of a row, or of the first one after it; among sorted rows, the end if it is not there."""
        if self.ranking is None:
            return self.view.place(row)
        rows = self.ranking.rows
        return rows.index(row) if row in rows else len(rows)

    def heading(self, width: int) -> list[Part]:
        """Return the column headings; that of the timeline says what its width stands for."""
        columns = self._columns(width)
        cells = traffic_columns.widths(columns, width, self._journal.store)
        heading = traffic_columns.heading(columns, cells, self.ranking)
        if self.timeline:
            heading[-1] = fit(f"timeline of {span(self._scale.seconds)}", cells[-1]), ""
        return heading

    def _columns(self, width: int) -> list[traffic_columns.Column]:
        if self.timeline:
            return traffic_columns.beside_timeline(width)
        return traffic_columns.shown(width, self.chosen)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Render for Textual, on the scale of the visible rows."""
        if self.timeline:
            visible = self.listed[self.top : self.top + self.body_height]
            self._scale = scale_of(self._journal.store, visible, self.now)
        return super().render_lines(crop)

    def parts(self, index: int, width: int) -> list[Part]:
        """Return one row."""
        row, store = self.listed[index], self._journal.store
        if not store.holds(row):
            return [("(removed: only the newest rows are kept)", "dim")]
        columns = self._columns(width)
        cells = traffic_columns.Cells(store, row, self.now, self._scale)
        line = traffic_columns.line(cells, columns, traffic_columns.widths(columns, width, store))
        return self.highlight.parts(line)

    def empty(self) -> str:
        """Return the text shown for an empty list."""
        if len(self._journal.store) and (self.filter.text or self.marked_only or self.folding):
            return "Nothing matches. Esc clears the filter."
        return self.nothing or "No traffic yet. Connect a client to the gateway (c shows how)."

    @property
    def row(self) -> int | None:
        """The row under the cursor."""
        rows = self.listed
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
        if self.matches is not None:
            self.matches.update(changes)
        if self.ranking is not None:
            self.ranking.update(changes)
        if not self.following and self._aim is None and row is not None:
            shift = self.place(row) - self.cursor
            self.cursor += shift
            self.top += shift
        self._placed()

    def _placed(self) -> None:
        """Keep the cursor on the newest row while following, or on the row that the filter has just found again."""
        if self.following:
            self.cursor = max(0, self.count() - 1)
        elif self._aim is not None:
            self.cursor = self.place(self._aim)
            if self.unfinished is None or self.view.has(self._aim):
                self._aim = None
        self.changed()

    def _hold(self, changes: list[Changes]) -> None:
        self._held += changes
        if len(self._held) > 1000:
            changed = [row for one in self._held for row in one.changed]
            self._held = [Changes(self._held[0].start, self._held[-1].end, changed[-100_000:])]

    def pause(self, paused: bool) -> None:
        """Pause the display, or catch up; with very much, :meth:`work` continues."""
        self.paused = paused
        if paused:
            return
        held, self._held = self._held, []
        if sum(one.end - one.start + len(one.changed) for one in held) > SLICE:
            self.apply()  # anew, a slice at a time
        else:
            self.update(held, self.now)

    def apply(self, filter_: Filter | None = None) -> None:
        """Apply filter and switches to the newest rows; :meth:`work` continues. The cursor keeps its row if it can.

        Raises:
            FilterTooSlowError: a regular expression takes too long.
        """
        self.filter = filter_ or self.filter
        row = None if self.following else self.row
        self._aim = representative(self._journal.store, row) if row is not None and self.folding else row
        self.view.begin(self._narrowing(), self.folding)
        if self.ranking is not None:
            self.ranking = Ranking(self._journal.store, self.view, self.ranking.name, self.ranking.reverse)
        self.search(self.searched)

    def sort(self, name: str) -> None:
        """Sort by a column, by the same one the other way round, or (``#`` or ``time``) not at all.

        Sorted rows do not follow the newest one. :meth:`work` continues.
        """
        row, before = self.row, self.ranking
        if name not in SORTED:
            self.ranking = None
        else:
            reverse = before is not None and before.name == name and not before.reverse
            self.ranking = Ranking(self._journal.store, self.view, name, reverse)
            self.following = False
        self.work(AT_ONCE)
        self.go(0 if self.ranking is not None or row is None else self.place(row))

    def sort_next(self) -> None:
        """Sort by the next column that is shown, or no longer."""
        shown = [column.name for column in self._columns(self.size.width - 1)]
        names = [name for name in shown if name in NUMBERS]
        before = self.ranking.name if self.ranking is not None else ""
        self.sort([*names, ""][names.index(before) + 1] if before in names else (names or [""])[0])

    def choose_heading(self, word: str) -> None:
        """Sort by the column that was clicked."""
        if name := traffic_columns.named(word):
            self.sort(name)
            self.post_message(self.Unfinished())

    def search(self, filter_: Filter | None) -> None:
        """Look for the visible rows that match; None ends the search. As :meth:`apply`, it begins with the newest."""
        self.searched = filter_
        self.highlight = Highlight(filter_.marks if filter_ is not None else self.filter.marks)
        if filter_ is None:
            self.matches = None
        else:
            narrowing = self._narrowing()
            whole = filter_ if narrowing is None else filters.both(narrowing, filter_)
            self.matches = View(self._journal.store)
            self.matches.begin(whole, self.folding)
        self.work(AT_ONCE)

    def _narrowing(self) -> Filter | None:
        """Return what a row must match to be visible; None if all are."""
        marked = [filters.parse("is:marked")] if self.marked_only else []
        wanted = [*([self.filter] if self.filter.text.strip() else []), *marked]
        return functools.reduce(filters.both, wanted) if wanted else None

    @property
    def unfinished(self) -> View | Ranking | None:
        """The filter, or else the search or the order, that has rows left."""
        unfinished = (self.view, self.matches, self.ranking)
        return next((one for one in unfinished if one is not None and one.left), None)

    def work(self, seconds: float) -> None:
        """Apply filter and search to further rows for about ``seconds``, except where they have regular expressions."""
        end = time.monotonic() + seconds
        while (one := self.unfinished) is not None and not (isinstance(one, View) and one.needs_search):
            one.step()
            if time.monotonic() > end:
                break
        self._placed()
        self.post_message(self.Moved(self))

    def follow(self, following: bool) -> None:
        """Follow the newest row, or stop following."""
        self.following = following
        if following:
            if self.ranking is not None:
                self.sort("")
            self.following = True
            self.pause(False)
            self.go_last()

    def go_last(self) -> None:
        """Go to the newest row."""
        self.go(self.count() - 1)

    def go_row(self, row: int) -> bool:
        """Go to a row of the store; return False if the filter hides it."""
        if self.ranking is not None and row not in self.ranking.rows and self.view.has(row):
            self.ranking = None
        index = self.place(row)
        if index >= self.count() or self.listed[index] != row:
            return False
        self.following = False
        self.go(index)
        return True

    def await_row(self, row: int) -> bool:
        """Go to a row, or to the first one after it, once the filter has come to it; return False if it already has."""
        if not self.view.left:
            return False
        self.following, self._aim = False, row
        return True

    def next_match(self, step: int) -> int | None:
        """Return the next or previous row that matches the search, else the first or last; None without any."""
        rows = self.matches.rows if self.matches is not None else ()
        if not rows:
            return None
        row = self.row
        place = bisect_left(rows, row) if row is not None else -1
        here = row is not None and place < len(rows) and rows[place] == row
        index = (place + here if step > 0 else place - 1) if row is not None else (0 if step > 0 else -1)
        return rows[index % len(rows)]

    def next_problem(self, step: int) -> int | None:
        """Return the next or previous visible row with a problem, each problem once; None without any."""
        store = self._journal.store
        marks = store.flagged(PROBLEM)
        beyond = store.first - 1 if step > 0 else store.end
        start = beyond if self.row is None else self.row
        for begin in (start, beyond):  # after the last one, from the other end
            for row in self._marked(marks, begin, step):
                if self._is_first(row):
                    return row
        return None

    def _marked(self, marks: bytes, row: int, step: int) -> Iterator[int]:
        """Yield the visible rows after ``row``, or before it, for which ``marks`` is set."""
        first, rows = self._journal.store.first, self.view.rows
        if isinstance(rows, range) or marks.count(1) < len(rows) // SEEKING:
            index = row - first
            while (index := marks.find(1, index + 1) if step > 0 else marks.rfind(1, 0, max(0, index))) >= 0:
                if self.view.has(index + first):  # while paused, newer ones are held that are not visible
                    yield index + first
            return
        place = bisect_right(rows, row) if step > 0 else bisect_left(rows, row) - 1
        for index in range(place, len(rows)) if step > 0 else range(place, -1, -1):
            if marks[rows[index] - first]:
                yield rows[index]

    def _is_first(self, row: int) -> bool:
        """Return whether no other visible row stands for the problem of this one: its request, the client leg."""
        stands = representative(self._journal.store, row)
        return stands == row or not (self._journal.store.has(stands, PROBLEM) and self.view.has(stands))

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
        self._aim = None
        if index < self.count() - 1:
            self.following = False
        super().go(index)

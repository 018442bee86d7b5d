"""Keys that show more of a row, annotate it or compare it with another."""

from __future__ import annotations

from mcp_ws_ide.inspector.app import header, traffic_columns
from mcp_ws_ide.inspector.app.app_base import AppBase
from mcp_ws_ide.inspector.app.choose_columns import ChooseColumns
from mcp_ws_ide.inspector.app.dialogs import Help, ReportScreen
from mcp_ws_ide.inspector.app.rows import Part, clean
from mcp_ws_ide.inspector.export import mark_line
from mcp_ws_ide.inspector.model import difference
from mcp_ws_ide.inspector.model.difference import content_of
from mcp_ws_ide.inspector.model.store import MARKED


class DetailActions(AppBase):
    """Marks and comments, detail pane, truncated text, comparison, help."""

    def action_mark(self) -> None:
        """Mark the row, or unmark it."""
        row, store = self.row, self.journal.store
        if row is not None and store.holds(row):
            self._note(row, not store.has(row, MARKED), self.journal.comments.get(row, ""))

    def action_comment(self) -> None:
        """Comment on the row."""
        row = self.row
        if row is not None and self.journal.store.holds(row):
            self.prompt.open("comment", self.journal.comments.get(row, ""))

    def _comment(self, text: str) -> None:
        row, store = self.row, self.journal.store
        if row is None or not store.holds(row):
            return
        self._note(row, bool(text), text)

    def _note(self, row: int, marked: bool, comment: str) -> None:
        self.journal.note(row, marked, comment)
        self._keep([mark_line(self.journal, row)])
        self.current.changed()
        self._show_detail()

    def action_difference(self) -> None:
        """Compare the two marked rows, or the marked row with the one under the cursor."""
        store = self.journal.store
        rows = [index + store.first for index, marked in enumerate(store.flagged(MARKED)) if marked]
        if len(rows) == 1 and self.row is not None and self.row != rows[0]:
            rows.append(self.row)
        if len(rows) != 2:
            return self._warn(f"d compares two rows marked with m; {len(rows)} are marked")
        one, other = (content_of(store.body(row).text) for row in rows)
        lines: list[list[Part]] = [self.detail.headline(row) for row in rows]
        differences = list(difference.differences(one, other, varying=frozenset()))
        lines += [[(clean(str(place)), "")] for place in differences[:1000]] or [
            [("the messages are the same", "good")]
        ]
        self.push_screen(ReportScreen(f"{len(differences)} differences", lines))

    def action_whole(self) -> None:
        """Show the row under the cursor, the filter and the header in full."""
        current, row = self.current, self.row
        if row is not None and self.journal.store.holds(row):
            lines = [
                self.detail.headline(row),
                *([(f"! {v.code}: ", "bad"), (clean(v.text), "")] for v in self.journal.problems_of(row)),
            ]
        else:
            lines = current.whole(current.cursor) if current.count() else []
        if current is self.traffic and (text := self.traffic.filter.text.strip()):
            lines += [[("", "")], [("filter  ", "accent"), (clean(text), "")]]
        state = header.state(self.tap, self.journal, self._rates)
        self.push_screen(ReportScreen("In full", [*lines, [("", "")], state]))

    def action_wrap(self) -> None:
        """Wrap long lines of the detail pane, or truncate them."""
        self.detail.text.set_wrap(not self.detail.text.wrap)

    def action_meta(self) -> None:
        """Show ``_meta`` in formatted messages, or collapse it."""
        self.detail.meta = not self.detail.meta
        self._show_detail()

    def action_fold_json(self, folded: bool) -> None:
        """Fold all objects and arrays of the message in the detail pane, or none."""
        self.detail.fold(folded)

    def action_tab(self, step: int) -> None:
        """Switch to another tab of the detail pane, if it is open."""
        if self.detail.is_open:
            self.detail.turn(step)

    def action_other_pane(self) -> None:
        """Move the focus between list and detail pane."""
        detail = self.detail
        text = detail.text
        if detail.is_open and self.focused is not text:
            text.focus()
        else:
            self.current.focus()

    def action_sort(self) -> None:
        """Sort Traffic or Stats by the next column."""
        if self.current is self.traffic:
            self.traffic.sort_next()
            self.finish_filter()
            self.show_state()
        else:
            self.stats.sort()

    def action_columns(self) -> None:
        """Choose the columns of Traffic."""
        traffic = self.traffic
        shown = [column.name for column in traffic_columns.shown(traffic.size.width - 1, traffic.chosen)]

        def chosen(names: tuple[str, ...] | None) -> None:
            if names is not None:
                traffic.chosen = names
                self.settings.keep(columns=list(names))
                traffic.refresh()

        self.push_screen(ChooseColumns(shown), chosen)

    def action_help(self) -> None:
        """Show the help screen."""
        self.push_screen(Help(self.settings.keys))

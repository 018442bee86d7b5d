"""Keys that filter, search and move between rows."""

from __future__ import annotations

from typing import Any

from mcp_ws_ide.inspector.app.app_base import AppBase
from mcp_ws_ide.inspector.model import filters
from mcp_ws_ide.inspector.model.filters import Filter, FilterTooSlowError
from mcp_ws_ide.inspector.model.store import PROBLEM


class FilterActions(AppBase):
    """Filter and search, follow and pause, and go to related rows."""

    def action_filter(self) -> None:
        """Edit the filter."""
        if self.current is not self.traffic:
            self.action_screen("traffic")
        self.prompt.open("filter", self.traffic.filter.text)

    def action_search(self) -> None:
        """Edit the search."""
        if self.current is not self.traffic:
            self.action_screen("traffic")
        self.prompt.open("search", self._search.text if self._search else "")

    def action_earlier(self, step: int) -> None:
        """Insert another saved or used filter."""
        self.prompt.write(self.saved.around(self.prompt.field.value.strip(), step))

    def action_keep_filter(self) -> None:
        """Save the filter, or remove it from the saved filters."""
        if self.prompt.check(self.prompt.field.value) is None:
            return
        kept = self.saved.toggle(self.prompt.field.value)
        message = {
            True: "saved; ↑ recalls it",
            False: "removed from the saved filters",
            None: "the filter could not be saved",
        }[kept]
        self.prompt.say(message, "good" if kept is not None else "bad")

    def _close_prompt(self) -> None:
        self.prompt.close()
        self.screen.set_focus(self.current)

    def _apply(self, purpose: str, filter_: Filter) -> None:
        if filter_.in_text and (cut := filters.truncated(self.journal.store)):
            ends = (
                "message is truncated; its end was" if cut == 1 else "messages are truncated; their ends were"
            )
            self._warn(f"{cut} {ends} not searched")
        if purpose == "filter":
            self._filter(filter_)
        else:
            self._search = filter_ if filter_.text.strip() else None
            self.action_match(1)

    def action_leave(self) -> None:
        """Close what is open, else clear the filter."""
        prompt, detail = self.prompt, self.detail
        if prompt.is_open:
            prompt.close()
            self.current.focus()
            if prompt.purpose == "search":
                self._search = None
            if prompt.purpose != "filter":
                return
        elif detail.is_open:
            detail.remove_class("open")
            self.current.focus()
            return
        elif self.current is not self.traffic:
            return self.action_screen("traffic")
        self.traffic.marked_only = False
        self.traffic.apply(filters.parse(""))
        self.show_state()

    def action_follow(self) -> None:
        """Follow the newest row, or stop following."""
        self.traffic.follow(not self.traffic.following)
        self.show_state()

    def action_pause(self) -> None:
        """Pause the display, or resume it."""
        self.traffic.pause(not self.traffic.paused)
        self.show_state()

    def action_pair(self) -> None:
        """Go to the other half of the pair."""
        self._jump(self.journal.store.pair, "this row has no pair")

    def action_twin(self) -> None:
        """Go to the same message on the other leg."""
        self._jump(self.journal.store.twin, "this message was not seen on the other leg")

    def _jump(self, column: Any, message: str) -> None:
        row, store = self.row, self.journal.store
        other = store.linked(column, row) if row is not None else None
        if other is None:
            self.notify(message, severity="warning", timeout=3, markup=False)
        else:
            self.jump(other)

    def action_marked_only(self) -> None:
        """Show only marked rows, or all."""
        self.traffic.marked_only = not self.traffic.marked_only
        self._filter(self.traffic.filter)

    def action_fold(self) -> None:
        """Show one row per operation, or all."""
        self.traffic.folding = not self.traffic.folding
        self._filter(self.traffic.filter)

    def action_match(self, step: int) -> None:
        """Go to the next match of the search; without a search, to the next problem."""
        traffic, store = self.traffic, self.journal.store
        if self.current is not traffic:
            self.action_screen("traffic")
        row = traffic.row
        rows = traffic.view.rows
        if self._search is None:
            hits = [r for r in rows if store.holds(r) and store.has(r, PROBLEM)]
        else:
            try:
                matching = set(self._search.rows(store))
            except FilterTooSlowError as error:
                return self._warn(str(error))
            hits = [r for r in rows if r in matching]
        after = [r for r in hits if row is None or (r > row if step > 0 else r < row)]
        if not hits:
            self.notify("no match", severity="warning", timeout=3, markup=False)
        else:
            target = (after[0] if step > 0 else after[-1]) if after else (hits[0] if step > 0 else hits[-1])
            traffic.go_row(target)

    def _only(self, text: str) -> None:
        self.action_screen("traffic")
        self._filter(filters.parse(text))

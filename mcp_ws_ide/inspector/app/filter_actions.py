"""Keys that filter, search and move between rows."""

from __future__ import annotations

from typing import Any

from mcp_ws_ide.inspector.app.app_base import AppBase
from mcp_ws_ide.inspector.model import filters
from mcp_ws_ide.inspector.model.filters import Filter


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
        self.prompt.open("search", self.traffic.searched.text if self.traffic.searched else "")

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
            self.traffic.search(filter_ if filter_.text.strip() else None)
            self.go_match(1)
            self.finish_filter()

    def action_leave(self) -> None:
        """Close what is open, else clear the filter."""
        prompt, detail = self.prompt, self.detail
        if prompt.is_open:
            prompt.close()
            self.current.focus()
            if prompt.purpose == "search":
                self.traffic.search(None)
            if prompt.purpose != "filter":
                return
        elif detail.is_open:
            detail.remove_class("open")
            self.current.focus()
            return self.show_state()
        elif self.current is not self.traffic:
            return self.action_screen("traffic")
        self.traffic.marked_only = False
        self.traffic.apply(filters.parse(""))
        self.finish_filter()
        self.show_state()

    def action_follow(self) -> None:
        """Follow the newest row, or stop following."""
        self.traffic.follow(not self.traffic.following)
        self.finish_filter()
        self.show_state()

    def action_pause(self) -> None:
        """Pause the display, or resume it."""
        self.traffic.pause(not self.traffic.paused)
        self.finish_filter()
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
        self.traffic.timeline = False
        self._filter(self.traffic.filter)

    def action_timeline(self) -> None:
        """Show a bar for each operation, or messages again."""
        self.traffic.timeline = self.traffic.folding = not self.traffic.timeline
        if self.current is not self.traffic:
            self.action_screen("traffic")
        self._filter(self.traffic.filter)

    def action_match(self, step: int) -> None:
        """Go to the next match of the search; without a search, to the next problem."""
        if self.current is not self.traffic:
            self.action_screen("traffic")
        self.go_match(step)

    def _only(self, text: str) -> None:
        self.action_screen("traffic")
        self._filter(filters.parse(text))

"""What all parts of the application share: widgets, cursor, messages, and the current screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from textual import events, work
from textual.app import ComposeResult
from textual.containers import Container
from textual.widgets import ContentSwitcher

from mcp_ws_ide.discovery import RunningGateway
from mcp_ws_ide.inspector.app import header, keys
from mcp_ws_ide.inspector.app.detail import Detail
from mcp_ws_ide.inspector.app.dialogs import Prompt
from mcp_ws_ide.inspector.app.gateways import Gateways
from mcp_ws_ide.inspector.app.keys import SCREENS, FooterKey
from mcp_ws_ide.inspector.app.panes import Capabilities, Ladder, Pane, Problems, Sessions, Stats
from mcp_ws_ide.inspector.app.rows import Line, Part, Rows, clean
from mcp_ws_ide.inspector.app.shutdown import ShutdownApp
from mcp_ws_ide.inspector.app.traffic import Traffic
from mcp_ws_ide.inspector.model import filters
from mcp_ws_ide.inspector.model.filters import Filter, FilterTooSlowError
from mcp_ws_ide.inspector.model.journal import Changes, Journal
from mcp_ws_ide.inspector.model.view import View, representative
from mcp_ws_ide.inspector.playback import Playback
from mcp_ws_ide.inspector.recording import Recorder
from mcp_ws_ide.inspector.saved import SavedFilters
from mcp_ws_ide.inspector.settings import Settings
from mcp_ws_ide.inspector.watch import Watch

SIDE_BY_SIDE: Final = 160
"""Width of the window from which the detail pane is beside the list."""
SHARE: Final = 0.01
"""Seconds for which a filter is applied at a time, and seconds for everything else between two of them."""


class AppBase(ShutdownApp):
    """The screens, the detail pane and the lines around them; subclasses implement the keys."""

    def __init__(
        self,
        find: Callable[[], RunningGateway] | Playback,
        journal: Journal | None = None,
        *,
        private: bool = False,
        filter_: Filter | None = None,
    ) -> None:
        super().__init__()
        self._private = private
        self._first_filter = filter_ or filters.parse("")
        self.journal = journal = journal or Journal()
        # Held here: while help or the palette is open, a query would search those instead.
        self.head, self.tabs, self.footer = Line(id="head"), Line(id="tabs"), Line(id="keys")
        self.footer_keys: list[FooterKey] = []
        self.main = Container(id="main")
        self.switcher = ContentSwitcher(initial="traffic")
        self.traffic = Traffic(journal, id="traffic")
        self.sessions = Sessions(journal, id="sessions")
        self.ladder = Ladder(journal, id="ladder")
        self.stats = Stats(journal, id="stats")
        self.capabilities = Capabilities(journal, id="capabilities")
        self.problems = Problems(journal, id="problems")
        self.gateways = Gateways(journal, id="gateways")
        lists: list[Rows] = [
            self.sessions,
            self.traffic,
            self.ladder,
            self.stats,
            self.capabilities,
            self.problems,
            self.gateways,
        ]
        self.panes = dict(zip(SCREENS, lists, strict=True))
        self._of_clients = (self.sessions, self.stats, self.capabilities)
        self.detail, self.prompt = Detail(journal), Prompt()
        self._something_to_do = asyncio.Event()  # ends the rest between two frames while nothing comes
        self.tap = self._source(find)
        self.saved, self.settings = SavedFilters(), Settings()
        self.opening = ""
        """The recording to open next, if the user asked for one."""
        self._recorder: Recorder | None = None
        self._wanted_match = 0
        """The direction in which to go once the search has found all matches; 0 for none."""
        self._frames, self._rates = 0, (0.0, 0.0)
        self._fresh: list[Changes] = []
        self._offset: float | None = None
        self._seen = (time.monotonic(), 0, 0)
        self._polled: tuple[float, RunningGateway | None, int] = 0.0, None, 0
        """When sessions and servers were last requested, of which gateway, and after which row."""

    def _source(self, find: Callable[[], RunningGateway] | Playback) -> Watch | Playback:
        if isinstance(find, Playback):
            return find
        return Watch(find, on_records=self._something_to_do.set)

    def compose(self) -> ComposeResult:
        """Lay out the widgets from top to bottom."""
        yield self.head
        yield self.tabs
        with self.main:
            with self.switcher:
                yield from self.panes.values()
            yield self.detail
        yield self.prompt
        yield self.footer

    def on_resize(self, event: events.Resize) -> None:
        """Put the detail pane beside the list where the window is wide, else below it."""
        self.main.set_class(event.size.width >= SIDE_BY_SIDE, "wide")
        self.show_state()

    @property
    def current(self) -> Rows:
        """The visible screen."""
        return self.panes[self.switcher.current or "traffic"]

    @property
    def now(self) -> float:
        """The gateway's monotonic clock, estimated from its records; in a recording, the time of its last record."""
        if isinstance(self.tap, Playback):
            return self.journal.store.mono[-1] if len(self.journal.store) else 0.0
        return time.monotonic() + (self._offset or 0.0)

    @property
    def row(self) -> int | None:
        """The row of the store under the cursor of the visible screen."""
        current = self.current
        return current.row if isinstance(current, (Traffic, Pane)) else None

    def _keep(self, lines: list[str]) -> None:
        """Write records to the recording, if one is running."""
        raise NotImplementedError

    def show_state(self) -> None:
        """Update header and tabs."""
        self._measure()
        for pane in self.panes.values():
            pane.explain_empty(header.nothing(self.tap, self.journal, pane in self._of_clients))
        message = self.journal.store.trouble
        trouble: list[Part] = [(f" {clean(message)} ", "bad")] if message else []
        recording = (
            [("● REC ", "bad"), (f"{self._recorder.records:,} ", "")] if self._recorder is not None else []
        )
        self.head.show([*trouble, *header.state(self.tap, self.journal, self._rates), *recording])
        current, width = self.switcher.current, self.size.width
        self.tabs.show(header.tabs(self.journal, self.traffic, current, self.now, width, self.shown_screens))
        place = "detail" if self.detail.is_open else current or "traffic"
        self.footer_keys = keys.footer(place, width - 1, self.settings.keys)
        self.footer.show([(f" {text} ", "dim") for text, _ in self.footer_keys])

    @property
    def shown_screens(self) -> tuple[str, ...]:
        """The screens that are named above the list: Gateways only where there are several."""
        return SCREENS if self.gateways.count() else SCREENS[:-1]

    def _measure(self) -> None:
        now, store = time.monotonic(), self.journal.store
        since, rows, size = self._seen
        if now - since >= 0.9:
            self._rates = ((store.end - rows) / (now - since), (self.journal.bytes - size) / (now - since))
            self._seen = now, store.end, self.journal.bytes

    def _warn(self, message: str) -> None:
        self.notify(clean(message), severity="warning", timeout=5, markup=False)

    def _tell(self, message: str) -> None:
        self.notify(clean(message), timeout=4, markup=False)

    def action_screen(self, name: str) -> None:
        """Switch to another screen."""
        before = self.row
        if name == "ladder":
            self._choose_ladder(before)
        self.switcher.current = name
        self._something_to_do.set()
        pane = self.current
        if isinstance(pane, Pane):
            self._refresh_pane(pane)
        else:
            self.traffic.changed()
        pane.focus()
        self._show_detail()
        self.show_state()

    def _show_detail(self) -> None:
        self.detail.highlight = self.traffic.highlight
        self.detail.show(self.row)

    def _refresh_pane(self, pane: Pane) -> None:
        if isinstance(pane, Problems):
            pane.now = self.now
        pane.update()

    def _choose_ladder(self, row: int | None) -> None:
        """Choose the session of the row, and go to it; or that of the Sessions screen, else the newest one."""
        ladder, session = self.ladder, self._session_of(row)
        ladder.choose(session or ladder.session or next(reversed(self.journal.sessions), None))
        if session and row is not None:
            ladder.update()
            ladder.go_row(row)

    def _session_of(self, row: int | None) -> str | None:
        """Return the session of the row, or the one selected on the Sessions screen."""
        store = self.journal.store
        if self.current is self.sessions:
            return self.sessions.session
        if row is None or not store.holds(row):
            return None
        twin = store.linked(store.twin, row)
        return store.session_of(row) or (store.session_of(twin) if twin is not None else None)

    def _filter(self, filter_: Filter) -> None:
        self.saved.used(filter_.text)
        self.traffic.apply(filter_)
        self.finish_filter()
        self.show_state()

    @work(exclusive=True, group="filter")
    async def finish_filter(self) -> None:
        """Apply filter and search to the rows that are left, a slice at a time; regular expressions in a thread."""
        traffic = self.traffic
        try:
            while (view := traffic.unfinished) is not None:
                if isinstance(view, View) and view.needs_search:
                    await asyncio.to_thread(view.search, view.texts())
                    view.step()
                traffic.work(SHARE)
                await asyncio.sleep(SHARE)
        except FilterTooSlowError as error:
            self._give_up(error)
        step, self._wanted_match = self._wanted_match, 0
        if step:
            self.go_match(step)
        self.show_state()

    def go_match(self, step: int) -> None:
        """Go to the next or previous match of the search; without a search, to the next or previous problem."""
        traffic = self.traffic
        if traffic.searched is not None and traffic.unfinished is not None:
            self._wanted_match = step  # once all are known
            return
        row = traffic.next_problem(step) if traffic.searched is None else traffic.next_match(step)
        if row is None:
            self.notify(
                "no match" if traffic.searched else "no problem", severity="warning", timeout=3, markup=False
            )
        else:
            traffic.go_row(row)
        self.show_state()

    def _give_up(self, error: FilterTooSlowError) -> None:
        """Clear a filter or search that takes too long: the screen must not freeze."""
        traffic = self.traffic
        filtered = traffic.view.needs_search
        self._warn(f"{error}; the {'filter' if filtered else 'search'} was cleared")
        self._wanted_match = 0
        if not filtered:
            return traffic.search(None)
        traffic.searched = None
        traffic.apply(filters.parse(""))
        self.show_state()

    def jump(self, row: int) -> None:
        """Go to a row in Traffic; clear a filter that hides it."""
        if self.current is not self.traffic:
            self.action_screen("traffic")
        if not self.traffic.go_row(row):
            self._reveal(row)
        self.show_state()

    def _reveal(self, row: int) -> None:
        """Go to a row that is not visible: unfold if that suffices, else clear the filter."""
        traffic = self.traffic
        folded = traffic.folding and traffic.view.has(representative(self.journal.store, row))
        traffic.folding = traffic.timeline = False
        if not folded:
            traffic.marked_only = False
        traffic.apply(traffic.filter if folded else filters.parse(""))
        self.finish_filter()
        if traffic.go_row(row) or traffic.await_row(row):
            hid = "unfolded, as that row is part of a folded operation"
            self._tell(hid if folded else "the filter hid that row and was cleared")
        elif folded:
            self._reveal(row)  # its operation matches the filter, but it does not

    def _toggle_detail(self, on: bool) -> None:
        detail = self.detail
        detail.set_class(on, "open")
        self._show_detail()
        self.current.focus()
        self.show_state()
        self.call_after_refresh(self.current.changed)

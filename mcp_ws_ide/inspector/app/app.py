"""The application: what is on the screen, what the keys do, and how often it looks at the traffic."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar, Final

from textual import work
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import ContentSwitcher, Input

from mcp_ws_ide.discovery import RunningGateway
from mcp_ws_ide.errors import ConnectError
from mcp_ws_ide.inspector import export, replay
from mcp_ws_ide.inspector.app import connecting
from mcp_ws_ide.inspector.app.detail import Detail
from mcp_ws_ide.inspector.app.dialogues import Choice, Copying, Help, Prompt, Question, Report
from mcp_ws_ide.inspector.app.panes import Capabilities, Ladder, Pane, Problems, Sessions, Stats
from mcp_ws_ide.inspector.app.rows import Line, Part, Rows, clean
from mcp_ws_ide.inspector.app.traffic import Traffic
from mcp_ws_ide.inspector.app.wording import amount
from mcp_ws_ide.inspector.gateway_client import GatewayClient
from mcp_ws_ide.inspector.model import commands, difference, filters
from mcp_ws_ide.inspector.model.filters import Filter, FilterTooSlow
from mcp_ws_ide.inspector.model.journal import Changes, Journal
from mcp_ws_ide.inspector.model.records import Kind
from mcp_ws_ide.inspector.model.store import MARKED, PROBLEM
from mcp_ws_ide.inspector.playback import Playback
from mcp_ws_ide.inspector.recording import Header, Recorder, RecordingError, gap_line
from mcp_ws_ide.inspector.saved import SavedFilters
from mcp_ws_ide.inspector.watch import Gap, Watch

FRAME: Final = 1 / 20
"""Seconds between two looks at what came in."""
BUDGET: Final = 0.02
"""Seconds of one frame in which records are taken in; the rest waits for the next one."""
BUSY: Final = 2000
"""Records a second above which only every second frame is painted: nobody reads faster."""
SLOW: Final = 10
"""Frames between two updates of the header and of every screen but Traffic."""
POLL: Final = 2.0
"""Seconds between two questions about sessions and servers."""
SCREENS: Final = ("sessions", "traffic", "ladder", "stats", "capabilities", "problems")
FAULTS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("cut the link", "cut", {}),
    ("half-open for 60 s: neither read nor write", "half_open", {"seconds": 60}),
    ("delay what the gateway writes by 1 s, for 60 s", "delay", {"ms": 1000, "seconds": 60}),
    ("send the next message twice", "duplicate", {"count": 1}),
    ("answer the next resume with gone", "refuse_resume", {"how": "gone"}),
    ("refuse the next three resumes for now", "refuse_resume", {"how": "later", "count": 3}),
    ("disarm what is armed", "", {}),
)
"""Faults as they are offered; docs/inspector.md says what each does."""
SHORT: Final = {"sessions": "Sess", "capabilities": "Caps"}
"""What a screen is called where there is little room."""


class InspectorApp(App[None]):
    """``mcp-ws-inspect``: every message, both ways, live."""

    TITLE = "mcp-ws-inspect"
    CSS = """
    #head { background: $panel; }
    #tabs { background: $boost; }
    ContentSwitcher { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number), f"screen({name!r})", name.title()) for number, name in enumerate(SCREENS, 1)),
        # With priority, so that they act before the next key is given to whoever has the focus.
        Binding("slash", "filter", "Filter", priority=True),
        Binding("ctrl+f", "search", "Search", priority=True),
        Binding("escape", "leave", "Back"),
        Binding("f", "follow", "Follow"),
        Binding("p", "pause", "Pause"),
        Binding("x", "pair", "Pair"),
        Binding("t", "twin", "Other leg"),
        Binding("m", "mark", "Mark"),
        Binding("M", "marked_only", "Marked only"),
        Binding("n", "match(1)", "Next match"),
        Binding("N", "match(-1)", "Previous match"),
        Binding("l", "fold", "Fold legs"),
        Binding("s", "sort", "Sort"),
        Binding("y", "copy", "Copy"),
        Binding("r", "again", "Send again"),
        Binding("E", "faults", "Break the link"),
        Binding("R", "record", "Record"),
        Binding("e", "export", "Export"),
        Binding("o", "open", "Open a recording"),
        Binding("d", "difference", "Compare marked"),
        Binding("semicolon", "comment", "Comment"),
        Binding("w", "wrap", "Wrap lines"),
        Binding("v", "whole", "View what is cut off"),
        Binding("c", "connecting", "How to connect"),
        Binding("ctrl+s", "keep_filter", "Keep the filter", priority=True),
        Binding("up", "earlier(-1)", show=False, priority=True),
        Binding("down", "earlier(1)", show=False, priority=True),
        Binding("right_square_bracket,right", "tab(1)", "Next tab"),
        Binding("left_square_bracket,left", "tab(-1)", "Previous tab"),
        Binding("tab,shift+tab", "other_pane", "Other pane", priority=True),
        Binding("question_mark", "help", "Help"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "interrupt", "Quit", priority=True, show=False),
    ]

    def __init__(
        self,
        find: Callable[[], RunningGateway] | Playback,
        journal: Journal | None = None,
        *,
        private: bool = False,
    ) -> None:
        super().__init__()
        self._private = private
        self.journal = journal = journal or Journal()
        # Held here: while help or the palette is open, a query would search those instead.
        self.head, self.tabs = Line(id="head"), Line(id="tabs")
        self.switcher = ContentSwitcher(initial="traffic")
        self.traffic = Traffic(journal, id="traffic")
        self.sessions = Sessions(journal, id="sessions")
        self.ladder = Ladder(journal, id="ladder")
        self.stats = Stats(journal, id="stats")
        self.capabilities = Capabilities(journal, id="capabilities")
        self.problems = Problems(journal, id="problems")
        lists: list[Rows] = [
            self.sessions,
            self.traffic,
            self.ladder,
            self.stats,
            self.capabilities,
            self.problems,
        ]
        self.panes = dict(zip(SCREENS, lists, strict=True))
        self._of_clients = (self.sessions, self.stats, self.capabilities)
        self.detail, self.prompt = Detail(journal), Prompt()
        self._beats: list[Timer] = []
        self.tap: Watch | Playback = find if isinstance(find, Playback) else Watch(find)
        self.saved = SavedFilters()
        self.opening = ""
        """The recording that is to be opened next, when the person asked for one."""
        self._recorder: Recorder | None = None
        self._search: Filter | None = None
        self._frames = 0
        self._fresh: list[Changes] = []
        self._offset: float | None = None
        self._seen = (time.monotonic(), 0, 0)
        self._rates = (0.0, 0.0)
        self._live_sessions: int | None = None

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield self.head
        yield self.tabs
        with self.switcher:
            yield from self.panes.values()
        yield self.detail
        yield self.prompt
        yield Line(id="keys")

    def on_mount(self) -> None:
        """Begin."""
        self.query_one("#keys", Line).show(
            [
                (
                    " / filter  f follow  p pause  ↵ detail  x pair  m mark  l fold  ? help  q quit",
                    "dim",
                )
            ]
        )
        self.traffic.focus()
        self.run_worker(self.tap.run(), name="watch", exclusive=True, group="watch")
        self._beats = [self.set_interval(FRAME, self.frame), self.set_interval(POLL, self.poll)]
        self.show_state()

    def on_unmount(self) -> None:
        """Give the files back; the journal is kept for coming back from a recording."""
        for timer in self._beats:
            timer.stop()
        self._stop_recording()
        if isinstance(self.tap, Playback):
            self.tap.close()
        if not self.opening:
            self.journal.close()

    # --- the traffic --------------------------------------------------------------------------------

    @property
    def current(self) -> Rows:
        """The screen that is to be seen."""
        return self.panes[self.switcher.current or "traffic"]

    @property
    def now(self) -> float:
        """The gateway's monotonic clock, as far as its records told it; in a recording, that of its last record."""
        if isinstance(self.tap, Playback):
            return self.journal.store.mono[-1] if len(self.journal.store) else 0.0
        return time.monotonic() + (self._offset or 0.0)

    def frame(self) -> None:
        """Take in what came, for at most :data:`BUDGET`, and repaint what is to be seen."""
        self._fresh += self._take_in()
        self._frames += 1
        slow = self._frames % SLOW == 0
        if self._rates[0] > BUSY and self._frames % 2:
            return
        changes, self._fresh = self._fresh, []
        current = self.current
        if changes or (slow and current is self.traffic and self.journal.pairing.open):
            try:
                self.traffic.update(changes, self.now)
            except FilterTooSlow as error:
                self._give_up(error)
        if slow:
            if isinstance(current, Pane):
                self._refresh_pane(current)
            self.show_state()
        if (changes or slow) and self.detail.is_open:
            self.detail.show(self.row)

    def _take_in(self) -> list[Changes]:
        end, found = time.monotonic() + BUDGET, []
        while time.monotonic() < end and (item := self.tap.take()) is not None:
            if isinstance(item, Gap):
                found.append(self.journal.gap(item.time, self.now, item.reason))
                self.journal.missed += item.count or 0
                self._keep([gap_line(item.time, self.now, item.reason)])
            else:
                lines = item.split("\n")
                found.append(self.journal.feed(lines))
                self._keep(lines)
                self._learn_clock()
        return found

    def _keep(self, lines: list[str]) -> None:
        """Into the recording, while there is one."""
        if self._recorder is not None:
            try:
                self._recorder.write(lines)
            except (RecordingError, BrokenPipeError) as error:
                self._stop_recording()
                self._warn(f"the recording was stopped: {error}")

    def _stop_recording(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            with contextlib.suppress(RecordingError):
                recorder.close()
            self._tell(f"recorded {recorder.records} records to {recorder.path}")

    def _warn(self, words: str) -> None:
        self.notify(clean(words), severity="warning", timeout=5, markup=False)

    def _tell(self, words: str) -> None:
        self.notify(clean(words), timeout=4, markup=False)

    def _learn_clock(self) -> None:
        store = self.journal.store
        if len(store):
            offset = store.mono[-1] - time.monotonic()
            # What waited on the way looks old; the greatest difference is the nearest to the truth.
            self._offset = (
                offset
                if self._offset is None or abs(offset - self._offset) > 60
                else max(self._offset, offset)
            )

    @work(exclusive=True, group="poll")
    async def poll(self) -> None:
        """Ask for sessions and servers; what cannot be asked is shown as it was."""
        gateway = self.tap.gateway
        if gateway is None or self.tap.state != "live":
            return
        client = GatewayClient(gateway)
        try:
            sessions = await asyncio.to_thread(client.call, "GET", "sessions")
            servers = await asyncio.to_thread(client.call, "GET", "servers")
        except ConnectError:
            return
        live = sessions.get("sessions") or []
        self._live_sessions = len(live)
        self.sessions.refreshed(live)
        self.capabilities.refreshed(servers.get("servers") or [])

    def _refresh_pane(self, pane: Pane) -> None:
        if isinstance(pane, Problems):
            pane.now = self.now
        pane.update()

    # --- the header ---------------------------------------------------------------------------------

    def show_state(self) -> None:
        """Header and tabs."""
        self._measure()
        for pane in self.panes.values():
            pane.say_nothing(self._nothing(pane))
        words = self.journal.store.trouble
        trouble: list[Part] = [(f" {clean(words)} ", "bad")] if words else []
        recording = (
            [("● REC ", "bad"), (f"{self._recorder.records:,} ", "")] if self._recorder is not None else []
        )
        self.head.show([*trouble, *self._state(), *recording])
        self.tabs.show(self._tabs())

    def _nothing(self, pane: Rows) -> str:
        """Why nothing is to be seen there, unless it is for want of clients."""
        if isinstance(self.tap, Playback):
            if not self.tap.ended:
                return "The recording is being read …"
            if not len(self.journal.store):
                return "The recording holds no records."
            return "The recording holds nothing of the kind." if pane in self._of_clients else ""
        if self.tap.state != "live" and not len(self.journal.store):
            return "Not connected to the gateway; the first line says why."
        return ""

    def _measure(self) -> None:
        now, store = time.monotonic(), self.journal.store
        since, rows, size = self._seen
        if now - since >= 0.9:
            self._rates = ((store.end - rows) / (now - since), (self.journal.bytes - size) / (now - since))
            self._seen = now, store.end, self.journal.bytes

    def _state(self) -> list[Part]:
        watch, store = self.tap, self.journal.store
        where = clean(watch.gateway.url) if watch.gateway is not None else ""
        if watch.state == "live":
            trip = f"rtt {watch.round_trip * 1000:.1f}ms · " if watch.round_trip is not None else ""
            open_ = len(self.journal.waiting())
            drops = self.journal.missed
            return [
                (" ● LIVE ", "good"),
                (f"{trip}{self._rates[0]:.0f}/s {amount(self._rates[1])}B/s · {store.end:,} rec · ", ""),
                (f"{open_} open · ", "warn" if open_ else ""),
                (f"drop {drops} · ", "bad" if drops else ""),
                (f"gaps {watch.gaps} · " if watch.gaps else "", "warn"),
                (where, "dim"),
            ]
        if isinstance(watch, Playback):
            return [
                (" ■ FILE ", "accent"),
                (f"{clean(watch.path)} · {store.end:,} rec · ", ""),
                (f"{clean(watch.words)} · " if watch.words else "", "warn"),
                (f"recorded {watch.begun} at {where}", "dim"),
            ]
        if watch.state == "waiting":
            left = max(0.0, watch.next_try - time.monotonic())
            return [(f" ◌ NOT CONNECTED, again in {left:.0f}s ", "bad"), (clean(watch.words), "")]
        return [(" ◌ connecting … ", "warn"), (f"{where} {clean(watch.words)}", "dim")]

    def _tabs(self) -> list[Part]:
        current = self.switcher.current
        store, limit = self.journal.store, self.now - Problems.WAITS
        problems = sum(self.journal.problem_counts.values())
        problems += sum(store.mono[row - store.first] < limit for row in self.journal.waiting())
        parts: list[Part] = []
        for number, name in enumerate(SCREENS, 1):
            label = name.title() if self.size.width >= 110 else SHORT.get(name, name.title())
            label += f"({amount(problems)})" if name == "problems" and problems else ""
            parts.append(
                (
                    f"[{number} {label}]" if name == current else f" {number} {label} ",
                    "head" if name == current else "",
                )
            )
        traffic = self.traffic
        switches = [
            ("PAUSED", traffic.paused),
            ("follow", traffic.following and not traffic.paused),
            ("folded", traffic.folding),
            ("marked", traffic.marked_only),
        ]
        words = " ".join(word for word, on in switches if on)
        parts.append((f" {words} ", "warn" if traffic.paused else "dim"))
        if traffic.filter.text.strip():
            parts.append((f"/{clean(traffic.filter.text)}", "accent"))
        return parts

    # --- what the keys do ---------------------------------------------------------------------------

    @property
    def row(self) -> int | None:
        """The row of the store under the cursor of the present screen."""
        current = self.current
        return current.row if isinstance(current, (Traffic, Pane)) else None

    def action_screen(self, name: str) -> None:
        """To another screen."""
        before = self.row
        if name == "ladder":
            self._choose_ladder(before)
        self.switcher.current = name
        pane = self.current
        if isinstance(pane, Pane):
            self._refresh_pane(pane)
        else:
            self.traffic.changed()
        pane.focus()
        self.detail.show(self.row)
        self.show_state()

    def _choose_ladder(self, row: int | None) -> None:
        """The session of the row, or of the Sessions screen, else the newest one."""
        ladder = self.ladder
        ladder.choose(self._session_of(row) or ladder.session or next(reversed(self.journal.parties), None))

    def _session_of(self, row: int | None) -> str | None:
        """The session of the row, or the one chosen on the Sessions screen."""
        store = self.journal.store
        if self.current is self.sessions:
            return self.sessions.session
        if row is None or not store.holds(row):
            return None
        twin = store.linked(store.twin, row)
        return store.session_of(row) or (store.session_of(twin) if twin is not None else None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where text is written, ``/`` and Tab are text or the dialogue's own."""
        if action in ("filter", "search", "other_pane"):
            return not self.prompt.is_open and len(self.screen_stack) == 1
        if action in ("earlier", "keep_filter"):
            return self.prompt.is_open and self.prompt.purpose == "filter" and len(self.screen_stack) == 1
        return True

    def action_filter(self) -> None:
        """Write a filter."""
        if self.current is not self.traffic:
            self.action_screen("traffic")
        self.prompt.open("filter", self.traffic.filter.text)

    def action_search(self) -> None:
        """Write a search."""
        if self.current is not self.traffic:
            self.action_screen("traffic")
        self.prompt.open("search", self._search.text if self._search else "")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say at once what is wrong."""
        self.prompt.check(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Do what was asked for, if it is right."""
        purpose, text = self.prompt.purpose, event.value
        if purpose in Prompt.FILTERS:
            filter_ = self.prompt.check(text)
            if filter_ is not None:
                self._close_prompt()
                self._apply(purpose, filter_)
        elif purpose == "comment":
            self._close_prompt()
            self._comment(text.strip())
        elif text.strip() and (problem := self._use_file(purpose, text.strip())):
            self.prompt.say(problem)
        else:
            self._close_prompt()

    def _close_prompt(self) -> None:
        self.prompt.close()
        self.screen.set_focus(self.current)

    def _apply(self, purpose: str, filter_: Filter) -> None:
        if purpose == "filter":
            self._filter(filter_)
        else:
            self._search = filter_ if filter_.text.strip() else None
            self.action_match(1)

    def _use_file(self, purpose: str, text: str) -> str:
        """Record to, write to or open a file; returns what is wrong."""
        path = os.path.expanduser(text)
        try:
            if purpose == "record":
                self._recorder = Recorder(path, self._header())
            elif purpose == "export":
                return self._export(path)
            else:
                Playback(path).close()
                self.opening = path
                self.exit()
        except RecordingError as error:
            return str(error)
        return ""

    def _header(self) -> Header:
        gateway = self.tap.gateway
        if isinstance(self.tap, Playback):
            return self.tap.header
        return Header(time.time(), gateway.url if gateway is not None else "")

    def _filter(self, filter_: Filter) -> None:
        self.saved.used(filter_.text)
        try:
            self.traffic.apply(filter_)
        except FilterTooSlow as error:
            self._give_up(error)
        self.show_state()

    def _give_up(self, error: FilterTooSlow) -> None:
        """A filter that takes too long is taken away: the screen must not stand still."""
        self._warn(f"{error}; it was cleared")
        self.traffic.apply(filters.parse(""))
        self.show_state()

    def action_earlier(self, step: int) -> None:
        """Another of the filters that were kept or used."""
        self.prompt.write(self.saved.around(self.prompt.field.value.strip(), step))

    def action_keep_filter(self) -> None:
        """Keep the filter for other days, or forget it."""
        if self.prompt.check(self.prompt.field.value) is None:
            return
        kept = self.saved.toggle(self.prompt.field.value)
        words = {True: "kept; ↑ finds it again", False: "forgotten", None: "it could not be kept"}[kept]
        self.prompt.say(words, "good" if kept is not None else "bad")

    def action_leave(self) -> None:
        """Close what is open, then clear the filter."""
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
        """Follow, or stay."""
        self.traffic.follow(not self.traffic.following)
        self.show_state()

    def action_pause(self) -> None:
        """Stand still, or go on."""
        self.traffic.pause(not self.traffic.paused)
        self.show_state()

    def action_pair(self) -> None:
        """To the other half."""
        self._jump(self.journal.store.pair, "it has no pair")

    def action_twin(self) -> None:
        """To the other leg."""
        self._jump(self.journal.store.twin, "it is not known on the other leg")

    def _jump(self, column: Any, words: str) -> None:
        row, store = self.row, self.journal.store
        other = store.linked(column, row) if row is not None else None
        if other is None:
            self.notify(words, severity="warning", timeout=3, markup=False)
        else:
            self.jump(other)

    def jump(self, row: int) -> None:
        """To a row in Traffic, clearing what hides it."""
        if self.current is not self.traffic:
            self.action_screen("traffic")
        if not self.traffic.go_row(row):
            self.traffic.folding = self.traffic.marked_only = False
            self.traffic.apply(filters.parse(""))
            if self.traffic.go_row(row):
                self.notify("the filter hid that row and was cleared", timeout=3, markup=False)
        self.show_state()

    def action_mark(self) -> None:
        """Mark, or not."""
        row, store = self.row, self.journal.store
        if row is not None and store.holds(row):
            store.set_flag(row, MARKED, not store.has(row, MARKED))
            self.current.changed()

    def action_marked_only(self) -> None:
        """Only what is marked."""
        self.traffic.marked_only = not self.traffic.marked_only
        self._filter(self.traffic.filter)

    def action_fold(self) -> None:
        """One row per operation."""
        self.traffic.folding = not self.traffic.folding
        self._filter(self.traffic.filter)

    def action_match(self, step: int) -> None:
        """To the next match of the search; without one, to the next problem."""
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
            except FilterTooSlow as error:
                return self._warn(str(error))
            hits = [r for r in rows if r in matching]
        after = [r for r in hits if row is None or (r > row if step > 0 else r < row)]
        if not hits:
            self.notify("no match", severity="warning", timeout=3, markup=False)
        else:
            target = (after[0] if step > 0 else after[-1]) if after else (hits[0] if step > 0 else hits[-1])
            traffic.go_row(target)

    def action_sort(self) -> None:
        """Order Stats."""
        self.stats.sort()

    def action_copy(self) -> None:
        """The message, into the clipboard of the terminal; once more: as a command."""
        row = self.row
        if row is None or not self.journal.store.holds(row):
            return
        base = self.tap.gateway.url if self.tap.gateway is not None else "http://HOST/"
        text = self.journal.store.body(row).text
        forms: dict[str, Callable[[], str]] = {"message": lambda: text}
        for name, form in commands.FORMS.items():
            forms[name] = partial(self._as_command, form, row, base)
        self.push_screen(Copying(forms))

    def _as_command(self, form: Callable[[commands.Call], str], row: int, base: str) -> str:
        return form(commands.call_of(self.journal, row, base))

    def action_record(self) -> None:
        """Record from now on, or stop."""
        if isinstance(self.tap, Playback):
            self._warn("this is a recording; e writes a part of it to another file")
        elif self._recorder is not None:
            self._stop_recording()
            self.show_state()
        else:
            self.prompt.open("record", time.strftime("mcp-%Y%m%d-%H%M%S.jsonl"))

    def action_export(self) -> None:
        """Write what the filter shows to a file."""
        self.prompt.open("export", time.strftime("mcp-%Y%m%d-%H%M%S.har"))

    def _export(self, path: str) -> str:
        form = next((form for form in export.SUFFIXES if path.endswith(form)), None)
        if form is None:
            return f"name it {', '.join(export.SUFFIXES)}"
        try:
            rows = list(self.traffic.view.rows)
            export.write(self.journal, self._header(), path, rows)
        except (RecordingError, OSError) as error:
            return f"{path} cannot be written: {error}" if isinstance(error, OSError) else str(error)
        self._tell(f"wrote {len(rows)} rows to {path}")
        return ""

    def action_open(self) -> None:
        """Look at a recording."""
        self.prompt.open("open", "")

    def action_comment(self) -> None:
        """Write something to the row."""
        row = self.row
        if row is not None and self.journal.store.holds(row):
            self.prompt.open("comment", self.journal.comments.get(row, ""))

    def _comment(self, text: str) -> None:
        row, store = self.row, self.journal.store
        if row is None or not store.holds(row):
            return
        if text:
            self.journal.comments[row] = text[:500]
        else:
            self.journal.comments.pop(row, None)
        store.set_flag(row, MARKED, bool(text))
        self.current.changed()
        self.detail.show(row)

    def action_wrap(self) -> None:
        """Break long lines of the detail pane."""
        self.detail.text.set_wrap(not self.detail.text.wrap)

    def action_whole(self) -> None:
        """The line under the cursor, the filter and the header, whatever their length."""
        current, row = self.current, self.row
        if row is not None and self.journal.store.holds(row):
            lines = [
                self.detail.headline(row),
                *([(f"! {v.code}: ", "bad"), (clean(v.text), "")] for v in self.journal.problems_of(row)),
            ]
        else:
            lines = current.whole(current.cursor) if current.count() else []
        if text := self.traffic.filter.text.strip():
            lines += [[("", "")], [("filter  ", "accent"), (clean(text), "")]]
        header = [
            (part.lstrip() if not index else part, style) for index, (part, style) in enumerate(self._state())
        ]
        self.push_screen(Report("In full", [*lines, [("", "")], header]))

    def action_connecting(self) -> None:
        """How a client connects to the servers of this gateway."""
        gateway = self.tap.gateway
        names = self.capabilities.servers or sorted(self.journal.catalogues)
        lines: list[list[Part]] = []
        for name in names if gateway is not None else []:
            token = gateway.token if gateway is not None and self._private else ""
            lines += connecting.lines(gateway.url, name, token) if gateway is not None else []
        self.push_screen(Report("How to connect", lines or [[("no server is known yet", "dim")]]))

    # --- comparing ----------------------------------------------------------------------------------

    def action_difference(self) -> None:
        """Compare the two marked rows, or the marked one with that under the cursor."""
        store = self.journal.store
        rows = [index + store.first for index, flags in enumerate(store.flags) if flags & MARKED]
        if len(rows) == 1 and self.row is not None and self.row != rows[0]:
            rows.append(self.row)
        if len(rows) != 2:
            return self._warn(f"mark two rows with m, then d compares them; {len(rows)} are marked")
        one, other = (_content(store.body(row).text) for row in rows)
        lines: list[list[Part]] = [self.detail.headline(row) for row in rows]
        found = list(difference.differences(one, other, varying=frozenset()))
        lines += [[(clean(str(place)), "")] for place in found[:1000]] or [[("they are the same", "good")]]
        self.push_screen(Report(f"{len(found)} differences", lines))

    def action_again(self) -> None:
        """Send the request once more, if the person means it."""
        gateway, row = self.tap.gateway, self.row
        if isinstance(self.tap, Playback) or gateway is None or row is None:
            return self._warn("a recording has no gateway; use: mcp-ws-inspect replay FILE --against URL")
        try:
            call = commands.call_of(self.journal, row, gateway.url)
        except commands.NoCommand as error:
            return self._warn(str(error))
        name = f"{call.content.get('method')} {self.journal.store.target_of(row)}".strip()

        def sure(yes: bool | None) -> None:
            if yes:
                self.send_again(call, row, gateway.token)

        self.push_screen(Question(f"Send {name} to {call.server} again?", "sends it"), sure)

    @work(exclusive=True, group="again")
    async def send_again(self, call: commands.Call, row: int, token: str) -> None:
        """Send it on a link of its own, and show how the answer differs."""
        store = self.journal.store
        seen = store.linked(store.pair, row) if store.kind_of(row) is Kind.REQUEST else row
        before = _content(store.body(seen).text) if seen is not None else {}
        try:
            outcome = await replay.again(call, token, before)
        except ConnectError as error:
            return self._warn(str(error))
        if seen is None and not outcome.failure:
            return self._tell("it was answered; there is no earlier answer to compare with")
        lines: list[list[Part]] = [[(line, "")] for line in replay.lines(outcome, clean)]
        if outcome.same:
            return self._tell("it was answered as before")
        self.push_screen(Report("The answer differs", lines))

    def action_faults(self) -> None:
        """Break the link of the session on purpose."""
        gateway, session = self.tap.gateway, self._session_of(self.row)
        if isinstance(self.tap, Playback) or gateway is None:
            return self._warn("a recording has no links to break")
        if session is None:
            return self._warn("choose a session first, or a row of one")

        def chosen(index: int | None) -> None:
            if index is not None and index >= 0:
                self.inject(GatewayClient(gateway), session, index)

        self.push_screen(
            Choice(f"Session {session[:8]}: which fault?", [words for words, *_ in FAULTS]), chosen
        )

    @work(exclusive=True, group="faults")
    async def inject(self, client: GatewayClient, session: str, index: int) -> None:
        """Order a fault, and say what came of it."""
        _, fault, parameters = FAULTS[index]
        try:
            if fault:
                self._tell(await asyncio.to_thread(client.inject_fault, session, fault, **parameters))
            else:
                await asyncio.to_thread(client.call, "DELETE", f"sessions/{session}/faults")
                self._tell("nothing is armed any more")
        except ConnectError as error:
            self._warn(str(error))

    def action_tab(self, step: int) -> None:
        """Another tab of the detail pane."""
        self.detail.turn(step)

    def action_other_pane(self) -> None:
        """From the list to the detail pane and back."""
        detail = self.detail
        text = detail.text
        if detail.is_open and self.focused is not text:
            text.focus()
        else:
            self.current.focus()

    def action_interrupt(self) -> None:
        """Ctrl-C ends a program, also a full-screen one."""
        self.exit(return_code=130)

    def action_help(self) -> None:
        """Keys and words."""
        self.push_screen(Help())

    # --- what lists say -----------------------------------------------------------------------------

    def on_rows_moved(self, event: Rows.Moved) -> None:
        """Show the row in the detail pane."""
        if event.rows is self.current:
            self.detail.show(self.row)

    def on_rows_chosen(self, event: Rows.Chosen) -> None:
        """Enter."""
        rows = event.rows
        if isinstance(rows, Sessions):
            self._only(f"session:{rows.session}" if rows.session else "")
        elif isinstance(rows, Stats) and rows.chosen is not None:
            line = rows.chosen
            words = [("server", line.server), ("method", line.method), ("tool", line.target)]
            self._only(" ".join(f"{key}:{filters.literal(value)}" for key, value in words if value))
        elif isinstance(rows, Problems) and rows.row is not None:
            self.jump(rows.row)
            self._toggle_detail(True)
        elif isinstance(rows, (Traffic, Ladder)):
            self._toggle_detail(not self.detail.is_open)

    def _only(self, text: str) -> None:
        self.action_screen("traffic")
        self._filter(filters.parse(text))

    def _toggle_detail(self, on: bool) -> None:
        detail = self.detail
        detail.set_class(on, "open")
        detail.show(self.row)
        self.current.focus()
        self.call_after_refresh(self.current.changed)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the palette offers, besides Textual's own."""
        yield from super().get_system_commands(screen)
        for name in SCREENS:
            yield SystemCommand(
                name.title(), f"Show the screen {name.title()}", lambda name=name: self.action_screen(name)
            )
        actions: tuple[tuple[str, str, Callable[[], None]], ...] = (
            ("Filter", "Show only what matches", self.action_filter),
            ("Search", "Go to what matches", self.action_search),
            ("Follow", "Stay with the newest row, or not", self.action_follow),
            ("Pause", "Let the screen stand still, or go on", self.action_pause),
            ("Fold legs", "One row per operation", self.action_fold),
            ("Marked only", "Only rows that are marked", self.action_marked_only),
            ("Problems only", "Only rows with a problem", lambda: self._only("is:problem")),
            ("Record", "Record from now on, or stop", self.action_record),
            ("Export", "Write what the filter shows to a file", self.action_export),
            ("Open a recording", "Look at a file; q comes back", self.action_open),
            ("Send again", "Send the request once more and compare", self.action_again),
            ("Compare marked", "Where the two marked rows differ", self.action_difference),
            ("How to connect", "Addresses and IDE entries", self.action_connecting),
            ("View what is cut off", "All of the line, the filter and the header", self.action_whole),
            ("Help", "Keys and the filter language", self.action_help),
        )
        for text in self.saved.texts:
            yield SystemCommand(
                f"Filter {text}", "A filter that was kept", lambda text=text: self._only(text)
            )
        yield from (SystemCommand(*action) for action in actions)


def _content(text: str) -> Any:
    """What is compared: the message, or its text where it is no whole JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def run(find: Callable[[], RunningGateway] | Playback, *, private: bool = False) -> int:
    """Open the inspector on a gateway or a recording; returns the exit code.

    ``private``: the gateway is this inspector's own, so that its token may be shown.

    From a recording that was opened with ``o``, leaving leads back to what was shown before.
    """
    for stale in (
        "COLUMNS",
        "LINES",
    ):  # some terminals (JupyterLab's) set them once; the terminal itself knows
        os.environ.pop(stale, None)
    journal = None
    while True:
        app = InspectorApp(find, journal, private=private)
        app.run()
        if not app.opening:
            return app.return_code or 0
        if (code := run(Playback(app.opening))) != 0:
            app.journal.close()
            return code
        journal = app.journal
        if isinstance(find, Playback):
            find = Playback(find.path)
            journal.close()
            journal = None
        else:
            journal.gap(time.time(), app.now, "a recording was looked at")


def run_file(path: str) -> int:
    """Open the inspector on a recording.

    Raises:
        RecordingError: it cannot be read.
    """
    return run(Playback(path))

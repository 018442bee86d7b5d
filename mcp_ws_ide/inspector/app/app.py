"""The application: frames, polling, and the events of its widgets.

Keys are listed in :mod:`.keys`; their actions are in :mod:`.filter_actions` (filter, search, jump),
:mod:`.detail_actions` (details, marks, comments), :mod:`.file_actions` (record, export, open),
:mod:`.send_actions` (copy, send again, faults) and :mod:`.command_line` (by name). All extend :mod:`.app_base`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final

from textual import events, work
from textual.app import SystemCommand
from textual.binding import BindingType
from textual.screen import Screen
from textual.widgets import Input

from mcp_ws_ide.discovery import RunningGateway
from mcp_ws_ide.errors import ConnectError
from mcp_ws_ide.inspector import terminal
from mcp_ws_ide.inspector.app import traffic_columns
from mcp_ws_ide.inspector.app.app_base import SHARE
from mcp_ws_ide.inspector.app.command_line import CommandLine
from mcp_ws_ide.inspector.app.detail_actions import DetailActions
from mcp_ws_ide.inspector.app.dialogs import Prompt
from mcp_ws_ide.inspector.app.gateways import Gateways
from mcp_ws_ide.inspector.app.keys import APP_BINDINGS, action_names
from mcp_ws_ide.inspector.app.panes import Ladder, Pane, Problems, Sessions, Stats
from mcp_ws_ide.inspector.app.rows import Rows
from mcp_ws_ide.inspector.app.send_actions import SendActions
from mcp_ws_ide.inspector.app.traffic import Traffic
from mcp_ws_ide.inspector.model import filters
from mcp_ws_ide.inspector.model.filters import Filter, FilterTooSlowError
from mcp_ws_ide.inspector.model.journal import Changes
from mcp_ws_ide.inspector.model.schema_import import schemas
from mcp_ws_ide.inspector.playback import Playback
from mcp_ws_ide.inspector.recording import gap_line
from mcp_ws_ide.inspector.watch import MissedRecords
from mcp_ws_ide.rest_client import GatewayClient, in_thread

BUDGET: Final = 0.02
"""Seconds of a frame that are spent on received records; the rest waits for the next frame."""
BUSY: Final = 2000
"""Records per second above which only every second frame is painted: faster updates are unreadable."""
SLOW: Final = 10
"""Frames from one update of the header, and of every screen except Traffic, to the next."""
THEME_VARIABLE: Final = "TEXTUAL_THEME"
"""The environment variable with which Textual sets a theme; it is stronger than the last choice."""
POLL: Final = 2.0
"""Seconds between two requests for sessions and servers."""
QUIET_POLL: Final = 10.0
"""The same while no record comes: what changes a session is among the records."""


class InspectorApp(CommandLine, DetailActions, SendActions):
    """``mcp-ws-inspect``: every message, in both directions, live."""

    TITLE = "mcp-ws-inspect"
    CSS = """
    #head { background: $panel; }
    #tabs { background: $boost; }
    #main { height: 1fr; layout: vertical; }
    #main.wide { layout: horizontal; }
    ContentSwitcher { height: 1fr; width: 1fr; }
    #main.wide Detail { width: 42%; height: 1fr; border-top: none; border-left: solid $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = APP_BINDINGS

    def on_mount(self) -> None:
        """Start watching."""
        self.watch_for_the_end()
        self.traffic.focus()
        # The first list of tools needs it; imported then, it would hold up the screen.
        self.run_worker(asyncio.to_thread(schemas), name="schemas", group="schemas")
        self.run_worker(self.tap.run(), name="watch", exclusive=True, group="watch")
        self._recall_settings()
        self.run_worker(self._run_frames(), name="frames", group="frames")
        self.set_interval(POLL, self.poll)
        self._filter(self._first_filter)

    def _recall_settings(self) -> None:
        """Use theme, columns and keys of the settings, and keep a theme that is chosen from now on."""
        if self.settings.problem:
            self._warn(self.settings.problem)
        if self.settings.theme in self.available_themes and THEME_VARIABLE not in os.environ:
            self.theme = self.settings.theme
        self.traffic.chosen = tuple(name for name in self.settings.columns if name in traffic_columns.NAMES)
        known = action_names()
        self.set_keymap({name: key for name, key in self.settings.keys.items() if name in known})
        if unknown := sorted(set(self.settings.keys) - set(known)):
            self._warn(
                f"{self.settings.path}: no action is called {', '.join(unknown)}; ':' and Tab list them"
            )
        self.theme_changed_signal.subscribe(self, lambda theme: self._keep_theme(theme.name))

    def _keep_theme(self, name: str) -> None:
        if name != self.settings.theme:
            self.settings.keep(theme=name)

    def on_unmount(self) -> None:
        """Close files; the journal is kept for returning from a recording."""
        self.workers.cancel_group(self, "frames")
        self._stop_export()
        self._stop_recording()
        if isinstance(self.tap, Playback):
            self.tap.close()
        if not self.opening:
            self.journal.close()

    async def _run_frames(self) -> None:
        """Run a frame so many times a second, for ever; while nothing comes, only each that repaints all.

        A timer of Textual takes three times the CPU while idle.
        """
        pause = 1 / self.settings.refresh
        while True:
            await asyncio.sleep(pause)
            self._something_to_do.clear()
            self.frame()
            idle = SLOW - 1 - self._frames % SLOW  # frames before the next one that repaints all
            if idle > 0 and not self._fresh and self.current is not self.ladder:
                try:
                    async with asyncio.timeout(idle * pause):
                        await self._something_to_do.wait()
                except TimeoutError:
                    self._frames += idle

    def frame(self) -> None:
        """Take in received records, for at most :data:`BUDGET` seconds, and repaint what is visible."""
        self._fresh += self._take_in()
        self._frames += 1
        slow = self._frames % SLOW == 0
        current = self.current
        if not (self._fresh or slow or current is self.ladder):
            return  # there is nothing to paint
        if (self._rates[0] > BUSY and self._frames % 2) or self._is_behind():
            return
        changes, self._fresh = self._fresh, []
        if changes:
            self.ladder.note(changes, current is self.ladder)
        if changes or (slow and current is self.traffic and self.journal.pairing.open):
            try:
                self.traffic.update(changes, self.now)
            except FilterTooSlowError as error:
                self._give_up(error)
        if current is self.ladder:
            self.ladder.work(SHARE)
        if slow:
            if isinstance(current, Pane):
                self._refresh_pane(current)
            self.show_state()
        if (changes or slow) and self.detail.is_open:
            self._show_detail()

    def _is_behind(self) -> bool:
        return not self.is_headless and terminal.is_behind()

    def _take_in(self) -> list[Changes]:
        end, changes = time.monotonic() + BUDGET, []
        while (item := self.tap.take()) is not None:
            if isinstance(item, MissedRecords):
                changes.append(self.journal.gap(item.time, self.now, item.reason))
                self.journal.missed += item.count or 0
                self._keep([gap_line(item.time, self.now, item.reason)])
            else:
                lines = item.split("\n")
                changes.append(self.journal.feed(lines))
                self._keep(lines)
                self._learn_clock()
            if time.monotonic() >= end:
                self._something_to_do.set()  # there may be more
                break
        return changes

    def _learn_clock(self) -> None:
        store = self.journal.store
        if len(store):
            offset = store.mono[-1] - time.monotonic()
            # Delayed records look old; the greatest difference is closest to the truth.
            self._offset = (
                offset
                if self._offset is None or abs(offset - self._offset) > 60
                else max(self._offset, offset)
            )

    @work(exclusive=True, group="poll")
    async def poll(self) -> None:
        """Request sessions and servers; if that fails, the last known ones stay on the screen."""
        gateway = self.tap.gateway
        if gateway is None or self.tap.state != "live":
            return
        now, end = time.monotonic(), self.journal.store.end
        if (gateway, end) == self._polled[1:] and now < self._polled[0] + QUIET_POLL:
            return
        client = GatewayClient(gateway)
        try:
            sessions = await in_thread(client.call, "GET", "sessions")
            servers = await in_thread(client.call, "GET", "servers")
        except ConnectError:
            return
        self._polled = now, gateway, end
        live = sessions.get("sessions") or []
        self.sessions.refreshed(live)
        self.capabilities.refreshed(servers.get("servers") or [])
        with contextlib.suppress(ConnectError):  # an older gateway has no list of gateways
            self.gateways.refreshed(await in_thread(client.instances))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While text is edited, ``/`` and Tab belong to the text or to the dialog."""
        if action in ("filter", "search", "other_pane"):
            return not self.prompt.is_open and len(self.screen_stack) == 1
        if action == "complete":
            return self.prompt.is_open and len(self.screen_stack) == 1
        if action in ("earlier", "keep_filter"):
            return self.prompt.is_open and self.prompt.purpose == "filter" and len(self.screen_stack) == 1
        return True

    def on_input_changed(self, event: Input.Changed) -> None:
        """Report errors in the input immediately."""
        if self.prompt.check(event.value) is not None or self.prompt.purpose == "command":
            self.prompt.offer(self.completions(event.value))

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        """Act on the input if it is valid."""
        purpose, text = self.prompt.purpose, event.value
        if purpose in Prompt.FILTERS:
            filter_ = self.prompt.check(text)
            if filter_ is not None:
                self._close_prompt()
                self._apply(purpose, filter_)
        elif purpose == "command":
            if not text.strip():
                self._close_prompt()
            elif problem := await self.run_command(text):
                self.prompt.say(problem)
        elif purpose == "comment":
            self._close_prompt()
            self._comment(text.strip())
        elif text.strip() and (problem := self._use_file(purpose, text.strip())):
            self.prompt.say(problem)
        else:
            self._close_prompt()

    def action_interrupt(self) -> None:
        """Exit on Ctrl-C, also in full-screen mode."""
        self.exit(return_code=130)

    async def on_click(self, event: events.Click) -> None:
        """Open the screen whose name was clicked, or act as the key that was clicked in the line at the bottom."""
        if event.widget is self.tabs:
            number = self.tabs.part_at(event.x)
            if number is not None and number < len(self.shown_screens):
                self.action_screen(self.shown_screens[number])
        elif event.widget is self.footer:
            number = self.footer.part_at(event.x)
            if number is not None:
                await self.run_action(self.footer_keys[number][1])

    def action_choose(self) -> None:
        """Act as Enter does on the visible list."""
        self.current.action_choose()

    def on_rows_moved(self, event: Rows.Moved) -> None:
        """Show the row in the detail pane."""
        if event.rows is self.current:
            self._show_detail()

    def on_traffic_unfinished(self) -> None:
        """Sort the rows that are left after a click on a heading."""
        self.finish_filter()

    def on_rows_chosen(self, event: Rows.Chosen) -> None:
        """Act on Enter, depending on the screen."""
        rows = event.rows
        if isinstance(rows, Gateways):
            self._only(f"gateway:{rows.gateway}" if rows.gateway else "")
        elif isinstance(rows, Sessions):
            self._only(f"session:{rows.session}" if rows.session else "")
        elif isinstance(rows, Stats) and rows.chosen is not None:
            line = rows.chosen
            terms = [("server", line.server), ("method", line.method), ("tool", line.target)]
            self._only(" ".join(f"{key}:{filters.literal(value)}" for key, value in terms if value))
        elif isinstance(rows, Problems) and rows.row is not None:
            self.jump(rows.row)
            self._toggle_detail(True)
        elif isinstance(rows, (Traffic, Ladder)):
            self._toggle_detail(not self.detail.is_open)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Add the inspector's commands to the palette."""
        yield from super().get_system_commands(screen)
        for name in self.shown_screens:
            yield SystemCommand(
                name.title(), f"Show the {name.title()} screen", lambda name=name: self.action_screen(name)
            )
        actions: tuple[tuple[str, str, Callable[[], None]], ...] = (
            ("Filter", "Show only what matches", self.action_filter),
            ("Search", "Go to a match", self.action_search),
            ("Follow", "Follow the newest row, or stop following", self.action_follow),
            ("Pause", "Pause the display, or resume it", self.action_pause),
            ("Fold legs", "One row per operation", self.action_fold),
            ("Timeline", "One bar per operation", self.action_timeline),
            ("Marked only", "Only rows that are marked", self.action_marked_only),
            ("Problems only", "Only rows with a problem", lambda: self._only("is:problem")),
            ("Columns", "Choose the columns of Traffic", self.action_columns),
            ("Record", "Start recording, or stop", self.action_record),
            ("Export", "Write the filtered rows to a file", self.action_export),
            ("Open a recording", "Show a recording; q returns", self.action_open),
            ("Send again", "Send the request again and compare the responses", self.action_again),
            ("Compare marked", "Show how the two marked rows differ", self.action_difference),
            ("How to connect", "Addresses and IDE entries", self.action_connecting),
            ("Show in full", "The whole row, filter and header", self.action_whole),
            ("Help", "Keys and the filter language", self.action_help),
        )
        for text in self.saved.texts:
            yield SystemCommand(f"Filter {text}", "Apply a saved filter", lambda text=text: self._only(text))
        yield from (SystemCommand(*action) for action in actions)


def run(
    find: Callable[[], RunningGateway] | Playback, *, private: bool = False, filter_: Filter | None = None
) -> int:
    """Open the inspector on a gateway or a recording; return the exit code.

    Leaving a recording that was opened with ``o`` returns to what was shown before.

    Args:
        private: the gateway belongs to this inspector, so that its token may be shown.
        filter_: the filter to begin with; None for all rows.
    """
    for stale in (
        "COLUMNS",
        "LINES",
    ):  # some terminals (JupyterLab's) set them only once; the terminal itself knows its size
        os.environ.pop(stale, None)
    journal = None
    while True:
        app = InspectorApp(find, journal, private=private, filter_=filter_)
        app.run_to_the_end()
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
            journal.gap(time.time(), app.now, "a recording was shown")


def run_file(path: str, most: int | None = None, filter_: Filter | None = None) -> int:
    """Open the inspector on a recording.

    Args:
        path: its file.
        most: bytes to decompress at most.
        filter_: the filter to begin with; None for all rows.

    Raises:
        RecordingError: the file cannot be read.
    """
    return run(Playback(path, most), filter_=filter_)

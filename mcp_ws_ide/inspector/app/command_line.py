"""The command line, which ``:`` opens: the actions of keys by name, and commands with an argument."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from glob import escape, glob
from typing import Final

from textual import work

from mcp_ws_ide.inspector.app.dialogs import ReportScreen
from mcp_ws_ide.inspector.app.file_actions import FileActions
from mcp_ws_ide.inspector.app.filter_actions import FilterActions
from mcp_ws_ide.inspector.app.keys import SCREENS, action_names
from mcp_ws_ide.inspector.app.rows import Part, clean
from mcp_ws_ide.inspector.app.traffic import SORTED
from mcp_ws_ide.inspector.model import filters
from mcp_ws_ide.inspector.model.completion import common_start, completions
from mcp_ws_ide.inspector.model.filters import FilterError
from mcp_ws_ide.inspector.model.session_difference import (
    Operation,
    TooManyOperationsError,
    check_count,
    lines,
    operations,
    session_differences,
)
from mcp_ws_ide.inspector.settings import FASTEST, SLOWEST

MAX_LINES: Final = 1000
"""Lines of a comparison that are shown."""
SLICE: Final = 2_000
"""Rows that are searched for requests of a session between two updates of the screen."""


class CommandError(Exception):
    """The command cannot be run; the text says why."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command with an argument.

    Attributes:
        help: its argument and what it does.
        run: does it; raises CommandError.
        complete: returns whole arguments that begin with what was typed.
    """

    help: str
    run: Callable[[str], None]
    complete: Callable[[str], Iterable[str]]


class CommandLine(FilterActions, FileActions):
    """Commands, and what Tab completes while text is edited."""

    def action_command(self) -> None:
        """Edit a command."""
        self.prompt.open("command", "")

    @property
    def commands(self) -> dict[str, Command]:
        """The commands with an argument, by name."""
        return {
            "filter": Command("FILTER  show only what matches", self._command_filter, self._complete_filter),
            "search": Command("FILTER  go to what matches", self._command_search, self._complete_filter),
            "sort": Command("COLUMN  sort Traffic", self._command_sort, lambda text: _begin(text, SORTED)),
            "screen": Command("NAME", self._command_screen, lambda text: _begin(text, self.shown_screens)),
            "diff": Command("SESSION SESSION  compare two sessions", self._command_diff, self._session_names),
            "theme": Command("NAME", self._command_theme, lambda text: _begin(text, self.available_themes)),
            "refresh": Command(
                "NUMBER  updates of the screen per second", self._command_refresh, lambda text: []
            ),
            "open": Command("FILE  open a recording", lambda text: self._file("open", text), _files),
            "export": Command(
                "FILE  write the filtered rows", lambda text: self._file("export", text), _files
            ),
            "record": Command("FILE  start recording", lambda text: self._file("record", text), _files),
        }

    async def run_command(self, text: str) -> str:
        """Run a command; return the error, or ``""``."""
        name, _, argument = text.strip().partition(" ")
        if (command := self.commands.get(name)) is not None:
            try:
                command.run(argument.strip())
            except CommandError as error:
                return str(error)
            return ""
        if (action := action_names().get(name)) is not None and not argument:
            self._close_prompt()
            await self.run_action(action)
            return ""
        return f"unknown command {name!r}; Tab shows what there is"

    # --- completion ---------------------------------------------------------------------------------

    def action_complete(self) -> None:
        """Complete the text as far as it is certain; once it is, take the first possibility."""
        text = self.prompt.field.value
        found = self.completions(text)
        if not found:
            return
        shared = common_start(found)
        self.prompt.write(shared if len(shared) > len(text) else found[0])

    def completions(self, text: str) -> list[str]:
        """Return the whole texts that the one in the prompt may become."""
        if self.prompt.purpose in self.prompt.FILTERS:
            return completions(text, self.journal)
        if self.prompt.purpose != "command":
            return []
        name, blank, argument = text.partition(" ")
        if not blank:
            actions = [one for one in _begin(text, action_names()) if one not in self.commands]
            return [f"{name} " for name in _begin(text, self.commands)] + actions
        command = self.commands.get(name)
        return [f"{name} {one}" for one in command.complete(argument)] if command is not None else []

    def _complete_filter(self, text: str) -> list[str]:
        return completions(text, self.journal)

    def _session_names(self, text: str) -> list[str]:
        before, _, last = text.rpartition(" ")
        names = [name[:8] for name in reversed(self.journal.sessions) if name.startswith(last)]
        return [f"{before} {name}".strip() for name in names]

    # --- commands -----------------------------------------------------------------------------------

    def _parsed(self, text: str) -> filters.Filter:
        try:
            return filters.parse(text)
        except FilterError as error:
            raise CommandError(str(error)) from None

    def _command_filter(self, text: str) -> None:
        filter_ = self._parsed(text)
        self._close_prompt()
        self._to_traffic()
        self._apply("filter", filter_)

    def _command_search(self, text: str) -> None:
        filter_ = self._parsed(text)
        self._close_prompt()
        self._to_traffic()
        self._apply("search", filter_)

    def _to_traffic(self) -> None:
        if self.current is not self.traffic:
            self.action_screen("traffic")

    def _command_sort(self, text: str) -> None:
        if text and text not in SORTED:
            raise CommandError(f"there is no column {text!r} to sort by; columns: {', '.join(SORTED)}")
        self._close_prompt()
        self._to_traffic()
        self.traffic.sort(text)
        self.finish_filter()
        self.show_state()

    def _command_screen(self, text: str) -> None:
        if text not in SCREENS:
            raise CommandError(f"there is no screen {text!r}; {', '.join(self.shown_screens)}")
        self._close_prompt()
        self.action_screen(text)

    def _command_theme(self, text: str) -> None:
        if text not in self.available_themes:
            raise CommandError(f"there is no theme {text!r}; {', '.join(sorted(self.available_themes))}")
        self._close_prompt()
        self.theme = text

    def _command_refresh(self, text: str) -> None:
        if not re.fullmatch(r"\d+(\.\d+)?", text):
            raise CommandError(
                f"refresh needs a number of updates per second, from {SLOWEST:g} to {FASTEST:g}"
            )
        self._close_prompt()
        self.settings.keep(refresh=float(text))
        self._tell(f"{self.settings.refresh:g} updates per second from the next start on")

    def _command_diff(self, text: str) -> None:
        chosen = []
        for beginning in text.split():
            found = self.journal.sessions_named(beginning)
            if len(found) != 1:
                raise CommandError(f"{len(found)} sessions have an id that begins with {beginning!r}")
            chosen += found
        if len(chosen) != 2:
            raise CommandError("give the beginnings of the ids of two sessions: diff 9f3a c01d")
        self._close_prompt()
        self._compare_sessions(*chosen)

    @work(exclusive=True, group="diff")
    async def _compare_sessions(self, before: str, after: str) -> None:
        try:
            one, other = await self._operations(before), await self._operations(after)
            found = await asyncio.to_thread(_difference_lines, one, other)
        except TooManyOperationsError as error:
            self._warn(str(error))
            return
        styles = {"-": "bad", "+": "good", "≠": "warn"}
        shown: list[list[Part]] = [[(clean(line), styles.get(line[:1], ""))] for line in found[:MAX_LINES]]
        title = f"{before[:8]} and {after[:8]}: {len(one)} and {len(other)} requests"
        self.push_screen(ReportScreen(title, shown or [[("the sessions do not differ", "good")]]))

    async def _operations(self, session: str) -> list[Operation]:
        """Return the requests of a session; the screen is updated in between."""
        found: list[Operation] = []
        end = self.journal.store.end
        for start in range(self.journal.store.first, end, SLICE):
            found += operations(self.journal, session, range(start, min(start + SLICE, end)))
            check_count(found)
            await asyncio.sleep(0)
        return found

    def _file(self, purpose: str, text: str) -> None:
        if not text:
            raise CommandError(f"{purpose} needs the name of a file")
        if problem := self._use_file(purpose, text):
            raise CommandError(problem)
        self._close_prompt()
        self.show_state()


def _difference_lines(before: list[Operation], after: list[Operation]) -> list[str]:
    return [line for difference in session_differences(before, after) for line in lines(difference)]


def _begin(text: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(text) and name != text]


def _files(text: str) -> list[str]:
    return sorted(glob(f"{escape(text)}*"))[:50]

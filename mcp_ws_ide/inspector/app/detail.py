"""The detail pane of one row: formatted message, pair, related rows, timing, raw text, violations."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, Final

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical

from mcp_ws_ide.inspector.app.columns import (
    LANES,
    clock,
    durations,
    milliseconds,
    number,
    request_of,
    status,
    what,
)
from mcp_ws_ide.inspector.app.folding import Folding
from mcp_ws_ide.inspector.app.highlight import Highlight
from mcp_ws_ide.inspector.app.rows import Line, Part, Rows, clean
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.model.pretty import COLLAPSED, blocks, pretty
from mcp_ws_ide.inspector.model.records import CLIENT_LEG, Kind, Status
from mcp_ws_ide.inspector.model.store import NONE, TRUNCATED

TABS: Final = ("Message", "Pair", "Related", "Timing", "Raw", "Violations")
COLLAPSED_MEMBERS: Final = frozenset({"_meta"})
"""Members whose objects are not shown in formatted messages, until the user wants to see them."""
MAX_RELATED: Final = 500
MAX_PIECE: Final = 10_000
"""Characters of one JSON token that are shown in formatted messages."""
NEIGHBOURS: Final = 20_000
"""Rows after a request that are searched for related rows."""
NO_DURATION: Final = {
    Status.PENDING: "no response yet",
    Status.UNKNOWN: "the response may have been missed",
    Status.CANCELLED: "it was cancelled before a response arrived",
    Status.LOST: "its link or server ended before a response arrived",
}
"""Why the duration of a request is unknown."""
_WORDS: Final = re.compile(r"\S+|\s+")
_PIECES: Final = {
    "key": "key",
    "string": "string",
    "number": "number",
    "word": "accent",
    "mark": "dim",
    "other": "bad",
}


class Text(Rows):
    """Lines of text that can be scrolled."""

    def __init__(self, *, wrap: bool = False, indent: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.shows_cursor = False
        self.wrap = wrap
        self._filled = False
        self._indent = indent
        self._whole: list[list[Part]] = []
        self.lines: list[list[Part]] = []
        self._origins: list[int] = []
        """For each line on the screen, the number of the line that it is a piece of."""
        self.chooses = False
        """Whether lines can be chosen; then there is a cursor while the text has the focus."""

    def count(self) -> int:
        """Return the number of lines."""
        return len(self.lines)

    def set_wrap(self, wrap: bool) -> None:
        """Wrap long lines, or truncate them at the edge."""
        self.wrap = wrap
        self._lay_out()

    def on_resize(self, event: events.Resize) -> None:
        """Lay the lines out for the new size."""
        self._lay_out()

    def _lay_out(self) -> None:
        width = self.size.width - 1
        if width > 0 and (self._filled or self.wrap):
            pieces = [
                (number, piece)
                for number, line in enumerate(self._whole)
                for piece in (filled(line, width) if self._filled else wrapped(line, width, self._indent))
            ]
            self._origins = [number for number, _ in pieces]
            self.lines = [piece for _, piece in pieces]
        else:
            self.lines, self._origins = self._whole, list(range(len(self._whole)))
        self.changed()

    @property
    def at(self) -> int:
        """The number of the line that the cursor is on, or of the first one on the screen."""
        return self._origins[self._at] if self._at < len(self._origins) else 0

    def go_line(self, number: int) -> None:
        """Go to a line."""
        self.go(bisect_left(self._origins, number))

    def on_focus(self) -> None:
        """Show the cursor where lines can be chosen."""
        self._show_cursor(self.chooses)

    def on_blur(self) -> None:
        """Hide the cursor."""
        self._show_cursor(False)

    def _show_cursor(self, on: bool) -> None:
        if on != self.shows_cursor:
            self.shows_cursor = on
            self.cursor = min(max(self.cursor, self.top), self.top + self.body_height - 1)
            self.changed()

    def parts(self, index: int, width: int) -> list[Part]:
        """Return a line."""
        return self.lines[index]

    def show(self, lines: list[list[Part]], keep: bool = False, *, filled: bool = False) -> None:
        """Show lines, from the top unless ``keep`` is set; ``filled``: each as wide as the window, within words too."""
        self._whole, self._filled = lines, filled
        if not keep:
            self.top = self.cursor = 0
        self._lay_out()

    def choose_lines(self, chooses: bool) -> None:
        """Let lines be chosen, or not."""
        self.chooses = chooses
        self._show_cursor(chooses and self.has_focus)


def filled(line: list[Part], width: int) -> list[list[Part]]:
    """Break a line into lines of ``width`` cells, wherever that is."""
    lines: list[list[Part]] = []
    for text, style in line:
        start = 0
        while start < len(text) or not lines:
            length = max(1, _fitting(text, start, width))
            lines.append([(text[start : start + length], style)])
            start += length
    return lines


def wrapped(line: list[Part], width: int, indent: int = 0) -> list[list[Part]]:
    """Wrap a line to ``width`` cells, between words where possible; all lines but the first are indented."""
    indent = indent if indent < width // 2 else 0
    lines: list[list[Part]] = [[]]
    room = width

    def begin() -> int:
        lines.append([(" " * indent, "")] if indent else [])
        return width - indent

    for text, style in line:
        for word in _WORDS.findall(text):
            if word.isspace():
                if indent and cell_len(word) >= room:
                    room = 0  # a line that is indented does not begin with the space between two words
                    continue
            elif room < cell_len(word) <= width - indent:
                room = begin()
            start = 0
            while start < len(word):
                if room <= 0:
                    room = begin()
                length = _fitting(word, start, room)
                if not length and room < width - indent:
                    room = 0  # a wide character: on the next line
                    continue
                piece = word[start : start + max(1, length)]
                lines[-1].append((piece, style))
                room -= cell_len(piece)
                start += len(piece)
    return lines


def _fitting(text: str, start: int, room: int) -> int:
    """Return how many characters from ``start`` on fit into ``room`` cells."""
    if text.isascii():
        return min(room, len(text) - start)
    used = 0
    for index in range(start, min(len(text), start + room + 1)):
        used += cell_len(text[index])
        if used > room:
            return index - start
    return min(len(text) - start, room)


class Detail(Vertical):
    """The pane below a list."""

    DEFAULT_CSS = """
    Detail { height: 45%; border-top: solid $primary; display: none; }
    Detail.open { display: block; }
    """

    def __init__(self, journal: Journal, **options: Any) -> None:
        super().__init__(**options)
        self._journal = journal
        self._shown: tuple[object, ...] = ()
        self.tabs, self.text = Line(id="detail-tabs"), Text(id="detail-text")
        self.tab = 0
        self.row: int | None = None
        self.meta = False
        """Whether ``_meta`` is shown in formatted messages."""
        self.highlight = Highlight()
        self.folding = Folding()
        """What is folded of the message that is shown."""
        self._lines: list[list[Part]] = []

    def compose(self) -> ComposeResult:
        """Lay out tabs and text."""
        yield self.tabs
        yield self.text

    @property
    def is_open(self) -> bool:
        """Whether the pane is visible."""
        return self.has_class("open")

    def turn(self, step: int) -> None:
        """Switch to another tab."""
        self.tab = (self.tab + step) % len(TABS)
        self.show(self.row)

    def on_click(self, event: events.Click) -> None:
        """Open the tab that was clicked."""
        if event.widget is self.tabs and (number := self.tabs.part_at(event.x)) is not None:
            self.tab = number
            self.show(self.row)

    def show(self, row: int | None) -> None:
        """Show a row in the current tab; does nothing if nothing has changed."""
        self.row = row
        store = self._journal.store
        if not self.is_open:
            return
        if row is None or not store.holds(row):
            self._shown, self.folding = (), Folding()
            self._tabs()
            self.text.choose_lines(False)
            return self.text.show([[("no row is selected", "dim")]])
        extent = store.end if TABS[self.tab] == "Related" and store.status_of(row) is Status.PENDING else 0
        comment = self._journal.comments.get(row)
        known = store.status_of(row), store.pair[row - store.first], extent, comment
        state = (row, self.tab, *known, self.meta, self.highlight)
        if state == self._shown:
            return
        keep, same = self._shown[:2] == state[:2], self._shown[-2:-1] == (self.meta,)
        self._shown = state
        self._tabs()
        before, self.folding = self.folding, Folding()
        lines = getattr(self, f"_{TABS[self.tab].lower()}")(row)
        if keep and same:
            self.folding.keep(before)
        self._lines = [self.highlight.parts(line) for line in lines]
        self._show_lines(keep)

    def _show_lines(self, keep: bool) -> None:
        self.text.choose_lines(bool(self.folding))
        self.text.show(self.folding.shown(self._lines), keep, filled=TABS[self.tab] == "Raw")

    def on_rows_chosen(self, event: Rows.Chosen) -> None:
        """Fold the object or array under the cursor, or unfold it."""
        event.stop()
        self._refold(lambda: self.folding.toggle(self.text.at))

    def fold(self, folded: bool) -> None:
        """Fold all objects and arrays within the message, or none."""
        self._refold(lambda: self.folding.fold(folded))

    def _refold(self, change: Callable[[], None]) -> None:
        """Change what is folded; the cursor stays on its line, or goes to the one that stands for it."""
        if not self.folding:
            return
        line = self.folding.line(self.text.at)
        change()
        self._show_lines(True)
        self.text.go_line(self.folding.place(line))

    def _labels(self) -> list[str]:
        count = len(self._journal.problems_of(self.row)) if self.row is not None else 0
        names = [*TABS[:-1], f"Violations({count})" if count else "Violations"]
        return [f"[{name}]" if number == self.tab else f" {name} " for number, name in enumerate(names)]

    def _tabs(self) -> None:
        parts = [
            (label + " ", "head" if number == self.tab else "dim")
            for number, label in enumerate(self._labels())
        ]
        self.tabs.show(parts)

    # --- tabs ---------------------------------------------------------------------------------------

    def headline(self, row: int) -> list[Part]:
        """Return a row in one line."""
        store = self._journal.store
        word, style = status(store, row)
        index = row - store.first
        identifier = store.body(row).id
        place = f"#{number(store, row)} " if store.seq[index] else ""
        return [
            (f"{place}{clock(store.time[index])} {LANES[store.lane_of(row)]} ", "dim"),
            (f"{clean(store.server_of(row))} " if store.server_of(row) else "", "key"),
            (f"{store.kind_of(row).name.lower()} ", "head"),
            (clean(what(store, row)[:200]) + " ", ""),
            (f"id={clean(identifier)} " if identifier else "", "accent"),
            (word, style),
        ]

    def _laid_out(self, row: int) -> list[list[Part]]:
        store = self._journal.store
        lines: list[list[Part]] = [self.headline(row)]
        if gateway := store.gateway_of(row):
            lines.append([("gateway: ", "dim"), (clean(gateway), "")])
        if store.has(row, TRUNCATED):
            lines.append(
                [(f"truncated by the gateway: the message has {store.size[row - store.first]} bytes", "warn")]
            )
        text = store.body(row).text
        if store.kind_of(row) in (Kind.EVENT, Kind.NOISE, Kind.GAP):
            return lines + [[(_bounded(line), "")] for line in text.split("\n")]
        if comment := self._journal.comments.get(row):
            lines.append([("comment: ", "accent"), (clean(comment), "")])
        formatted = pretty(text, frozenset() if self.meta else COLLAPSED_MEMBERS)
        self.folding = Folding(blocks(formatted), len(lines))
        for pieces in formatted:
            lines.append([(_bounded(piece), _PIECES[kind]) for piece, kind in pieces])
            if any(piece == COLLAPSED for piece, _ in pieces):
                lines[-1].append(("  z shows it", "dim"))
        return lines

    def _message(self, row: int) -> list[list[Part]]:
        return self._laid_out(row)

    def _pair(self, row: int) -> list[list[Part]]:
        store = self._journal.store
        other = store.linked(store.pair, row)
        if other is not None:
            return self._laid_out(other)
        if store.status_of(row) is Status.PENDING:
            return [[("no response yet", "warn")]]
        return [[("this row has no pair", "dim")]]

    def _related(self, row: int) -> list[list[Part]]:
        rows = related(self._journal, row)
        lines = []
        for other in rows:
            lines.append([("▶ " if other == row else "  ", "accent"), *self.headline(other)])
        return lines or [[("no rows are related to this one", "dim")]]

    def _timing(self, row: int) -> list[list[Part]]:
        store = self._journal.store
        request = request_of(store, row)
        if request is None:
            return [[("not part of a request, so there is no duration", "dim")]]
        lines = [*self._shares(request), [("", "")]]
        start = store.mono[request - store.first]
        for other in related(self._journal, request):
            offset = (store.mono[other - store.first] - start) * 1000
            lines.append([(f"{offset:>+10.1f} ms  ", "dim"), *self.headline(other)])
        return lines

    def _shares(self, request: int) -> list[list[Part]]:
        """Return the operation's duration in total and per side; on the server leg, first the leg's own."""
        store = self._journal.store
        lines: list[list[Part]] = []
        twin = store.linked(store.twin, request)
        if store.lane_of(request) not in CLIENT_LEG:
            alone = twin is None or store.lane_of(twin) not in CLIENT_LEG
            here = store.latency_of(request)
            lines.append([(f"{'this leg':<10} {_took(here)}  {_bar(here, here)}", "accent")])
            if alone or twin is None:
                return [*lines, [("not seen on the client leg", "dim")]]
            request = twin
        total, upstream, overhead = durations(store, request)
        shares = (("total", total, ""), ("upstream", upstream, "note"), ("gateway", overhead, "warn"))
        lines += [
            [(f"{name:<10} {_took(share)}  {_bar(share, total)}", style)] for name, share, style in shares
        ]
        if total is None:
            lines.append([(NO_DURATION.get(store.status_of(request), "there was no response"), "dim")])
        return lines

    def _raw(self, row: int) -> list[list[Part]]:
        return [[(clean(self._journal.store.body(row).text), "")]]

    def _violations(self, row: int) -> list[list[Part]]:
        lines: list[list[Part]] = []
        for violation in self._journal.problems_of(row):
            lines.append([(f"! {violation.code}: ", "bad"), (clean(violation.text), "")])
            lines.append([(f"  {violation.section}", "dim")])
        return lines or [[("no violation found", "good")]]


def _bounded(piece: str) -> str:
    """Return a token as it may be drawn, truncated if it is very long; the Raw tab has all of it."""
    if len(piece) <= MAX_PIECE:
        return clean(piece)
    return f"{clean(piece[:MAX_PIECE])}… ({len(piece) - MAX_PIECE:,} more characters; see Raw)"


def _took(duration: float | None) -> str:
    return f"{milliseconds(duration) or '—':>8} ms"


def _bar(part: float | None, whole: float | None) -> str:
    return "█" * max(1, round(part / whole * 30)) if part is not None and whole else ""


def related(journal: Journal, row: int) -> list[int]:
    """Return the rows of one operation: request and response on both legs, rows that refer to them, other rounds."""
    store = journal.store
    request = request_of(store, row)
    if request is None:
        request = store.linked(store.parent, row)
    if request is None:
        twin = store.linked(store.twin, row)
        return sorted({row, twin}) if twin is not None else []
    roots = {request}
    for column in (store.twin, store.parent):
        if (other := store.linked(column, request)) is not None:
            roots.add(other)
    rows = set(roots) | {row}
    for root in roots:
        if (answer := store.linked(store.pair, root)) is not None:
            rows.add(answer)
    low, high = request - store.first, min(len(store), request - store.first + NEIGHBOURS)
    for index, parent in enumerate(store.parent[low:high], low):
        if parent != NONE and parent in roots and len(rows) < MAX_RELATED:
            rows.add(index + store.first)
    for other in list(rows):  # another round has its own responses
        if store.kind_of(other) is Kind.REQUEST and (answer := store.linked(store.pair, other)) is not None:
            rows.add(answer)
    return sorted(rows)

"""The screens other than Traffic: Sessions, Ladder, Stats, Capabilities, Problems."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from rich.cells import cell_len

from mcp_ws_ide.core.era import Era
from mcp_ws_ide.inspector.app.columns import (
    amount,
    clock,
    milliseconds,
    number,
    number_width,
    status,
    what,
)
from mcp_ws_ide.inspector.app.rows import Part, Rows, clean, fit, one_line
from mcp_ws_ide.inspector.app.traffic import AT_ONCE
from mcp_ws_ide.inspector.app.traffic_columns import WIDE
from mcp_ws_ide.inspector.model import filters
from mcp_ws_ide.inspector.model.catalogue import Catalogue
from mcp_ws_ide.inspector.model.journal import Changes, Journal, SeenSession, TrafficProblem
from mcp_ws_ide.inspector.model.records import Kind, Lane, Status
from mcp_ws_ide.inspector.model.sizes import tokens
from mcp_ws_ide.inspector.model.statistics import OperationStats
from mcp_ws_ide.inspector.model.view import View

ORDERS: Final = ("count", "errors", "p50", "p95", "max", "size")


class Pane(Rows):
    """A screen over the journal; ``update`` is called while it is visible."""

    def __init__(self, journal: Journal, **options: Any) -> None:
        super().__init__(**options)
        self._journal = journal
        self._seen: object = None
        """What was last painted."""

    def update(self) -> None:
        """Update from the journal."""
        self.changed()

    def changed(self) -> None:
        """Repaint if anything visible has changed."""
        self._settle()
        width, end = max(1, self.size.width - 1), min(self.count(), self.top + self.body_height)
        lines = [self.parts(index, width) for index in range(self.top, end)]
        seen = (self.size, self.top, self.cursor, self.count(), self.heading(width), self.empty(), lines)
        if seen != self._seen:
            self._seen = seen
            self.refresh()

    def stay(self, item: object, items: Sequence[object]) -> None:
        """Keep the cursor on its item, wherever that is now; then repaint."""
        if item is not None:
            self.cursor = next((index for index, other in enumerate(items) if other == item), self.cursor)
        self.changed()

    @property
    def row(self) -> int | None:
        """The row of the store under the cursor."""
        return None


class Sessions(Pane):
    """Connected sessions, and sessions that have ended."""

    def __init__(self, journal: Journal, **options: Any) -> None:
        super().__init__(journal, **options)
        self._live: dict[str, dict[str, Any]] = {}
        self._sessions: list[SeenSession] = []

    def refreshed(self, live: list[dict[str, Any]]) -> None:
        """Take the sessions that the gateway reports."""
        self._live = {str(session.get("id")): session for session in live}
        for name, live_session in self._live.items():
            # Kept for when the session has ended; if its beginning was not seen, only the gateway knows the era.
            if (session := self._journal.sessions.get(name)) is not None and not session.era:
                session.era = str(live_session.get("era") or "")

    def update(self) -> None:
        """Sort live sessions first, each part newest first."""
        before = self.session
        known = dict(self._journal.sessions)
        for name, live_session in self._live.items():
            if name not in known:
                opened = float(live_session.get("created") or 0)
                known[name] = SeenSession(name, str(live_session.get("server")), opened)
        self._sessions = sorted(
            known.values(), key=lambda seen: (seen.id in self._live, seen.opened), reverse=True
        )
        self.stay(before, [session.id for session in self._sessions])

    @property
    def session(self) -> str | None:
        """The id of the session under the cursor."""
        return self._sessions[self.cursor].id if self.cursor < len(self._sessions) else None

    def count(self) -> int:
        """Return the number of sessions."""
        return len(self._sessions)

    def empty(self) -> str:
        """Return the text shown if there are no sessions."""
        return self.nothing or "No sessions yet. Connect a client to the gateway (c shows how)."

    def heading(self, width: int) -> list[Part]:
        """Return the column headings."""
        era, link = _session_widths(width)
        return [
            (
                f"{'session':<8} {'server':<12} {'era':<{era}} {'link':<{link}} {'open':>4} {'seen':>6} {'res':>3} "
                f"{'unack':>5}  client",
                "",
            )
        ]

    def parts(self, index: int, width: int) -> list[Part]:
        """Return one session."""
        session = self._sessions[index]
        live = self._live.get(session.id)
        era, link = _session_widths(width)
        link_text, style = link_of(session, live)
        return [
            (fit(session.id, 8) + " ", "note"),
            (fit(session.server, 12) + " ", ""),
            (fit(_era(session, live, width >= WIDE), era) + " ", "dim"),
            (fit(link_text, link) + " ", style),
            (f"{_count((live or {}).get('in_flight')):>4} ", "warn"),
            (f"{amount(session.messages):>6} {_count(session.resumes):>3} ", ""),
            (f"{amount((live or {}).get('queued_bytes') or 0):>5}  ", ""),
            (clean(_client(session, live)), "dim"),
        ]

    def whole(self, index: int) -> list[list[Part]]:
        """Return all that is known of a session, one item per line."""
        session = self._sessions[index]
        live = self._live.get(session.id)
        link_text, style = link_of(session, live)
        known = {
            "session": session.id,
            "server": session.server,
            "era": _era(session, live) or "not seen",
            "opened": clock(session.opened),
            "client": _client(session, live) or "not seen",
            "messages": f"{session.messages} seen on the client leg",
            "resumed": f"{session.resumes} times",
            "open": f"{(live or {}).get('in_flight') or 0} requests",
            **({"gateway": str(instance)} if (instance := (live or {}).get("instance")) else {}),
            "unack": f"{(live or {}).get('queued_bytes') or 0} bytes not acknowledged by the client or its link",
        }
        lines: list[list[Part]] = [
            [(f"{name:<9} ", "key"), (clean(text), "")] for name, text in known.items()
        ]
        return [*lines, [(f"{'link':<9} ", "key"), (one_line(link_text), style)]]


def _count(number: Any) -> str:
    """Return a number in a few characters; ``""`` for none."""
    return amount(number) if number else ""


def _session_widths(width: int) -> tuple[int, int]:
    """Return the widths of ``era``, which includes the revision in wide windows, and of ``link``."""
    return (20, 24) if width >= WIDE else (9, 11)


def _era(session: SeenSession, live: dict[str, Any] | None, whole: bool = True) -> str:
    era = session.era or str((live or {}).get("era") or "")
    shown = "handshake" if era == Era.LEGACY else era
    return f"{shown} {session.revision}".strip() if whole else shown


def _client(session: SeenSession, live: dict[str, Any] | None) -> str:
    """Return the client's user agent and address."""
    known = live or {}
    return f"{known.get('user_agent') or session.client} {known.get('remote') or session.remote}".strip()


def link_of(session: SeenSession, live: dict[str, Any] | None) -> tuple[str, str]:
    """Return how the session is connected, or the code and reason with which it ended."""
    if live is not None and not session.closed:  # the gateway's answer may be older than the traffic
        if live.get("stored"):
            return ("◌ stored", "warn")
        restored = " (restored)" if live.get("restored") else ""
        link = f"● {live.get('link', '')}{restored}"
        return (link, "good") if live.get("attached") else (f"◌ waits{restored}", "warn")
    return (f"○ {session.closed}", "dim") if session.closed else ("?", "dim")


class Ladder(Pane):
    """One session as a sequence diagram: client, gateway, server."""

    def __init__(self, journal: Journal, **options: Any) -> None:
        super().__init__(journal, **options)
        self._view = View(journal.store, filters.of_session("\0"))
        self.session: str | None = None
        self._following = True
        self._noted: list[Changes] | None = None
        """What has changed since the view was made; None if it must be made again."""
        self._aim: int | None = None
        """The row to which the cursor goes once it has been found among the session's rows."""

    def choose(self, session: str | None) -> None:
        """Show a session."""
        if session != self.session:
            self.session = session
            self._noted = self._aim = None
            self._following = True
            self.update()

    def note(self, changes: list[Changes], visible: bool) -> None:
        """Remember what has changed, for the next update."""
        if not visible:
            self._noted = None
        elif self._noted is not None:
            self._noted += changes

    def go_row(self, row: int) -> None:
        """Go to a row of the session, or to the first one after it, as soon as it is found."""
        self._aim, self._following = row, False
        self._placed(None)

    def update(self) -> None:
        """Update the session's rows: rows of a shared server belong to it only once they have a twin."""
        row = self.row
        if self._noted is None:
            self._aim = self._aim if self._following or self._aim is not None else row
            self._view.begin(filters.of_session(self.session or "\0"))
            self.work(AT_ONCE)
        elif self._noted:
            self._view.update(self._noted)
        self._noted = []
        self._placed(row)

    def work(self, seconds: float) -> None:
        """Look for further rows of the session for about ``seconds``, newest first."""
        row, end = self.row, time.monotonic() + seconds
        if not self._view.left:
            return
        while self._view.step() and time.monotonic() < end:
            pass
        self._placed(row)

    def _placed(self, row: int | None) -> None:
        """Keep the cursor on its row, on the newest one while following, or on the one that was looked for."""
        if self._following:
            self.cursor = max(0, self.count() - 1)
        elif self._aim is not None:
            self.cursor = min(self._view.place(self._aim), max(0, self.count() - 1))
            if not self._view.left or self._view.has(self._aim):
                self._aim, self._following = None, self.cursor >= self.count() - 1
        elif row is not None and self.cursor < self.count() and self._view.rows[self.cursor] != row:
            shift = self._view.place(row) - self.cursor
            self.cursor += shift
            self.top += shift
        self.changed()

    def go(self, index: int) -> None:
        """Move the cursor; leaving the last row ends following."""
        super().go(index)
        self._aim = None
        self._following = self.cursor >= self.count() - 1

    @property
    def row(self) -> int | None:
        """The row under the cursor."""
        rows = self._view.rows
        return rows[self.cursor] if self.cursor < len(rows) else None

    def count(self) -> int:
        """Return the number of the session's rows."""
        return len(self._view)

    def empty(self) -> str:
        """Return the text shown for an empty ladder."""
        return (
            self.nothing or "No session is selected. Select one on screen 1, or one of its rows on screen 2."
        )

    def heading(self, width: int) -> list[Part]:
        """Return the names of the three lifelines."""
        lane = _lane_width(width)
        names = f"{'client':<{lane}} {'gateway':<{max(8, lane - 5)}}server"
        return [(f"{clean(self.session or '')[:12]:<13}{names}", "")]

    def parts(self, index: int, width: int) -> list[Part]:
        """Return one arrow."""
        store, row = self._journal.store, self._view.rows[index]
        if not store.holds(row):
            return [("(forgotten)", "dim")]
        lane, size = store.lane_of(row), _lane_width(width)
        moment: Part = (clock(store.time[row - store.first]) + " ", "dim")
        if lane is Lane.NONE or store.kind_of(row) is Kind.NOISE:
            style = "bad" if store.kind_of(row) is Kind.GAP else "accent"
            return [
                moment,
                (fit("┄ " + what(store, row) + " ", width - 14).rstrip().ljust(width - 14, "┄"), style),
            ]
        word, style = _ladder_word(self._journal, row)
        empty = " " * size
        toward = lane in (Lane.CLIENT_IN, Lane.UPSTREAM_OUT)
        arrow = _arrow(word, size, toward)
        cells = (arrow, empty) if lane in (Lane.CLIENT_IN, Lane.CLIENT_OUT) else (empty, arrow)
        styles = (style, "") if cells[0] is arrow else ("", style)
        return [
            moment,
            ("│", "dim"),
            (cells[0], styles[0]),
            ("│", "dim"),
            (cells[1], styles[1]),
            ("│", "dim"),
        ]


def _lane_width(width: int) -> int:
    return max(10, (width - 16) // 2)


def _arrow(text: str, width: int, right: bool) -> str:
    body = fit(f" {text}", min(len(clean(text)) + 1, width - 5)).rstrip() + " "
    if right:
        return _ruled(f"──{body}", width - 1) + "▶"
    return _ruled(f"◀─{body}", width)


def _ruled(text: str, width: int) -> str:
    """Return ``text`` followed by a line, ``width`` cells in all."""
    return text + "─" * (width - cell_len(text))


def _ladder_word(journal: Journal, row: int) -> tuple[str, str]:
    store = journal.store
    word, style = status(store, row)
    kind = store.kind_of(row)
    if kind is Kind.REQUEST:
        mark = "" if store.status_of(row) is Status.OK else f" {word}"
        return f"{what(store, row)} {store.body(row).id}{mark}", style if mark else ""
    if kind in (Kind.RESPONSE, Kind.ERROR):
        took = milliseconds(store.latency_of(row))
        return " ".join(filter(None, (word, store.body(row).id, took and f"{took} ms"))), style
    return what(store, row), "dim" if kind is Kind.NOTIFICATION else style


class Stats(Pane):
    """Counts, durations and sizes per operation."""

    def __init__(self, journal: Journal, **options: Any) -> None:
        super().__init__(journal, **options)
        self._lines: list[OperationStats] = []
        self.order = "count"

    def sort(self) -> None:
        """Sort by the next column."""
        self.order = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]
        self.update()

    def choose_heading(self, word: str) -> None:
        """Sort by the column that was clicked."""
        if (name := word.rstrip("▼")) in ORDERS:
            self.order = name
            self.update()

    def update(self) -> None:
        """Sort again."""
        before = self.chosen
        self._lines = self._journal.statistics.ordered(self.order)
        self.stay(id(before) if before is not None else None, [id(line) for line in self._lines])

    @property
    def chosen(self) -> OperationStats | None:
        """The operation under the cursor."""
        return self._lines[self.cursor] if self.cursor < len(self._lines) else None

    def count(self) -> int:
        """Return the number of operations."""
        return len(self._lines)

    def empty(self) -> str:
        """Return the text shown if there are no operations."""
        return self.nothing or "No request has been completed yet."

    def heading(self, width: int) -> list[Part]:
        """Return the column headings; an arrow marks the sort order."""
        names = [f"{name + ('▼' if name == self.order else ''):>7}" for name in ORDERS[:-1]]
        size = f"{'size' + ('▼' if self.order == 'size' else ''):>7}"
        operation = fit("server, method, target", self._operation_width(width))
        tokens_ = f" {'~tok':>6}" if width >= WIDE else ""
        return [(f"{operation} {' '.join(names)} {'gw+':>6}{tokens_} {size}", "")]

    @staticmethod
    def _operation_width(width: int) -> int:
        return max(10, width - (62 if width >= WIDE else 55))

    def parts(self, index: int, width: int) -> list[Part]:
        """Return one operation."""
        line = self._lines[index]
        name = f"{line.server} {line.method} {line.target}"
        durations = line.durations
        p50, p95 = milliseconds(durations.quantile(0.5)), milliseconds(durations.quantile(0.95))
        return [
            (fit(name, self._operation_width(width)) + " ", ""),
            (f"{amount(line.count):>7} ", "head"),
            (f"{_count(line.errors):>7} ", "bad"),
            (f"{p50:>7} {p95:>7} {milliseconds(durations.worst):>7} ", ""),
            (f"{milliseconds(line.overhead):>6} ", "note"),
            (f"{_count(line.tokens):>6} " if width >= WIDE else "", "number"),
            (f"{amount(line.size):>7}", ""),
        ]


class Problems(Pane):
    """Requests that wait, failed calls, violations and losses."""

    WAITS = 5.0
    """Seconds after which an open request counts as a problem."""

    def __init__(self, journal: Journal, **options: Any) -> None:
        super().__init__(journal, **options)
        self._waiting: list[int] = []
        self._problems: list[TrafficProblem] = []
        self.now = 0.0

    def update(self) -> None:
        """Sort the longest waits first, then the newest problems."""
        keys = self._keys()
        before = keys[self.cursor] if self.cursor < len(keys) else None
        store = self._journal.store
        self._waiting = self._journal.overdue(self.now - self.WAITS)[:1000]
        self._problems = [problem for problem in reversed(self._journal.problems) if store.holds(problem.row)]
        self.stay(before, self._keys())

    def _keys(self) -> list[tuple[str, int]]:
        """Return what identifies each line."""
        return [
            *(("waits", row) for row in self._waiting),
            *(("problem", id(problem)) for problem in self._problems),
        ]

    @property
    def row(self) -> int | None:
        """The row of the store under the cursor."""
        if self.cursor < len(self._waiting):
            return self._waiting[self.cursor]
        index = self.cursor - len(self._waiting)
        return self._problems[index].row if index < len(self._problems) else None

    def count(self) -> int:
        """Return the number of waiting requests and problems."""
        return len(self._waiting) + len(self._problems)

    def empty(self) -> str:
        """Return the text shown if there are no problems."""
        return self.nothing or "No failed or lost calls, violations, losses or long waits."

    def heading(self, width: int) -> list[Part]:
        """Return the column headings."""
        numbers, server = number_width(self._journal.store), self._server_width(width)
        return [
            (f"{'#':>{numbers}} {'time':<12} {'server':<{server}} sess {'problem':<15} what", ""),
        ]

    def parts(self, index: int, width: int) -> list[Part]:
        """Return one problem."""
        store = self._journal.store
        if index < len(self._waiting):
            row = self._waiting[index]
            waited = self.now - store.mono[row - store.first]
            return [
                *self._head(row, width),
                (f"{'waits':<15} ", "warn"),
                (f"{waited:.0f} s: ", "warn"),
                (clean(what(store, row)), ""),
            ]
        problem = self._problems[index - len(self._waiting)]
        violation = problem.violation
        about = (
            f"· {what(store, problem.row)}" if store.holds(problem.row) and store.lane_of(problem.row) else ""
        )
        return [
            *self._head(problem.row, width),
            (fit(violation.code, 15) + " ", "bad"),
            (one_line(violation.text) + " ", ""),
            (one_line(about), "dim"),
        ]

    @staticmethod
    def _server_width(width: int) -> int:
        return 12 if width >= WIDE else 8

    def _head(self, row: int, width: int) -> list[Part]:
        store = self._journal.store
        numbers, server = number_width(store), self._server_width(width)
        if not store.holds(row):
            return [("(removed)".ljust(numbers + server + 20), "dim")]
        moment = f"{number(store, row):>{numbers}} {clock(store.time[row - store.first])} "
        return [
            (moment, "dim"),
            (fit(store.server_of(row), server) + " ", "key"),
            (fit(store.session_of(row)[:4], 4) + " ", "note"),
        ]


class Capabilities(Pane):
    """Identity, capabilities, tools, prompts and resources of each server, from its own responses."""

    def __init__(self, journal: Journal, **options: Any) -> None:
        super().__init__(journal, **options)
        self._lines: list[list[Part]] = []
        self._servers: list[dict[str, Any]] = []

    def refreshed(self, servers: list[dict[str, Any]]) -> None:
        """Take the servers that the gateway reports."""
        self._servers = servers

    @property
    def servers(self) -> list[str]:
        """The names of the servers."""
        return [str(server.get("name")) for server in self._servers]

    def update(self) -> None:
        """Rebuild the lines."""
        lines: list[list[Part]] = []
        catalogues = self._journal.catalogues
        known = [str(server.get("name")) for server in self._servers]
        for name in [*known, *(name for name in catalogues if name not in known)]:
            model = next((server for server in self._servers if server.get("name") == name), {})
            lines.append(_server_line(name, model))
            lines += _catalogue_lines(catalogues.get(name))
        self._lines = lines
        self.changed()

    def count(self) -> int:
        """Return the number of lines."""
        return len(self._lines)

    def empty(self) -> str:
        """Return the text shown if there are no servers."""
        return self.nothing or "No servers known yet."

    def parts(self, index: int, width: int) -> list[Part]:
        """Return a line; if a server's text has several lines, the first."""
        return [(text.partition("\n")[0], style) for text, style in self._lines[index]]

    def whole(self, index: int) -> list[list[Part]]:
        """Return all lines of the text under the cursor."""
        first, *rest = ("".join(text for text, _ in self._lines[index])).split("\n")
        return [[(line, "")] for line in (first.strip(), *rest)]


def _server_line(name: str, model: dict[str, Any]) -> list[Part]:
    about = " ".join(str(model.get(key) or "") for key in ("transport", "era", "state"))
    return [
        (clean(name) + "  ", "head"),
        (clean(about) + "  ", "dim"),
        (one_line(str(model.get("reason") or "")), "bad"),
    ]


def _catalogue_lines(catalogue: Catalogue | None) -> list[list[Part]]:
    if catalogue is None:
        return [[("    no responses of this server seen yet", "dim")]]
    lines: list[list[Part]] = []
    if catalogue.who:
        lines.append(
            [
                ("    ", ""),
                (clean(catalogue.who), "accent"),
                (f"  {clean(', '.join(catalogue.versions))}", "dim"),
            ]
        )
    if catalogue.capabilities:
        lines.append([("    capabilities: ", "dim"), (clean(", ".join(catalogue.capabilities)), "")])
    for kind, items in catalogue.items.items():
        sizes = catalogue.sizes.get(kind, {})
        whole = sum(sizes.values())
        lines.append([(f"    {kind} ({len(items)})", "note")])
        if whole:
            lines[-1].append((f"  {amount(whole)} bytes, about {amount(tokens(whole))} tokens", "dim"))
        if kind in catalogue.notes:
            lines[-1].append((f"  {clean(catalogue.notes[kind])}", "warn"))
        if kind in catalogue.incomplete:
            lines[-1].append(("  incomplete: the gateway truncated a list; there may be more", "warn"))
        for name, text in items:
            size = f"~{amount(tokens(sizes[name]))} tok" if sizes.get(name) else ""
            lines.append(
                [(f"      {size:>9}  ", "number"), (clean(name) + "  ", "key"), (_lines(text), "dim")]
            )
    return lines


def _lines(text: str) -> str:
    """Escape a peer's text, keeping line ends."""
    return "\n".join(clean(line) for line in text.splitlines())

"""The screens beside Traffic: Sessions, Ladder, Stats, Capabilities, Problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.cells import cell_len

from mcp_ws_ide.inspector.app.columns import WIDE, amount, clock, milliseconds, status, what
from mcp_ws_ide.inspector.app.rows import Part, Rows, clean, fit, one_line
from mcp_ws_ide.inspector.model import filters
from mcp_ws_ide.inspector.model.catalogue import Catalogue
from mcp_ws_ide.inspector.model.journal import Journal, SeenSession, TrafficProblem
from mcp_ws_ide.inspector.model.records import Kind, Lane, Status
from mcp_ws_ide.inspector.model.statistics import OperationStats
from mcp_ws_ide.inspector.model.view import View

ORDERS: Final = ("count", "errors", "p50", "p95", "max", "size")


class Pane(Rows):
    """A screen over the journal; ``update`` is called while it is to be seen."""

    def __init__(self, journal: Journal, **options: Any) -> None:
        super().__init__(**options)
        self._journal = journal
        self._seen: object = None
        """What was painted last."""

    def update(self) -> None:
        """Look again at the journal."""
        self.changed()

    def changed(self) -> None:
        """Repaint where something that is to be seen is different."""
        self._settle()
        width, end = max(1, self.size.width - 1), min(self.count(), self.top + self.body_height)
        lines = [self.parts(index, width) for index in range(self.top, end)]
        seen = (self.size, self.top, self.cursor, self.count(), self.heading(width), self.empty(), lines)
        if seen != self._seen:
            self._seen = seen
            self.refresh()

    def stay(self, item: object, items: Sequence[object]) -> None:
        """Keep the cursor on what it was on, wherever that is now; then repaint."""
        if item is not None:
            self.cursor = next((index for index, other in enumerate(items) if other == item), self.cursor)
        self.changed()

    @property
    def row(self) -> int | None:
        """The row of the store that the cursor stands for."""
        return None


class Sessions(Pane):
    """Who is connected, and who was."""

    def __init__(self, journal: Journal, **options: Any) -> None:
        super().__init__(journal, **options)
        self._live: dict[str, dict[str, Any]] = {}
        self._parties: list[SeenSession] = []

    def refreshed(self, live: list[dict[str, Any]]) -> None:
        """Take what the gateway says of its sessions."""
        self._live = {str(session.get("id")): session for session in live}
        for name, session in self._live.items():
            # Kept for when the session is over; of one whose beginning passed unseen only the gateway knows.
            if (party := self._journal.sessions.get(name)) is not None and not party.era:
                party.era = str(session.get("era") or "")

    def update(self) -> None:
        """Live sessions first, the newest first."""
        before = self.session
        known = dict(self._journal.sessions)
        for name, session in self._live.items():
            if name not in known:
                opened = float(session.get("created") or 0)
                known[name] = SeenSession(name, str(session.get("server")), opened)
        self._parties = sorted(known.values(), key=lambda p: (p.id in self._live, p.opened), reverse=True)
        self.stay(before, [party.id for party in self._parties])

    @property
    def session(self) -> str | None:
        """The id of the session under the cursor."""
        return self._parties[self.cursor].id if self.cursor < len(self._parties) else None

    def count(self) -> int:
        """Sessions."""
        return len(self._parties)

    def empty(self) -> str:
        """Nobody there."""
        return self.nothing or "No session yet. Connect a client to the gateway."

    def heading(self, width: int) -> list[Part]:
        """Columns."""
        era, link = _session_widths(width)
        return [
            (
                f"{'session':<8} {'server':<12} {'era':<{era}} {'link':<{link}} {'open':>4} {'seen':>6} {'res':>3} "
                f"{'unack':>5}  client",
                "",
            )
        ]

    def parts(self, index: int, width: int) -> list[Part]:
        """One session."""
        party = self._parties[index]
        live = self._live.get(party.id)
        era, link = _session_widths(width)
        words, style = _link(party, live)
        return [
            (fit(party.id, 8) + " ", "note"),
            (fit(party.server, 12) + " ", ""),
            (fit(_era(party, live, width >= WIDE), era) + " ", "dim"),
            (fit(words, link) + " ", style),
            (f"{(live or {}).get('in_flight') or '':>4} ", "warn"),
            (f"{amount(party.messages):>6} {party.resumes or '':>3} ", ""),
            (f"{amount((live or {}).get('queued_bytes') or 0):>5}  ", ""),
            (clean(_client(party, live)), "dim"),
        ]

    def whole(self, index: int) -> list[list[Part]]:
        """All of one session, a member a line."""
        party = self._parties[index]
        live = self._live.get(party.id)
        words, style = _link(party, live)
        known = {
            "session": party.id,
            "server": party.server,
            "era": _era(party, live) or "not seen",
            "opened": clock(party.opened),
            "client": _client(party, live) or "not seen",
            "messages": f"{party.messages} seen on the client's leg",
            "resumed": f"{party.resumes} times",
            "open": f"{(live or {}).get('in_flight') or 0} requests",
            "unack": f"{(live or {}).get('queued_bytes') or 0} bytes that the client has not acknowledged or taken",
        }
        lines: list[list[Part]] = [
            [(f"{name:<9} ", "key"), (clean(text), "")] for name, text in known.items()
        ]
        return [*lines, [(f"{'link':<9} ", "key"), (one_line(words), style)]]


def _session_widths(width: int) -> tuple[int, int]:
    """Of the columns ``era``, with the revision where there is room, and ``link``."""
    return (17, 24) if width >= WIDE else (7, 11)


def _era(party: SeenSession, live: dict[str, Any] | None, whole: bool = True) -> str:
    era = party.era or str((live or {}).get("era") or "")
    return f"{era} {party.revision}".strip() if whole else era


def _client(party: SeenSession, live: dict[str, Any] | None) -> str:
    """Who it says it is, and where from."""
    known = live or {}
    return f"{known.get('user_agent') or party.client} {known.get('remote') or party.remote}".strip()


def _link(party: SeenSession, live: dict[str, Any] | None) -> tuple[str, str]:
    """How it is connected, or with which code and reason it ended."""
    if live is not None and not party.closed:  # the answer of the gateway may be older than the traffic
        return (f"● {live.get('link', '')}", "good") if live.get("attached") else ("◌ waits", "warn")
    return (f"○ {party.closed}", "dim") if party.closed else ("?", "dim")


class Ladder(Pane):
    """One session as a sequence: client, gateway, server."""

    def __init__(self, journal: Journal, **options: Any) -> None:
        super().__init__(journal, **options)
        self._view = View(journal.store, filters.of_session("\0"))
        self.session: str | None = None
        self._following = True
        self._applied: tuple[str | None, int] | None = None
        """Of which session and how many records the view is."""

    def choose(self, session: str | None) -> None:
        """Show this session."""
        if session != self.session:
            self.session = session
            self._applied = None
            self._view.apply(filters.of_session(session) if session else filters.of_session("\0"))
            self._following = True
            self.cursor = max(0, self.count() - 1)

    def update(self) -> None:
        """Everything of the session anew: rows of a shared server belong to it only once they have a twin."""
        state = self.session, self._journal.store.end
        if self.session is not None and state != self._applied:
            self._applied = state
            self._view.apply(filters.of_session(self.session))
        if self._following:
            self.cursor = max(0, self.count() - 1)
        self.changed()

    def go(self, index: int) -> None:
        """Leaving the last row ends following."""
        super().go(index)
        self._following = self.cursor >= self.count() - 1

    @property
    def row(self) -> int | None:
        """The row under the cursor."""
        rows = self._view.rows
        return rows[self.cursor] if self.cursor < len(rows) else None

    def count(self) -> int:
        """Rows of the session."""
        return len(self._view)

    def empty(self) -> str:
        """What to do."""
        return self.nothing or "No session is chosen. Choose one on screen 1, or a row of one on screen 2."

    def heading(self, width: int) -> list[Part]:
        """The three lifelines."""
        lane = _lane_width(width)
        names = f"{'client':<{lane}} {'gateway':<{max(8, lane - 5)}}server"
        return [(f"{clean(self.session or '')[:12]:<13}{names}", "")]

    def parts(self, index: int, width: int) -> list[Part]:
        """One arrow."""
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
    """``text`` with a line behind it, up to ``width`` cells."""
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
    """How often, how fast, how large."""

    def __init__(self, journal: Journal, **options: Any) -> None:
        super().__init__(journal, **options)
        self._lines: list[OperationStats] = []
        self.order = "count"

    def sort(self) -> None:
        """By the next column."""
        self.order = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]
        self.update()

    def update(self) -> None:
        """Order anew."""
        before = self.chosen
        self._lines = self._journal.statistics.ordered(self.order)
        self.stay(id(before) if before is not None else None, [id(line) for line in self._lines])

    @property
    def chosen(self) -> OperationStats | None:
        """The line under the cursor."""
        return self._lines[self.cursor] if self.cursor < len(self._lines) else None

    def count(self) -> int:
        """Lines."""
        return len(self._lines)

    def empty(self) -> str:
        """Nothing."""
        return self.nothing or "No request has been answered yet."

    def heading(self, width: int) -> list[Part]:
        """Columns; the one that orders has an arrow."""
        names = [f"{name + ('▼' if name == self.order else ''):>7}" for name in ORDERS[:-1]]
        size = f"{'size' + ('▼' if self.order == 'size' else ''):>7}"
        return [
            (f"{fit('server, method, target', max(10, width - 55))} {' '.join(names)} {'gw+':>6} {size}", "")
        ]

    def parts(self, index: int, width: int) -> list[Part]:
        """One line."""
        line = self._lines[index]
        name = f"{line.server} {line.method} {line.target}"
        p50, p95 = milliseconds(line.quantile(0.5)), milliseconds(line.quantile(0.95))
        return [
            (fit(name, max(10, width - 55)) + " ", ""),
            (f"{amount(line.count):>7} ", "head"),
            (f"{line.errors or '':>7} ", "bad"),
            (f"{p50:>7} {p95:>7} {milliseconds(line.worst):>7} ", ""),
            (f"{milliseconds(line.overhead):>6} ", "note"),
            (f"{amount(line.size):>7}", ""),
        ]


class Problems(Pane):
    """What deserves a look: requests that wait, violations, losses."""

    WAITS = 5.0
    """Seconds after which an open request is a problem."""

    def __init__(self, journal: Journal, **options: Any) -> None:
        super().__init__(journal, **options)
        self._waiting: list[int] = []
        self._problems: list[TrafficProblem] = []
        self.now = 0.0

    def update(self) -> None:
        """Longest waits first, then the newest problems."""
        keys = self._keys()
        before = keys[self.cursor] if self.cursor < len(keys) else None
        store = self._journal.store
        self._waiting = self._journal.overdue(self.now - self.WAITS)[:1000]
        self._problems = [problem for problem in reversed(self._journal.problems) if store.holds(problem.row)]
        self.stay(before, self._keys())

    def _keys(self) -> list[tuple[str, int]]:
        """What each line is of."""
        return [
            *(("waits", row) for row in self._waiting),
            *(("problem", id(problem)) for problem in self._problems),
        ]

    @property
    def row(self) -> int | None:
        """The row of the store."""
        if self.cursor < len(self._waiting):
            return self._waiting[self.cursor]
        index = self.cursor - len(self._waiting)
        return self._problems[index].row if index < len(self._problems) else None

    def count(self) -> int:
        """Waits and problems."""
        return len(self._waiting) + len(self._problems)

    def empty(self) -> str:
        """All well."""
        return self.nothing or "Nothing is wrong that can be seen from here."

    def heading(self, width: int) -> list[Part]:
        """Columns."""
        return [(f"{'#':>7} {'time':<12} sess {'problem':<15} what", "")]

    def parts(self, index: int, width: int) -> list[Part]:
        """One problem."""
        store = self._journal.store
        if index < len(self._waiting):
            row = self._waiting[index]
            waited = self.now - store.mono[row - store.first]
            return [
                *self._head(row),
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
            *self._head(problem.row),
            (fit(violation.code, 15) + " ", "bad"),
            (one_line(violation.text) + " ", ""),
            (one_line(about), "dim"),
        ]

    def _head(self, row: int) -> list[Part]:
        store = self._journal.store
        if not store.holds(row):
            return [("        (forgotten)       ", "dim")]
        index = row - store.first
        moment = f"{store.seq[index]:>7} {clock(store.time[index])} "
        return [(moment, "dim"), (fit(store.session_of(row)[:4], 4) + " ", "note")]


class Capabilities(Pane):
    """What each server said it can do, as its answers showed it."""

    def __init__(self, journal: Journal, **options: Any) -> None:
        super().__init__(journal, **options)
        self._lines: list[list[Part]] = []
        self._servers: list[dict[str, Any]] = []

    def refreshed(self, servers: list[dict[str, Any]]) -> None:
        """Take what the gateway says of its servers."""
        self._servers = servers

    @property
    def servers(self) -> list[str]:
        """Their names."""
        return [str(server.get("name")) for server in self._servers]

    def update(self) -> None:
        """Lay out anew."""
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
        """Lines."""
        return len(self._lines)

    def empty(self) -> str:
        """Nothing."""
        return self.nothing or "No server is known yet."

    def parts(self, index: int, width: int) -> list[Part]:
        """A line; of what a server wrote in several lines, the first."""
        return [(text.partition("\n")[0], style) for text, style in self._lines[index]]

    def whole(self, index: int) -> list[list[Part]]:
        """The line with all that is kept of it."""
        first, *rest = ("".join(text for text, _ in self._lines[index])).split("\n")
        return [[(line, "")] for line in (first.strip(), *rest)]


def _server_line(name: str, model: dict[str, Any]) -> list[Part]:
    words = " ".join(str(model.get(key) or "") for key in ("transport", "era", "state"))
    return [
        (clean(name) + "  ", "head"),
        (clean(words) + "  ", "dim"),
        (one_line(str(model.get("reason") or "")), "bad"),
    ]


def _catalogue_lines(catalogue: Catalogue | None) -> list[list[Part]]:
    if catalogue is None:
        return [[("    nothing of it was seen", "dim")]]
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
        lines.append([(f"    {kind} ({len(items)})", "note")])
        lines += [
            [("      ", ""), (clean(name) + "  ", "key"), (_lines(text), "dim")] for name, text in items
        ]
    return lines


def _lines(text: str) -> str:
    """Text of a peer, with its line ends."""
    return "\n".join(clean(line) for line in text.splitlines())

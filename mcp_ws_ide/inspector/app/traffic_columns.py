"""The columns of the Traffic screen: which are shown in a window of a given width, and what stands in each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from mcp_ws_ide.inspector.app.columns import (
    LANES,
    amount,
    clock,
    durations,
    flagged_number,
    milliseconds,
    name_of,
    number_width,
    preview,
    status,
    what,
)
from mcp_ws_ide.inspector.app.rows import Part, clean, fit
from mcp_ws_ide.inspector.app.timeline import Scale, bar
from mcp_ws_ide.inspector.model.ranking import Ranking
from mcp_ws_ide.inspector.model.records import Kind, Status
from mcp_ws_ide.inspector.model.store import TRUNCATED, Store

WIDE: Final = 100
"""Width from which the server's and the gateway's share have columns of their own."""
WIDEST: Final = 140
"""Width from which the id and a preview of the message have columns of their own."""
BESIDE_TIMELINE: Final = ("#", "server", "sess", "method, target", "st", "total")
"""The columns beside the timeline; in a narrow window without the server."""
LEAST_REST: Final = 8
"""Cells that a column without a width of its own always has."""
WHAT_SHARE: Final = 0.4
"""Share of the free cells that method and target take beside a preview."""
MOST_WHAT: Final = 48
"""Cells that method and target take at most beside a preview."""


@dataclass(slots=True)
class Cells:
    """One row of the store, as the columns need it.

    Attributes:
        now: the monotonic time up to which an open request has waited.
        scale: what the width of the timeline stands for.
        room: the cells of the timeline.
        previewed: whether the preview has a column of its own.
    """

    store: Store
    row: int
    now: float
    scale: Scale = field(default_factory=Scale)
    room: int = field(default=1, init=False)
    previewed: bool = field(default=False, init=False)
    shares: tuple[float | None, float | None, float | None] = field(init=False)

    def __post_init__(self) -> None:
        self.shares = durations(self.store, self.row)

    @property
    def index(self) -> int:
        """The index of the row in the store's columns."""
        return self.row - self.store.first


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: its heading.
        width: its cells; 0 if it takes what the others leave.
        cell: what stands in it, and its style.
        right: whether it is aligned to the right.
        since: the width of the list from which it is shown, unless the user chose the columns.
    """

    name: str
    width: int
    cell: Callable[[Cells], Part]
    right: bool = False
    since: int = 0


def _number(cells: Cells) -> Part:
    return flagged_number(cells.store, cells.row)


def _what(cells: Cells) -> Part:
    kind = cells.store.kind_of(cells.row)
    style = "bad" if kind in (Kind.GAP, Kind.MALFORMED) else "dim" if kind is Kind.NOTIFICATION else ""
    return (name_of if cells.previewed else what)(cells.store, cells.row), style


def _total(cells: Cells) -> Part:
    if cells.store.status_of(cells.row) is Status.PENDING:
        return milliseconds(max(0.0, (cells.now - cells.store.mono[cells.index]) * 1000)), ""
    return milliseconds(cells.shares[0]), ""


def _size(cells: Cells) -> Part:
    size = cells.store.size[cells.index]
    return (amount(size) + ("+" if cells.store.has(cells.row, TRUNCATED) else "") if size else ""), ""


PREVIEW: Final = Column("preview", 0, lambda cells: (preview(cells.store, cells.row), "dim"), since=WIDEST)
COLUMNS: Final[tuple[Column, ...]] = (
    Column("#", 7, _number, right=True),
    Column("time", 12, lambda cells: (clock(cells.store.time[cells.index]), "dim")),
    Column("server", 8, lambda cells: (cells.store.server_of(cells.row), "key")),
    Column("sess", 4, lambda cells: (cells.store.session_of(cells.row)[:4], "note")),
    Column("id", 6, lambda cells: (cells.store.body(cells.row).id, "accent"), since=WIDEST),
    Column("dir", 3, lambda cells: (LANES[cells.store.lane_of(cells.row)], "")),
    Column("method, target", 0, _what),
    Column("st", 5, lambda cells: status(cells.store, cells.row)),
    Column("total", 6, _total, right=True),
    Column("upstr", 6, lambda cells: (milliseconds(cells.shares[1]), ""), right=True, since=WIDE),
    Column("gw+", 6, lambda cells: (milliseconds(cells.shares[2]), ""), right=True, since=WIDE),
    Column("size", 6, _size, right=True, since=WIDE),
    PREVIEW,
)
"""All columns, from left to right."""
NAMES: Final = tuple(column.name for column in COLUMNS)
TIMELINE: Final = Column(
    "timeline", 0, lambda cells: bar(cells.store, cells.row, cells.now, cells.scale, cells.room)
)
"""The column of bars, the last one while the timeline is shown."""
GROWING: Final = {"server": {WIDE: 12, WIDEST: 16}, "sess": {WIDEST: 8}}
"""Columns that are wider in a wide window: their cells, by the width of the list from which they have them."""


def shown(width: int, chosen: Sequence[str] = ()) -> list[Column]:
    """Return the columns of a list of this width: those that the user chose, else those that fit well."""
    if chosen:
        return [column for column in COLUMNS if column.name in chosen]
    return [column for column in COLUMNS if width >= column.since]


def beside_timeline(width: int) -> list[Column]:
    """Return the columns of the timeline in a list of this width."""
    known = [column for column in COLUMNS if column.name in BESIDE_TIMELINE]
    return [*(column for column in known if width >= WIDE or column.name != "server"), TIMELINE]


def widths(columns: Sequence[Column], width: int, store: Store) -> list[int]:
    """Return the cells of each column, in a list of ``width`` cells."""
    cells = [_own_width(column, width, store) for column in columns]
    rest = width - sum(cells) - (len(columns) - 1)
    free = [index for index, column in enumerate(columns) if not column.width]
    if len(free) == 1:
        cells[free[0]] = max(LEAST_REST, rest)
    elif free:
        first = max(LEAST_REST, min(MOST_WHAT, int(rest * WHAT_SHARE)))
        cells[free[0]], cells[free[1]] = first, max(LEAST_REST, rest - first)
    return cells


def _own_width(column: Column, width: int, store: Store) -> int:
    if column.name == "#":
        return number_width(store)
    wider = [cells for since, cells in GROWING.get(column.name, {}).items() if width >= since]
    return max([column.width, *wider])


def heading(columns: Sequence[Column], cells: Sequence[int], ranking: Ranking | None) -> list[Part]:
    """Return the column headings, a part each; an arrow marks the one by which the rows are sorted."""
    arrow = "" if ranking is None else "▲" if ranking.reverse else "▼"
    marked = "" if ranking is None else ranking.name
    names = [f"{column.name}{arrow if column.name == marked else ''}" for column in columns]
    return _laid_out(columns, cells, [(name, "") for name in names])


def named(word: str) -> str:
    """Return the name of the column to whose heading a word belongs; ``""`` if there is none."""
    word = word.rstrip("▼▲,")
    return next((name for name in NAMES if word in name.split(", ")), "")


def line(row: Cells, columns: Sequence[Column], cells: Sequence[int]) -> list[Part]:
    """Return one row of Traffic, a part for each column."""
    row.room, row.previewed = cells[-1], PREVIEW in columns
    return _laid_out(columns, cells, [column.cell(row) for column in columns])


def _laid_out(columns: Sequence[Column], cells: Sequence[int], parts: Sequence[Part]) -> list[Part]:
    placed = [
        (clean(text).rjust(size) if column.right else fit(text, size), style)
        for column, size, (text, style) in zip(columns, cells, parts, strict=True)
    ]
    return [*((f"{text} ", style) for text, style in placed[:-1]), placed[-1]]

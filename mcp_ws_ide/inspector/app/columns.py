"""How records are shown: labels, symbols and columns of every screen. Colour is never the only sign."""

from __future__ import annotations

import time
from typing import Final

from mcp_ws_ide.inspector.app.rows import Part, fit
from mcp_ws_ide.inspector.model.records import Kind, Lane, Status
from mcp_ws_ide.inspector.model.store import MARKED, PROBLEM, TRUNCATED, Store

LANES: Final = {
    Lane.NONE: "   ",
    Lane.CLIENT_IN: "c→g",
    Lane.UPSTREAM_OUT: "g→s",
    Lane.UPSTREAM_IN: "g←s",
    Lane.CLIENT_OUT: "c←g",
}
STATUSES: Final[dict[Status, tuple[str, str]]] = {
    Status.NONE: ("", ""),
    Status.PENDING: ("…", "warn"),
    Status.OK: ("OK", "good"),
    Status.FAILED: ("FAIL", "bad"),
    Status.ERROR: ("ERR", "bad"),
    Status.CANCELLED: ("CXL", "warn"),
    Status.LOST: ("LOST", "bad"),
    Status.INPUT: ("ASK", "note"),
    Status.UNKNOWN: ("?", "dim"),
}
KINDS: Final[dict[Kind, tuple[str, str]]] = {
    Kind.NOTIFICATION: ("NTF", "dim"),
    Kind.MALFORMED: ("BAD", "bad"),
    Kind.NOISE: ("OUT", "note"),
    Kind.EVENT: ("EVT", "accent"),
    Kind.GAP: ("GAP", "bad"),
}
FIXED: Final = 49
"""Columns of a Traffic line besides its text."""
WIDE: Final = 100
"""Width from which the server's and the gateway's share have columns of their own."""


def clock(moment: float) -> str:
    """Return the local time with milliseconds."""
    return time.strftime("%H:%M:%S", time.localtime(moment)) + f".{int(moment % 1 * 1000):03d}"


def milliseconds(value: float | None) -> str:
    """Return a short form of a duration."""
    if value is None:
        return ""
    if value < 10:
        return f"{value:.1f}"
    return f"{value:.0f}" if value < 100_000 else f"{value / 1000:.0f}s"


def amount(size: float) -> str:
    """Return a size or count in at most six characters."""
    for unit in ("", "k", "M", "G"):
        if size < 10_000:
            return f"{size:.0f}{unit}"
        size /= 1024
    return f"{size:.0f}T"


def status(store: Store, row: int) -> tuple[str, str]:
    """Return the label of a row's status or kind, and its style."""
    known = STATUSES[store.status_of(row)]
    return known if known[0] else KINDS.get(store.kind_of(row), ("", ""))


def what(store: Store, row: int) -> str:
    """Return method and target of a row, or the text of a record that is not a message; not yet escaped."""
    kind = store.kind_of(row)
    method, target = store.method_of(row), store.target_of(row)
    if kind in (Kind.EVENT, Kind.NOISE, Kind.GAP, Kind.MALFORMED):
        sign = {Kind.EVENT: "*", Kind.GAP: "══ gap:"}.get(kind, "")
        name = (
            ""
            if kind is Kind.GAP
            else f"{method} "
            if kind is Kind.EVENT
            else f"{method}: "
            if method
            else ""
        )
        return f"{sign} {name}{' '.join(store.body(row).text[:1000].split())[:300]}".strip()
    short = method.removeprefix("notifications/")
    if kind is Kind.NOTIFICATION:
        parent = store.linked(store.parent, row)
        return f"{short} {target}".rstrip() + (
            f" ↳{store.seq[parent - store.first]}" if parent is not None else ""
        )
    if kind in (Kind.RESPONSE, Kind.ERROR):
        return f"↳ {short or 'response'} {target}".rstrip()
    return f"{short} {target}".rstrip()


def request_of(store: Store, row: int) -> int | None:
    """Return the request that a row is, or responds to."""
    return row if store.kind_of(row) is Kind.REQUEST else store.linked(store.pair, row)


def durations(store: Store, row: int) -> tuple[float | None, float | None, float | None]:
    """Return total, upstream and gateway milliseconds of a row's operation, as far as they are known."""
    request = request_of(store, row)
    if request is None:
        return None, None, None
    total, upstream = store.latency_of(request), None
    twin = store.linked(store.twin, request)
    if twin is not None and store.lane_of(request) is Lane.CLIENT_IN:
        upstream = store.latency_of(twin)
    overhead = None if total is None or upstream is None else max(0.0, total - upstream)
    return total, upstream, overhead


def traffic_heading(width: int) -> list[Part]:
    """Return the column headings of :func:`traffic_line`."""
    wide = "  upstr    gw+" if width >= WIDE else ""
    rest = max(8, width - FIXED - len(wide))
    return [
        (
            f"{'#':>7} {'time':<12} sess dir {fit('method, target', rest)} st    {'total':>6}{wide} {'size':>5}",
            "",
        )
    ]


def traffic_line(store: Store, row: int, width: int, now: float) -> list[Part]:
    """Return one row of Traffic; ``now`` is the monotonic time up to which a pending request has waited."""
    index = row - store.first
    word, style = status(store, row)
    flag = "●" if store.has(row, MARKED) else "!" if store.has(row, PROBLEM) else " "
    total, upstream, overhead = durations(store, row)
    if store.status_of(row) is Status.PENDING:
        waited = milliseconds(max(0.0, (now - store.mono[index]) * 1000))
    else:
        waited = milliseconds(total)
    wide = f" {milliseconds(upstream):>6} {milliseconds(overhead):>6}" if width >= WIDE else ""
    rest = max(8, width - FIXED - len(wide))
    kind = store.kind_of(row)
    text_style = "bad" if kind in (Kind.GAP, Kind.MALFORMED) else "dim" if kind is Kind.NOTIFICATION else ""
    size = amount(store.size[index]) + ("+" if store.has(row, TRUNCATED) else "") if store.size[index] else ""
    return [
        (f"{flag}{store.seq[index]:>6} ", "bad" if flag == "!" else "accent" if flag == "●" else "dim"),
        (f"{clock(store.time[index])} ", "dim"),
        (fit(store.session_of(row)[:4], 4) + " ", "note"),
        (LANES[store.lane_of(row)] + " ", ""),
        (fit(what(store, row), rest) + " ", text_style),
        (f"{word:<5} ", style),
        (f"{waited:>6}{wide} {size:>5}", ""),
    ]

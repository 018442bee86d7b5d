"""How records are shown on every screen: labels, symbols, numbers. Colour is never the only sign."""

from __future__ import annotations

import json
import re
import time
from typing import Any, Final

from mcp_ws_ide.inspector.app.rows import Part
from mcp_ws_ide.inspector.model.records import Kind, Lane, Status, part
from mcp_ws_ide.inspector.model.store import MARKED, PROBLEM, Store

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
NO_MESSAGES: Final = frozenset({Kind.EVENT, Kind.NOISE, Kind.GAP, Kind.MALFORMED})
"""The kinds of records whose text is no message."""
NUMBER: Final = 6
"""Digits that the number of a record has room for at least."""
PREVIEWED: Final = 4096
"""Bytes of a message of which a preview is made."""
_BEGINNING: Final = re.compile(r'"(?:arguments|params|result|error)"\s*:\s*(.*)', re.DOTALL)


def clock(moment: float) -> str:
    """Return the local time with milliseconds."""
    return time.strftime("%H:%M:%S", time.localtime(moment)) + f".{int(moment % 1 * 1000):03d}"


def milliseconds(value: float | None) -> str:
    """Return a short form of a duration."""
    if value is None:
        return ""
    if value < 10:
        return f"{value:.1f}"
    if value < 100_000:
        return f"{value:.0f}"
    for unit, size in (("s", 1000), ("m", 60_000), ("h", 3_600_000)):
        if value < 10_000 * size:
            return f"{value / size:.0f}{unit}"
    return f"{value / 86_400_000:.0f}d"


def span(seconds: float) -> str:
    """Return a duration with its unit."""
    text = milliseconds(seconds * 1000)
    return text if text[-1:].isalpha() else f"{text} ms"


def number_width(store: Store) -> int:
    """Return the cells of :func:`flagged_number`."""
    return 1 + max(NUMBER, len(str(store.highest)))


def number(store: Store, row: int) -> str:
    """Return the number of a record as the gateway counts them; ``""`` if it has none, as a gap."""
    return str(store.seq[row - store.first] or "")


def flagged_number(store: Store, row: int) -> Part:
    """Return ``●`` for a marked row or ``!`` for one with a problem, and its number."""
    flag = "●" if store.has(row, MARKED) else "!" if store.has(row, PROBLEM) else " "
    style = "bad" if flag == "!" else "accent" if flag == "●" else "dim"
    return f"{flag}{number(store, row):>{number_width(store) - 1}}", style


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
    if kind in NO_MESSAGES:
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
        return f"{short} {target}".rstrip() + (f" ↳{number(store, parent)}" if parent is not None else "")
    if kind in (Kind.RESPONSE, Kind.ERROR):
        return f"↳ {short or 'response'} {target}".rstrip()
    return f"{short} {target}".rstrip()


def name_of(store: Store, row: int) -> str:
    """Return :func:`what` without the text of a record that is not a message, where :func:`preview` shows it."""
    signs = {Kind.EVENT: "* ", Kind.GAP: "══ ", Kind.MALFORMED: "malformed"}
    kind = store.kind_of(row)
    return f"{signs.get(kind, '')}{store.method_of(row)}" if kind in NO_MESSAGES else what(store, row)


def preview(store: Store, row: int) -> str:
    """Return what a message says, on one line: arguments, text of a result, error; not yet escaped."""
    head = store.beginning(row, PREVIEWED)
    if store.kind_of(row) in NO_MESSAGES:
        return " ".join(head.split())
    try:
        content = json.loads(head)
    except (ValueError, RecursionError):
        found = _BEGINNING.search(head)
        return " ".join((found[1] if found else head).split())
    return " ".join(_said(content).split())


def _said(content: Any) -> str:
    if (error := part(content, "error")) is not None:
        return f"{part(error, 'code')}: {part(error, 'message')}"
    texts = part(content, "result", "content")
    if isinstance(texts, list) and texts and isinstance(text := part(texts[0], "text"), str):
        return text
    value = part(content, "result")
    if value is None:
        params = part(content, "params")
        value = part(params, "arguments")
        value = params if value is None else value
    if isinstance(value, dict):
        value = {name: member for name, member in value.items() if name != "_meta"}
    return "" if value is None else json.dumps(value, ensure_ascii=False)


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

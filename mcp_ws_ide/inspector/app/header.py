"""The text of the lines above the screens, and of an empty screen. Performs no I/O."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from mcp_ws_ide.inspector.app.columns import amount
from mcp_ws_ide.inspector.app.panes import Problems
from mcp_ws_ide.inspector.app.rows import Part, clean
from mcp_ws_ide.inspector.app.traffic import Traffic
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.playback import Playback
from mcp_ws_ide.inspector.watch import Watch

SHORT: Final = {"sessions": "Sess", "capabilities": "Caps", "gateways": "GW"}
"""Names of screens in narrow windows."""


def state(watch: Watch | Playback, journal: Journal, rates: tuple[float, float]) -> list[Part]:
    """Return the state of the link, the rates (records and bytes per second), and what is open or missing."""
    store = journal.store
    where = clean(watch.gateway.url) if watch.gateway is not None else ""
    if watch.state == "live":
        trip = f"rtt {watch.round_trip * 1000:.1f}ms · " if watch.round_trip is not None else ""
        open_ = len(journal.waiting())
        drops = journal.missed
        silence = watch.silence
        return [
            (f" ◌ NO ANSWER for {silence:.0f}s ", "bad") if silence else (" ● LIVE ", "good"),
            (f"{trip}{rates[0]:.0f}/s {amount(rates[1])}B/s · {store.end:,} rec · ", ""),
            (f"{open_} open · ", "warn" if open_ else ""),
            (f"drop {drops} · ", "bad" if drops else ""),
            (f"gaps {watch.gaps} · " if watch.gaps else "", "warn"),
            (where, "dim"),
        ]
    if isinstance(watch, Playback):
        return [
            (" ■ FILE ", "accent"),
            (f"{clean(watch.path)} · {store.end:,} rec · ", ""),
            (f"{clean(watch.problem)} · " if watch.problem else "", "warn"),
            (f"recorded {watch.begun} at {where}", "dim"),
        ]
    if watch.state == "waiting":
        left = max(0.0, watch.next_try - time.monotonic())
        return [(f" ◌ NOT CONNECTED, reconnecting in {left:.0f}s ", "bad"), (clean(watch.problem), "")]
    return [(" ◌ connecting … ", "warn"), (f"{where} {clean(watch.problem)}", "dim")]


def tabs(
    journal: Journal,
    traffic: Traffic,
    current: str | None,
    now: float,
    width: int,
    screens: Sequence[str],
) -> list[Part]:
    """Return the screens and, on Traffic, which they concern alone, the display switches and the filter."""
    problems = sum(journal.problem_counts.values()) + len(journal.overdue(now - Problems.WAITS))
    parts: list[Part] = []
    for number, name in enumerate(screens, 1):
        label = name.title() if width >= 110 else SHORT.get(name, name.title())
        label += f"({amount(problems)})" if name == "problems" and problems else ""
        parts.append(
            (
                f"[{number} {label}]" if name == current else f" {number} {label} ",
                "head" if name == current else "",
            )
        )
    if current != "traffic":
        return parts
    switches = [
        ("PAUSED", traffic.paused),
        ("follow", traffic.following and not traffic.paused),
        ("folded", traffic.folding and not traffic.timeline),
        ("timeline", traffic.timeline),
        ("marked", traffic.marked_only),
    ]
    switched = " ".join(word for word, on in switches if on)
    parts.append((f" {switched} ", "warn" if traffic.paused else "dim"))
    if traffic.filter.text.strip():
        parts.append((f"/{clean(traffic.filter.text)}", "accent"))
    if traffic.searched is not None:
        parts.append((f" ^F {clean(traffic.searched.text)} {_position(traffic)}", "note"))
    if (unfinished := traffic.unfinished) is not None:
        parts.append((f" {100 - 100 * unfinished.left // max(1, len(journal.store))} %", "warn"))
    return parts


def _position(traffic: Traffic) -> str:
    """Return which match of the search the cursor is on, of how many: ``3/17``."""
    matches, row = traffic.matches, traffic.row
    if matches is None:
        return ""
    here = matches.place(row) + 1 if row is not None and matches.has(row) else "–"
    return f"{here}/{len(matches)}"


def nothing(tap: Watch | Playback, journal: Journal, of_clients: bool) -> str:
    """Return why a screen is empty, other than for lack of clients; ``of_clients``: it shows only what clients do."""
    if isinstance(tap, Playback):
        if not tap.ended:
            return "Reading the recording …"
        if not len(journal.store):
            return "The recording contains no records."
        return "The recording contains nothing to show on this screen." if of_clients else ""
    if tap.state != "live" and not len(journal.store):
        return "Not connected to the gateway; see the first line for the reason."
    return ""

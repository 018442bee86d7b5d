"""What ``check`` was told to expect: tools that must or must not be called, and how long a request may take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from mcp_ws_ide.inspector.model.failures import ENDLESS, is_probe
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.model.records import CLIENT_LEG, Kind, Status

MISSING: Final = "missing-tool"
FORBIDDEN: Final = "forbidden-tool"
SLOW: Final = "slow"


@dataclass(frozen=True, slots=True)
class Expectations:
    """What is expected of the traffic.

    Attributes:
        expected: patterns, each of which at least one called tool must match; ``*`` and ``?`` as in file names.
        forbidden: patterns that no called tool may match.
        max_duration: milliseconds that a request may take; None for any time.
    """

    expected: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    max_duration: float | None = None

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories that are checked."""
        known = ((MISSING, self.expected), (FORBIDDEN, self.forbidden), (SLOW, self.max_duration is not None))
        return tuple(name for name, used in known if used)


def unmet(journal: Journal, expectations: Expectations) -> Iterator[tuple[str, int | None, str]]:
    """Yield what is not as expected: its category, the row, and a text; the row is None for a tool that is missing."""
    store, called = journal.store, set[str]()
    for row in _requests(journal):
        name = store.target_of(row)
        if store.method_of(row) == "tools/call":
            called.add(name)
            for pattern in expectations.forbidden:
                if fnmatchcase(name, pattern):
                    yield FORBIDDEN, row, f"the tool was called, and {pattern!r} is forbidden"
        took = _duration(journal, row)
        if expectations.max_duration is not None and took > expectations.max_duration:
            ended = "was open" if store.status_of(row) is Status.PENDING else "took"
            yield (
                SLOW,
                row,
                f"{ended} {took:,.0f} ms; at most {expectations.max_duration:,.0f} ms are allowed",
            )
    for pattern in expectations.expected:
        if not any(fnmatchcase(name, pattern) for name in called):
            yield MISSING, None, f"no tool that matches {pattern!r} was called"


def _requests(journal: Journal) -> Iterator[int]:
    """Yield the requests, each on one leg; not those of the gateway's own, or that stay open on purpose."""
    store = journal.store
    for index, kind in enumerate(store.kind):
        row = index + store.first
        if kind != Kind.REQUEST or store.method_of(row) in ENDLESS or is_probe(store, row):
            continue
        if store.lane_of(row) in CLIENT_LEG or store.linked(store.twin, row) is None:
            yield row


def _duration(journal: Journal, row: int) -> float:
    """Return the milliseconds that a request took, or has been open at the last record."""
    store = journal.store
    if store.status_of(row) is Status.PENDING:
        return (store.mono[-1] - store.mono[row - store.first]) * 1000
    return store.latency_of(row) or 0.0

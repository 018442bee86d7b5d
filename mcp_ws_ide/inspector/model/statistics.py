"""Counts, durations and sizes per server, method and target.

Only completed requests count, once each, on the client leg (on the server leg if there is no other). Counts, sums and
quantiles include all of them, also those that the store has forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mcp_ws_ide.inspector.model.quantiles import Quantiles
from mcp_ws_ide.inspector.model.records import Lane, Status
from mcp_ws_ide.inspector.model.sizes import tokens
from mcp_ws_ide.inspector.model.store import OTHER, Store

MAX_LINES: Final = 2000
"""Operations kept, as peers choose the names; further ones count as :data:`OTHER`."""
BAD: Final = frozenset({Status.FAILED, Status.ERROR, Status.LOST})


@dataclass(slots=True)
class OperationStats:
    """Statistics of one operation. Durations in milliseconds.

    Attributes:
        size: bytes in both directions.
        answers: how many responses there were.
        answered: bytes of the responses.
    """

    server: str
    method: str
    target: str
    count: int = 0
    errors: int = 0
    size: int = 0
    answers: int = 0
    answered: int = 0
    upstream: float = 0.0
    upstream_count: int = 0
    durations: Quantiles = field(default_factory=Quantiles)

    @property
    def tokens(self) -> int | None:
        """Mean estimated tokens of a response; None without one."""
        return tokens(self.answered // self.answers) if self.answers else None

    @property
    def overhead(self) -> float | None:
        """Mean milliseconds added by the gateway, where both legs were seen."""
        if not self.upstream_count:
            return None
        return self.upstream / self.upstream_count


class Statistics:
    """Operations by (server, method, target)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.lines: dict[tuple[str, str, str], OperationStats] = {}

    def finished(self, request: int) -> None:
        """Count a request that has its response, or will not get one."""
        store = self._store
        lane = store.lane_of(request)
        if lane in (Lane.UPSTREAM_IN, Lane.UPSTREAM_OUT) and store.linked(store.twin, request) is not None:
            return
        line = self._line(request)
        line.count += 1
        line.errors += store.status_of(request) in BAD
        line.size += store.size[request - store.first]
        answer = store.linked(store.pair, request)
        if answer is None:
            return
        line.answers += 1
        line.answered += store.size[answer - store.first]
        line.size += store.size[answer - store.first]
        self._duration(line, request)

    def _duration(self, line: OperationStats, request: int) -> None:
        store = self._store
        latency = store.latency_of(request)
        if latency is None:
            return
        line.durations.add(latency)
        twin = store.linked(store.twin, request)
        upstream = None if twin is None else store.latency_of(twin)
        if upstream is not None:
            line.upstream += latency - upstream
            line.upstream_count += 1

    def _line(self, request: int) -> OperationStats:
        store = self._store
        key = store.server_of(request), store.method_of(request), store.target_of(request)
        if key not in self.lines and len(self.lines) >= MAX_LINES:
            key = OTHER, OTHER, OTHER
        line = self.lines.get(key)
        if line is None:
            line = self.lines[key] = OperationStats(*key)
        return line

    def ordered(self, by: str = "count") -> list[OperationStats]:
        """Return operations, greatest first, by ``count``, ``errors``, ``p50``, ``p95``, ``max`` or ``size``."""
        keys = {
            "count": lambda line: line.count,
            "errors": lambda line: line.errors,
            "p50": lambda line: line.durations.quantile(0.5) or 0.0,
            "p95": lambda line: line.durations.quantile(0.95) or 0.0,
            "max": lambda line: line.durations.worst,
            "size": lambda line: line.size,
        }
        return sorted(self.lines.values(), key=keys[by], reverse=True)

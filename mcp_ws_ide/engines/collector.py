"""The export of an engine's counters to Prometheus; nothing is exported without an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from mcp_ws_ide.engines.base import Engine
from mcp_ws_ide.observe.metrics import RegisteredCollector


class EngineCollector(RegisteredCollector):
    """Exports an engine's statistics under the names ``mcp_ws_engine_*`` (docs/reference/metrics.md lists them).

    Args:
        problem: returns why nothing is stored, which may be that the engine cannot start; ``""`` while it works.
    """

    def __init__(self, engine: Engine, problem: Callable[[], str]) -> None:
        self._engine = engine
        self._problem = problem

    def collect(self) -> Iterator[Metric]:
        """Read all metrics."""
        counters = self._engine.statistics
        writes = GaugeMetricFamily(
            "mcp_ws_engine_writes",
            "1 while sessions are stored; 0 while they cannot be and wait, or the engine cannot start and all requests "
            "are refused",
        )
        writes.add_metric([], float(not self._problem()))
        sessions = GaugeMetricFamily("mcp_ws_engine_sessions", "Stored sessions")
        sessions.add_metric([], counters.sessions)
        size = GaugeMetricFamily("mcp_ws_engine_bytes", "Bytes in use in the engine")
        size.add_metric([], counters.bytes)
        seconds = HistogramMetricFamily(
            "mcp_ws_engine_commit_seconds", "Seconds from staging the first batch of a commit to its outcome"
        )
        seconds.add_metric([], counters.commit_seconds.cumulative(), counters.commit_seconds.sum)
        batches = CounterMetricFamily(
            "mcp_ws_engine_batches",
            "Batches committed; divided by the number of commits, how many batches share one",
        )
        batches.add_metric([], counters.batches)
        failures = CounterMetricFamily("mcp_ws_engine_failures", "Commits that failed and were tried again")
        failures.add_metric([], counters.failures)
        lost = CounterMetricFamily(
            "mcp_ws_engine_lost_sessions",
            "Stored sessions that cannot continue, by cause: expired, key (its key is missing), damaged, machine (the "
            "machine stopped while commits were not on the disk), corrupt (a damaged file, counted once), unusable "
            "(another version stored it, or its gateway token is no longer valid)",
            labels=["cause"],
        )
        for cause, number in counters.lost.items():
            lost.add_metric([cause], number)
        yield from (writes, sessions, size, seconds, batches, failures, lost)

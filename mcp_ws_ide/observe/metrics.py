"""The gateway's metrics, and their export to Prometheus, whose objects are made only when ``/metrics`` is scraped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from mcp_ws_ide.observe.counters import ServerCounters


class ServerGauges:
    """The gauges of one server, measured when they are read; see :data:`Snapshot`."""

    __slots__ = ("in_flight", "links", "processes", "queued_bytes", "sessions")

    def __init__(self) -> None:
        self.links: Counter[str] = Counter()
        self.sessions: Counter[str] = Counter()
        self.processes = 0
        self.in_flight = 0
        self.queued_bytes = 0


class Metrics:
    """All counters of one gateway."""

    def __init__(self) -> None:
        self.servers: dict[str, ServerCounters] = {}
        self.refusals: Counter[str] = Counter()
        self.resumes: Counter[str] = Counter()
        """By outcome: resumed, gone (nothing to resume), expired (the client did not reconnect)."""
        self.sign_ins: Counter[str] = Counter()
        """By step: approved, denied, issued (a token, for a code or a refresh token)."""
        self.spans: Counter[str] = Counter()
        """Of traces, by outcome: exported, dropped, rejected (by the receiver)."""
        self.replayed = 0
        self.gap_messages = 0
        self.tap_drops = 0

    def server(self, name: str) -> ServerCounters:
        """Return the counters of a server, which survive changes of its configuration."""
        counters = self.servers.get(name)
        if counters is None:
            counters = self.servers[name] = ServerCounters()
        return counters


Snapshot = Callable[[], dict[str, ServerGauges]]
"""Measures the gauges of all servers, by name."""


class RegisteredCollector(Collector):
    """A collector that adds itself to ``/metrics`` and removes itself again."""

    def register(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Add the metrics to ``/metrics``."""
        registry.register(self)

    def unregister(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Remove the metrics from ``/metrics``."""
        registry.unregister(self)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registration must not collect yet."""
        return []


class GatewayCollector(RegisteredCollector):
    """Exports :class:`Metrics` under the names ``mcp_ws_*`` (docs/reference/metrics.md lists them)."""

    def __init__(self, metrics: Metrics, snapshot: Snapshot) -> None:
        self._metrics = metrics
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Read all metrics."""
        yield from self._gauges()
        yield from self._counters()
        yield from self._sign_ins()
        yield from self._spans()
        yield from self._latencies()

    def _gauges(self) -> Iterator[Metric]:
        links = GaugeMetricFamily("mcp_ws_links", "Open client links", labels=["server", "era"])
        sessions = GaugeMetricFamily(
            "mcp_ws_sessions", "Sessions, attached and detached", labels=["server", "era"]
        )
        processes = GaugeMetricFamily(
            "mcp_ws_processes", "Server processes, running or starting", labels=["server"]
        )
        in_flight = GaugeMetricFamily(
            "mcp_ws_requests_in_flight", "Client requests without a response yet", labels=["server"]
        )
        queued = GaugeMetricFamily(
            "mcp_ws_queued_bytes", "Bytes queued for servers and clients", labels=["server"]
        )
        for name, gauges in self._snapshot().items():
            for era, count in gauges.links.items():
                links.add_metric([name, era], count)
            for era, count in gauges.sessions.items():
                sessions.add_metric([name, era], count)
            processes.add_metric([name], gauges.processes)
            in_flight.add_metric([name], gauges.in_flight)
            queued.add_metric([name], gauges.queued_bytes)
        yield from (links, sessions, processes, in_flight, queued)

    def _counters(self) -> Iterator[Metric]:
        count = CounterMetricFamily("mcp_ws_messages", "Messages carried", labels=["server", "direction"])
        size = CounterMetricFamily(
            "mcp_ws_bytes", "Bytes of messages carried", labels=["server", "direction"]
        )
        dropped = CounterMetricFamily(
            "mcp_ws_messages_dropped",
            "Messages dropped because they belong to no request: late responses, untagged notifications",
            labels=["server"],
        )
        restarts = CounterMetricFamily(
            "mcp_ws_process_restarts",
            "Server processes that exited unexpectedly or could not be started",
            labels=["server"],
        )
        for name, counters in self._metrics.servers.items():
            count.add_metric([name, "client_to_server"], counters.messages_in)
            count.add_metric([name, "server_to_client"], counters.messages_out)
            size.add_metric([name, "client_to_server"], counters.bytes_in)
            size.add_metric([name, "server_to_client"], counters.bytes_out)
            dropped.add_metric([name], counters.dropped)
            restarts.add_metric([name], counters.restarts)
        refusals = CounterMetricFamily(
            "mcp_ws_refusals",
            "Refused links and requests, by reason: a limit's name, or window for a session that a full window ended",
            labels=["reason"],
        )
        for reason, number in self._metrics.refusals.items():
            refusals.add_metric([reason], number)
        resumes = CounterMetricFamily(
            "mcp_ws_resumes",
            "Sessions that lost their link, by outcome: resumed, restored, passed_on (to a gateway), gone or expired",
            labels=["outcome"],
        )
        for outcome, number in self._metrics.resumes.items():
            resumes.add_metric([outcome], number)
        replayed = CounterMetricFamily("mcp_ws_messages_replayed", "Messages replayed after a resume")
        replayed.add_metric([], self._metrics.replayed)
        gaps = CounterMetricFamily(
            "mcp_ws_gap_messages", "Progress and log messages dropped from the windows of detached sessions"
        )
        gaps.add_metric([], self._metrics.gap_messages)
        yield from (resumes, replayed, gaps)
        drops = CounterMetricFamily(
            "mcp_ws_tap_drops", "Records that slow watchers missed, counted for each watcher"
        )
        drops.add_metric([], self._metrics.tap_drops)
        yield from (count, size, dropped, restarts, refusals, drops)

    def _sign_ins(self) -> Iterator[Metric]:
        sign_ins = CounterMetricFamily(
            "mcp_ws_sign_ins",
            "Steps of signing in by URL: approved or denied by the user, issued (a token, also by a refresh)",
            labels=["step"],
        )
        for step, number in self._metrics.sign_ins.items():
            sign_ins.add_metric([step], number)
        yield sign_ins

    def _spans(self) -> Iterator[Metric]:
        spans = CounterMetricFamily(
            "mcp_ws_spans",
            "Spans of traces, by outcome: exported, dropped (too many waited), rejected by the receiver",
            labels=["outcome"],
        )
        for outcome, number in self._metrics.spans.items():
            spans.add_metric([outcome], number)
        yield spans

    def _latencies(self) -> Iterator[Metric]:
        total = HistogramMetricFamily(
            "mcp_ws_request_seconds",
            "Seconds from receiving a request to sending its response",
            labels=["server"],
        )
        upstream = HistogramMetricFamily(
            "mcp_ws_upstream_seconds",
            "The part of mcp_ws_request_seconds that was spent in the server and its pipes",
            labels=["server"],
        )
        for name, counters in self._metrics.servers.items():
            total.add_metric([name], counters.request_seconds.cumulative(), counters.request_seconds.sum)
            upstream.add_metric([name], counters.upstream_seconds.cumulative(), counters.upstream_seconds.sum)
        yield from (total, upstream)

"""The counters of an engine: plain numbers, read on demand."""

from __future__ import annotations

from collections import Counter

from mcp_ws_ide.observe.counters import Latency


class EngineStatistics:
    """Counters and gauges of one engine; the counters are never reset.

    Attributes:
        commit_seconds: from the first batch staged in a turn to the outcome, for each commit.
        commits: all commits, each of one or more batches.
        batches: batches committed in all; divided by ``commits``, the average number of batches that share a commit.
        failures: commits that failed.
        lost: sessions that cannot continue, by cause: ``key``, ``damaged``, ``corrupt``, ``machine``,
            ``expired``, ``unusable``.
        sessions: stored sessions.
        bytes: bytes in use.
    """

    def __init__(self) -> None:
        self.commit_seconds = Latency()
        self.commits = 0
        self.batches = 0
        self.failures = 0
        self.lost: Counter[str] = Counter()
        self.sessions = 0
        self.bytes = 0

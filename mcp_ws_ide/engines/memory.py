"""The engine that keeps sessions in memory, for tests. A gateway without an engine does not use it."""

from __future__ import annotations

import asyncio
import contextvars
import time

from mcp_ws_ide.engines.base import (
    Batch,
    Done,
    EngineUnavailableError,
    Outcome,
    SessionLostError,
    StoredSession,
    StoredSummary,
    damage,
)
from mcp_ws_ide.engines.session_table import SessionTable
from mcp_ws_ide.engines.statistics import EngineStatistics


class MemoryEngine:
    """An engine that forgets everything with its process.

    Attributes:
        table: what is stored; a test may change it, to lose a tail for example.
        reachable: False makes every write fail, as if the engine were down.
    """

    name = "memory"
    shared = None

    def __init__(self) -> None:
        self.table = SessionTable()
        self.reachable = True
        self._statistics = EngineStatistics()
        self._staged: list[tuple[Batch, Done]] = []
        self._since = 0.0

    @property
    def statistics(self) -> EngineStatistics:
        """Counters and gauges, measured now."""
        self._statistics.sessions = len(self.table.by_id)
        return self._statistics

    @property
    def problem(self) -> str:
        """Why nothing can be written; ``""`` while it works."""
        return "" if self.reachable else "the memory engine is unreachable"

    async def start(self) -> None:
        """Do nothing: there is nothing to open."""

    async def stop(self) -> None:
        """Commit what is staged; batches staged later fail."""
        self._end_of_turn()
        self.reachable = False

    def commit(self, batch: Batch, done: Done) -> None:
        """Stage a batch for the end of this turn."""
        if not self._staged:
            self._since = time.perf_counter()
            asyncio.get_running_loop().call_soon(self._end_of_turn, context=contextvars.Context())
        self._staged.append((batch, done))

    def _end_of_turn(self) -> None:
        staged, self._staged = self._staged, []
        if not staged:
            return
        counters = self._statistics
        counters.commits += 1
        for batch, done in staged:
            outcome = self._apply(batch)
            counters.batches += outcome is Outcome.COMMITTED
            done(outcome)
        counters.failures += not self.reachable
        counters.commit_seconds.observe(time.perf_counter() - self._since)

    def _apply(self, batch: Batch) -> Outcome:
        if not self.reachable:
            return Outcome.FAILED
        outcome = self.table.check(batch)
        if outcome is None:
            self.table.write(batch)
        return outcome or Outcome.COMMITTED

    def _check(self) -> None:
        if not self.reachable:
            raise EngineUnavailableError(self.problem)

    async def create(self, stored: StoredSession) -> None:
        """Store a new session."""
        self._check()
        self.table.put(stored)

    async def take(self, session_id: str, principal: str, ended: str = "") -> StoredSession | None:
        """Become the owner of a session."""
        self._check()
        stored = self.table.take(session_id, principal)
        if stored is not None and (fault := damage(stored)):
            self.table.end(session_id, stored.epoch)
            self._statistics.lost["damaged"] += 1
            raise SessionLostError("damaged", f"the stored session {session_id!r} is damaged: {fault}")
        return stored

    async def rewrite(self, stored: StoredSession) -> None:
        """Store a whole session again."""
        self._check()
        self.table.put(stored)

    async def end(self, session_id: str, epoch: int) -> None:
        """Delete a session."""
        self.table.end(session_id, epoch)

    async def orphan(self, expires_at: float) -> int:
        """Set the expiry of all attached sessions."""
        self._check()
        return len(self.table.orphan(expires_at))

    async def expire(self, now: float) -> list[str]:
        """Delete the sessions whose time has passed."""
        self._check()
        expired = self.table.expire(now)
        self._statistics.lost["expired"] += len(expired)
        return expired

    async def sessions(self) -> list[StoredSummary]:
        """Return what is stored, oldest first."""
        self._check()
        return self.table.summaries()

    def hashed(self, principal: str) -> str:
        """Return a principal as summaries have it."""
        return principal

    async def count(self, principal: str) -> int:
        """Return the number of stored sessions of a principal."""
        self._check()
        return self.table.of_principal[principal]

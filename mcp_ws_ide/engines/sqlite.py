"""The durable engine of one machine: sessions in an SQLite file and in memory, a log of their changes beside the file.

:class:`~mcp_ws_ide.engines.session_table.SessionTable` makes all decisions, on the event loop. At the end of a turn,
everything staged is committed as one row of the log, by the event loop itself or by one writing thread; from time to
time the thread writes the changed sessions into the file and empties the log. So a commit costs two writes, however
many sessions share it, and a disk that does not answer does not block the event loop.

The sessions run ahead of the file while it cannot be written. What was not written stays with the thread and is tried
again with whatever comes next; an owner whose batch failed sends it again, and it is committed as soon as that is.

What is in the file is sealed as a whole, so that this engine needs no :class:`~mcp_ws_ide.engines.sealed.SealedEngine`.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from pathlib import Path
from typing import Final

from mcp_ws_ide.engines import crash_points
from mcp_ws_ide.engines.base import (
    Batch,
    Done,
    EngineFullError,
    EngineUnavailableError,
    Outcome,
    SessionLostError,
    StoredSession,
    StoredSummary,
    damage,
)
from mcp_ws_ide.engines.crash_points import Point
from mcp_ws_ide.engines.log_entries import End, Entry, Expire, Orphan, Put, Take
from mcp_ws_ide.engines.rows import Rows
from mcp_ws_ide.engines.session_file import SessionFile, largest_file
from mcp_ws_ide.engines.session_table import SessionTable
from mcp_ws_ide.engines.statistics import EngineStatistics
from mcp_ws_ide.engines.writer import Compaction, Staged, Stop, Turn, Writer, Written

LOG_BYTES: Final = 4 << 20
"""Bytes of log after which the sessions are written, or as many as the sessions had the last time, if that is more."""
LOG_PART: Final = 16
"""The part of the largest size, a sixteenth, after which the sessions are written in any case; half of what the process
may write into one file, if that is less."""
LATER_PART: Final = 32
"""The part of the largest size by which the log grows until sessions that could not be written are tried again."""
RETRY_SECONDS: Final = 1.0
"""Seconds between two attempts to write after a failure."""
LOOK_SECONDS: Final = 2.0
"""Seconds between two looks whether the file is still in its place."""
NEW_SESSIONS_SHARE: Final = 0.75
"""The part of the largest size up to which new sessions are stored; the rest is for those that are open."""
STOPPED: Final = "the engine is stopped"

log = logging.getLogger(__name__)


class SqliteEngine:
    """Sessions in one SQLite file, which this process alone uses.

    Args:
        path: the file; it need not exist.
        durable: whether each commit waits until it is on the disk.
        max_bytes: what the file may grow to.
        keys_file: where the keys are that seal its rows; it is created if it is missing. None leaves them clear, for
            tests.
    """

    name = "sqlite"
    shared = None

    def __init__(self, path: Path, durable: bool, max_bytes: int, keys_file: Path | None = None) -> None:
        self._max_bytes = max_bytes
        self._writer = Writer(SessionFile(path, durable, max_bytes), Rows(keys_file), self._from_thread)
        self._table = SessionTable()
        self._statistics = EngineStatistics()
        self._problem = STOPPED
        self._growing = ""
        """Why the session file could not be written last; "" if it could."""
        self._staged: list[Staged] = []
        self._since = 0.0
        self._changed: set[str] = set()
        """Sessions that have changed since they were handed to the thread."""
        self._unreadable: dict[str, SessionLostError] = {}
        """Why sessions were lost at the start, until their clients ask."""
        self._pending = 0
        """What the thread has to do; at 0 it touches nothing, so that this thread may write."""
        self._compacting = False
        self._all_due = False
        """Whether the next compaction must hold every session."""
        self._log_limit = min(LOG_BYTES, self._most_log_bytes)
        self._retry: asyncio.TimerHandle | None = None
        self._next_look: asyncio.TimerHandle | None = None
        self._running = False

    @property
    def problem(self) -> str:
        """Why nothing can be written; ``""`` while it works."""
        return self._problem

    @property
    def statistics(self) -> EngineStatistics:
        """Counters and gauges, measured now."""
        self._statistics.sessions = len(self._table.by_id)
        return self._statistics

    # --- start and stop -------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the file, read it, and start the writing thread."""
        self._loop = asyncio.get_running_loop()
        opened = await asyncio.to_thread(self._writer.open)
        self._table = opened.table
        self._unreadable = opened.unreadable
        self._statistics.lost.update(opened.lost)
        self._changed = opened.changed
        self._problem, self._running = "", True
        self._writer.start()
        self._compact()
        self._look()

    async def stop(self) -> None:
        """Write everything and close the file."""
        if not self._running:
            return
        self._end_of_turn()
        self._running = False
        for timer in (self._retry, self._next_look):
            if timer is not None:
                timer.cancel()
        stopped = self._loop.create_future()
        self._writer.put(Stop(self._take_changed(), stopped))
        await stopped
        self._problem = STOPPED

    # --- staging --------------------------------------------------------------------------------

    def commit(self, batch: Batch, done: Done) -> None:
        """Stage a batch for the end of this turn."""
        outcome = self._table.check(batch) if self._running else Outcome.FAILED
        if outcome is not None:
            return self._stage(None, done, outcome)
        self._table.write(batch)
        self._changed.add(batch.session)
        if self._staged and crash_points.armed is None:
            self._staged.append((batch, done, Outcome.COMMITTED))
        else:
            self._stage(batch, done, Outcome.COMMITTED)

    def _stage(self, entry: Entry | None, done: Done | None, outcome: Outcome) -> None:
        if not self._staged:
            self._since = time.perf_counter()
            asyncio.get_running_loop().call_soon(self._end_of_turn, context=contextvars.Context())
        self._staged.append((entry, done, outcome))
        if crash_points.armed is not None:
            crash_points.reach(Point.STAGED)

    def _end_of_turn(self) -> None:
        staged, self._staged = self._staged, []
        if not staged:
            return
        if not self._running:
            _report(staged, Outcome.FAILED)
            return
        turn = Turn(staged, self._since)
        written = self._writer.write_here(turn) if self._pending == 0 else None
        if written is not None:
            self._take_report(written)
        else:
            self._hand_over(turn)

    def _hand_over(self, job: Turn | Compaction) -> None:
        self._pending += 1
        self._writer.put(job)

    async def _stored(self, *entries: Entry) -> None:
        """Commit entries; the first attempt decides.

        Raises:
            EngineUnavailableError: they are not in the file yet.
        """
        stored: asyncio.Future[Outcome] = self._loop.create_future()
        for entry in entries:
            self._stage(entry, None, Outcome.COMMITTED)

        def done(outcome: Outcome) -> None:
            if not stored.done():
                stored.set_result(outcome)

        self._stage(None, done, Outcome.COMMITTED)
        if await stored is not Outcome.COMMITTED:
            raise EngineUnavailableError(self._problem or STOPPED)

    def _check(self) -> None:
        if self._problem:
            raise EngineUnavailableError(self._problem)

    # --- outcomes -------------------------------------------------------------------------------

    def _from_thread(self, written: Written) -> None:
        """Take what the thread reports, on that thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._from_thread_here, written, context=contextvars.Context())

    def _from_thread_here(self, written: Written) -> None:
        self._pending -= len(written.turns) + (written.compaction is not None)
        self._take_report(written)

    def _take_report(self, written: Written) -> None:
        counters, now = self._statistics, time.perf_counter()
        if written.problem or self._problem or written.compaction is not None:
            self._note_outcome(written)
        counters.bytes = written.bytes_used
        for turn in written.turns:
            if turn.looks:
                continue
            counters.commits += not written.problem
            counters.failures += bool(written.problem)
            counters.commit_seconds.observe(now - turn.since)
            counters.batches += _report(turn.staged, Outcome.FAILED if written.problem else None)
        if written.stopped is not None and not written.stopped.done():
            written.stopped.set_result(None)
            return
        self._all_due |= written.renewed
        failed = bool(written.problem) and written.compaction is not None
        if not failed and (written.renewed or written.full or written.log_bytes > self._log_limit):
            self._compact()

    def _note_outcome(self, written: Written) -> None:
        """Note whether commits work, and what became of a compaction."""
        compaction, problem = written.compaction, written.problem
        if compaction is None:
            return self._note_problem(problem)
        self._compacting = False
        was_growing, self._growing = bool(self._growing), problem
        if not problem:
            self._log_limit = min(max(LOG_BYTES, written.compacted_bytes), self._most_log_bytes)
            return self._note_problem("")
        self._changed.update(compaction.sessions)
        self._all_due |= compaction.whole
        self._log_limit = written.log_bytes + self._max_bytes // LATER_PART
        if written.renewed:  # otherwise commits work as long as the log has room
            return self._note_problem(problem)
        if not was_growing:  # it is tried again and again, and Jupyter's log may be on the same full disk
            log.warning("the session file cannot be written, so the log beside it grows: %s", problem)
        return None

    def _note_problem(self, problem: str) -> None:
        if problem and self._retry is None and self._running:
            self._retry = self._loop.call_later(RETRY_SECONDS, self._try_again)
        if problem == self._problem or not self._running:
            return
        self._problem = problem
        if problem:
            log.error("sessions cannot be stored; their messages wait: %s", problem)
        else:
            log.warning("sessions are stored again")

    def _try_again(self) -> None:
        """Write what could not be written, even if no session sends anything."""
        self._retry = None
        if self._running:
            self._stage(None, None, Outcome.COMMITTED)

    def _look(self) -> None:
        """Have the thread look after the file from time to time, even if no session sends anything."""
        if not self._running:
            return
        self._next_look = self._loop.call_later(LOOK_SECONDS, self._look, context=contextvars.Context())
        if self._pending == 0:
            self._hand_over(Turn([], time.perf_counter(), looks=True))

    # --- compaction -----------------------------------------------------------------------------

    def _compact(self) -> None:
        """Have the changed sessions written, and the log emptied."""
        if self._compacting or not self._running:
            return
        self._compacting = True
        self._end_of_turn()  # what is staged must be in the log that is emptied
        self._hand_over(self._take_changed())

    @property
    def _most_log_bytes(self) -> int:
        """Bytes of log after which the sessions are written in any case."""
        most, limit = self._max_bytes // LOG_PART, largest_file()
        return most if limit is None else min(most, limit // 2)

    def _take_changed(self) -> Compaction:
        changed, self._changed = self._changed, set()
        whole, self._all_due = self._all_due, False
        by_id = self._table.by_id
        keys = changed.union(by_id) if whole else changed
        return Compaction({key: by_id[key].copied() if key in by_id else None for key in keys}, whole)

    # --- whole sessions -------------------------------------------------------------------------

    async def create(self, stored: StoredSession) -> None:
        """Store a new session."""
        self._check()
        if self._statistics.bytes > NEW_SESSIONS_SHARE * self._max_bytes:
            raise EngineFullError(
                f"stored sessions use {self._statistics.bytes} bytes, more than {NEW_SESSIONS_SHARE:.0%} of "
                f"engine_max_bytes ({self._max_bytes}); raise MCPWebSocketApp.engine_max_bytes, or lower grace"
            )
        try:
            await self._put(stored)
        except BaseException:
            self._forget(stored)
            raise

    def _forget(self, stored: StoredSession) -> None:
        """Delete a session that could not be stored, so that it does not appear later."""
        self._table.end(stored.id, stored.epoch)
        self._changed.add(stored.id)
        self._stage(End(stored.id, stored.epoch), None, Outcome.COMMITTED)

    async def rewrite(self, stored: StoredSession) -> None:
        """Store a whole session again."""
        self._check()
        await self._put(stored)

    async def _put(self, stored: StoredSession) -> None:
        self._table.put(stored)
        self._changed.add(stored.id)
        await self._stored(Put(self._table.by_id[stored.id].copied()))

    async def take(self, session_id: str, principal: str, ended: str = "") -> StoredSession | None:
        """Become the owner of a session."""
        self._check()
        stored = self._table.take(session_id, principal)
        if stored is None:
            if (lost := self._unreadable.pop(session_id, None)) is not None:
                raise lost
            return None
        self._changed.add(session_id)
        if fault := damage(stored):
            self._statistics.lost["damaged"] += 1
            await self.end(session_id, stored.epoch)
            raise SessionLostError("damaged", f"the stored session {session_id!r} is damaged: {fault}")
        await self._stored(Take(session_id, principal))
        if crash_points.armed is not None:
            crash_points.reach(Point.TAKEN)
        return stored

    async def end(self, session_id: str, epoch: int) -> None:
        """Delete a session."""
        if self._table.end(session_id, epoch):
            self._changed.add(session_id)
            with contextlib.suppress(EngineUnavailableError):
                await self._stored(End(session_id, epoch))

    async def orphan(self, expires_at: float) -> int:
        """Set the expiry of all attached sessions."""
        orphans = self._table.orphan(expires_at)
        self._changed.update(orphans)
        if orphans:
            with contextlib.suppress(EngineUnavailableError):  # it is stored as soon as something can be
                await self._stored(Orphan(expires_at))
        return len(orphans)

    async def expire(self, now: float) -> list[str]:
        """Delete the sessions whose time has passed."""
        expired = self._table.expire(now)
        if expired:
            self._statistics.lost["expired"] += len(expired)
            self._changed.update(expired)
            await self._stored(Expire(now))
            self._compact()
        return expired

    async def sessions(self) -> list[StoredSummary]:
        """Return what is stored, oldest first."""
        return self._table.summaries()

    def hashed(self, principal: str) -> str:
        """Return a principal as summaries have it."""
        return principal

    async def count(self, principal: str) -> int:
        """Return the number of stored sessions of a principal."""
        return self._table.of_principal[principal]


def _report(staged: list[Staged], outcome: Outcome | None) -> int:
    """Tell each owner the outcome of its batch: the one that was found when it was staged, unless one is given.

    Returns:
        The number of batches that are committed.
    """
    committed = 0
    for _, done, found in staged:
        if done is None:
            continue
        reported = outcome if outcome is not None and found is Outcome.COMMITTED else found
        committed += reported is Outcome.COMMITTED
        try:
            done(reported)
        except Exception:
            log.exception("the outcome of a batch could not be handled")
        if crash_points.armed is not None:
            crash_points.reach(Point.REPORTED)
    return committed

"""The thread that writes a session file: it takes turns and compactions in order, and reports their outcome.

It decides nothing about sessions. What it could not write, it keeps and tries again first. While the thread has nothing
to do and the disk is quick, the event loop may write a turn itself: a switch of threads costs several times as much as
a write to the page cache.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

import msgspec

from mcp_ws_ide.engines import crash_points
from mcp_ws_ide.engines.base import Done, EngineRefusedError, Outcome, SessionLostError, StoredSession
from mcp_ws_ide.engines.crash_points import Point
from mcp_ws_ide.engines.locked_database import is_damage
from mcp_ws_ide.engines.log_entries import Entry
from mcp_ws_ide.engines.log_file import DamagedFileError
from mcp_ws_ide.engines.rows import DamagedRowError, LostLogError, Rows
from mcp_ws_ide.engines.session_file import NoRoomError, SessionFile, is_full, is_too_large, too_large
from mcp_ws_ide.engines.session_table import SessionTable

SLOW_SECONDS: Final = 0.1
"""Seconds of one write on the event loop after which the thread writes for a while."""
THREAD_SECONDS: Final = 10.0
"""Seconds for which the thread then writes."""

Staged = tuple[Entry | None, Done | None, Outcome]
"""An entry to write, the callback of its owner, and the outcome to report once it is written."""

log = logging.getLogger(__name__)


class IncompleteFileError(Exception):
    """The file is new, and the sessions were not written into it yet."""


class Turn(msgspec.Struct, eq=False):
    """What was staged in one turn of the event loop, since ``since`` (``time.perf_counter``).

    ``looks``: whether to look after the file as well.
    """

    staged: list[Staged]
    since: float
    looks: bool = False


class Compaction(msgspec.Struct, eq=False):
    """The sessions that changed, by id; None for those that were deleted. ``whole``: no other session exists."""

    sessions: dict[str, StoredSession | None]
    whole: bool = False


class Stop(msgspec.Struct, eq=False):
    """Write these sessions, close the file, and end the thread."""

    last: Compaction
    stopped: asyncio.Future[None]


class Written(msgspec.Struct, eq=False):
    """What the thread reports.

    Attributes:
        turns: the turns that the report is about.
        problem: why they are not written; ``""`` if they are.
        full: whether there was no room.
        renewed: whether the file was replaced by an empty one, which needs every session.
        compaction: the compaction that the report is about.
        compacted_bytes: bytes of the sessions that it wrote.
        stopped: what waits for the end of the thread.
        log_bytes, bytes_used: bytes of the log, and in use in all.
    """

    turns: list[Turn] = []
    problem: str = ""
    full: bool = False
    renewed: bool = False
    compaction: Compaction | None = None
    compacted_bytes: int = 0
    stopped: asyncio.Future[None] | None = None
    log_bytes: int = 0
    bytes_used: int = 0


class Opened(msgspec.Struct):
    """What a file held.

    Attributes:
        table: the sessions.
        changed: ids of those that have to be written again.
        lost: the number of sessions that cannot continue, by cause.
        unreadable: why a session cannot be read, by its id, where that is known.
    """

    table: SessionTable = msgspec.field(default_factory=SessionTable)
    changed: set[str] = msgspec.field(default_factory=set)
    lost: Counter[str] = msgspec.field(default_factory=Counter)
    unreadable: dict[str, SessionLostError] = {}


class Writer:
    """One thread with one file.

    Args:
        file: the file.
        rows: makes and reads its rows.
        report: called on the thread with the outcome of turns and compactions.
    """

    def __init__(self, file: SessionFile, rows: Rows, report: Callable[[Written], None]) -> None:
        self._file = file
        self._rows = rows
        self._report = report
        self._jobs: SimpleQueue[Turn | Compaction | Stop] = SimpleQueue()
        self._unwritten: list[Entry] = []
        self._renewed = False
        """Whether the file is new and lacks the sessions: nothing counts as written until it has them."""
        self._failed = False
        """Whether the last attempt failed."""
        self._obstacle = ""
        """Why there is no new file, after the old one was lost."""
        self._thread_until = 0.0
        self._bytes_used = 0
        """Bytes in use in the file, without its log."""

    def put(self, job: Turn | Compaction | Stop) -> None:
        """Hand one more task to the thread."""
        self._jobs.put(job)

    def start(self) -> None:
        """Start the thread. It ends with :class:`Stop`, or with the process."""
        threading.Thread(target=self._run, name="mcp-ws-ide engine", daemon=True).start()

    # --- opening --------------------------------------------------------------------------------

    def open(self) -> Opened:
        """Open and read the file; set a damaged one aside.

        Raises:
            EngineRefusedError: it, or its keys, cannot be used.
        """
        self._rows.load_keys()
        try:
            self._file.open()
            opened = self._read()
        except (DamagedFileError, sqlite3.DatabaseError) as error:
            aside = self._file.replace()
            log.error(
                "the session file %r is damaged (%s), and its sessions are lost; it was renamed to %r",
                *(str(self._file.path), error, aside.name),
            )
            opened = Opened(lost=Counter(corrupt=1))
        self._bytes_used = self._file.bytes_used()
        if crash_points.armed is not None:
            crash_points.reach(Point.OPENED)
        return opened

    def _read(self) -> Opened:
        opened, at_least = Opened(), ""
        for session_id, row in self._file.sessions():
            try:
                opened.table.put(self._rows.read_session(session_id, row))
                if not self._rows.is_newest(row):
                    opened.changed.add(session_id)
            except SessionLostError as lost:
                opened.unreadable[session_id] = lost
                opened.lost[lost.cause] += 1
                opened.changed.add(session_id)
        try:
            for entry in self._rows.read_log(self._file.entries()):
                opened.changed.update(opened.table.replay(entry))
        except LostLogError:
            self._forget_all(opened, "key")
            opened.lost["key"] = (
                opened.lost["key"] or 1
            )  # the number of those that only the log had is not known
            at_least = "at least "
        except (DamagedRowError, DamagedFileError) as error:
            if not self._file.machine_failed:
                raise DamagedFileError(f"the log cannot be read: {error}") from None
        if number := opened.lost["key"]:
            log.error(
                "stored sessions that are lost, because their keys are not in %r: %s%d",
                *(self._rows.keys_file, at_least, number),
            )
        if self._file.machine_failed:
            log.warning(
                "the machine stopped while sessions were open, and their last commits may be missing; sessions that "
                "are lost: %d; set MCPWebSocketApp.engine_durability = 'full' to keep sessions when that happens",
                self._forget_all(opened, "machine"),
            )
        return opened

    def _forget_all(self, opened: Opened, cause: str) -> int:
        """Forget all sessions: their last commits are missing, so calls that have run would run again; return their
        number."""
        number = len(opened.table.by_id)
        self._file.forget_all()
        opened.table = SessionTable()
        opened.lost[cause] += number
        return number

    # --- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            jobs = [self._jobs.get()]
            try:
                while True:
                    jobs.append(self._jobs.get_nowait())
            except Empty:
                pass
            turns: list[Turn] = []
            for job in jobs:
                if isinstance(job, Turn):
                    turns.append(job)
                    continue
                self._write(turns)
                turns = []
                if isinstance(job, Stop):
                    return self._stop(job)
                self._report(self._compact(job))
            self._write(turns)

    def _write(self, turns: list[Turn]) -> None:
        if not turns:
            return
        self._take(turns)
        written = self._attempt(self._append, look=any(turn.looks for turn in turns))
        if crash_points.armed is not None:
            crash_points.reach(Point.STORED)
        written.turns = turns
        self._report(written)

    def _take(self, turns: list[Turn]) -> None:
        self._unwritten += [entry for turn in turns for entry, _, _ in turn.staged if entry is not None]
        if crash_points.armed is not None:
            crash_points.reach(Point.HANDED_OVER)

    def write_here(self, turn: Turn) -> Written | None:
        """Write a turn on the calling thread, while the writing thread has nothing to do.

        Returns:
            That it is written; None if the writing thread has to write it, or to find out what is wrong.
        """
        start = time.perf_counter()
        if self._file.durable or self._failed or start < self._thread_until:
            return None
        self._take([turn])
        try:
            self._append()
        except (OSError, NoRoomError, sqlite3.Error):
            turn.staged = [(None, done, outcome) for _, done, outcome in turn.staged]  # the entries are taken
            return None
        if crash_points.armed is not None:
            crash_points.reach(Point.STORED)
        now = time.perf_counter()
        if now - start > SLOW_SECONDS:
            self._thread_until = now + THREAD_SECONDS
        written = self._state(Written())
        written.turns = [turn]
        return written

    def _append(self) -> None:
        if self._renewed:
            raise IncompleteFileError(self._obstacle or "the session file is new, and holds no sessions yet")
        if self._unwritten or self._failed:  # after a failure, only a write shows that it is over
            self._file.append(self._rows.entries(self._file.next_number, self._unwritten))
            self._unwritten = []

    def _compact(self, compaction: Compaction) -> Written:
        rows = [
            (session_id, None if stored is None else self._rows.session(stored))
            for session_id, stored in compaction.sessions.items()
        ]

        def write() -> None:
            self._reopen()
            self._file.compact(rows)
            self._unwritten = []  # the sessions hold it
            self._renewed = self._renewed and not compaction.whole

        written = self._attempt(write, look=True)
        written.compaction = compaction
        written.compacted_bytes = sum(len(row) for _, row in rows if row is not None)
        return written

    def _reopen(self) -> None:
        """Open the file if it could not be opened when it was replaced."""
        if not self._file.is_open:
            self._replace()

    def _attempt(self, write: Callable[[], None], *, look: bool) -> Written:
        """Write; return the outcome."""
        written = Written()
        try:
            write()
            if look:
                self._look()
        except Exception as error:
            # Whatever the error, the thread continues, and sessions learn that they have to wait.
            written.problem = self._explained(error)
            written.full = is_full(error)
            if written.full:
                self._file.relieve()
            if is_damage(error) or isinstance(error, DamagedFileError):
                self._renew(written)
        self._failed = bool(written.problem)
        return self._state(written)

    def _state(self, written: Written) -> Written:
        written.renewed = self._renewed
        written.log_bytes = self._file.log_bytes
        written.bytes_used = self._bytes_used + written.log_bytes
        return written

    def _explained(self, error: Exception) -> str:
        """Return why something could not be written."""
        if isinstance(error, EngineRefusedError) or self._obstacle:
            return str(error)
        if is_full(error) and not is_too_large(error):
            at_limit = isinstance(error, NoRoomError) or self._file.at_limit
            return "engine_max_bytes is reached; raise it, or lower grace" if at_limit else "the disk is full"
        if not isinstance(error, OSError | sqlite3.Error | DamagedFileError | IncompleteFileError):
            log.exception("sessions cannot be stored")
        path = repr(str(self._file.path))
        if isinstance(error, DamagedFileError):
            return f"the session file {path} {error}"
        if is_too_large(error):
            return f"the session file {path}, or its log, cannot grow: {too_large()}"
        reason = error.strerror if isinstance(error, OSError) else error
        return f"the session file {path} cannot be written: {reason}"

    def _look(self) -> None:
        """Measure the file, and find out whether it is still in its place.

        Raises:
            DamagedFileError: it is not: what is written to it is lost, and another gateway can use the path.
        """
        self._file.checkpoint()
        self._bytes_used = self._file.bytes_used()
        if not self._file.in_place:
            raise DamagedFileError("was deleted or replaced while this gateway had it open")

    def _renew(self, written: Written) -> None:
        """Replace the file by a new one. The sessions are in memory, so nothing is lost."""
        self._renewed = True
        try:
            self._replace()
        except (EngineRefusedError, DamagedFileError) as error:
            written.problem = str(error)
        else:
            log.error("%s; all sessions are now written into a new file from memory", written.problem)

    def _replace(self) -> None:
        """Begin a new file; note why there can be none.

        Raises:
            EngineRefusedError, DamagedFileError: there can be none.
        """
        try:
            self._file.replace()
        except (EngineRefusedError, DamagedFileError) as error:
            self._obstacle = str(error)
            raise
        self._obstacle = ""

    def _stop(self, job: Stop) -> None:
        written = self._compact(job.last)
        if written.problem:
            log.error("sessions could not be stored at shutdown: %s", written.problem)
            self._file.close()
        else:
            self._file.finish()
        written.stopped = job.stopped
        written.compaction = None
        self._report(written)

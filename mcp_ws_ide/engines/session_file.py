"""The SQLite file that keeps sessions: how it is opened, checked, written, compacted and set aside.

Blocking; belongs to one thread at a time. It stores rows of sessions, and next to them a log of later changes
(:mod:`.log_file`), and interprets neither: :mod:`.writer` replays the log onto the sessions. Layout of the database
(:mod:`.locked_database`):

- ``sessions``: one row for each session, as :mod:`.rows` makes it;
- ``facts``: whether the file was closed, which start of the machine wrote it last, the token of its log, and the number
  of the last row of the log that the sessions include.

A file that was closed needs no log: the next start begins a new one. If there is a log with later rows nevertheless,
the file is an earlier state of itself, for example because SQLite's write-ahead log is missing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from mcp_ws_ide.engines import crash_points
from mcp_ws_ide.engines.base import EngineRefusedError
from mcp_ws_ide.engines.crash_points import Point
from mcp_ws_ide.engines.locked_database import LockedDatabase, has_code, refusing
from mcp_ws_ide.engines.log_file import DamagedFileError, LogFile
from mcp_ws_ide.engines.machine import boot_id

PAGE_BYTES: Final = 4096
SPARE_PAGES: Final = 1536
"""Unused pages that the file keeps, so that the next sessions need not extend it."""
JOURNAL_BYTES: Final = 4 << 20
"""Size of SQLite's write-ahead log at which it is moved into the file, and to which it is cut then."""
LOG_SHARE: Final = 8
"""The part of the largest size that the log may have: an eighth."""


class NoRoomError(Exception):
    """The log has reached its largest size."""


class SessionFile:
    """One open file with its log. All methods but :meth:`open` need it open.

    Args:
        path: the file; it need not exist. Symbolic links are followed, so that its log lies beside the file itself.
        durable: whether each commit waits until it is on the disk (``synchronous = FULL``).
        max_bytes: the size to which the file and its log may grow.
    """

    def __init__(self, path: Path, durable: bool, max_bytes: int) -> None:
        self.path = path = Path(os.path.realpath(path))
        self.durable = durable
        self._max_log = max_bytes // LOG_SHARE
        self._max_pages = max(16, (max_bytes - self._max_log) // PAGE_BYTES)
        self._database = LockedDatabase(self.path)
        self._log = LogFile(path.with_name(path.name + "-log"), durable)
        self._log_is_new = True
        """Whether the log was begun when the file was opened, so that it need not be read."""
        self._attempted = 0
        """Bytes of the last write of sessions."""
        self._wal_bytes = 0
        """Bytes in SQLite's write-ahead log, roughly, since the last checkpoint."""
        self._held = 0
        """Number of the last row of the log that the sessions include."""
        self.next_number = 1
        """Number of the next row of the log."""
        self.machine_failed = False
        """Whether the machine stopped since the file was written, so that its last commits may be missing."""

    # --- opening --------------------------------------------------------------------------------

    def open(self, patience: float | None = None) -> None:
        """Open the file, create it if it does not exist, and lock it.

        Args:
            patience: seconds to wait for a gateway that has it; None for :data:`.LOCK_SECONDS`.

        Raises:
            EngineRefusedError: it cannot be used; it is untouched.
            DamagedFileError: it is damaged; :meth:`replace` begins a new one.
        """
        try:
            self._database.open(patience)
            with refusing(self.path):
                self._set_up(self._open)
                self._note_start()
        except DamagedFileError:
            self._log.close()  # the lock is kept until there is a new file
            raise
        except BaseException:
            self.close()
            raise
        # Count what killed processes have left in it: otherwise it would grow with each kill.
        self._wal_bytes = _size(self.path.with_name(self.path.name + "-wal"))

    def _set_up(self, db: sqlite3.Connection) -> None:
        db.execute(f"PRAGMA max_page_count = {self._max_pages}")
        db.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
        db.execute("PRAGMA wal_autocheckpoint = 0")  # it waits for the disk: see checkpoint()
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise DamagedFileError(verdict)

    def _note_start(self) -> None:
        """Find out whether commits of the last run may be missing; note this start unless they are. Open the log."""
        facts = self._facts()
        unclosed = facts.get("closed") == "no"
        self.machine_failed = unclosed and facts.get("durable") == "no" and facts.get("boot") != boot_id()
        self._held = _number(facts.get("held", "0"))
        self.next_number = self._held + 1
        token = facts.get("log") if unclosed else None
        self._log_is_new = token is None
        if self.machine_failed:
            try:
                self._log.open(token or "")
            except (DamagedFileError, OSError):
                self._log_is_new = True  # there is nothing to read: it may not have reached the disk
            return
        if token is not None:
            self._log.open(token)
        else:
            self._check_left_log()
            token = self._log.create()
        self._note(closed="no", durable=self._durability, boot=boot_id(), log=token)

    def _facts(self) -> dict[str, str]:
        try:
            return dict(self._open.execute("SELECT name, value FROM facts"))
        except sqlite3.OperationalError as error:
            if has_code(error, "SQLITE_ERROR"):  # the table is not what it was
                raise DamagedFileError(str(error)) from None
            raise

    def _check_left_log(self) -> None:
        """Check that no log of a file that was closed, or is new, has rows that the sessions do not include.

        Raises:
            DamagedFileError: it has: calls since this state of the file would run again.
        """
        for number, _ in self._log.left(self._held):
            if number > self._held:
                raise DamagedFileError("it is older than its log")

    @property
    def _durability(self) -> str:
        return "yes" if self.durable else "no"

    def _note(self, *changes: str, **facts: str) -> None:
        """Note facts, on the disk, in one transaction with these statements."""
        db = self._open
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN")
        for change in changes:
            db.execute(change)
        db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts.items())
        db.execute("COMMIT")
        if not self.durable:
            db.execute("PRAGMA synchronous = NORMAL")

    def forget_all(self) -> None:
        """Delete all sessions, and note this start: a crash must not let the next one find them."""
        facts = {"closed": "no", "durable": self._durability, "boot": boot_id(), "held": "0"}
        self._note("DELETE FROM sessions", **facts, log=self._log.create())
        self._held, self.next_number = 0, 1

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._database.is_open

    @property
    def _open(self) -> sqlite3.Connection:
        return self._database.db

    # --- reading and writing --------------------------------------------------------------------

    def sessions(self) -> Iterator[tuple[str, bytes]]:
        """Yield the id and the row of each session."""
        yield from self._open.execute("SELECT id, record FROM sessions")

    def entries(self) -> Iterator[tuple[int, bytes]]:
        """Yield number and entries of each commit since the sessions were written, oldest first.

        Raises:
            DamagedFileError: the log is not what was stored.
        """
        if self._log_is_new:
            return
        for number, entries in self._log.rows(self._held):
            if number <= self._held:
                continue  # the log could not be cut when the sessions were written
            if number != self.next_number:
                raise DamagedFileError(f"row {self.next_number} of its log is missing")
            self.next_number = number + 1
            yield number, entries

    @property
    def log_bytes(self) -> int:
        """Bytes in the log."""
        return self._log.size

    def append(self, entries: bytes) -> None:
        """Commit entries to the log, under :attr:`next_number`.

        Raises:
            NoRoomError, OSError: nothing was written.
        """
        size = self._log.size
        if size and size + len(entries) > self._max_log:
            raise NoRoomError
        self._log.append(self.next_number, entries)
        self.next_number += 1

    def compact(self, changed: Iterable[tuple[str, bytes | None]]) -> None:
        """Write the rows of changed sessions, or delete them where they are None; empty the log, which they include.

        Raises:
            sqlite3.Error: nothing was written.
        """
        db, self._attempted = self._open, 0
        db.execute("BEGIN IMMEDIATE")
        try:
            if crash_points.armed is not None:
                crash_points.reach(Point.COMPACTING)
            for session_id, row in changed:
                if row is None:
                    db.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
                else:
                    self._attempted += len(row)
                    db.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?)", (session_id, row))
            held = self.next_number - 1
            db.execute("INSERT OR REPLACE INTO facts VALUES ('held', ?)", (str(held),))
            if crash_points.armed is not None:
                crash_points.reach(Point.COMPACTED)
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise
        if crash_points.armed is not None:
            crash_points.reach(Point.COMPACTION_STORED)
        self._wal_bytes += self._attempted
        self._held = held
        self._log.clear()
        self._give_back()

    def checkpoint(self) -> None:
        """Move SQLite's write-ahead log into the file, if it is large; waits for the disk.

        Raises:
            sqlite3.Error: it was not moved, or not all of it; nothing is lost.
        """
        if self._wal_bytes > JOURNAL_BYTES:
            self._open.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._wal_bytes = 0

    def _give_back(self) -> None:
        """Return unused pages to the file system; a failure costs nothing but space."""
        with contextlib.suppress(sqlite3.Error):
            unused = self._database.pragma("freelist_count")
            if unused > SPARE_PAGES:
                # A script, since execute() would do the first step alone: one page.
                self._open.executescript(f"PRAGMA incremental_vacuum({unused - SPARE_PAGES})")
                self._open.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def relieve(self) -> None:
        """Make room on a full disk, as far as the file has unused pages for SQLite's write-ahead log."""
        with contextlib.suppress(sqlite3.Error):
            self._open.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._wal_bytes = 0

    def bytes_used(self) -> int:
        """Return the bytes in use within the file, without its log."""
        return (self._database.pragma("page_count") - self._database.pragma("freelist_count")) * PAGE_BYTES

    @property
    def at_limit(self) -> bool:
        """Whether the file would have grown beyond its largest size by the last write."""
        with contextlib.suppress(sqlite3.Error):
            pages = self._database.pragma("page_count") + self._attempted // (PAGE_BYTES - 512) + 4
            return pages > self._max_pages
        return False

    @property
    def in_place(self) -> bool:
        """Whether the paths still name the open files: what is written to a deleted one is lost."""
        return self._database.in_place and self._log.in_place

    # --- the end --------------------------------------------------------------------------------

    def finish(self) -> None:
        """Note that the file holds everything, and close the file; then nobody needs the log."""
        with contextlib.suppress(sqlite3.Error):
            self._note(closed="yes")
            self._log.delete()
        self.close()

    def close(self) -> None:
        """Close the file and its log without a note."""
        self._log.close()
        self._database.close()

    def replace(self) -> Path:
        """Set the damaged file aside, with its logs, and begin a new one.

        Returns:
            The new path of the damaged file.

        Raises:
            EngineRefusedError: another gateway uses the path, or no new file can be created.
        """
        self._log.close()
        self._database.leave()
        aside = self._set_aside()
        self.open(patience=0.0)
        return aside

    def _set_aside(self) -> Path:
        """Rename the damaged file, with its logs, and return its new path.

        An earlier one of that name is replaced.

        Raises:
            EngineRefusedError: it cannot be renamed.
        """
        aside = self.path.with_name(self.path.name + ".damaged")
        try:
            for suffix in ("", "-wal", "-shm", "-journal", "-log"):
                Path(f"{aside}{suffix}").unlink(missing_ok=True)
                with contextlib.suppress(FileNotFoundError):
                    os.replace(f"{self.path}{suffix}", f"{aside}{suffix}")
        except OSError as error:
            raise EngineRefusedError(
                f"the session file {str(self.path)!r} is damaged, and cannot be renamed: {error.strerror}"
            ) from None
        return aside


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise DamagedFileError(f"it has {text[:40]!r} in place of a number") from None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def is_too_large(error: BaseException) -> bool:
    """Return whether a file has reached the largest size that this process, or the file system, allows."""
    if isinstance(error, OSError):
        return error.errno == errno.EFBIG
    limited = largest_file() is not None  # SQLite does not tell this error from others
    return limited and isinstance(error, sqlite3.Error) and has_code(error, "SQLITE_IOERR_WRITE")


def too_large() -> str:
    """Return why a file cannot grow, after :func:`is_too_large`."""
    limit = largest_file()
    if limit is None:
        return "the file system allows no larger file; set MCPWebSocketApp.engine to a file on another one"
    return f"a file of this process may have at most {limit} bytes; raise the limit (ulimit -f, LimitFSIZE=)"


def largest_file() -> int | None:
    """Return the largest size in bytes that a file of this process may have; None if there is no limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if limit == resource.RLIM_INFINITY else limit


def is_full(error: BaseException) -> bool:
    """Return whether there is no room, on the disk or within the largest size of a file."""
    if is_too_large(error):
        return True
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, NoRoomError) or (
        isinstance(error, sqlite3.Error) and has_code(error, "SQLITE_FULL")
    )

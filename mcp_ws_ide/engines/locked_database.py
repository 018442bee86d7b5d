"""The SQLite database of a session file: prepared, locked for this process, and brought to the present layout.

Blocking; belongs to one thread at a time. It knows neither what the tables hold, nor the log beside the file. ``PRAGMA
user_version`` is the version of the layout.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mcp_ws_ide.engines.base import EngineRefusedError
from mcp_ws_ide.engines.log_file import DamagedFileError, identity

SCHEMA: Final = 2
"""Version of the layout. A later one needs an entry in :data:`MIGRATIONS`."""
MIGRATIONS: Final[dict[int, str]] = {1: "DROP TABLE log"}
"""SQL that turns the layout of this version into the next one. Layout 1 had the log in a table; in a file that was
closed it is empty."""
APPLICATION: Final = 0x6D637773
"""``PRAGMA application_id``: tells the file from those of other programs."""
BESIDE: Final = ("-wal", "-log")
"""Ends of the names of the files that lie beside it."""
LOCK_SECONDS: Final = 10.0
"""Seconds to wait for a gateway that is about to stop, and still has the file."""
LOCK_POLL_SECONDS: Final = 0.05
"""Seconds between two attempts to get the file."""
_KINDS: Final = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}
"""What may have the name of a file, for messages."""
_CREATE: Final = f"""
    PRAGMA application_id = {APPLICATION};
    CREATE TABLE sessions (id TEXT PRIMARY KEY, record BLOB NOT NULL);
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

log = logging.getLogger(__name__)


class LockedDatabase:
    """One database, which this process alone uses.

    Args:
        path: the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db: sqlite3.Connection | None = None
        self._lost: sqlite3.Connection | None = None
        """The connection to a file that was replaced. Its lock keeps out a gateway that waits for that file: SQLite
        would let it use the write-ahead log of the new one, which has the same name."""
        self._identity = (0, 0)

    def open(self, patience: float | None = None) -> None:
        """Open the file, create it if it does not exist, and lock it.

        Args:
            patience: seconds to wait for a gateway that has it; None for :data:`LOCK_SECONDS`.

        Raises:
            EngineRefusedError: it cannot be used; it is untouched.
            DamagedFileError: it is damaged.
        """
        deadline = time.monotonic() + (LOCK_SECONDS if patience is None else patience)
        while True:
            _prepare(self.path)
            self._identity = identity(self.path)
            try:
                with refusing(self.path):
                    self._connect(deadline)
            except BaseException:
                self.disconnect()
                raise
            if self.in_place:
                for suffix in ("", *BESIDE):  # now that it surely is a session file
                    _close_to_others(self.path.with_name(self.path.name + suffix))
                return
            self.disconnect()  # the gateway that had it has replaced it meanwhile

    def _connect(self, deadline: float) -> None:
        self._db = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
        self._lock(deadline)
        if self.in_place:
            self._migrate()

    def _lock(self, deadline: float) -> None:
        """Lock the file for this process, then switch to write-ahead logging; give up if it is replaced meanwhile.

        With the lock taken first, SQLite needs no shared memory, so the file may be on a network file system.
        """
        db = self.db
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        while self.in_place:
            try:
                self._check_version()
                db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # takes effect in an empty file only
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("BEGIN IMMEDIATE")
                db.execute("COMMIT")
                return
            except sqlite3.OperationalError as error:
                if not has_code(error, "SQLITE_BUSY", "SQLITE_LOCKED"):
                    raise
                if time.monotonic() > deadline:
                    raise EngineRefusedError(
                        f"the session file {str(self.path)!r} is in use by another gateway; stop that one, or set "
                        "MCPWebSocketApp.engine to a file of its own: 'sqlite:///path'"
                    ) from None
            time.sleep(LOCK_POLL_SECONDS)

    def _check_version(self) -> None:
        """Refuse the file of another program, or of a newer version, before anything is changed."""
        application, version = self.pragma("application_id"), self.pragma("user_version")
        if self._is_empty():
            return
        if application != APPLICATION:
            raise EngineRefusedError(
                f"{str(self.path)!r} is a database of another program; set MCPWebSocketApp.engine to another file"
            )
        if version > SCHEMA:
            raise EngineRefusedError(
                f"the session file {str(self.path)!r} was written by a newer version (layout {version}; this one "
                f"knows up to {SCHEMA}); install that version again, or set MCPWebSocketApp.engine to another file"
            )

    def _migrate(self) -> None:
        """Create the tables, or bring them to the present layout."""
        db = self.db
        if self._is_empty():
            db.executescript(f"BEGIN; {_CREATE} PRAGMA user_version = {SCHEMA}; COMMIT;")
        version = self.pragma("user_version")
        if version < 1:
            raise DamagedFileError(f"it has layout {version}, which no version has written")
        if version == 1 and db.execute("SELECT 1 FROM log LIMIT 1").fetchone() is not None:
            raise DamagedFileError("it was not closed, and its log has the form of an older version")
        for step in range(version, SCHEMA):
            db.executescript(f"BEGIN; {MIGRATIONS[step]}; PRAGMA user_version = {step + 1}; COMMIT;")

    def _is_empty(self) -> bool:
        return self.db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None

    def pragma(self, name: str) -> int:
        """Return the value of a setting, a number."""
        (value,) = self.db.execute(f"PRAGMA {name}").fetchone()
        return int(value)

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._db is not None

    @property
    def db(self) -> sqlite3.Connection:
        """The connection; only while the file is open."""
        assert self._db is not None
        return self._db

    @property
    def in_place(self) -> bool:
        """Whether the path still names the open file: what is written to a deleted one is lost."""
        return identity(self.path) == self._identity

    # --- the end --------------------------------------------------------------------------------

    def leave(self) -> None:
        """Use the file no more, but keep its lock, so that another one can take its place.

        Raises:
            EngineRefusedError: another one has taken its place, and another gateway uses it.
        """
        is_ours = self._db is not None and self.in_place
        if self._db is not None:
            _close(self._lost)
            self._lost, self._db = self._db, None
        if not is_ours and self.path.exists() and self._is_taken():
            raise EngineRefusedError(
                f"the session file {str(self.path)!r} was deleted or replaced while this gateway had it open, and "
                "another gateway uses the new one; stop one of the two"
            )

    def _is_taken(self) -> bool:
        """Return whether another process has locked the file."""
        with contextlib.closing(sqlite3.connect(self.path, timeout=0, isolation_level=None)) as db:
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                return has_code(error, "SQLITE_BUSY", "SQLITE_LOCKED")
        return False

    def close(self) -> None:
        """Close the file, if it is open."""
        self.disconnect()
        lost, self._lost = self._lost, None
        _close(lost)

    def disconnect(self) -> None:
        """Close the file, but keep the lock of one that it has replaced."""
        db, self._db = self._db, None
        _close(db)


def _close(db: sqlite3.Connection | None) -> None:
    if db is not None:
        with contextlib.suppress(sqlite3.Error):
            db.close()


def is_damage(error: BaseException) -> bool:
    """Return whether SQLite found the file damaged, rather than the disk full or away."""
    return isinstance(error, sqlite3.Error) and has_code(error, "SQLITE_CORRUPT", "SQLITE_NOTADB")


def has_code(error: sqlite3.Error, *names: str) -> bool:
    """Return whether the result code is one of these, or an extended form of one."""
    name = getattr(error, "sqlite_errorname", "")
    return any(name == plain or name.startswith(plain + "_") for plain in names)


@contextlib.contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn SQLite's errors while a file is opened into refusals, or into damage."""
    try:
        yield
    except sqlite3.Error as error:
        if is_damage(error):
            raise DamagedFileError(str(error)) from None
        raise EngineRefusedError(f"the session file {str(path)!r} cannot be used: {error}") from None
    except OSError as error:
        raise EngineRefusedError(
            f"the log of the session file {str(path)!r} cannot be used: {error.strerror}"
        ) from None


def _prepare(path: Path) -> None:
    """Create the file, or check that it belongs to this user and to no one else.

    An existing file is not opened here: closing it would give up the lock of an engine in this process.

    Raises:
        EngineRefusedError: it belongs to another user, is not a file, or cannot be created.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise EngineRefusedError(f"the session file {str(path)!r} is not a file")
        if status.st_uid != os.geteuid():
            raise EngineRefusedError(f"the session file {str(path)!r} belongs to another user")
        for place, rights in ((path, os.R_OK | os.W_OK), (path.parent, os.W_OK | os.X_OK)):
            if not os.access(place, rights, effective_ids=True):
                raise EngineRefusedError(f"{str(place)!r} cannot be written; sessions are stored there")
        for suffix in BESIDE:
            _check_kind(path.with_name(path.name + suffix))
    except OSError as error:
        raise EngineRefusedError(
            f"the session file {str(path)!r} cannot be created or read: {error.strerror}"
        ) from None


def _check_kind(path: Path) -> None:
    """Check that a name beside the session file is free, or that of a file.

    Raises:
        EngineRefusedError: something else has it.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "a device")
        raise EngineRefusedError(
            f"{str(path)!r} is {kind}, and the engine needs a file of that name beside its session file; remove it, or "
            "set MCPWebSocketApp.engine to another file"
        )


def _close_to_others(path: Path) -> None:
    """Set the mode of a file to 0600, if it exists and other users may use it."""
    with contextlib.suppress(FileNotFoundError):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
            os.chmod(path, 0o600)
            log.warning("the session file %r was open to other users; its mode is 0600 now", str(path))

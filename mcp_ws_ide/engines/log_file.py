"""The log beside a session file: what was committed since its sessions were written, appended with one write each.

Blocking; belongs to one thread at a time. It knows neither what the rows mean nor which of them the sessions include.
The file begins with :data:`_HEAD`, whose token the session file names, too, so that the log of another file is
recognized; then follow rows, each behind a :data:`_ROW`.

**Half a row.** A row is committed when its write has returned, or, if the log is durable, when it is on the disk. Then
its number is written into the head, and only then is it reported. So a last row that is incomplete is cut off if the
head does not name it; otherwise it was reported, and the file is damaged, as it is if the rows end before the one that
the head names. A killed process leaves at most the beginning of a row; a machine that stops may leave anything in its
place. Therefore the rows of a durable log have checksums, and the rows of any other log are not used after the machine
has stopped. The head reaches the disk with the next row, so after that the last row of a durable log may be one that
the head does not name yet: if it cannot be read, it is cut off.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_HEAD: Final = struct.Struct("<8s16sQ")
"""Marks the file, and names its token and the last row that was reported as committed."""
_ROW: Final = struct.Struct("<IIQ")
"""Length of what follows, its CRC-32 (0 if the log is not durable), and the row's number."""
_NUMBER: Final = struct.Struct("<Q")
"""The number of a row, as :data:`_ROW` and :data:`_HEAD` have it."""
_REPORTED_AT: Final = _HEAD.size - _NUMBER.size
"""Where the head names the last row that was reported, in bytes from the start of the file."""
_MARK: Final = b"MCPWSLG2"
"""The form of the file. In an earlier one, the head did not name a row."""
_sync: Final = getattr(os, "fdatasync", os.fsync)
"""Waits until the rows are on the disk; macOS has no ``fdatasync``."""


class DamagedFileError(Exception):
    """A file does not hold what was stored, or contradicts itself; the text says how."""


class LogFile:
    """One log. All methods but :meth:`create` and :meth:`open` need it open.

    Args:
        path: the file.
        durable: whether each row is on the disk when :meth:`append` returns.

    Attributes:
        size: bytes of its rows.
    """

    def __init__(self, path: Path, durable: bool) -> None:
        self.path = path
        self._durable = durable
        self._file = -1
        self._identity = (0, 0)
        self.size = 0

    # --- opening --------------------------------------------------------------------------------

    def create(self) -> str:
        """Begin an empty log, in place of any other; return its token.

        Raises:
            OSError: it cannot be created.
        """
        token = secrets.token_bytes(16)
        self.path.unlink(missing_ok=True)
        self._open(os.O_CREAT | os.O_EXCL)
        os.pwrite(self._file, _HEAD.pack(_MARK, token, 0), 0)
        if self._durable:
            os.fsync(self._file)
            directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        return token.hex()

    def open(self, token: str) -> None:
        """Open the log with this token.

        Raises:
            DamagedFileError: it is not there.
            OSError: it cannot be opened.
        """
        try:
            self._open(0)
        except FileNotFoundError:
            raise DamagedFileError("its log is missing") from None
        if self._head()[:2] != (_MARK, _bytes(token)):
            raise DamagedFileError("its log belongs to another file, or has the form of another version")
        if self._durable:  # it may not have been, so far
            os.fsync(self._file)

    def left(self, held: int) -> Iterator[tuple[int, bytes]]:
        """Yield the rows of a log of any token that lies in the place of this one, as :meth:`rows` does."""
        try:
            self._open(0)
        except OSError:
            return
        if self._head()[0] == _MARK:
            yield from self.rows(held)

    def _open(self, flags: int) -> None:
        self.close()
        self._file = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
        self._identity = identity(self.path)
        self.size = 0

    def _head(self) -> tuple[bytes, bytes, int]:
        """Return the form of the file, its token, and the number of the last row that was reported as committed."""
        head = os.pread(self._file, _HEAD.size, 0)
        return _HEAD.unpack(head) if len(head) == _HEAD.size else (b"", b"", 0)

    # --- reading and writing --------------------------------------------------------------------

    def rows(self, held: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield number and content of each row, and cut off a last one that is incomplete.

        Args:
            held: the rows up to this number need not be there.

        Raises:
            DamagedFileError: a row that was reported as committed is not what was stored, or is not there.
        """
        try:
            (*_, reported), data = self._head(), self._read()
            start = last = 0
            while len(data) - start >= _ROW.size:
                length, checksum, number = _ROW.unpack_from(data, start)
                end = start + _ROW.size + length
                if end > len(data):
                    following = (last + 1 if last else number) + 1
                    if _NUMBER.pack(following % (1 << 64)) in data[start + _ROW.size :]:
                        raise _damaged(start)  # its length is wrong, as another row follows
                    break
                row = data[start + _ROW.size : end]
                if not number or (checksum and checksum != zlib.crc32(row)):
                    if data[end:].strip(b"\0"):
                        raise _damaged(start)
                    break
                yield number, row
                start, last = end, number
            if reported > max(last, held):
                raise DamagedFileError(
                    f"a row of its log is damaged or missing: row {reported} was committed, and the last that can be "
                    f"read is {last or 'none'}"
                )
            self.size = start
            os.ftruncate(self._file, _HEAD.size + start)
        except OSError as error:
            raise DamagedFileError(f"its log cannot be read: {error.strerror}") from None
        except MemoryError:
            raise DamagedFileError("its log is larger than the memory") from None

    def _read(self) -> bytes:
        with open(self._file, "rb", closefd=False) as file:
            file.seek(_HEAD.size)
            return file.read()

    def append(self, number: int, row: bytes) -> None:
        """Commit one row.

        Raises:
            OSError: it is not committed.
        """
        head = _ROW.pack(len(row), zlib.crc32(row) if self._durable else 0, number)
        data, end = head + row, _HEAD.size + self.size
        try:
            written = os.pwrite(self._file, data, end)
            if written != len(data):
                self._write_rest(data, end, written)
            if self._durable:
                _sync(self._file)
            os.pwrite(self._file, _NUMBER.pack(number), _REPORTED_AT)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, end)
            raise
        self.size += len(data)

    def _write_rest(self, data: bytes, end: int, written: int) -> None:
        while written < len(data):  # the next write says what is wrong
            written += os.pwrite(self._file, data[written:], end + written)

    def clear(self) -> None:
        """Delete all rows; if that fails, they stay, and others follow them."""
        with contextlib.suppress(OSError):
            os.pwrite(self._file, _NUMBER.pack(0), _REPORTED_AT)
            os.ftruncate(self._file, _HEAD.size)
            self.size = 0

    @property
    def in_place(self) -> bool:
        """Whether the path still names the open file: what is written to a deleted one is lost."""
        return identity(self.path) == self._identity

    # --- the end --------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the file, if it is open."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def delete(self) -> None:
        """Close and delete the file, once nobody needs its rows."""
        self.close()
        with contextlib.suppress(OSError):
            self.path.unlink()


def _bytes(token: str) -> bytes:
    try:
        return bytes.fromhex(token)
    except ValueError:
        return b""  # no log has it


def _damaged(start: int) -> DamagedFileError:
    return DamagedFileError(f"a row of its log is damaged, {start} bytes from the first")


def identity(path: Path) -> tuple[int, int]:
    """Return what tells the file of a path from others; zeros if there is none."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_dev, status.st_ino)

"""Private files: mode 0600, in directories of mode 0700, replaced as a whole or not at all. Also: path identity.

Knows nothing of what the files mean; :class:`PrivateJsonFile` keeps one value of a msgspec type.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class UnreadableFileError(Exception):
    """A private file exists, but cannot be read or decoded; the message says why, without quoting its content."""


class PrivateJsonFile(Generic[T]):
    """One value in a JSON file that only its owner can read. Not locked: one process writes it.

    Args:
        path: the file; it need not exist.
        type_: msgspec type of the value.
    """

    def __init__(self, path: Path, type_: type[T]) -> None:
        self.path = path
        self._decoder = msgspec.json.Decoder(type_)

    def read(self) -> T | None:
        """Return the stored value; None if the file does not exist.

        Raises:
            UnreadableFileError: the file cannot be read or decoded.
        """
        try:
            return self._decoder.decode(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnreadableFileError(f"{self.path} is unreadable: {error.strerror or error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UnreadableFileError(f"{self.path} is unreadable: {error}") from error

    def write(self, value: T) -> None:
        """Replace the stored value.

        Raises:
            OSError: nothing was changed.
        """
        write_private(self.path, msgspec.json.encode(value))


def write_private(path: Path, data: bytes) -> None:
    """Replace ``path`` by a new file of mode 0600; create its directory with mode 0700 if it is missing.

    A reader sees either the old content or the new; so does whoever reads after a crash.

    Raises:
        OSError: nothing was changed.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def same_file(first: str, second: str) -> bool:
    """Return whether two paths name one file, however they are spelled.

    Resolves ``~``, ``..``, symbolic and hard links, and case on file systems that ignore it. For a file that does not
    exist yet, its directory and name decide.
    """
    first, second = (os.path.abspath(os.path.expanduser(path)) for path in (first, second))
    if os.path.realpath(first) == os.path.realpath(second) or _is_same(first, second):
        return True
    same_directory = _is_same(os.path.dirname(first), os.path.dirname(second))
    return same_directory and os.path.basename(first) == os.path.basename(second)


def _is_same(first: str, second: str) -> bool:
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):  # ValueError: a NUL in a path
        return False

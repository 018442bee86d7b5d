"""Files that hold what is private: written whole or not at all, mode 0600; and whether two paths mean one file."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def same_file(first: str, second: str) -> bool:
    """Whether two paths mean one file, however they are spelled: by ``~``, ``..``, symbolic or hard links, or in
    another case where that does not count. Of a file that does not exist yet its directory decides."""
    first, second = (os.path.abspath(os.path.expanduser(path)) for path in (first, second))
    if os.path.realpath(first) == os.path.realpath(second) or _is_same(first, second):
        return True
    in_one = _is_same(os.path.dirname(first), os.path.dirname(second))
    return in_one and os.path.basename(first) == os.path.basename(second)


def _is_same(first: str, second: str) -> bool:
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):  # ValueError: a NUL in a path
        return False


def write_private(path: Path, data: bytes) -> None:
    """Put a new file in the place of ``path``; its directory is made with mode 0700 where it is missing.

    A reader sees the old content or the new one; after a crash one of the two is there.

    Raises:
        OSError: nothing was changed.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise

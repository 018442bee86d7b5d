"""Detects changed configuration files by polling their status. Knows nothing of what they contain."""

from __future__ import annotations

import os
from collections.abc import Iterable


class ConfigWatcher:
    """Reports whether any of some files changed since the last call; meant to be polled.

    Args:
        paths: the files, which need not exist; ``~`` is expanded.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = [os.path.expanduser(path) for path in paths]
        self._fingerprints = self._take_fingerprints()

    def _take_fingerprints(self) -> list[tuple[int, ...] | None]:
        return [_fingerprint(path) for path in self._paths]

    def changed(self) -> bool:
        """Return whether a file appeared, disappeared, was written or changed its permissions."""
        fingerprints = self._take_fingerprints()
        changed, self._fingerprints = fingerprints != self._fingerprints, fingerprints
        return changed


def _fingerprint(path: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    # st_ctime_ns also changes with the permissions, without which a file cannot be read
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime_ns

"""The user's own ``mcp.json``, the one file that is changed for them: read, checked for permission, replaced.

Knows the file; :mod:`.json_edit` knows its syntax, and :mod:`.consents` which entries may be started.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mcp_ws_ide.config.file_text import decoded
from mcp_ws_ide.config.json_edit import DefinitionError, JsonText
from mcp_ws_ide.config.load import MAX_FILE_BYTES
from mcp_ws_ide.private_files import write_private

MISSING: Final = "none"
"""Version of a file that does not exist."""
_BOM: Final = b"\xef\xbb\xbf"
_VERSION_CHARACTERS: Final = 32


class FileChangedError(DefinitionError):
    """The file is no longer the one that was read."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A file at one moment. ``version`` differs for every other content; ``bom`` says whether it begins with one."""

    text: str
    version: str
    bom: bool = False

    def entry(self, name: str) -> Any:
        """Return the entry of server ``name`` as written; None if no editable section has it."""
        if not self.text:
            return None
        file = JsonText(self.text)
        located = file.section_of(name)
        return None if located is None else file.document[located[0]][name]


class DefinitionFile:
    """The file that is changed for a user.

    Args:
        path: the file; it need not exist.
        seal: computes the version of a content.
    """

    def __init__(self, path: str, seal: Callable[[bytes], str]) -> None:
        self.path = path
        self._seal = seal

    def read_only(self) -> str:
        """Return why the file cannot be changed; ``""`` if it can."""
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            return self._directory_read_only()
        except OSError as error:
            return f"it cannot be accessed: {error.strerror}"
        return _file_read_only(status) or self._directory_read_only()

    def _directory_read_only(self) -> str:
        directory = os.path.dirname(self.path)
        while not os.path.exists(directory) and directory != os.path.dirname(directory):
            directory = os.path.dirname(directory)
        if not os.path.isdir(directory):
            return f"{directory} is not a directory"
        writable = os.access(directory, os.W_OK | os.X_OK)
        return "" if writable else f"the directory {directory} is write-protected"

    def read(self) -> Snapshot:
        """Return the file as it is now. A file with nothing in it, as ``touch`` makes it, has the text of a new one.

        Raises:
            DefinitionError: it cannot be read, or is not JSON and must be fixed by hand.
        """
        try:
            data = Path(self.path).read_bytes()
        except FileNotFoundError:
            return Snapshot("", MISSING)
        except OSError as error:
            raise DefinitionError(f"it cannot be read: {error.strerror}") from None
        if len(data) > MAX_FILE_BYTES:
            raise DefinitionError(f"it is larger than {MAX_FILE_BYTES} bytes")
        try:
            text, notice = decoded(data)
            if text.strip():
                JsonText(text)
        except (ValueError, RecursionError) as error:
            raise DefinitionError(f"{error}; fix it by hand") from None
        if notice:
            raise DefinitionError(f"{notice}, so that it can be changed here")
        return Snapshot(text if text.strip() else "", self._version(data), data.startswith(_BOM))

    def write(self, before: Snapshot, text: str) -> str:
        """Replace the content that was read by ``text``; return the new version.

        Raises:
            FileChangedError: the file is no longer what was read.
            DefinitionError: the file cannot be written.
        """
        data = (_BOM if before.bom else b"") + text.encode()
        if len(data) > MAX_FILE_BYTES:
            raise DefinitionError(f"it would be larger than {MAX_FILE_BYTES} bytes")
        if reason := self.read_only():
            raise DefinitionError(reason)
        if self.read().version != before.version:
            raise FileChangedError("the file has changed in the meantime; reload it and try again")
        try:
            write_private(Path(self.path), data)
        except OSError as error:
            raise DefinitionError(f"it cannot be written: {error.strerror}") from None
        return self._version(data)

    def _version(self, data: bytes) -> str:
        return self._seal(data)[:_VERSION_CHARACTERS]


def _file_read_only(status: os.stat_result) -> str:
    """Return why an existing file cannot be replaced; ``""`` if it can."""
    if stat.S_ISLNK(status.st_mode):
        return "it is a symbolic link, which would be replaced; change the file it points to by hand"
    if not stat.S_ISREG(status.st_mode):
        return "it is not a regular file"
    if status.st_nlink > 1:
        return (
            "it has another name (a hard link), under which the old content would remain; change it by hand"
        )
    if status.st_uid != os.geteuid():
        return "it belongs to another user"
    return "" if status.st_mode & stat.S_IWUSR else "it is write-protected"

"""What the user chose on the screens, kept for the next start: a JSON file in Jupyter's data directory.

A file that cannot be read or written is not an error: the screens work without it. Members that this version does not
know stay in it.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, Final

from jupyter_core.paths import jupyter_data_dir

from mcp_ws_ide.private_files import write_private

MAX_BYTES: Final = 64 << 10
"""Bytes that are read of the file; more would not have been written here."""


class Settings:
    """The settings of one user."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or Path(jupyter_data_dir()) / "mcp-ws-inspect" / "settings.json"
        self._members = self._read()

    @property
    def theme(self) -> str:
        """The theme; ``""`` for the default one."""
        theme = self._members.get("theme")
        return theme if isinstance(theme, str) else ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of Traffic, by heading; empty for those that fit the window."""
        columns = self._members.get("columns")
        return tuple(name for name in columns if isinstance(name, str)) if isinstance(columns, list) else ()

    def keep(self, **members: Any) -> None:
        """Change settings and write them, over those that another inspector may have written since."""
        self._members = {**self._read(), **members}
        with contextlib.suppress(OSError):
            write_private(self._path, json.dumps(self._members, indent=1).encode())

    def _read(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError, RecursionError):
            with self._path.open("rb") as file:
                members = json.loads(file.read(MAX_BYTES))
            return members if isinstance(members, dict) else {}
        return {}

"""What the user chose: a JSON file in Jupyter's data directory, to edit or to write from the screens.

The screens work without a file that cannot be read or written. One that cannot be read is never written, since somebody
may have edited it. Members that this version does not know stay in it.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, Final

from jupyter_core.paths import jupyter_data_dir

from mcp_ws_ide.private_files import write_private

MAX_BYTES: Final = 64 << 10
"""Bytes that are read of the file; more would not have been written here."""

USUAL: Final = 20.0
"""Updates of the screen per second."""
OVER_SSH: Final = 10.0
"""The same over SSH, where each one is sent through the network."""
SLOWEST: Final = 0.5
FASTEST: Final = 60.0
SSH: Final = ("SSH_CONNECTION", "SSH_TTY")
"""Environment variables that a shell over SSH has."""


class Settings:
    """The settings of one user, in the file ``path``. ``problem``: why they were not read; ``""`` if they were."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or Path(jupyter_data_dir()) / "mcp-ws-inspect" / "settings.json"
        self.problem = ""
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

    @property
    def keys(self) -> dict[str, str]:
        """Keys that the user chose, by the name of the action."""
        keys = self._members.get("keys")
        known = keys.items() if isinstance(keys, dict) else ()
        return {name: key for name, key in known if isinstance(key, str) and key.strip()}

    @property
    def refresh(self) -> float:
        """How often the screen is updated at most, per second; less over SSH, unless the user chose it."""
        rate = self._members.get("refresh")
        if isinstance(rate, (int, float)) and not isinstance(rate, bool):
            return min(max(rate, SLOWEST), FASTEST)
        return OVER_SSH if any(name in os.environ for name in SSH) else USUAL

    def keep(self, **members: Any) -> None:
        """Change settings and write them, over those that another inspector may have written since."""
        self._members = {**self._read(), **members}
        if self.problem:
            return
        with contextlib.suppress(OSError):
            write_private(self.path, json.dumps(self._members, indent=1).encode())

    def _read(self) -> dict[str, Any]:
        self.problem, reason = "", "it is not a JSON object"
        try:
            with self.path.open("rb") as file:
                text = file.read(MAX_BYTES)
            members = json.loads(text) if text.strip() else {}
            if isinstance(members, dict):
                return members
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        self.problem = f"{self.path} is ignored, and not written: {reason}"
        return {}

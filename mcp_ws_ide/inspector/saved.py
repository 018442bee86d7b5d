"""Saved filters, one per line in Jupyter's data directory; a file that cannot be read or written is not an error."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from jupyter_core.paths import jupyter_data_dir

from mcp_ws_ide.private_files import write_private

MAX_FILTERS: Final = 200
MAX_BYTES: Final = 512 << 10


class SavedFilters:
    """A user's saved filters and those used in this run. ``texts``: saved filters, oldest first."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or Path(jupyter_data_dir()) / "mcp-ws-inspect" / "filters"
        self.texts = self._read()
        self._recent: list[str] = []

    def _read(self) -> list[str]:
        with contextlib.suppress(OSError):
            with self._path.open(encoding="utf-8", errors="replace") as file:
                lines = file.read(MAX_BYTES).splitlines()
            return [line.strip() for line in lines if line.strip()][-MAX_FILTERS:]
        return []

    def used(self, text: str) -> None:
        """Remember a filter for this run."""
        text = text.strip()
        if text:
            self._recent = [*(other for other in self._recent if other != text), text][-MAX_FILTERS:]

    def around(self, text: str, step: int) -> str:
        """Return the filter before (``step`` -1) or after ``text``, among saved filters and then used ones."""
        known = [*self.texts, *(other for other in self._recent if other not in self.texts), ""]
        place = known.index(text) if text in known else len(known) - 1
        return known[max(0, min(len(known) - 1, place + step))]

    def toggle(self, text: str) -> bool | None:
        """Save a filter, or remove a saved one; return whether it is saved now, None if that failed."""
        text = " ".join(text.split())
        if not text:
            return None
        saved = text not in self.texts
        texts = [*self.texts, text] if saved else [other for other in self.texts if other != text]
        try:
            self._write(texts[-MAX_FILTERS:])
        except OSError:
            return None
        self.texts = texts[-MAX_FILTERS:]
        return saved

    def _write(self, texts: list[str]) -> None:
        write_private(self._path, "".join(f"{text}\n" for text in texts).encode())

"""Keys that write to a file or open one."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
from collections.abc import Iterator
from typing import Final

from textual import work

from mcp_ws_ide.inspector import export
from mcp_ws_ide.inspector.app.app_base import AppBase
from mcp_ws_ide.inspector.playback import Playback
from mcp_ws_ide.inspector.recording import Header, Recorder, RecordingError

SLICE: Final = 0.01
"""Seconds for which an export is written at a time, and seconds for everything else between two of them."""
AT_ONCE: Final = 0.03
"""Seconds for which it is written before the screen is painted."""


class FileActions(AppBase):
    """Record, export, and open a recording."""

    _exporting: tuple[Iterator[None], str, int] | None = None
    """What writes the rest of an export, its file, and the number of its rows."""

    def action_record(self) -> None:
        """Start recording, or stop."""
        if isinstance(self.tap, Playback):
            self._warn("this is a recording; press e to export rows of it to another file")
        elif self._recorder is not None:
            self._stop_recording()
            self.show_state()
        else:
            self.prompt.open("record", time.strftime("mcp-%Y%m%d-%H%M%S.jsonl"))

    def _keep(self, lines: list[str]) -> None:
        """Write records to the recording, if one is running."""
        if self._recorder is not None:
            try:
                self._recorder.write(lines)
            except (RecordingError, BrokenPipeError) as error:
                self._stop_recording()
                self._warn(f"the recording was stopped: {error}")

    def _stop_recording(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            with contextlib.suppress(RecordingError):
                recorder.close()
            self._tell(f"recorded {recorder.records} records to {recorder.path}")

    def _header(self) -> Header:
        gateway = self.tap.gateway
        if isinstance(self.tap, Playback):
            return self.tap.header
        return Header(time.time(), gateway.url if gateway is not None else "")

    def action_export(self) -> None:
        """Write the filtered rows to a file."""
        self.prompt.open("export", time.strftime("mcp-%Y%m%d-%H%M%S.har"))

    def _export(self, path: str) -> str:
        form = next((form for form in export.SUFFIXES if path.endswith(form)), None)
        if form is None:
            return f"unknown file format; use one of {', '.join(export.SUFFIXES)}"
        if self.traffic.view.left:
            return "the filter is still being applied; try again in a moment"
        if self._exporting is not None:
            return "another export is still being written; try again in a moment"
        rows = self.traffic.view.rows[:]
        steps = export.write(self.journal, self._header(), path, rows)
        try:
            next(steps, None)
        except (RecordingError, OSError) as error:
            return _unwritten(path, error)
        self._exporting, self.journal.store.keeps = (steps, path, len(rows)), True
        if self._write_on(AT_ONCE):
            self._tell(f"writing {len(rows):,} rows to {path} …")
            self.finish_export()
        return ""

    @work(group="export")
    async def finish_export(self) -> None:
        """Write the rest of an export, a slice at a time: meanwhile records come in, and keys act."""
        more = True
        while more:
            await asyncio.sleep(SLICE)
            more = self._write_on(SLICE)

    def _write_on(self, seconds: float) -> bool:
        """Write the export for some time; return whether there is more of it."""
        if self._exporting is None:
            return False
        steps, path, count = self._exporting
        end = time.monotonic() + seconds
        try:
            for _ in steps:
                if time.monotonic() > end:
                    return True
            self._tell(f"wrote {count:,} rows to {path}")
        except (RecordingError, OSError) as error:
            self._warn(_unwritten(path, error))
        self._exporting, self.journal.store.keeps = None, False
        return False

    def _stop_export(self) -> None:
        """Write what is left of an export, at the end of the program."""
        self._write_on(math.inf)

    def action_open(self) -> None:
        """Open a recording."""
        self.prompt.open("open", "")

    def _use_file(self, purpose: str, text: str) -> str:
        """Record to, export to or open a file; return the error, or ``""``."""
        path = os.path.expanduser(text)
        try:
            if purpose == "record":
                self._recorder = Recorder(path, self._header())
            elif purpose == "export":
                return self._export(path)
            else:
                Playback(path).close()
                self.opening = path
                self.exit()
        except RecordingError as error:
            return str(error)
        return ""


def _unwritten(path: str, error: Exception) -> str:
    return str(error) if isinstance(error, RecordingError) else f"{path} cannot be written: {error}"

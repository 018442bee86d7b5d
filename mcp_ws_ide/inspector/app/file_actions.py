"""Keys that write to a file or open one."""

from __future__ import annotations

import contextlib
import os
import time

from mcp_ws_ide.inspector import export
from mcp_ws_ide.inspector.app.app_base import AppBase
from mcp_ws_ide.inspector.playback import Playback
from mcp_ws_ide.inspector.recording import Header, Recorder, RecordingError


class FileActions(AppBase):
    """Record, export, and open a recording."""

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
        try:
            rows = list(self.traffic.view.rows)
            export.write(self.journal, self._header(), path, rows)
        except (RecordingError, OSError) as error:
            return f"{path} cannot be written: {error}" if isinstance(error, OSError) else str(error)
        self._tell(f"wrote {len(rows)} rows to {path}")
        return ""

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

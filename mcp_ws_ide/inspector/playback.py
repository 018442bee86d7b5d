"""A recording in place of a live tap: returns its records as fast as they are taken."""

from __future__ import annotations

import time

from mcp_ws_ide.discovery import RunningGateway
from mcp_ws_ide.inspector.recording import Recording, RecordingError
from mcp_ws_ide.inspector.watch import MissedRecords


class Playback:
    """Has the interface of a :class:`~mcp_ws_ide.inspector.watch.Watch` that is never live.

    Raises:
        RecordingError: the file is not a recording, or cannot be read.
    """

    state = "file"
    round_trip = None
    silence = 0.0
    next_try = 0.0
    reconnects = 0
    gaps = 0

    def __init__(self, path: str, most: int | None = None) -> None:
        self.path = path
        self._recording = Recording(path, most)
        self._batches = self._recording.batches()
        header = self._recording.header
        self.header = header
        self.problem = ""
        self.ended = False
        """Whether everything readable was taken."""
        self.gateway = RunningGateway(header.gateway) if header.gateway else None
        self.begun = _moment(header.time) if header.time else "(no header)"

    def take(self) -> str | MissedRecords | None:
        """Return the next records; None at the end, or if the file cannot be read further."""
        try:
            batch = next(self._batches, None)
        except RecordingError as error:
            self.problem, batch = str(error), None
        if batch is None:
            self.ended = True
            self.problem = self.problem or self._recording.note
            return None
        return "\n".join(batch)

    async def run(self) -> None:
        """Do nothing: a file needs no watching."""

    def close(self) -> None:
        """Close the file."""
        self._recording.close()


def _moment(seconds: float) -> str:
    """Return a time from the file, which may not be a valid one."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "(no valid time)"

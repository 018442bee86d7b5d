"""Log records that quote servers and clients, made safe for a terminal and short."""

from __future__ import annotations

import logging
from typing import Final

from mcp_ws_ide.sanitise import one_visible_line

LONGEST_TRACEBACK: Final = 500
"""Lines of a traceback that are logged, from its end."""


class SafeRecords(logging.Filter):
    """Makes log records safe for the terminal or file of a log: what they say may quote servers and clients.

    To be added to a handler; changes only records of the loggers with these names, and of those below them.
    """

    def __init__(self, *names: str) -> None:
        super().__init__()
        self._names = names
        self._formatter = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Escape and cut the message and the traceback; pass on every record."""
        if record.name.partition(".")[0] in self._names:
            record.msg, record.args = one_visible_line(record.getMessage()), ()
            if record.exc_info and not record.exc_text:
                lines = self._formatter.formatException(record.exc_info).split("\n")
                record.exc_text = "\n".join(one_visible_line(line) for line in lines[-LONGEST_TRACEBACK:])
        return True

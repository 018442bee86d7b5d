"""Make text of a peer safe for a terminal: control and direction characters are escaped, and long text is cut."""

from __future__ import annotations

import logging
import re
from typing import Final

_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)

LONGEST_TRACEBACK: Final = 500
"""Lines of a traceback that are logged, from its end."""
LONGEST_LINE: Final = 4000
"""Characters of a message from a peer that are shown or logged."""


def visible(text: str) -> str:
    """Return ``text`` with C0, C1, bidirectional and invisible characters as ``\\xNN`` or ``\\uNNNN``."""
    return _UNSAFE.sub(_escape, text)


def one_visible_line(text: str) -> str:
    """Return ``text`` as one line of at most about :data:`LONGEST_LINE` characters, with the same escapes."""
    cut = len(text) - LONGEST_LINE
    return visible(text) if cut <= 0 else f"{visible(text[:LONGEST_LINE])} … ({cut} more characters)"


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


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

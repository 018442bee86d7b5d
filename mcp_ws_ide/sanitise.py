"""Make text of a peer safe for a terminal: control and direction characters are escaped, and long text is cut."""

from __future__ import annotations

import re
from typing import Final

LONGEST_LINE: Final = 4000
"""Characters of a message from a peer that are shown or logged."""
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """Return ``text`` with C0, C1, bidirectional and invisible characters as ``\\xNN`` or ``\\uNNNN``."""
    return _UNSAFE.sub(_escape, text)


def one_visible_line(text: str) -> str:
    """Return ``text`` as one line of at most about :data:`LONGEST_LINE` characters, with the same escapes."""
    cut = len(text) - LONGEST_LINE
    return visible(text) if cut <= 0 else f"{visible(text[:LONGEST_LINE])} … ({cut} more characters)"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

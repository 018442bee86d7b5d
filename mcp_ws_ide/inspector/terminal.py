"""What the terminal of this process can do."""

from __future__ import annotations

import os
import sys
from typing import Final

PLAIN: Final = frozenset({"dumb", "unknown"})
"""Values of ``TERM`` for terminals that print what they get, such as a shell in Emacs."""


def is_plain() -> bool:
    """Return whether the terminal understands no escape sequences."""
    return os.environ.get("TERM", "") in PLAIN


def no_full_screen(command: str) -> str:
    """Return why ``command`` cannot fill the screen, and what to use instead; ``""`` if it can."""
    instead = "use 'tail'" if command == "attach" else "use 'stats', 'check' or 'export'"
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        return f"{command} needs a terminal; {instead} in a pipe"
    if is_plain():
        return f"{command} needs a terminal with a full screen, but TERM is {os.environ['TERM']!r}; {instead}"
    return ""

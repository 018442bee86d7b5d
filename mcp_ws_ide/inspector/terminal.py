"""What the terminal of this process can do."""

from __future__ import annotations

import os
import select
import sys
from typing import Final

PLAIN: Final = frozenset({"dumb", "unknown"})
"""Values of ``TERM`` for terminals that print what they get, such as a shell in Emacs."""


def is_plain() -> bool:
    """Return whether the terminal understands no escape sequences."""
    return os.environ.get("TERM", "") in PLAIN


def is_behind() -> bool:
    """Return whether the terminal has not taken all that was painted yet, as over a slow link.

    Textual writes to stderr, in a thread; what that has not written yet waits in memory, and keys wait behind it.
    """
    if sys.__stderr__ is None:
        return False
    poll = select.poll()
    poll.register(sys.__stderr__.fileno(), select.POLLOUT)
    return not poll.poll(0)


def no_full_screen(command: str) -> str:
    """Return why ``command`` cannot fill the screen, and what to use instead; ``""`` if it can."""
    instead = "use 'tail'" if command == "attach" else "use 'stats', 'check' or 'export'"
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        return f"{command} needs a terminal; {instead} in a pipe"
    if is_plain():
        return f"{command} needs a terminal with a full screen, but TERM is {os.environ['TERM']!r}; {instead}"
    return ""

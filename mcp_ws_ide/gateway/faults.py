"""Injected faults of a session, with which authors of clients test how they recover.

Knows which faults are armed: handlers/api/faults.py arms them, and the session and its resume handshake take them.
Nothing is armed by default.
"""

from __future__ import annotations

from typing import Final

import msgspec

INJECTED: Final = "refused by an injected fault"
"""The reason of a refused resume."""


class Faults(msgspec.Struct):
    """The faults that are armed for one session.

    Attributes:
        duplicates: number of further messages to the client to send twice.
        refusals: number of further resumes to refuse.
        for_good: whether a refusal ends the session (``gone``), or asks the client to try again later (1013).
    """

    duplicates: int = 0
    refusals: int = 0
    for_good: bool = True

    def take_duplicate(self) -> bool:
        """Return whether to send this message twice, and count it."""
        if self.duplicates:
            self.duplicates -= 1
            return True
        return False

    def take_refusal(self) -> bool:
        """Return whether to refuse this resume, and count it."""
        if self.refusals:
            self.refusals -= 1
            return True
        return False

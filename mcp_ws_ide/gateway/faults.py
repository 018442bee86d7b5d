"""Faults of a session that are ordered on purpose, so that authors of clients can test what they do then.

Knows what is armed; the session and its handshake ask, and handlers/api/faults.py orders. Nothing is armed by itself.
"""

from __future__ import annotations

from typing import Final

import msgspec

WORDS: Final = "refused by an injected fault"


class Faults(msgspec.Struct):
    """What is armed for one session.

    Attributes:
        duplicates: messages to the client that are still to be sent twice.
        refusals: resumes that are still to be refused.
        for_good: whether a refusal ends the session (``gone``), or asks to come back later (1013).
    """

    duplicates: int = 0
    refusals: int = 0
    for_good: bool = True

    def take_duplicate(self) -> bool:
        """Whether this message is to be sent twice."""
        if self.duplicates:
            self.duplicates -= 1
            return True
        return False

    def take_refusal(self) -> bool:
        """Whether this resume is to be refused."""
        if self.refusals:
            self.refusals -= 1
            return True
        return False

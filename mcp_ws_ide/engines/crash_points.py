"""The points between stage, commit, act and acknowledge at which a crash must cost nothing but an explicit outcome.

A test arms one of them in a child process, which kills itself there. Otherwise nothing is armed, and a point costs one
check of :data:`armed`::

    if crash_points.armed is not None:
        crash_points.reach(Point.STORED)
"""

from __future__ import annotations

import os
import signal
from enum import StrEnum


class Point(StrEnum):
    """The points at which the process may be killed, in the order in which a batch passes them."""

    STAGED = "staged"
    """A batch was staged; the turn of the event loop has not ended."""
    HANDED_OVER = "handed over"
    """The writing thread has the batches of the turn, and has written nothing."""
    STORED = "stored"
    """The batches are committed; the event loop does not know it yet."""
    REPORTED = "reported"
    """The first batch of a commit was reported to its session, the others not yet."""
    COMPACTING = "compacting"
    """A transaction has begun that will write the changed sessions, and has written none of them."""
    COMPACTED = "compacted"
    """They are written within that transaction, which is not committed."""
    COMPACTION_STORED = "compaction stored"
    """That transaction is committed; the log still has the rows that the sessions include now."""
    OPENED = "opened"
    """The file was opened by a new process, and nothing was written since."""
    TAKEN = "taken"
    """A session was taken over and committed as such; its new owner does not know it yet."""
    SENDING = "sending"
    """The session knows that its batch is committed, and has sent none of its messages."""
    SENT = "sent"
    """Those messages are sent, and the client's are not processed."""
    FORWARDED = "forwarded"
    """The client's messages are handed to their server, and not acknowledged by anything that is sent later."""
    ACKNOWLEDGED = "acknowledged"
    """The client's messages are counted; the acknowledgement may be on its way."""

    @property
    def of_engine(self) -> bool:
        """Whether an engine passes this point, rather than the owner of a session."""
        return self not in (Point.SENDING, Point.SENT, Point.FORWARDED, Point.ACKNOWLEDGED)


class Armed:
    """The point at which this process kills itself.

    Args:
        point: which point.
        passes: how often the process passes it before.
    """

    def __init__(self, point: str, passes: int) -> None:
        self.point = point
        self.passes = passes


armed: Armed | None = None
"""None outside tests."""


def arm(point: str, passes: int = 0) -> None:
    """Kill this process with SIGKILL when it reaches ``point``, after having passed it ``passes`` times."""
    global armed
    armed = Armed(point, passes)


def reach(point: str) -> None:
    """Note that a point is reached; does not return if it is the armed one."""
    if armed is None or armed.point != point:
        return
    if armed.passes > 0:
        armed.passes -= 1
        return
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()  # until the signal arrives: another thread may handle it

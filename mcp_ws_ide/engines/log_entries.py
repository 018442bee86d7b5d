"""What the log of a session file holds: batches, and the other changes of the sessions.

msgspec decodes these, and mypyc compiles :mod:`.session_table`, which applies them.
"""

from __future__ import annotations

import msgspec

from mcp_ws_ide.engines.base import Batch, StoredSession


class Put(msgspec.Struct, gc=False, array_like=True, tag=1):
    """A whole session was stored."""

    stored: StoredSession


class Take(msgspec.Struct, gc=False, array_like=True, tag=2):
    """A session was taken over."""

    session: str
    principal: str


class End(msgspec.Struct, gc=False, array_like=True, tag=3):
    """A session was ended under this epoch."""

    session: str
    epoch: int


class Orphan(msgspec.Struct, gc=False, array_like=True, tag=4):
    """The expiry of all attached sessions was set."""

    expires_at: float


class Expire(msgspec.Struct, gc=False, array_like=True, tag=5):
    """The sessions whose time had passed were deleted."""

    now: float


Entry = Batch | Put | Take | End | Orphan | Expire
"""One change of the sessions, as a log keeps it."""

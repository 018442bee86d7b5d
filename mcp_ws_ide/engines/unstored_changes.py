"""What the owner of a stored session has yet to store: operations, positions, and the one batch that is outstanding.

Pure: operations go in, batches come out. A frame toward the client is stored from the session's channel, and its
position is its place there; the owner reports every other change here. This module knows neither engines nor links, nor
what the bytes mean.

Invariants:

1. At most one batch is outstanding. What is staged before its outcome is known joins the next one.
2. A batch begins where the one before it ended, and its number is one more.
3. A request in flight has a key that no other request of the session ever has.
"""

from __future__ import annotations

from typing import Final

from mcp_ws_ide.core.channel import ReliableChannel
from mcp_ws_ide.core.messages import IdKey
from mcp_ws_ide.engines.base import Batch, Frame, InFlight, StoredSession

TRIM_SHARE: Final = 8
"""Acknowledgements alone are worth a batch when they free this fraction (one eighth) of the window."""


class UnstoredChanges:
    """The unstored changes of one session. Its channel notes what it drops, from now on.

    Args:
        session: the session as it is stored.
        channel: its channel toward the client.

    Attributes:
        received: number of data frames from the client, including those that are not stored yet; the owner counts them.
        stored: number of those that are stored.
        sent: the last position toward the client that is stored, and may be sent.
        in_flight: requests from the client without an answer, by decoded id.
        outstanding: the batch whose outcome is not known yet.
    """

    def __init__(self, session: StoredSession, channel: ReliableChannel) -> None:
        channel.dropped = []
        self._session = session
        self._channel = channel
        self._number = session.number
        self.received = self.stored = session.received
        self.sent = session.sent
        self._base = session.base
        self.in_flight: dict[IdKey, InFlight] = {}
        self.outstanding: Batch | None = None
        self._keys = 0
        self._staged = False
        """Whether anything is staged beside what channel and counters show."""
        self._added: dict[bytes, InFlight] = {}
        self._transmitted: list[bytes] = []
        self._removed: list[bytes] = []
        self._state: bytes | None = None
        self._facts: bytes | None = None
        self._expires_at: float | None = None

    # --- operations -----------------------------------------------------------------------------

    def add(self, request: IdKey, detail: bytes, *, transmitted: bool) -> None:
        """Add a request to those in flight.

        Args:
            request: its id.
            detail: what is needed to end it with an error.
            transmitted: whether it may be handed to its server as soon as this is stored.
        """
        self._keys += 1
        key = b"%d.%d" % (self._number, self._keys)
        self.in_flight[request] = self._added[key] = InFlight(key, detail, transmitted)
        self._staged = True

    def transmit(self, request: IdKey) -> bool:
        """Mark a request as one that may run from now on; return False if it was marked, or is not in flight."""
        entry = self.in_flight.get(request)
        if entry is None or entry.transmitted:
            return False
        entry = self.in_flight[request] = InFlight(entry.key, entry.detail)
        if entry.key in self._added:
            self._added[entry.key] = entry
        else:
            self._transmitted.append(entry.key)
        self._staged = True
        return True

    def remove(self, request: IdKey) -> None:
        """Remove a request that is answered or cancelled, if it is in flight."""
        entry = self.in_flight.pop(request, None)
        if entry is not None and self._added.pop(entry.key, None) is None:
            self._removed.append(entry.key)
            self._staged = True

    def set_state(self, state: bytes) -> None:
        """Replace the snapshot of the session."""
        self._state, self._staged = state, True

    def set_facts(self, facts: bytes) -> None:
        """Replace what seldom changes."""
        self._facts, self._staged = facts, True

    def set_expiry(self, expires_at: float) -> None:
        """Replace the time after which the session may be deleted, in seconds since the epoch."""
        self._expires_at, self._staged = expires_at, True

    @property
    def session(self) -> str:
        """The id of the session."""
        return self._session.id

    @property
    def epoch(self) -> int:
        """The ownership under which it is stored."""
        return self._session.epoch

    def expect_loss(self) -> None:
        """Make a batch due that shows whether the session is still stored."""
        self._staged = True

    # --- batches --------------------------------------------------------------------------------

    @property
    def due(self) -> bool:
        """Whether anything is staged that somebody waits for."""
        channel = self._channel
        return (
            self.received != self.stored
            or channel.sent != self.sent
            or self._staged
            or (channel.base - self._base) * TRIM_SHARE > channel.max_frames
        )

    @property
    def trimmed(self) -> bool:
        """Whether the client has acknowledged frames that are still stored."""
        return self._channel.base != self._base

    def take(self, trim: bool = False) -> Batch | None:
        """Return what is staged as one batch, which is outstanding from now on; None if nobody waits for it.

        Args:
            trim: whether acknowledged frames alone are worth a batch.
        """
        assert self.outstanding is None
        channel, stored, staged = self._channel, self.sent, self._staged
        sent, freed = channel.sent, channel.base - self._base
        waited_for = staged or sent != stored or self.received != self.stored
        if not waited_for and freed * TRIM_SHARE <= channel.max_frames and not (trim and freed):
            return None
        self.outstanding = batch = Batch(
            self._session.id,
            self._session.epoch,
            self._number + 1,
            self.stored,
            stored,
            self.received,
            sent,
            channel.base,
        )
        if sent != stored:
            entries = channel.entries_after(stored)
            one = len(entries) == 1
            batch.frames = [Frame(*entries[0])] if one else [Frame(*entry) for entry in entries]
        if channel.dropped:
            batch.dropped = [position for position in channel.dropped if position <= stored]
            channel.dropped = []
        if not staged:
            return batch
        self._staged = False
        if self._added:
            batch.added, self._added = list(self._added.values()), {}
        if self._removed:
            batch.removed, self._removed = self._removed, []
        if self._transmitted:
            batch.transmitted, self._transmitted = self._transmitted, []
        if self._state is not None or self._facts is not None or self._expires_at is not None:
            batch.state, batch.facts, batch.expires_at = self._state, self._facts, self._expires_at
            self._state = self._facts = self._expires_at = None
        return batch

    def committed(self) -> None:
        """Note that the outstanding batch is stored."""
        batch, self.outstanding = self.outstanding, None
        assert batch is not None
        self._number, self.stored = batch.number, batch.received
        self.sent, self._base = batch.sent, batch.acknowledged

    # --- after the engine has lost something ----------------------------------------------------

    def whole(self, state: bytes, facts: bytes, expires_at: float) -> StoredSession:
        """Return the whole session as it is in memory, with what is staged; :meth:`rewritten` follows.

        What is staged between the two joins the next batch.

        Args:
            state, facts, expires_at: their values now.
        """
        channel, session = self._channel, self._session
        self._added, self._transmitted, self._removed, channel.dropped = {}, [], [], []
        self._state = self._facts = self._expires_at = None
        self._staged = False
        return StoredSession(
            session.id,
            session.principal,
            session.server,
            session.created,
            session.window_frames,
            session.window_bytes,
            facts,
            state,
            session.epoch,
            self._number + 1,
            self.received,
            channel.base,
            channel.sent,
            [Frame(*entry) for entry in channel.entries_after(channel.base)],
            list(self.in_flight.values()),
            expires_at,
        )

    def rewritten(self, stored: StoredSession) -> None:
        """Note that what :meth:`whole` returned is stored, in place of the outstanding batch."""
        self.outstanding = None
        self._number, self.stored = stored.number, stored.received
        self.sent, self._base = stored.sent, stored.base

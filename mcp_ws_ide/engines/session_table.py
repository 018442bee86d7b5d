"""The decisions of an engine: which batch fits, which owner is fenced, what a take-over ends. Pure: no I/O, no clock.

:class:`SessionTable` holds the sessions; every engine in this process uses it, so that there is one implementation. The
entries of a log (:data:`.Entry`) replayed in their order give the same sessions again.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Iterator
from operator import attrgetter
from typing import Final

import msgspec

from mcp_ws_ide.engines.base import (
    ATTACHED,
    Batch,
    FencedError,
    Frame,
    InFlight,
    Outcome,
    StoredSession,
    StoredSummary,
    ends_of,
    unacknowledged,
)
from mcp_ws_ide.engines.log_entries import End, Entry, Expire, Orphan, Put, Take

MAX_ENDED: Final = 10_000
"""Ended sessions whose epoch is remembered, so that a late batch of an earlier owner is fenced."""


class Held:
    """One stored session.

    Args:
        stored: the session, without the requests in flight; changed in place.
        in_flight: those requests by key, in the order in which they were added.
    """

    __slots__ = ("in_flight", "stored")

    def __init__(self, stored: StoredSession, in_flight: dict[bytes, InFlight]) -> None:
        self.stored = stored
        self.in_flight = in_flight

    @classmethod
    def of(cls, stored: StoredSession) -> Held:
        """Hold a copy of ``stored``."""
        copy = msgspec.structs.replace(stored, frames=list(stored.frames), in_flight=[])
        return cls(copy, {entry.key: entry for entry in stored.in_flight})

    def copied(self) -> StoredSession:
        """Return a copy that later changes do not reach."""
        stored = self.stored
        in_flight = list(self.in_flight.values())
        return msgspec.structs.replace(stored, frames=list(stored.frames), in_flight=in_flight)

    def drop_frames(self, batch: Batch) -> None:
        """Drop and acknowledge."""
        stored, frames = self.stored, self.stored.frames
        if batch.dropped:
            self._drop(batch.dropped)
        if batch.acknowledged > stored.base:
            base = stored.base = batch.acknowledged
            gone = 0
            for frame in frames:
                if frame.position + frame.weight > base + 1:
                    break
                gone += 1
            del frames[:gone]
            if frames and frames[0].position <= base:  # a gap that is acknowledged in part
                frames[:1] = unacknowledged(frames[:1], base)

    def _drop(self, positions: list[int]) -> None:
        frames = self.stored.frames
        for position in positions:
            index = bisect_left(frames, position, key=_position)
            if index < len(frames) and frames[index].position == position:
                frames[index] = Frame(position, b"", frames[index].weight)

    def end_in_flight(self) -> None:
        """Turn the requests in flight into frames at the end of the buffer."""
        stored = self.stored
        ends = ends_of(self.in_flight.values(), stored.sent)
        stored.frames.extend(ends)
        stored.sent += len(ends)
        self.in_flight = {}


class SessionTable:
    """Stored sessions by id. Frames and requests are replaced, never changed, so that copies may share them."""

    def __init__(self) -> None:
        self.by_id: dict[str, Held] = {}
        self.of_principal: Counter[str] = Counter()
        self._ended: OrderedDict[str, int] = OrderedDict()

    # --- batches --------------------------------------------------------------------------------

    def check(self, batch: Batch) -> Outcome | None:
        """Return the outcome of a batch that must not be written; None if it follows what is stored."""
        held = self.by_id.get(batch.session)
        if held is None:
            fenced = self._too_late(batch.session, batch.epoch)
            return Outcome.FENCED if fenced else Outcome.BEHIND
        stored = held.stored
        if batch.epoch != stored.epoch:
            return Outcome.FENCED if batch.epoch < stored.epoch else Outcome.BEHIND
        number, received, sent = stored.number, stored.received, stored.sent
        if batch.number == number + 1 and batch.expected_received == received and batch.expected_sent == sent:
            return None
        again = batch.number == number and batch.received == received and batch.sent == sent
        return Outcome.COMMITTED if again else Outcome.BEHIND

    def write(self, batch: Batch) -> None:
        """Store a batch that :meth:`check` found to follow."""
        held = self.by_id[batch.session]
        stored, in_flight = held.stored, held.in_flight
        stored.number, stored.received, stored.sent = batch.number, batch.received, batch.sent
        stored.frames += batch.frames
        if batch.dropped or batch.acknowledged > stored.base:
            held.drop_frames(batch)
        for key in batch.removed:
            in_flight.pop(key, None)
        for entry in batch.added:
            in_flight[entry.key] = entry
        for key in batch.transmitted:
            if key in in_flight:
                in_flight[key] = InFlight(key, in_flight[key].detail)
        if batch.state is not None:
            stored.state = batch.state
        if batch.facts is not None:
            stored.facts = batch.facts
        if batch.expires_at is not None:
            stored.expires_at = batch.expires_at

    # --- whole sessions -------------------------------------------------------------------------

    def put(self, stored: StoredSession) -> None:
        """Store a whole session.

        Raises:
            FencedError: another owner has taken it over, or has ended it.
        """
        held = self.by_id.get(stored.id)
        later = held is not None and held.stored.epoch > stored.epoch
        if later or self._too_late(stored.id, stored.epoch):
            raise FencedError(f"session {stored.id!r} has another owner, or has ended")
        self.remove(stored.id)
        self.by_id[stored.id] = Held.of(stored)
        self.of_principal[stored.principal] += 1

    def take(self, session_id: str, principal: str) -> StoredSession | None:
        """Increment the epoch of a session, end what was in flight, and return it; None if there is none."""
        held = self.by_id.get(session_id)
        if held is None or held.stored.principal != principal:
            return None
        held.end_in_flight()
        held.stored.epoch += 1
        return held.copied()

    def end(self, session_id: str, epoch: int) -> bool:
        """Delete a session unless a later epoch owns it; return whether it was there."""
        held = self.by_id.get(session_id)
        if held is not None and held.stored.epoch > epoch:
            return False
        self._ended[session_id] = epoch
        self._ended.move_to_end(session_id)
        if len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)
        return self.remove(session_id)

    def remove(self, session_id: str) -> bool:
        """Delete a session without fencing its owner; return whether it was there."""
        held = self.by_id.pop(session_id, None)
        if held is None:
            return False
        principal = held.stored.principal
        self.of_principal[principal] -= 1
        if not self.of_principal[principal]:
            del self.of_principal[principal]
        return True

    def orphan(self, expires_at: float) -> list[str]:
        """Set the expiry of all attached sessions; return their ids."""
        attached = [stored for stored in self._all() if stored.expires_at == ATTACHED]
        for stored in attached:
            stored.expires_at = expires_at
        return [stored.id for stored in attached]

    def expire(self, now: float) -> list[str]:
        """Delete the sessions whose time has passed; return their ids."""
        expired = [s.id for s in self._all() if s.expires_at != ATTACHED and s.expires_at <= now]
        for session_id in expired:
            self.remove(session_id)
        return expired

    # --- reading --------------------------------------------------------------------------------

    def summaries(self) -> list[StoredSummary]:
        """Return what is stored, oldest first."""
        oldest_first = sorted(self._all(), key=lambda stored: stored.created)
        return [
            StoredSummary(s.id, s.principal, s.server, s.created, s.epoch, s.expires_at) for s in oldest_first
        ]

    def replay(self, entry: Entry) -> list[str]:
        """Apply an entry of a log; return the ids of the sessions that it may have changed."""
        match entry:
            case Batch():
                if self.check(entry) is None:
                    self.write(entry)
            case Put():
                with contextlib.suppress(FencedError):
                    self.put(entry.stored)
                return [entry.stored.id]
            case Take():
                self.take(entry.session, entry.principal)
            case End():
                self.end(entry.session, entry.epoch)
            case Orphan():
                return self.orphan(entry.expires_at)
            case Expire():
                return self.expire(entry.now)
        return [entry.session]

    def _all(self) -> Iterator[StoredSession]:
        return (held.stored for held in self.by_id.values())

    def _too_late(self, session_id: str, epoch: int) -> bool:
        return epoch <= self._ended.get(session_id, -1)


_position = attrgetter("position")

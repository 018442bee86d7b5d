"""The engine that keeps records in memory: for tests, and the shortest statement of what an engine does.

:class:`Records` decides, without I/O and without waiting; :class:`MemoryEngine` gives it the turns of an event loop. A
gateway without an engine does not use it: it stores nothing.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import OrderedDict
from typing import Final

import msgspec

from mcp_ws_ide.engines.base import (
    ATTACHED,
    Batch,
    Done,
    EngineUnavailableError,
    FencedError,
    Frame,
    InFlight,
    Outcome,
    SessionLostError,
    StoredSession,
    StoredSummary,
    damage,
    ends_of,
    unacknowledged,
)
from mcp_ws_ide.engines.statistics import EngineStatistics

MAX_ENDED: Final = 10_000
"""Ended sessions whose epoch is remembered, so that a late batch of an earlier owner is fenced."""


class EndedSessions:
    """The epochs under which sessions were ended, the last :data:`MAX_ENDED` of them."""

    def __init__(self) -> None:
        self._epochs: OrderedDict[str, int] = OrderedDict()

    def add(self, session_id: str, epoch: int) -> None:
        """Note that a session was ended under this epoch."""
        self._epochs[session_id] = epoch
        self._epochs.move_to_end(session_id)
        if len(self._epochs) > MAX_ENDED:
            self._epochs.popitem(last=False)

    def fences(self, session_id: str, epoch: int) -> bool:
        """Return whether a write of this epoch comes too late."""
        return epoch <= self._epochs.get(session_id, -1)


class Records:
    """Stored sessions by id. Pure; the methods are those of :class:`~mcp_ws_ide.engines.base.Engine`."""

    def __init__(self) -> None:
        self.by_id: dict[str, StoredSession] = {}
        self._ended = EndedSessions()

    def apply(self, batch: Batch) -> Outcome:
        """Store a batch if it follows what is stored."""
        record = self.by_id.get(batch.session)
        if record is None:
            fenced = self._ended.fences(batch.session, batch.epoch)
            return Outcome.FENCED if fenced else Outcome.BEHIND
        if batch.epoch != record.epoch:
            return Outcome.FENCED if batch.epoch < record.epoch else Outcome.BEHIND
        stored = (record.number, record.received, record.sent)
        if stored == (batch.number, batch.received, batch.sent):
            return Outcome.COMMITTED
        if stored != (batch.number - 1, batch.expected_received, batch.expected_sent):
            return Outcome.BEHIND
        self._write(record, batch)
        return Outcome.COMMITTED

    @staticmethod
    def _write(record: StoredSession, batch: Batch) -> None:
        record.number, record.received, record.sent = batch.number, batch.received, batch.sent
        record.base = max(record.base, batch.acknowledged)
        gaps = set(batch.dropped)
        frames = [*record.frames, *batch.frames]
        if gaps:
            frames = [_gap(frame) if frame.position in gaps else frame for frame in frames]
        record.frames = unacknowledged(frames, record.base)
        record.in_flight = _in_flight_after(record.in_flight, batch)
        if batch.state is not None:
            record.state = batch.state
        if batch.facts is not None:
            record.facts = batch.facts
        if batch.expires_at is not None:
            record.expires_at = batch.expires_at

    def put(self, record: StoredSession) -> None:
        """Store a whole session.

        Raises:
            FencedError: another owner has taken it over, or has ended it.
        """
        stored = self.by_id.get(record.id)
        if self._ended.fences(record.id, record.epoch) or (
            stored is not None and stored.epoch > record.epoch
        ):
            raise FencedError(f"session {record.id!r} has another owner, or has ended")
        self.by_id[record.id] = _copy(record)

    def take(self, session_id: str, principal: str) -> StoredSession | None:
        """Increment the epoch of a session, end what was in flight, and return it."""
        record = self.by_id.get(session_id)
        if record is None or record.principal != principal:
            return None
        if fault := damage(record):
            del self.by_id[session_id]
            raise SessionLostError("damaged", f"the stored session {session_id!r} is damaged: {fault}")
        ends = ends_of(record.in_flight, record.sent)
        record.frames = [*record.frames, *ends]
        record.sent += len(ends)
        record.in_flight = []
        record.epoch += 1
        return _copy(record)

    def end(self, session_id: str, epoch: int) -> None:
        """Delete a session unless a later epoch owns it."""
        record = self.by_id.get(session_id)
        if record is None or record.epoch <= epoch:
            self.by_id.pop(session_id, None)
            self._ended.add(session_id, epoch)

    def orphan(self, expires_at: float) -> int:
        """Give a time to all attached sessions; return their number."""
        attached = [record for record in self.by_id.values() if record.expires_at == ATTACHED]
        for record in attached:
            record.expires_at = expires_at
        return len(attached)

    def expire(self, now: float) -> list[str]:
        """Delete the sessions whose time has passed; return their ids."""
        expired = [r.id for r in self.by_id.values() if r.expires_at != ATTACHED and r.expires_at <= now]
        for session_id in expired:
            del self.by_id[session_id]
        return expired

    def size(self) -> int:
        """Return the bytes of all records, roughly."""
        return sum(_size(record) for record in self.by_id.values())


class MemoryEngine:
    """An engine that forgets everything with its process.

    Attributes:
        records: what is stored; a test may change it, to lose a tail for example.
        reachable: False makes every write fail, as if the engine were down.
    """

    name = "memory"

    def __init__(self) -> None:
        self.records = Records()
        self.reachable = True
        self._statistics = EngineStatistics()
        self._staged: list[tuple[Batch, Done]] = []
        self._since = 0.0

    @property
    def statistics(self) -> EngineStatistics:
        """Counters and gauges, measured now."""
        self._statistics.sessions, self._statistics.bytes = len(self.records.by_id), self.records.size()
        return self._statistics

    @property
    def problem(self) -> str:
        """Why nothing can be written; ``""`` while it works."""
        return "" if self.reachable else "the memory engine is unreachable"

    async def start(self) -> None:
        """Do nothing: there is nothing to open."""

    async def stop(self) -> None:
        """Commit what is staged; batches staged later fail."""
        self._end_of_turn()
        self.reachable = False

    def commit(self, batch: Batch, done: Done) -> None:
        """Stage a batch for the end of this turn."""
        if not self._staged:
            self._since = time.perf_counter()
            asyncio.get_running_loop().call_soon(self._end_of_turn, context=contextvars.Context())
        self._staged.append((batch, done))

    def _end_of_turn(self) -> None:
        staged, self._staged = self._staged, []
        if not staged:
            return
        counters = self._statistics
        counters.commits += 1
        for batch, done in staged:
            outcome = self.records.apply(batch) if self.reachable else Outcome.FAILED
            counters.batches += outcome is Outcome.COMMITTED
            done(outcome)
        counters.failures += not self.reachable
        counters.commit_seconds.observe(time.perf_counter() - self._since)

    def _check(self) -> None:
        if not self.reachable:
            raise EngineUnavailableError(self.problem)

    async def create(self, record: StoredSession) -> None:
        """Store a new session."""
        self._check()
        self.records.put(record)

    async def take(self, session_id: str, principal: str) -> StoredSession | None:
        """Become the owner of a session."""
        self._check()
        try:
            return self.records.take(session_id, principal)
        except SessionLostError as error:
            self._statistics.lost[error.cause] += 1
            raise

    async def rewrite(self, record: StoredSession) -> None:
        """Store a whole session again."""
        self._check()
        self.records.put(record)

    async def end(self, session_id: str, epoch: int) -> None:
        """Delete a session."""
        self._check()
        self.records.end(session_id, epoch)

    async def orphan(self, expires_at: float) -> int:
        """Give a time to all attached sessions."""
        self._check()
        return self.records.orphan(expires_at)

    async def expire(self, now: float) -> list[str]:
        """Delete the sessions whose time has passed."""
        self._check()
        expired = self.records.expire(now)
        self._statistics.lost["expired"] += len(expired)
        return expired

    async def sessions(self) -> list[StoredSummary]:
        """Return what is stored, oldest first."""
        self._check()
        records = sorted(self.records.by_id.values(), key=lambda record: record.created)
        return [StoredSummary(r.id, r.principal, r.server, r.created, r.epoch, r.expires_at) for r in records]

    async def count(self, principal: str) -> int:
        """Return the number of stored sessions of a principal."""
        self._check()
        return sum(record.principal == principal for record in self.records.by_id.values())


def _gap(frame: Frame) -> Frame:
    return Frame(frame.position, b"", frame.weight)


def _in_flight_after(in_flight: list[InFlight], batch: Batch) -> list[InFlight]:
    """Return the requests that are in flight after a batch, in new entries where they change."""
    removed, transmitted = set(batch.removed), set(batch.transmitted)
    kept = [entry for entry in in_flight if entry.key not in removed]
    return [
        InFlight(entry.key, entry.detail) if entry.key in transmitted else entry
        for entry in [*kept, *batch.added]
    ]


def _copy(record: StoredSession) -> StoredSession:
    """Return a record that shares no list with ``record``; frames and entries are never changed."""
    return msgspec.structs.replace(record, frames=list(record.frames), in_flight=list(record.in_flight))


def _size(record: StoredSession) -> int:
    frames = sum(len(frame.data) for frame in record.frames)
    in_flight = sum(len(entry.key) + len(entry.detail) for entry in record.in_flight)
    return len(record.facts) + len(record.state) + frames + in_flight

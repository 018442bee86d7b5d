"""The owner of one stored session, for tests: it makes records and batches, and waits for their outcomes."""

from __future__ import annotations

import asyncio
import itertools

import msgspec

from mcp_ws_ide.engines.base import Batch, Engine, Frame, InFlight, Outcome, StoredSession

_ids = itertools.count()


def new_record(**changed) -> StoredSession:
    record = StoredSession(f"session{next(_ids)}", "alice", "git", 1000.0, 64, 1 << 20, b"facts", b"state")
    return msgspec.structs.replace(record, **changed)


def committed(engine: Engine, batch: Batch) -> asyncio.Future[Outcome]:
    """Stage a batch; the future receives its outcome."""
    future = asyncio.get_running_loop().create_future()
    engine.commit(batch, future.set_result)
    return future


class Owner:
    """Owns one session as a gateway does: what it holds is what it has committed."""

    def __init__(self, engine: Engine, record: StoredSession) -> None:
        self.engine = engine
        self.record = record

    @classmethod
    async def of_new(cls, engine: Engine, **changed) -> Owner:
        record = new_record(**changed)
        await engine.create(record)
        return cls(engine, record)

    @classmethod
    async def taking(cls, engine: Engine, session_id: str, principal: str = "alice") -> Owner | None:
        record = await engine.take(session_id, principal)
        return None if record is None else cls(engine, record)

    def batch(self, received: int = 0, data: tuple[bytes, ...] = (), acknowledged: int = 0, **more) -> Batch:
        """Return the next batch: ``received`` more frames of the client, and ``data`` for it."""
        record = self.record
        frames = [Frame(record.sent + 1 + index, item) for index, item in enumerate(data)]
        frames = more.pop("frames", frames)
        return Batch(
            session=record.id,
            epoch=record.epoch,
            number=record.number + 1,
            expected_received=record.received,
            expected_sent=record.sent,
            received=record.received + received,
            sent=record.sent + sum(frame.weight for frame in frames),
            acknowledged=max(acknowledged, record.base),
            frames=frames,
            **more,
        )

    async def commit(self, *args, **kwargs) -> Outcome:
        batch = self.batch(*args, **kwargs)
        outcome = await committed(self.engine, batch)
        if outcome is Outcome.COMMITTED:
            self.note(batch)
        return outcome

    def note(self, batch: Batch) -> None:
        """Hold a batch as committed."""
        record = self.record
        record.number, record.received, record.sent = batch.number, batch.received, batch.sent

    async def taken(self) -> StoredSession:
        """Return what is stored now, as another owner that takes it; this one is fenced by that."""
        record = await self.engine.take(self.record.id, self.record.principal)
        assert record is not None
        return record


def request(number: int, transmitted: bool = True) -> InFlight:
    return InFlight(b"%d" % number, b'{"id":%d}' % number, transmitted)

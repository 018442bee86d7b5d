"""The owner of one stored session, for tests: it makes sessions and batches, and waits for their outcomes."""

from __future__ import annotations

import asyncio
import itertools

import msgspec

from mcp_ws_ide.engines.base import Batch, Engine, Frame, InFlight, Outcome, StoredSession

_ids = itertools.count()


def new_session(**changed) -> StoredSession:
    stored = StoredSession(f"session{next(_ids)}", "alice", "git", 1000.0, 64, 1 << 20, b"facts", b"state")
    return msgspec.structs.replace(stored, **changed)


def committed(engine: Engine, batch: Batch) -> asyncio.Future[Outcome]:
    """Stage a batch; the future receives its outcome."""
    future = asyncio.get_running_loop().create_future()
    engine.commit(batch, future.set_result)
    return future


class Owner:
    """Owns one session as a gateway does: what it holds is what it has committed."""

    def __init__(self, engine: Engine, stored: StoredSession) -> None:
        self.engine = engine
        self.stored = stored

    @classmethod
    async def of_new(cls, engine: Engine, **changed) -> Owner:
        stored = new_session(**changed)
        await engine.create(stored)
        return cls(engine, stored)

    @classmethod
    async def taking(cls, engine: Engine, session_id: str, principal: str = "alice") -> Owner | None:
        stored = await engine.take(session_id, principal)
        return None if stored is None else cls(engine, stored)

    def batch(self, received: int = 0, data: tuple[bytes, ...] = (), acknowledged: int = 0, **more) -> Batch:
        """Return the next batch: ``received`` more frames of the client, and ``data`` for it."""
        stored = self.stored
        frames = [Frame(stored.sent + 1 + index, item) for index, item in enumerate(data)]
        frames = more.pop("frames", frames)
        return Batch(
            session=stored.id,
            epoch=stored.epoch,
            number=stored.number + 1,
            expected_received=stored.received,
            expected_sent=stored.sent,
            received=stored.received + received,
            sent=stored.sent + sum(frame.weight for frame in frames),
            acknowledged=max(acknowledged, stored.base),
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
        stored = self.stored
        stored.number, stored.received, stored.sent = batch.number, batch.received, batch.sent

    async def taken(self) -> StoredSession:
        """Return what is stored now, as another owner that takes it; this one is fenced by that."""
        stored = await self.engine.take(self.stored.id, self.stored.principal)
        assert stored is not None
        return stored


def request(number: int, transmitted: bool = True) -> InFlight:
    return InFlight(b"%d" % number, b'{"id":%d}' % number, transmitted)

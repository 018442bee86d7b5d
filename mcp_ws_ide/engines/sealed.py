"""An engine around another one that seals what sessions contain, so that the other one never sees a secret.

AES-256-GCM over frames, facts, snapshots and the details of requests; the session, the field and the position are
associated data, so that a value opens only where it was stored. Principals and the ids of requests are hashed with a
key. A batch does not name the principal, so that is no associated data; the sealed facts name it, and whoever restores
the session compares. Not sealed: the public ids of sessions, names of servers, times, positions, sizes, and which
requests were sent.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from mcp_ws_ide.engines.base import (
    Batch,
    Done,
    Engine,
    EngineRefusedError,
    EngineUnavailableError,
    FencedError,
    Frame,
    InFlight,
    SessionLostError,
    SharedEngine,
    StoredSession,
    StoredSummary,
)
from mcp_ws_ide.engines.keys import TamperedError, UnknownKeyError, load_sealer
from mcp_ws_ide.engines.statistics import EngineStatistics

log = logging.getLogger(__name__)
FACTS: Final = b"facts"
STATE: Final = b"state"
"""Fields, as parts of a value's place. That of a frame names its position, that of a request its hashed id."""
KEY_LENGTH_BYTES: Final = 2
"""Bytes before a sealed detail that say how long the request's key is, which follows them."""

_replace = msgspec.structs.replace


class SealedEngine:
    """The contract of :class:`~mcp_ws_ide.engines.base.Engine`, with clear values outside and sealed ones inside.

    Summaries have hashed principals: compare them with :meth:`hashed`.

    Args:
        inner: the engine that stores.
        keys_file: where the keys are; it is created if it is missing.
    """

    def __init__(self, inner: Engine, keys_file: Path) -> None:
        self._inner = inner
        self._keys_file = keys_file

    @property
    def name(self) -> str:
        """The engine's name."""
        return self._inner.name

    @property
    def problem(self) -> str:
        """Why nothing can be written; ``""`` while it works."""
        return self._inner.problem

    @property
    def statistics(self) -> EngineStatistics:
        """Counters and gauges, measured now."""
        return self._inner.statistics

    @property
    def shared(self) -> SharedEngine | None:
        """What the engine offers to several gateways; None if one gateway uses it alone."""
        return self._inner.shared

    @property
    def peer_key(self) -> bytes:
        """A key that only gateways with the same file have; once the engine is started."""
        return self._sealer.peer_key

    def seal(self, place: bytes, value: bytes) -> bytes:
        """Seal a value that belongs to no session."""
        return self._sealer.seal(value, place)

    def unseal(self, place: bytes, sealed: bytes) -> bytes:
        """Return a value that was sealed for this place; raises as :meth:`Sealer.open`."""
        return self._sealer.open(sealed, place)

    async def start(self) -> None:
        """Read the keys and open the engine. Sessions whose keys are lost are deleted, unless others may have the keys.

        Raises:
            EngineRefusedError: the keys or the engine cannot be used.
        """
        shared = self.shared
        self._sealer = load_sealer(self._keys_file, rotate=shared is None)
        await self._inner.start()
        try:
            await (self._delete_unreadable() if shared is None else self._claim(shared))
        except BaseException:
            await self._inner.stop()
            raise

    async def _claim(self, shared: SharedEngine) -> None:
        mine = self._sealer.fingerprint
        try:
            held = await shared.claim(mine)
        except EngineUnavailableError as error:
            raise EngineRefusedError(str(error)) from None
        if held != mine:
            raise EngineRefusedError(
                f"the stored sessions were sealed with keys that are not in {str(self._keys_file)!r}; give every "
                "gateway of this engine the same file (MCPWebSocketApp.engine_keys_file), or another prefix"
            )

    async def _delete_unreadable(self) -> None:
        fingerprint = self._sealer.fingerprint
        unreadable = [s for s in await self._inner.sessions() if not s.principal.startswith(fingerprint)]
        for summary in unreadable:
            await self._inner.end(summary.id, summary.epoch)
        if unreadable:
            self.statistics.lost["key"] += len(unreadable)
            log.error(
                "stored sessions that are lost, because their keys are not in %r: %d",
                *(str(self._keys_file), len(unreadable)),
            )

    async def stop(self) -> None:
        """Close the engine."""
        await self._inner.stop()

    def hashed(self, principal: str) -> str:
        """Return a principal as summaries have it."""
        return self._sealer.principal(principal)

    # --- writing --------------------------------------------------------------------------------

    def commit(self, batch: Batch, done: Done) -> None:
        """Stage a batch for the end of this turn."""
        session, name = batch.session, self._sealer.name
        frames, removed, added, transmitted = batch.frames, batch.removed, batch.added, batch.transmitted
        sealed = _replace(
            batch,
            frames=[self._sealed_frame(session, frame) for frame in frames] if frames else frames,
            removed=[name(key) for key in removed] if removed else removed,
            added=[self._sealed_request(session, entry) for entry in added] if added else added,
            transmitted=[name(key) for key in transmitted] if transmitted else transmitted,
            state=None if batch.state is None else self._sealed(session, STATE, batch.state),
            facts=None if batch.facts is None else self._sealed(session, FACTS, batch.facts),
        )
        self._inner.commit(sealed, done)

    async def create(self, stored: StoredSession) -> None:
        """Store a new session."""
        await self._inner.create(self._sealed_session(stored))

    async def rewrite(self, stored: StoredSession) -> None:
        """Store a whole session again."""
        await self._inner.rewrite(self._sealed_session(stored))

    async def end(self, session_id: str, epoch: int) -> None:
        """Delete a session."""
        await self._inner.end(session_id, epoch)

    async def orphan(self, expires_at: float) -> int:
        """Set the expiry of all attached sessions."""
        return await self._inner.orphan(expires_at)

    async def expire(self, now: float) -> list[str]:
        """Delete the sessions whose time has passed."""
        return await self._inner.expire(now)

    def _sealed(self, session: str, field: bytes, value: bytes) -> bytes:
        return self._sealer.seal(value, _place(session, field))

    def _sealed_frame(self, session: str, frame: Frame) -> Frame:
        data, position = frame.data, frame.position
        if frame.outcome:
            request = self._sealed_request(session, InFlight(frame.key, data))
            return _replace(frame, data=request.detail, key=request.key)
        if not data:
            return frame
        return Frame(
            position, self._sealer.seal(data, _frame(session, position)), frame.weight, frame.droppable
        )

    def _sealed_request(self, session: str, entry: InFlight) -> InFlight:
        """Seal a request: the place of its detail is its key, which it keeps when it becomes a frame."""
        key = self._sealer.name(entry.key)
        detail = b"%b%b%b" % (len(entry.key).to_bytes(KEY_LENGTH_BYTES), entry.key, entry.detail)
        return InFlight(key, self._sealer.seal(detail, _place(session, key)), entry.transmitted)

    def _sealed_session(self, stored: StoredSession) -> StoredSession:
        session = stored.id
        return _replace(
            stored,
            principal=self._sealer.principal(stored.principal),
            facts=self._sealed(session, FACTS, stored.facts),
            state=self._sealed(session, STATE, stored.state),
            frames=[self._sealed_frame(session, frame) for frame in stored.frames],
            in_flight=[self._sealed_request(session, entry) for entry in stored.in_flight],
        )

    # --- reading --------------------------------------------------------------------------------

    async def take(self, session_id: str, principal: str, ended: str = "") -> StoredSession | None:
        """Become the owner of a session, and seal it with the newest key."""
        sealed = await self._inner.take(session_id, self._sealer.principal(principal), ended)
        if sealed is None:
            return None
        try:
            stored = self._opened(sealed, principal)
        except UnknownKeyError as error:
            await self._lose(sealed, "key", f"its key {error} is not in {str(self._keys_file)!r}")
        except TamperedError:
            await self._lose(sealed, "damaged", "it is not what was stored")
        else:
            if not self._is_newest(sealed):
                with contextlib.suppress(EngineUnavailableError, FencedError):  # the next owner tries again
                    await self._inner.rewrite(self._sealed_session(stored))
            return stored

    async def _lose(self, sealed: StoredSession, cause: str, reason: str) -> NoReturn:
        """Delete a session that cannot be opened."""
        self.statistics.lost[cause] += 1
        await self._inner.end(sealed.id, sealed.epoch)
        raise SessionLostError(cause, f"the stored session {sealed.id!r} cannot be opened: {reason}")

    def _is_newest(self, sealed: StoredSession) -> bool:
        values = [sealed.facts, sealed.state, *(frame.data for frame in sealed.frames if frame.data)]
        return all(self._sealer.is_newest(value) for value in values)

    def _opened(self, sealed: StoredSession, principal: str) -> StoredSession:
        session, unseal = sealed.id, self._sealer.open
        return _replace(
            sealed,
            principal=principal,
            facts=unseal(sealed.facts, _place(session, FACTS)),
            state=unseal(sealed.state, _place(session, STATE)),
            frames=[self._opened_frame(session, frame) for frame in sealed.frames],
        )

    def _opened_frame(self, session: str, frame: Frame) -> Frame:
        if frame.outcome:
            detail = self._sealer.open(frame.data, _place(session, frame.key))
            end = KEY_LENGTH_BYTES + int.from_bytes(detail[:KEY_LENGTH_BYTES])
            return _replace(frame, data=detail[end:], key=detail[KEY_LENGTH_BYTES:end])
        if not frame.data:
            return frame
        return _replace(frame, data=self._sealer.open(frame.data, _frame(session, frame.position)))

    async def sessions(self) -> list[StoredSummary]:
        """Return what is stored, oldest first, with hashed principals."""
        return await self._inner.sessions()

    async def count(self, principal: str) -> int:
        """Return the number of stored sessions of a principal."""
        return await self._inner.count(self._sealer.principal(principal))


def _place(session: str, field: bytes) -> bytes:
    """Return where a value is stored, as associated data."""
    return b"%b\0%b" % (session.encode(), field)


def _frame(session: str, position: int) -> bytes:
    """Return the place of a frame."""
    return b"%b\0frame %d" % (session.encode(), position)

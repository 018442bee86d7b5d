"""The contract between sessions and the engine that stores them.

Owns the form of a stored session, the batch that changes it, and what an engine promises. Knows neither SQLite nor
Redis, nor what the bytes mean. tests/engines/test_contract.py runs over every engine.

**Commit, then act.** The owner of a session stages one :class:`Batch`, waits for :attr:`Outcome.COMMITTED`, and only
then forwards, sends or acknowledges what the batch holds. At most one batch of a session is outstanding. Batches that
were staged in one turn of the event loop, of whatever sessions, are committed together. All of one batch is stored, or
nothing of it.

**Ownership.** :meth:`Engine.create` and :meth:`Engine.take` make the caller the owner under an epoch. Every later
``take`` increments the epoch, and a batch of an earlier epoch is :attr:`Outcome.FENCED`: its sender must drop the
session, with its processes, at once.

**Positions.** A batch names what it expects to be stored: ``received`` and ``sent`` before it, and its own number,
which is the stored one plus one. Anything else is :attr:`Outcome.BEHIND`: the engine has lost a tail, or everything,
and the owner stores the whole session again with :meth:`Engine.rewrite`. The batch whose number is stored already is
``COMMITTED`` and changes nothing, so that the owner may send a batch again whose outcome it does not know.

**Requests in flight.** A request that will be forwarded is added as ``transmitted`` in the batch that counts it, since
it may run as soon as that is committed. One that has to wait, for example until its server has started, is added
without it, and a later batch marks it *before* it is handed over. So of each open request of a session that is taken
over, it is known whether it may have run (``unknown``) or not (``not_sent``).

**Take-over.** :meth:`Engine.take` increments the epoch and turns each request in flight into a frame at the end of the
buffer, in one step. Such a frame has the request's detail as data and an ``outcome``; the owner makes the error for the
client from these two, the same one each time it reads them. Taking a session over deletes nothing.

**Sealing.** Callers pass clear values. What leaves the process is sealed: by the engine's own rows (SQLite), or by
:class:`~mcp_ws_ide.engines.sealed.SealedEngine` around it (Redis), which has this same contract: it seals every opaque
value, hashes the principal and the keys of requests, and opens them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final, Protocol

import msgspec

from mcp_ws_ide.engines.statistics import EngineStatistics
from mcp_ws_ide.errors import McpWsError

NOT_SENT: Final = "not_sent"
"""Outcome of a request in flight that was not handed to its server: safe to send again."""
UNKNOWN: Final = "unknown"
"""Outcome of a request in flight that may have run."""
ATTACHED: Final = 0.0
"""``expires_at`` of a session that has a link: it does not expire before :meth:`Engine.orphan` sets a time."""


class EngineRefusedError(McpWsError):
    """The engine cannot be used as it is configured; the text says why and what to do. The gateway does not start."""


class EngineUnavailableError(McpWsError):
    """The engine cannot be reached, or cannot write; nothing was changed. Try again later."""


class EngineFullError(EngineUnavailableError):
    """The engine has reached its configured size; the text names the trait. Open sessions continue."""


class FencedError(McpWsError):
    """Another owner has taken the session over, or has ended it."""


class SessionLostError(McpWsError):
    """The session is stored, but cannot be used: its key is missing, or it is damaged. It is deleted.

    Attributes:
        cause: ``"key"``, ``"damaged"`` or ``"unusable"``.
    """

    def __init__(self, cause: str, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


class Outcome(Enum):
    """The result of a batch."""

    COMMITTED = "committed"
    """It is stored."""
    FENCED = "fenced"
    """Another owner has taken the session over, or has ended it."""
    BEHIND = "behind"
    """The engine does not hold what the batch builds on: store the whole session again with :meth:`Engine.rewrite`."""
    FAILED = "failed"
    """The engine cannot be reached or cannot write; whether the batch is stored is unknown. Send the same batch
    again."""


class Frame(msgspec.Struct, gc=False, array_like=True):
    """One entry of the buffer toward the client.

    Attributes:
        position: the first of its positions; the first frame of a session has position 1.
        data: the message; ``b""`` for a gap. With an ``outcome``, the detail of the request that it ends.
        weight: how many positions it takes; more than one only for a gap.
        droppable: whether a gap may replace it when the window is full.
        outcome: :data:`NOT_SENT` or :data:`UNKNOWN` for the end of a request that was in flight at a take-over, else
            ``""``.
        key: with an ``outcome``, the key of that request.
    """

    position: int
    data: bytes
    weight: int = 1
    droppable: bool = False
    outcome: str = ""
    key: bytes = b""

    @property
    def last(self) -> int:
        """The last of its positions."""
        return self.position + self.weight - 1


class InFlight(msgspec.Struct, gc=False, array_like=True):
    """One request of the client without an answer yet.

    Attributes:
        key: identifies it within its session; at most 1 KiB.
        detail: what the owner needs to make the error that ends it, such as its id as JSON.
        transmitted: whether it may have been handed to its server.
    """

    key: bytes
    detail: bytes
    transmitted: bool = True


class StoredSession(msgspec.Struct, array_like=True):
    """Everything that is stored of one session.

    Attributes:
        id: the session's public id.
        principal: the user whose session it is.
        server: name of its server.
        created: when it was created, in seconds since the epoch.
        window_frames, window_bytes: the window that its client knows.
        facts: what is needed to restore it and seldom changes; opaque.
        state: snapshot of the session; opaque, replaced as a whole.
        epoch: the ownership under which it was written last.
        number: number of the last batch that was committed; 0 before the first.
        received: data frames of the client that were processed, in all.
        base, sent: data frames that the client has acknowledged, and that were sent, in all.
        frames: positions ``base + 1`` … ``sent``, in order. Neighbouring gaps may be merged.
        in_flight: requests without an answer, in the order in which they were added.
        expires_at: seconds since the epoch after which it may be deleted; :data:`ATTACHED` while it has a link.
    """

    id: str
    principal: str
    server: str
    created: float
    window_frames: int
    window_bytes: int
    facts: bytes = b""
    state: bytes = b""
    epoch: int = 1
    number: int = 0
    received: int = 0
    base: int = 0
    sent: int = 0
    frames: list[Frame] = []
    in_flight: list[InFlight] = []
    expires_at: float = ATTACHED


class Batch(msgspec.Struct, gc=False, array_like=True, tag=0):
    """The changes of one session that are committed together, in the order of the attributes.

    It must not be changed after it was staged.

    Attributes:
        session, epoch: the session that is changed, and the ownership under which it is changed.
        number: one more than the number of the batch before.
        expected_received, expected_sent: the totals that must be stored before it.
        received, sent: the totals after it. ``sent`` minus ``expected_sent`` is the weight of ``frames``.
        frames: to append, in order.
        dropped: positions of droppable frames that become gaps.
        acknowledged: data frames that the client has acknowledged after it; frames up to there are deleted.
        removed: keys of stored requests that are answered or cancelled. A request that is added and removed within one
            batch is not mentioned at all; a key that is answered and used again is in ``removed`` and in ``added``.
        added: requests that are in flight from now on.
        transmitted: keys of requests that will be handed to their server.
        state, facts: the new value; None if unchanged.
        expires_at: the new value; None if unchanged.
    """

    session: str
    epoch: int
    number: int
    expected_received: int
    expected_sent: int
    received: int
    sent: int
    acknowledged: int
    frames: list[Frame] = []
    dropped: list[int] = []
    removed: list[bytes] = []
    added: list[InFlight] = []
    transmitted: list[bytes] = []
    state: bytes | None = None
    facts: bytes | None = None
    expires_at: float | None = None


class StoredSummary(msgspec.Struct, gc=False):
    """What a list of the stored sessions shows of one; the attributes are those of :class:`StoredSession`."""

    id: str
    principal: str
    server: str
    created: float
    epoch: int
    expires_at: float


Done = Callable[[Outcome], None]
"""Receives the outcome of a batch, on the event loop, never within the call that staged it."""


class Engine(Protocol):
    """One engine. All methods belong to the event loop that called :meth:`start`."""

    @property
    def name(self) -> str:
        """The engine's name as in the trait, for messages."""

    @property
    def problem(self) -> str:
        """Why nothing can be written at the moment, for messages; ``""`` while it works."""

    @property
    def statistics(self) -> EngineStatistics:
        """Counters and gauges, measured now."""

    @property
    def shared(self) -> SharedEngine | None:
        """What the engine offers to several gateways; None if one gateway uses it alone."""

    async def start(self) -> None:
        """Open the engine.

        Raises:
            EngineRefusedError: it cannot be used.
        """

    async def stop(self) -> None:
        """Commit what is staged, and close the engine. Batches staged later have the outcome ``FAILED``."""

    def commit(self, batch: Batch, done: Done) -> None:
        """Stage a batch for the end of this turn; ``done`` receives its outcome, exactly once."""

    async def create(self, stored: StoredSession) -> None:
        """Store a new session; the caller owns it under its ``epoch``.

        Raises:
            EngineFullError: there is no room for another session.
            EngineUnavailableError: it could not be stored.
        """

    async def take(self, session_id: str, principal: str, ended: str = "") -> StoredSession | None:
        """Become the owner of a session, under a new epoch, and end what was in flight.

        Args:
            ended: a gateway that is known to have ended, although its lease has not.

        Returns:
            The session after that; None if it is certain that this principal has no such session.

        Raises:
            EngineUnavailableError: whether the session exists is not known.
            OwnedError: another gateway owns it, and is alive.
            SessionLostError: it cannot be used any more.
        """

    async def rewrite(self, stored: StoredSession) -> None:
        """Store the whole session again, whatever was stored of it; for its owner, after ``BEHIND``.

        Raises:
            FencedError: another owner has taken it over, or has ended it.
            EngineUnavailableError: nothing was changed.
        """

    async def end(self, session_id: str, epoch: int) -> None:
        """Delete a session. Batches and rewrites of this and earlier epochs are fenced from now on.

        A later epoch keeps it. An unknown session is ended already. While the engine cannot write, this returns after
        the first attempt, and the session is deleted as soon as it can.
        """

    async def orphan(self, expires_at: float) -> int:
        """Set the expiry of every session that is :data:`ATTACHED` and whose owner is gone.

        Where one gateway uses the engine, that is every session at its start; where several do, those that no living
        gateway owns.

        Returns:
            The number of sessions concerned.
        """

    async def expire(self, now: float) -> list[str]:
        """Delete the sessions whose time has passed, and give their space back; return their ids.

        A living owner of such a session gets ``BEHIND`` and rewrites it, so a wrong clock does not lose a session that
        has an owner.
        """

    async def sessions(self) -> list[StoredSummary]:
        """Return what is stored, oldest first."""

    def hashed(self, principal: str) -> str:
        """Return a principal as summaries have it: the same, or a hash."""

    async def count(self, principal: str) -> int:
        """Return the number of stored sessions of a principal."""


class OwnedError(EngineUnavailableError):
    """A session belongs to another gateway, which is alive.

    Attributes:
        instance: the id of that gateway.
    """

    def __init__(self, session_id: str, instance: str) -> None:
        super().__init__(f"session {session_id!r} is served by another gateway, {instance}")
        self.instance = instance


class SharedEngine(Protocol):
    """What an engine of several gateways offers in addition to :class:`Engine`.

    A gateway counts as alive as long as it renews its lease. The engine never lets a gateway take a session from a
    living owner that has not released it.

    Attributes:
        instance: the id of this process among the gateways.
    """

    instance: str

    async def claim(self, fingerprint: str) -> str:
        """Note which keys seal what is stored, unless sessions that are sealed with other keys are stored.

        Returns:
            The fingerprint of the keys that apply.

        Raises:
            EngineUnavailableError: it is not known.
        """

    async def renew(self, facts: bytes, seconds: float) -> bool:
        """Renew the lease of this gateway, and replace what the others see of it.

        Returns:
            False if the lease had ended, so that others may have taken sessions over.

        Raises:
            EngineUnavailableError: whether it is renewed is not known.
        """

    async def instances(self) -> dict[str, bytes | None]:
        """Return the facts of each gateway by its id; None for those whose lease has ended.

        Raises:
            EngineUnavailableError: they are not known.
        """

    async def forget(self, instance: str) -> None:
        """Forget a gateway whose lease has ended, or this one, which ends.

        Raises:
            EngineUnavailableError: it is not forgotten.
        """

    def release(self, session_id: str, epoch: int, expires_at: float) -> None:
        """Give a session up, so that any gateway may take it; it waits for its client until ``expires_at``.

        If that fails, others can take the session when the lease of this gateway has ended.
        """

    async def tokens(self) -> tuple[dict[str, bytes], set[str]]:
        """Return the gateway tokens, sealed, by id; and the ids of those that were revoked.

        Raises:
            EngineUnavailableError: they are not known.
        """

    async def add_token(self, token_id: str, sealed: bytes) -> None:
        """Store a gateway token, unless it was revoked.

        Raises:
            EngineUnavailableError: whether it is stored is not known.
        """

    async def revoke_token(self, token_id: str, expires: float) -> None:
        """Delete a gateway token, and remember that it was revoked until it would have expired; ``expires`` is in
        seconds since the epoch.

        Raises:
            EngineUnavailableError: whether it is deleted is not known.
        """

    async def forget_tokens(self, sealed: dict[str, bytes]) -> None:
        """Delete gateway tokens that have expired, except those whose values are no longer these.

        Raises:
            EngineUnavailableError: whether they are deleted is not known.
        """

    async def verify(self, epochs: dict[str, int]) -> dict[str, Outcome]:
        """Find out whether this gateway still owns sessions, given their epochs.

        Returns:
            ``COMMITTED`` for those that it owns, ``FENCED`` for those that it does not own any more, ``BEHIND`` for
            those that are not stored.

        Raises:
            EngineUnavailableError: it is not known.
        """


def unacknowledged(frames: Iterable[Frame], base: int) -> list[Frame]:
    """Return the frames after ``base``; a gap that reaches across it is cut."""
    kept = []
    for frame in frames:
        if frame.position > base:
            kept.append(frame)
        elif frame.last > base:
            kept.append(msgspec.structs.replace(frame, position=base + 1, weight=frame.last - base))
    return kept


def ends_of(in_flight: Iterable[InFlight], sent: int) -> list[Frame]:
    """Return the frames that end these requests at a take-over, to follow the position ``sent``."""
    return [
        Frame(position, entry.detail, outcome=UNKNOWN if entry.transmitted else NOT_SENT, key=entry.key)
        for position, entry in enumerate(in_flight, sent + 1)
    ]


def damage(stored: StoredSession) -> str:
    """Return how a stored session contradicts itself; ``""`` if it is consistent."""
    position = stored.base + 1
    for frame in stored.frames:
        if frame.position != position:
            return f"frame {position} is missing"
        position += frame.weight
    return "" if position == stored.sent + 1 else f"frame {position} is missing"

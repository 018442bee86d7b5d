"""The commits of one stored session: one batch at a time, sent again until its outcome is known.

Owns the unstored changes, the actions that wait for a batch (:class:`Actions`), retries and rewrites. Knows neither
links nor messages: the session is seen as :class:`CommitListener`.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.core.effects import Forward
from mcp_ws_ide.core.messages import IdKey, Message
from mcp_ws_ide.engines.base import Engine, EngineUnavailableError, FencedError, Outcome, StoredSession
from mcp_ws_ide.engines.unstored_changes import UnstoredChanges
from mcp_ws_ide.gateway.upstream import Upstream
from mcp_ws_ide.links.base import Rebindable
from mcp_ws_ide.tasks import TaskGroupOwner

RETRY_FIRST: Final = 0.05
"""Seconds until a batch that could not be stored is sent again; each further failure doubles them."""
RETRY_LAST: Final = 2.0
"""Longest time between two attempts, in seconds."""
DELETE_AGAIN: Final = 10.0
"""Seconds between two attempts to delete a session that has ended."""
STALL: Final = 5.0
"""Seconds without a stored batch after which the session's client is told, with close code 1013, to try again later."""

log = logging.getLogger(__name__)


class Inbound(msgspec.Struct, gc=False, eq=False):
    """A frame of the client that is staged, or stored and not processed yet.

    Attributes:
        data: the frame.
        message: what it is; None if it is no valid message.
        now: when it arrived (``time.perf_counter``).
        waits: ids of its requests that are stored as not transmitted.
        repeats: whether its id was in flight when it arrived, so that it is not stored as a request.
    """

    data: bytes
    message: Message | None
    now: float
    waits: list[IdKey] = []
    repeats: bool = False


class Arrival:
    """A link that resumes the session as soon as its token is stored.

    Attributes:
        recv: data frames that its client has received.
        token: the token that it gets.
    """

    __slots__ = ("link", "recv", "token")

    def __init__(self, link: Rebindable, recv: int, token: str) -> None:
        self.link = link
        self.recv = recv
        self.token = token


class Actions(msgspec.Struct, eq=False):
    """The actions that wait until one batch is stored, in the order in which they are performed.

    Attributes:
        arrival: the link that resumes the session; it gets what is stored.
        out: messages to send to the client.
        close: a link to close then, with code and reason.
        released: messages that may be handed to their upstream.
        frames: frames of the client to process.
    """

    arrival: Arrival | None = None
    out: list[bytes] = []
    close: tuple[Rebindable, CloseCode, str] | None = None
    released: list[tuple[Forward, Upstream]] = []
    frames: list[Inbound] = []

    def __bool__(self) -> bool:
        return bool(self.out or self.frames or self.released or self.arrival or self.close)

    def absorb(self, later: Actions) -> None:
        """Append later actions to these."""
        self.arrival = later.arrival or self.arrival
        self.close = later.close or self.close
        self.out += later.out
        self.released += later.released
        self.frames += later.frames


class Snapshots(Protocol):
    """The snapshots of a stored session, as its commits see them."""

    def stage(self, changes: UnstoredChanges) -> None:
        """Stage what has changed."""

    def whole(self, changes: UnstoredChanges) -> StoredSession:
        """Return the whole session, with everything that is staged."""


class CommitListener(Protocol):
    """A stored session, as its commits see it."""

    def act(self, actions: Actions) -> None:
        """Perform the actions that waited for a batch, which is stored now."""

    def all_stored(self) -> None:
        """Note that nothing is staged or outstanding."""

    def fenced(self) -> None:
        """Drop the session: another gateway owns it."""

    def stalled(self, reason: str) -> None:
        """Tell the client to try again later: nothing can be stored."""


class Commits:
    """The commits of one session.

    Attributes:
        changes: what has yet to be stored.
        actions: those that wait for the next batch.
        open: whether the session is stored, so that batches may follow.
    """

    def __init__(
        self,
        engine: Engine,
        changes: UnstoredChanges,
        snapshots: Snapshots,
        session: CommitListener,
        tasks: TaskGroupOwner,
    ) -> None:
        self.changes = changes
        self.actions = Actions()
        self.open = False
        self._engine = engine
        self._snapshots = snapshots
        self._session = session
        self._tasks = tasks
        self._outstanding: Actions | None = None
        """The actions that wait for the outstanding batch."""
        self._acting = False
        self._failures = 0
        self._failing_since = 0.0
        self._retry: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is staged or outstanding."""
        return self._outstanding is None and not self._acting and not self.actions and not self.changes.due

    @property
    def stalled(self) -> bool:
        """Whether nothing could be stored for :data:`STALL` seconds."""
        return self._failures > 0 and time.monotonic() - self._failing_since >= STALL

    @property
    def failing(self) -> bool:
        """Whether the last attempt has failed."""
        return self._failures > 0

    def flush(self, *, trim: bool = False) -> None:
        """Send what is staged, unless a batch is outstanding.

        Args:
            trim: whether acknowledged frames alone are worth a batch.
        """
        while self._outstanding is None and not self._acting and self.open:
            self._snapshots.stage(self.changes)
            batch, actions = self.changes.take(trim=trim), self.actions
            if batch is not None:
                self._outstanding, self.actions = actions, Actions()
                return self._engine.commit(batch, self._batch_ended)
            if not (actions.out or actions.frames or actions.released or actions.arrival or actions.close):
                return self._session.all_stored()
            self.actions = Actions()
            self._act(actions)
        return None

    def _act(self, actions: Actions) -> None:
        """Perform actions that wait for nothing more."""
        self._acting = True
        try:
            self._session.act(actions)
        finally:
            self._acting = False

    def _batch_ended(self, outcome: Outcome) -> None:
        """Act on the outcome of the outstanding batch."""
        changes, actions = self.changes, self._outstanding
        if actions is None or changes.outstanding is None:
            return  # it was stopped
        if outcome is Outcome.COMMITTED:
            changes.committed()
            self._outstanding, self._failures = None, 0
            self._act(actions)
            self.flush()
        elif outcome is Outcome.BEHIND:
            self._rewrite()
        elif outcome is Outcome.FENCED:
            self.stop()
            self._session.fenced()
        else:
            self._failed(self._again)

    # --- failures -------------------------------------------------------------------------------

    def _failed(self, again: Callable[[], None]) -> None:
        now = time.monotonic()
        if not self._failures:
            self._failing_since = now
            log.warning(
                "a session cannot be stored; its messages wait: %s", self._engine.problem or "unknown"
            )
        delay = min(RETRY_FIRST * 2.0**self._failures, RETRY_LAST)
        self._failures += 1
        self._retry = asyncio.get_running_loop().call_later(delay, again, context=contextvars.Context())
        if self.stalled:
            self._session.stalled(self._engine.problem or "the engine stores nothing")

    def _again(self) -> None:
        batch = self.changes.outstanding
        if batch is not None:
            self._engine.commit(batch, self._batch_ended)

    def _rewrite(self) -> None:
        """Store the whole session again: the engine has lost a part of it."""
        outstanding = self._outstanding
        assert outstanding is not None
        stored = self._snapshots.whole(self.changes)
        outstanding.absorb(self.actions)
        self.actions = Actions()
        log.warning("session %s is stored again as a whole: the engine had lost a part of it", stored.id)
        self._rewrite_again(stored)

    def _rewrite_again(self, stored: StoredSession) -> None:
        self._tasks.spawn(self._try_to_rewrite(stored), "rewrite a session")

    async def _try_to_rewrite(self, stored: StoredSession) -> None:
        try:
            await self._engine.rewrite(stored)
        except FencedError:
            self.stop()
            self._session.fenced()
        except EngineUnavailableError:
            self._failed(lambda: self._rewrite_again(stored))
        else:
            if (actions := self._outstanding) is not None:
                self.changes.rewritten(stored)
                self._outstanding, self._failures = None, 0
                self._act(actions)
                self.flush()

    def delete(self, stored: StoredSession) -> None:
        """Delete the session in the background, and stop storing it."""
        self.stop()
        self._tasks.spawn(self._delete(stored), "delete a session")

    async def _delete(self, stored: StoredSession) -> None:
        while True:
            try:
                return await self._engine.end(stored.id, stored.epoch)
            except EngineUnavailableError as error:
                log.warning("session %s has ended, but the engine cannot delete it yet: %s", stored.id, error)
            await asyncio.sleep(DELETE_AGAIN)

    @property
    def epoch(self) -> int:
        """The ownership under which this gateway stores the session."""
        return self.changes.epoch

    def verified(self, outcome: Outcome) -> None:
        """Act on what the engine says after the others may have taken this gateway for dead (see
        :meth:`SharedEngine.verify`)."""
        if not self.open:
            return
        if outcome is Outcome.FENCED:
            self.stop()
            self._session.fenced()
        elif outcome is Outcome.BEHIND:
            # The next batch is behind as well, and the whole session is stored again.
            self.changes.expect_loss()
            self.flush()

    def leave(self, patience: float) -> None:
        """Store nothing any more, and let any gateway take the session; it waits for its client for ``patience`` s."""
        shared = self._engine.shared
        if self.open and shared is not None:
            shared.release(self.changes.session, self.epoch, time.time() + patience)
        self.stop()

    def stop(self) -> None:
        """Stop sending batches."""
        self.open = False
        self._outstanding = self.changes.outstanding = None
        if self._retry is not None:
            self._retry.cancel()

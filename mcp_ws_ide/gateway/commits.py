"""The commits of one stored session: one batch at a time, sent again until its outcome is known.

Owns the unstored changes, the actions that wait for a batch (:mod:`.actions`), retries and rewrites. Knows neither
links nor messages: the session is seen as :class:`CommitListener`.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from mcp_ws_ide.engines.base import Engine, EngineUnavailableError, FencedError, Outcome, StoredSession
from mcp_ws_ide.engines.unstored_changes import UnstoredChanges
from mcp_ws_ide.gateway.actions import Actions
from mcp_ws_ide.tasks import TaskGroupOwner

# Three are not Final, so that tests can shorten them where this module is compiled.
RETRY_FIRST = 0.05
"""Seconds until a batch that could not be stored is sent again; each further failure doubles them."""
RETRY_LAST = 2.0
"""Longest time between two attempts, in seconds."""
DELETE_AGAIN: Final = 10.0
"""Seconds between two attempts to delete a session that has ended."""
STALL = 5.0
"""Seconds without a stored batch after which the session's client is told, with close code 1013, to try again later."""

log = logging.getLogger(__name__)


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
        """Note that nothing is staged or outstanding, after the session waited for that."""

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
        ending: whether the session waits until everything is stored.
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
        self.open = self.ending = False
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
        return (
            self._outstanding is None and not self._acting and self.actions.nothing and not self.changes.due
        )

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
        if self._outstanding is None and not self._acting and self.open:
            self._go_on(None, trim)

    def _go_on(self, actions: Actions | None, trim: bool = False) -> None:
        """Perform the actions of a stored batch, if any, and those that wait for nothing; then send the next batch."""
        changes = self.changes
        while True:
            if actions is not None:
                self._acting = True
                try:
                    self._session.act(actions)
                finally:
                    self._acting = False
            if not self.open:
                return None
            self._snapshots.stage(changes)
            batch, actions = changes.take(trim), self.actions
            if batch is not None:
                self._outstanding, self.actions = actions, Actions()
                return self._engine.commit(batch, self._batch_ended)
            if actions.nothing:
                return self._session.all_stored() if self.ending else None
            self.actions = Actions()

    def _batch_ended(self, outcome: Outcome) -> None:
        """Act on the outcome of the outstanding batch."""
        changes, actions = self.changes, self._outstanding
        if actions is None or changes.outstanding is None:
            return  # it was stopped
        if outcome is Outcome.COMMITTED:
            changes.committed()
            self._outstanding, self._failures = None, 0
            self._go_on(actions)
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
        log.debug("session %s is stored again as a whole: the engine had lost a part of it", stored.id)
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
                self._go_on(actions)

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

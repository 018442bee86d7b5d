"""The stored sessions of an engine, for one gateway: takes over those whose clients resume them, and deletes expired
ones.

Knows stored sessions and their owners, but not how a session continues.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from mcp_ws_ide.engines.base import (
    ATTACHED,
    Engine,
    EngineUnavailableError,
    OwnedError,
    SessionLostError,
    StoredSession,
    StoredSummary,
)
from mcp_ws_ide.gateway.elsewhere import Elsewhere
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.gateway.stored_state import UnreadableStateError, info_of
from mcp_ws_ide.tasks import TaskGroupOwner

EXPIRE_INTERVAL: Final = 30.0
"""Seconds between two searches for stored sessions whose time has passed."""

Add = Callable[[Engine, StoredSession, Server], None]
"""Continues a stored session that was taken over."""

log = logging.getLogger(__name__)


class _Turn:
    """The clients that resume one session, served one after the other."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0


class StoredSessions:
    """The stored sessions, as one gateway sees them.

    Args:
        find_server: returns a configured server by name.
        token_alive: returns whether a gateway token is neither revoked nor expired.
    """

    def __init__(
        self,
        engine: Engine,
        tasks: TaskGroupOwner,
        find_server: Callable[[str], Server | None],
        token_alive: Callable[[str], bool],
    ) -> None:
        self.engine = engine
        self._tasks = tasks
        self._find_server = find_server
        self._token_alive = token_alive
        self.elsewhere: Elsewhere | None = None
        self._turns: dict[str, _Turn] = {}
        self._expire_at = 0.0

    def is_restoring(self, session_id: str) -> bool:
        """Return whether a client is resuming this session."""
        return session_id in self._turns

    @contextlib.asynccontextmanager
    async def turn(self, session_id: str) -> AsyncIterator[None]:
        """Wait until earlier clients have resumed this session: the newest link must win."""
        turn = self._turns.setdefault(session_id, _Turn())
        turn.waiting += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                del self._turns[session_id]

    async def restore(self, session_id: str, principal: str, add: Add) -> None:
        """Take a session over, in its :meth:`turn`, if it is stored.

        Raises:
            EngineUnavailableError, SessionLostError: see :meth:`Engine.take`.
        """
        stored = await self._take(session_id, principal)
        if stored is None:
            return
        server = self._find_server(stored.server)
        if server is None:
            return  # its entry may come back
        reason = self._refusal(stored)
        if not reason:
            try:
                return add(self.engine, stored, server)
            except UnreadableStateError as error:
                reason = f"the stored session cannot be read: {error}"
        await self.engine.end(stored.id, stored.epoch)
        self.engine.statistics.lost["unusable"] += 1
        raise SessionLostError("unusable", reason)

    async def _take(self, session_id: str, principal: str) -> StoredSession | None:
        """Become the owner of a session; at once, if its owner has surely ended."""
        try:
            return await self.engine.take(session_id, principal)
        except OwnedError as error:
            if self.elsewhere is None or not await self.elsewhere.has_ended(error.instance):
                raise
            return await self.engine.take(session_id, principal, error.instance)

    def _refusal(self, stored: StoredSession) -> str:
        """Return why a stored session must not be continued; ``""`` if it may be."""
        try:
            token_id = info_of(stored).token_id
        except UnreadableStateError as error:
            return f"the stored session cannot be read: {error}"
        if token_id is not None and not self._token_alive(token_id):
            return "the gateway token that opened the session is no longer valid"
        return ""

    # --- for their users ------------------------------------------------------------------------

    async def waiting(self, principal: str, here: set[str]) -> list[StoredSummary]:
        """Return a user's stored sessions whose clients are not back yet, oldest first.

        Args:
            here: ids of the sessions that this user has in this gateway.

        Raises:
            EngineUnavailableError: they are not known.
        """
        if await self.engine.count(principal) <= len(here):
            return []
        hashed = self.engine.hashed(principal)
        return [
            stored
            for stored in await self.engine.sessions()
            if stored.principal == hashed and stored.id not in here and stored.expires_at != ATTACHED
        ]

    async def end(self, session_id: str, principal: str, after: float) -> bool:
        """End a stored session, at once or if its client does not return within ``after`` seconds.

        Returns:
            Whether this user has such a session.

        Raises:
            EngineUnavailableError: it is not known, or was not changed.
        """
        async with self.turn(session_id):
            try:
                stored = await self._take(session_id, principal)
            except SessionLostError:
                return True
            if stored is None:
                return False
            if after > 0:
                stored.expires_at = min(stored.expires_at, time.time() + after)
                await self.engine.rewrite(stored)
            else:
                await self.engine.end(session_id, stored.epoch)
        log.info("stored session %s was ended by its owner", session_id)
        return True

    # --- chores ---------------------------------------------------------------------------------

    async def adopt(self, grace: float) -> None:
        """Give sessions whose gateway has ended the grace period, in seconds; for the start of a gateway."""
        orphans = await self.engine.orphan(time.time() + grace)
        if self.engine.shared is None:
            log.info("stored sessions that wait for their clients: %d", self.engine.statistics.sessions)
        else:
            log.info("sessions of gateways that have ended, which wait for their clients: %d", orphans)

    def tick(self, now: float) -> None:
        """Delete expired sessions from time to time; called about once a second (``now``: ``time.monotonic``)."""
        if now >= self._expire_at:
            self._expire_at = now + EXPIRE_INTERVAL
            self._tasks.spawn(self._expire(), "expire stored sessions")

    async def _expire(self) -> None:
        try:
            expired = await self.engine.expire(time.time())
        except EngineUnavailableError:
            return
        if expired:
            log.info("stored sessions that have expired: %d", len(expired))

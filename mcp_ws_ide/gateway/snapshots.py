"""Finds out what of a stored session has changed beside its frames, and stages it. Knows not what a snapshot holds:
:mod:`.stored_state` makes it."""

from __future__ import annotations

import time

from mcp_ws_ide.engines.base import ATTACHED, StoredSession
from mcp_ws_ide.engines.unstored_changes import UnstoredChanges
from mcp_ws_ide.gateway.stored_state import Parts, encode_facts, encode_state
from mcp_ws_ide.gateway.whole_requests import WholeRequests


class Snapshots:
    """The snapshots of one session, and which of them have changed since they were stored."""

    def __init__(self, session: Parts, whole: WholeRequests) -> None:
        self._session = session
        self._attachments = session.attachments
        self._whole = whole
        self._counted = self._count()
        self._attached = self._attachments.changes
        self._info = session.info
        self._expires_at: float | None = ATTACHED if session.resumption.deadline is None else None
        """As it was staged last; None if it has to be staged again."""

    @property
    def state(self) -> bytes:
        """The snapshot, encoded."""
        return encode_state(self._session, self._whole)

    @property
    def facts(self) -> bytes:
        """The facts about the client's link, encoded."""
        return encode_facts(self._session.info)

    @property
    def expires_at(self) -> float:
        """When the stored session may be deleted, in seconds since the epoch."""
        left = self._session.resumption.expires_in(time.monotonic())
        return ATTACHED if left is None else time.time() + left

    def _count(self) -> int:
        """Return how often the snapshot has changed, but for the attachments: each summand only increases."""
        session, core = self._session, self._session.core
        counted = session.resumption.changes + self._whole.changes
        return counted + core.used_modern + core.used_legacy + (session.final is not None)

    def expiry_changed(self) -> None:
        """Note that the stored expiry is out of date."""
        self._expires_at = None

    def stage(self, changes: UnstoredChanges) -> None:
        """Stage what has changed, unless the session has ended."""
        session, attachments = self._session, self._attachments
        if session.ended:
            return
        counted, attached = self._count(), None
        if attachments.private is not None or attachments.bridge is not None:
            attached = attachments.changes
        if counted != self._counted or attached != self._attached:
            self._counted, self._attached = counted, attached
            changes.set_state(self.state)
        if session.info is not self._info:
            self._info = session.info
            changes.set_facts(self.facts)
        has_link = session.resumption.deadline is None
        if self._expires_at is None or has_link != (self._expires_at == ATTACHED):
            self._expires_at = self.expires_at
            changes.set_expiry(self._expires_at)

    def whole(self, changes: UnstoredChanges) -> StoredSession:
        """Return the whole session, with everything that is staged."""
        return changes.whole(self.state, self.facts, self.expires_at)

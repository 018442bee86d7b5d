"""How long a shared upstream is kept after its last session, and for what.

It ends when it has been unused for ``idle_timeout``, but not while clients may come back for what only its process
knows: parked calls, calls that wait under a ``requestState``, and unfinished tasks. Knows nothing of sessions.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

from mcp_ws_ide.core.open_work import OpenWork
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.gateway.services import Services
from mcp_ws_ide.transports.base import Transport

LEAST_CHECK: Final = 1.0
"""Seconds between two looks at what an unused upstream is kept for."""


class Lingering(Protocol):
    """An upstream, as seen here."""

    @property
    def shared(self) -> bool:
        """Whether all sessions of its principal use it."""

    @property
    def closed(self) -> bool:
        """Whether it has ended."""

    @property
    def users(self) -> int:
        """The number of sessions that use it."""

    @property
    def parked(self) -> int:
        """The number of calls that are parked here."""

    def close(self) -> None:
        """End the server."""


class Lifetime:
    """The time for which one upstream is kept without sessions.

    Attributes:
        work: what clients may come back for; None until there is anything.
    """

    def __init__(self, services: Services, server: Server, upstream: Lingering) -> None:
        self.work: OpenWork | None = None
        self._services, self._server, self._upstream = services, server, upstream
        self._timer: asyncio.TimerHandle | None = None

    def used(self) -> None:
        """Note that a session uses the upstream."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def unused(self) -> None:
        """Note that no session uses the upstream any more."""
        self.used()
        self._timer = self._services.loop.call_later(self._idle_timeout(), self._end)

    def _idle_timeout(self) -> float:
        if not self._upstream.shared:
            return 0.0
        configured = self._server.spec.idle_timeout
        return self._services.limits.idle_timeout if configured is None else configured

    def _end(self) -> None:
        """End the upstream; look again later if clients may come back for something."""
        if self._upstream.users or self._upstream.closed:
            return
        if self.unfinished and not self._server.retired:
            self._timer = self._services.loop.call_later(self._idle_timeout() or LEAST_CHECK, self._end)
        else:
            self._upstream.close()

    @property
    def unfinished(self) -> bool:
        """Whether clients may come back, in other sessions, for what only this process knows."""
        open_ = self.work is not None and self.work.is_open(time.perf_counter())
        return self._upstream.parked > 0 or open_

    def note_result(self, result: bytes, transport: Transport | None, now: float) -> None:
        """Note what a result that is none of a call leaves open: in a local process that other sessions can reach."""
        if self._upstream.shared and transport is not None and not transport.remote:
            self.work = self.work or OpenWork(self._services.limits)
            self.work.answered(result, now)

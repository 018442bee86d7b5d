"""Server processes that are started before a session needs them (``mcp_ws.prewarm``).

Where a process cannot be shared, a session waits for its start: half a second for a Python server. A
:class:`PrewarmPool` keeps a few processes ready. Whatever a process sends before it is taken is kept for its taker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from operator import methodcaller
from typing import Final

from mcp_ws_ide.errors import LimitExceededError, NotAttemptedError, TransportError
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.tasks import TaskGroupOwner
from mcp_ws_ide.transports.base import Receiver, Transport

KEPT_EVENTS: Final = 1000
"""Events (lines, mostly) of a process that are kept until it is taken; the oldest are dropped."""

log = logging.getLogger(__name__)


class _Relay:
    """The receiver of a prewarmed process: keeps its events, then passes them to the taker."""

    def __init__(self, on_closed: Callable[[str], None]) -> None:
        self._on_closed = on_closed
        self._taker: Receiver | None = None
        self._kept: deque[Callable[[Receiver], None]] = deque(maxlen=KEPT_EVENTS)

    def taken_by(self, receiver: Receiver) -> None:
        """Pass the kept events, and all later ones, to ``receiver``."""
        self._taker = receiver
        while self._kept:
            self._kept.popleft()(receiver)

    def _pass(self, event: Callable[[Receiver], None]) -> None:
        if self._taker is None:
            self._kept.append(event)
        else:
            event(self._taker)

    def message_received(self, message: bytes) -> None:
        """See :class:`~mcp_ws_ide.transports.base.Receiver`."""
        self._pass(lambda receiver: receiver.message_received(message))

    def noise_received(self, source: str, text: str) -> None:
        """See :class:`~mcp_ws_ide.transports.base.Receiver`."""
        if self._taker is not None:
            return self._taker.noise_received(source, text)
        for line in text.split("\n")[-KEPT_EVENTS:]:
            self._kept.append(methodcaller("noise_received", source, line))

    def write_paused(self, paused: bool) -> None:
        """See :class:`~mcp_ws_ide.transports.base.Receiver`."""
        self._pass(lambda receiver: receiver.write_paused(paused))

    def transport_closed(self, reason: str) -> None:
        """See :class:`~mcp_ws_ide.transports.base.Receiver`."""
        if self._taker is None:
            self._on_closed(reason)
        else:
            self._taker.transport_closed(reason)


class PrewarmPool:
    """The prewarmed processes of one server.

    Args:
        tasks: owner of the tasks that start processes.
    """

    def __init__(self, tasks: TaskGroupOwner, server: Server) -> None:
        self._tasks, self._server = tasks, server
        self._ready: deque[tuple[Transport, _Relay]] = deque()
        self._filling = False
        self._closed = False
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    def take(self, receiver: Receiver) -> Transport | None:
        """Hand a ready process to ``receiver``, and start its replacement; None if no process is ready."""
        if not self._ready:
            self.fill()
            return None
        transport, relay = self._ready.popleft()
        relay.taken_by(receiver)
        self.fill()
        return transport

    def fill(self) -> None:
        """Start the missing processes in the background."""
        if not self._filling and not self._closed and len(self._ready) < self._server.spec.prewarm:
            self._filling = True
            self._tasks.spawn(self._fill(), f"prewarm {self._server.name}")

    async def _fill(self) -> None:
        try:
            while len(self._ready) < self._server.spec.prewarm and not self._closed:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._server.crash_loop("").delay()):
                        await self._wake.wait()
                await self._start_one()
        except (TransportError, LimitExceededError) as error:
            failed = isinstance(error, TransportError) and not isinstance(error, NotAttemptedError)
            if failed and self._server.refusal_to("") is None:
                self._server.crashed("")
            log.warning("server %s could not be prewarmed: %s", self._server.name, error)
        finally:
            self._filling = False

    async def _start_one(self) -> None:
        self._server.check_processes("", wanted=1)
        transport = self._server.new_transport()
        relay = _Relay(lambda reason: self._lost(transport, reason))
        await transport.connect(relay)
        self._ready.append((transport, relay))
        if self._closed:
            await self.aclose()

    def _lost(self, transport: Transport, reason: str) -> None:
        """Replace a process that exited before it was taken."""
        self._ready = deque(entry for entry in self._ready if entry[0] is not transport)
        if not self._closed:
            log.warning(
                "server %s exited before its prewarmed process was used: %s", self._server.name, reason
            )
            self._server.crashed("")
            self._server.failed("", reason)
            self.fill()

    async def aclose(self) -> None:
        """End the processes that were not taken, and start no more."""
        self._closed = True
        self._wake.set()
        ready, self._ready = self._ready, deque()
        await asyncio.gather(*(transport.close() for transport, _ in ready), return_exceptions=True)

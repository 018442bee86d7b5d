"""Server processes that are started before anybody asks for them (``mcp_ws.prewarm``).

For servers whose process cannot be shared, a session waits for its start: half a second for a Python server. A
:class:`WarmPool` keeps a few ready. What one of them says before it is taken is kept for whoever takes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mcp_ws_ide.errors import LimitExceeded, NotAttempted, TransportError
from mcp_ws_ide.transports import Transport
from mcp_ws_ide.transports.base import Receiver

if TYPE_CHECKING:
    from mcp_ws_ide.gateway.gateway import Gateway
    from mcp_ws_ide.gateway.server import Server

KEPT_EVENTS: Final = 1000
"""Lines that a process may say before it is taken; older ones are forgotten."""

log = logging.getLogger(__name__)


class _Waiting:
    """The receiver of a process that nobody has taken yet, and afterwards of whoever has."""

    def __init__(self, on_closed: Callable[[str], None]) -> None:
        self._on_closed = on_closed
        self._taken_by: Receiver | None = None
        self._kept: deque[Callable[[Receiver], None]] = deque(maxlen=KEPT_EVENTS)

    def taken_by(self, receiver: Receiver) -> None:
        """From now on everything goes to ``receiver``, beginning with what was kept."""
        self._taken_by = receiver
        while self._kept:
            self._kept.popleft()(receiver)

    def _pass(self, event: Callable[[Receiver], None]) -> None:
        if self._taken_by is None:
            self._kept.append(event)
        else:
            event(self._taken_by)

    def message_received(self, message: bytes) -> None:
        """See :class:`Receiver`."""
        self._pass(lambda receiver: receiver.message_received(message))

    def noise_received(self, source: str, text: str) -> None:
        """See :class:`Receiver`."""
        self._pass(lambda receiver: receiver.noise_received(source, text))

    def write_paused(self, paused: bool) -> None:
        """See :class:`Receiver`."""
        self._pass(lambda receiver: receiver.write_paused(paused))

    def transport_closed(self, reason: str) -> None:
        """See :class:`Receiver`."""
        if self._taken_by is None:
            self._on_closed(reason)
        else:
            self._taken_by.transport_closed(reason)


class WarmPool:
    """The processes of one server that wait to be taken."""

    def __init__(self, gateway: Gateway, server: Server) -> None:
        self._gateway, self._server = gateway, server
        self._ready: deque[tuple[Transport, _Waiting]] = deque()
        self._filling = False
        self._closed = False
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    def take(self, receiver: Receiver) -> Transport | None:
        """A process that is ready, given to ``receiver``; None if there is none. Another one is started."""
        if not self._ready:
            self.fill()
            return None
        transport, waiting = self._ready.popleft()
        waiting.taken_by(receiver)
        self.fill()
        return transport

    def fill(self) -> None:
        """Begin to start what is missing; returns at once."""
        if not self._filling and not self._closed and len(self._ready) < self._server.spec.prewarm:
            self._filling = True
            self._gateway.tasks.spawn(self._fill(), f"prewarm {self._server.name}")

    async def _fill(self) -> None:
        try:
            while len(self._ready) < self._server.spec.prewarm and not self._closed:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._server.crash_loop.delay()):
                        await self._wake.wait()
                await self._start_one()
        except (TransportError, LimitExceeded) as error:
            failed = isinstance(error, TransportError) and not isinstance(error, NotAttempted)
            if failed and self._server.refusal is None:
                self._server.crash_loop.crashed()
            log.warning("server %s could not be started ahead: %s", self._server.name, error)
        finally:
            self._filling = False

    async def _start_one(self) -> None:
        self._gateway.check_processes(self._server, wanted=1)
        transport = self._server.new_transport()
        waiting = _Waiting(lambda reason: self._lost(transport, reason))
        await transport.connect(waiting)
        self._ready.append((transport, waiting))
        if self._closed:
            await self.aclose()

    def _lost(self, transport: Transport, reason: str) -> None:
        """It ended before anybody took it."""
        self._ready = deque(entry for entry in self._ready if entry[0] is not transport)
        if not self._closed:
            log.warning("server %s ended before anybody used it: %s", self._server.name, reason)
            self._server.crash_loop.crashed()
            self._server.failed("", reason)
            self.fill()

    async def aclose(self) -> None:
        """End what nobody has taken."""
        self._closed = True
        self._wake.set()
        ready, self._ready = self._ready, deque()
        await asyncio.gather(*(transport.close() for transport, _ in ready), return_exceptions=True)

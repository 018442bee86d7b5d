"""The private upstream of a session of the handshake era: every message passes verbatim, in both directions.

The exceptions are lists and results of calls with items that no client could read, which are mended, and requests that
name a resource by the URI under which its client sees it."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Final

from mcp_ws_ide.compiling import mypyc_attr
from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.methods import LISTS
from mcp_ws_ide.core.effects import Deliver, Drop, Forward, Pending, Ping, Reply, Unnamed
from mcp_ws_ide.core.era import Era
from mcp_ws_ide.core.messages import REQUEST, Message
from mcp_ws_ide.core.shown_uris import NAMES_RESOURCE, READ, UPDATED, as_shown, as_written
from mcp_ws_ide.errors import NotAttemptedError
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.gateway.services import Services
from mcp_ws_ide.gateway.upstream import Upstream, UpstreamUser
from mcp_ws_ide.transports.base import SessionKeeper, Transport

PING_PATIENCE: Final = 2.0
"""Seconds for a client to answer a ping of its server, before the gateway does: servers that wait for 5 s exit then."""

INITIALIZE: Final = "initialize"
_LOOKED_AT: Final = frozenset({INITIALIZE, READ, *LISTS})
"""Requests whose responses are not only passed on."""
_PREPARED: Final = frozenset({INITIALIZE, *NAMES_RESOURCE})
"""Requests that are not only passed on."""

log: Final = logging.getLogger(__name__)


@mypyc_attr(allow_interpreted_subclasses=True)
class PrivateUpstream(Upstream):
    """A server process, or connection, of one session alone.

    Args:
        kept: what another gateway kept of its session at the server, if it continues one.
    """

    def __init__(
        self, services: Services, server: Server, owner: str, session: UpstreamUser, kept: bytes = b""
    ) -> None:
        super().__init__(services, server, owner, session)
        self._session = session
        self._kept = kept

    @property
    def changes(self) -> int:
        """The number of changes of :attr:`kept`."""
        keeper = self._keeper
        return keeper.changes if keeper is not None else 0

    @property
    def kept(self) -> bytes:
        """What another gateway needs to continue its session at the server; ``b""`` if it cannot."""
        keeper = self._keeper
        return keeper.kept if keeper is not None else self._kept

    @property
    def _keeper(self) -> SessionKeeper | None:
        return self._transport.keeper if self._transport is not None else None

    def keep(self) -> None:
        """Leave its session at the server open when this is closed."""
        if (keeper := self._keeper) is not None:
            keeper.leave_open()

    @property
    def era(self) -> Era:
        """The era spoken to the server."""
        return Era.LEGACY

    @property
    def shared(self) -> bool:
        """Whether all sessions of its principal use it."""
        return False

    @property
    def users(self) -> int:
        """The number of sessions that use it."""
        return 1

    def _new_transport(self) -> Transport:
        """Start no process for the handshake of a client whose probe has just found that the server cannot start."""
        reason = self.server.failed_start(self.owner)
        if reason is not None:
            raise NotAttemptedError(reason)
        transport = super()._new_transport()
        if self._kept and transport.keeper is not None:
            transport.keeper.restore(self._kept)
        return transport

    def transmit(self, session: UpstreamUser, effect: Forward) -> None:
        message, pending = effect.message, effect.pending
        if pending is None or pending.method not in _PREPARED:
            self.send(message, pending, session)
        elif pending.method != INITIALIZE:
            is_request = message.kind is REQUEST  # else its cancellation
            self.send(as_written(message) if is_request else message, pending, session)
        else:
            self.send(message, pending, session)
            self._answered()
            self._await_handshake(partial(self._handshake_timed_out, pending))

    def _handshake_timed_out(self, initialize: Pending) -> None:
        """End the session: the server is useless without a handshake, and the client may have no deadline."""
        if self._session.core.pending.get(initialize.key) is not initialize:
            return  # cancelled
        reason = self.server.start_failure(self.owner, f"it did not answer {self._deadline_text}")
        log.warning("server %s: %s", self.server.name, reason)
        self.server.failed(self.owner, reason)
        self._session.private_lost(self, f"server {self.server.name!r}: {reason}")
        self.close()

    def close(self) -> None:
        """End the server in the background, as it is no longer needed."""
        self._answered()
        super().close()

    def _meant_for(self, message: Message) -> UpstreamUser | None:
        return self._session

    def _received(self, message: Message, now: float) -> None:
        effect = self._session.core.from_legacy_server(message)
        if type(effect) is Deliver:
            delivered, answered = effect.message, effect.answered
            if answered is None:
                if delivered.method == UPDATED:
                    delivered = as_shown(delivered)
            elif delivered.odd or answered.method in _LOOKED_AT:
                if answered.method == INITIALIZE:
                    self._answered()
                    if message.error:
                        return self._session.handshake_refused(answered, message)
                delivered = self._odd.usable(answered.method, delivered, strict=True)
            self._session.deliver(delivered, answered, now, effect.droppable)
        elif type(effect) is Reply:
            self.send(effect.message)
        elif type(effect) is Drop:
            self._dropped(effect)
        elif type(effect) is Ping:
            self._pinged(message, now)
        elif type(effect) is Unnamed:
            self._take_unnamed(message, now)

    def _take_unnamed(self, answer: Message, now: float) -> None:
        """Handle a response whose id names no open request."""
        used = answer.id != b"null" and self.was_used(answer.id)
        taken = self._odd.take_repeated(answer) if used else self._odd.take_unnamed(answer)
        if not taken:
            self._session.deliver(answer, None, now, False)

    def _pinged(self, ping: Message, now: float) -> None:
        """Pass a ping on; answer it for a client that is away, or does not answer: its session may outlive its link."""
        if self._session.away:
            return self._answer_ping(ping)
        self._session.deliver(ping, None, now, False)
        self._services.loop.call_later(PING_PATIENCE, self._answer_ping, ping)

    def _answer_ping(self, ping: Message) -> None:
        answer = self._session.core.answer_ping(ping)
        if answer is not None and not self.closed:
            self.send(answer)

    def open_ids(self) -> list[bytes]:
        """Return the ids, as JSON, of the requests that the server has not answered."""
        return self._session.core.open_at_private()

    def was_used(self, raw_id: bytes) -> bool:
        """Return whether an id names one of the requests that ended last."""
        return bool(messages.alike(raw_id, [pending.raw_id for pending in self._session.core.recent]))

    @property
    def position(self) -> float:
        """The time, which orders messages as :attr:`Pending.sent` does."""
        return time.perf_counter()

    def open_after(self, position: float) -> list[bytes]:
        """Return the ids, as JSON, of the open requests that were sent after a position."""
        return self._session.core.open_at_private(position)

    def ended_after(self, position: float) -> int:
        """Return how many requests sent after a position have ended, of those that ended last."""
        return sum(pending.sent > position for pending in self._session.core.recent)

    @property
    def has_cancelled(self) -> bool:
        """Whether any request was cancelled."""
        return self._session.core.has_cancelled

    def ended(self, reason: str) -> None:
        """End the session: what it negotiated is gone with its server."""
        self._answered()
        self._session.private_lost(self, f"server {self.server.name!r}: {reason}")

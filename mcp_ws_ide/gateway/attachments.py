"""The server side of a session: which upstreams it uses, and the bridge for a client of the handshake era.

A client of the handshake era has a private upstream, or a bridge to a modern server. Modern messages go to a shared
upstream or to an upstream of the session's own. Knows nothing of links, windows and tool rules: the session owns them,
and is seen here as :class:`ClientSide`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Final, Protocol

from mcp_ws_ide.core import era as eras
from mcp_ws_ide.core.bridges import legacy_client
from mcp_ws_ide.core.bridges.legacy_client import LegacyClient
from mcp_ws_ide.core.effects import Abandon, Again, Deliver, Effect, Forward, Pending
from mcp_ws_ide.core.era import LEGACY, MODERN
from mcp_ws_ide.core.messages import REQUEST, Message
from mcp_ws_ide.core.session import SessionCore
from mcp_ws_ide.errors import GATEWAY_CLOSING, UPSTREAM_UNAVAILABLE
from mcp_ws_ide.gateway import renewed
from mcp_ws_ide.gateway.attachments_state import AttachmentsState
from mcp_ws_ide.gateway.private import PrivateUpstream
from mcp_ws_ide.gateway.renewed import RenewedUpstream
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.gateway.services import Services
from mcp_ws_ide.gateway.shared import SharedPool, SharedUpstream
from mcp_ws_ide.gateway.upstream import ClientState, Upstream

GIVEN_UP: Final = "the server was not ready yet, and the client has begun a handshake instead"


class ClientSide(ClientState, Protocol):
    """The client side of a session, as its attachments see it."""

    id: str
    core: SessionCore
    server: Server
    ended: bool
    closing: bool
    stateless: bool

    @property
    def reads_slowly(self) -> bool:
        """Whether the link is full."""

    def send(self, message: Message, answered: Pending | None, received: float, droppable: bool) -> None:
        """Send a message to the client; parameters as of :meth:`Attachments.deliver`."""

    def observe(self, event: str, detail: str) -> None:
        """Report an event of the session on the tap."""

    def set_reading(self, reading: bool) -> None:
        """Stop or resume reading from the client."""

    def private_upstream_lost(self, reason: str) -> None:
        """Fail the waiting requests, then end the session."""


class Gate(Protocol):
    """What has to be done before a server may get a message that has waited for it."""

    def hand_over(self, forward: Forward, upstream: Upstream) -> None:
        """Hand a message over with :meth:`Upstream.transmit`, now or later."""


class Attachments:
    """The upstreams of one session; implements :class:`~mcp_ws_ide.gateway.upstream.UpstreamUser`.

    Attributes:
        stalled_by: upstreams that have no room for what the client sends.
        held: whether upstreams of the session's own are not read, because its client reads slowly.
        gate: through which messages pass that have waited for their upstream; None if they pass at once.
        private: the private upstream of a handshake-era client.
        bridge: the bridge of a handshake-era client to a modern server.
    """

    def __init__(self, services: Services, pool: SharedPool, client: ClientSide, principal: str) -> None:
        self.id = client.id
        self.core = client.core
        self.stateless = client.stateless
        self.stalled_by: list[Upstream] = []
        self.held = False
        self.gate: Gate | None = None
        self._services = services
        self._pool = pool
        self._client = client
        self._principal = principal
        self._server = client.server
        self.private: PrivateUpstream | None = None
        self._shared: SharedUpstream | None = None
        self.bridge: LegacyClient | None = None
        self._bridge_timer: asyncio.TimerHandle | None = None
        """Calls the bridge again after a delay it asked for."""
        self._initialize: Forward | None = None
        """The client's ``initialize``, which a bridge may have to answer after all."""
        self._waking: list[Effect] = []
        """What a restored bridge does when its client is there."""

    @property
    def ended(self) -> bool:
        """Whether the session has ended."""
        return self._client.ended

    @property
    def away(self) -> bool:
        """Whether nothing would reach the client now."""
        return self._client.away

    @property
    def legacy(self) -> bool:
        """Whether the client speaks the handshake era to an upstream or a bridge."""
        return self.private is not None or self.bridge is not None

    @property
    def accepts(self) -> bool:
        """Whether what the client sends may be handed over without waiting; False only if it must wait."""
        if self.private is not None and self.private.accepts:
            return True
        shared = self._shared or self._pool.known(self._server, self._principal)
        return shared is not None and shared.accepts

    # --- what another gateway needs ---------------------------------------------------------------

    @property
    def changes(self) -> object:
        """A value that is different after each change of :attr:`state`."""
        if self.bridge is not None:
            return self.bridge.changes
        return (self.private.changes, tuple(self.core.asked)) if self.private is not None else None

    @property
    def state(self) -> AttachmentsState:
        """What another gateway needs to continue."""
        if self.bridge is not None:
            return AttachmentsState(bridge=self.bridge.state)
        if self.private is not None:
            return AttachmentsState(private=True, kept=self.private.kept)
        return AttachmentsState()

    @property
    def movable(self) -> bool:
        """Whether nothing is lost if another gateway continues: no process or connection of its own, no parked call,
        and no task."""
        if self.bridge is not None and self.bridge.runs_tasks:
            return False
        if self.private is not None and self.bridge is None and not self.private.kept:
            return False
        return self._shared is None or not self._shared.lifetime.unfinished

    def restore(self, state: AttachmentsState) -> str:
        """Continue a stored session; :meth:`wake` follows when its client is there.

        Returns:
            Why it cannot continue; ``""`` if it can.
        """
        if state.bridge is not None:
            self.bridge = _new_bridge(self.core, self._server.name)
            self._waking = self.bridge.restore(state.bridge)
        elif state.private and not state.kept:
            return f"server {self._server.name!r}: its process or connection ended with the gateway"
        elif state.private:
            self.private = self._new_private(state.kept)
        return ""

    def wake(self) -> None:
        """Attach the restored session to its upstream, and subscribe again: the client is there."""
        waking, self._waking = self._waking, []
        if self.private is not None:
            self.private.start()
        self._perform(waking, 0.0)

    @property
    def token_id(self) -> str | None:
        """The gateway token that the client came with; None if it came with a credential of the user's own."""
        return self._client.token_id

    @property
    def token_for_upstream(self) -> str | None:
        """The gateway token whose holder may see the traffic with the server; None if no one may."""
        return self._client.token_for_upstream

    # --- from the client ------------------------------------------------------------------------

    def forward(self, effect: Forward) -> None:
        """Pass a client's message on to the upstream of its era, or to the bridge."""
        if self.bridge is None and self.private is None and not effect.modern and self._needs_bridge:
            self.bridge = _new_bridge(self.core, self._server.name)
        if self.bridge is not None:
            self._perform(self.bridge.from_client(effect), 0.0)
        elif effect.modern:
            self.forward_modern(effect)
        else:
            if effect.message.method == b'"initialize"':
                self._begin_handshake(effect)
            private = self.private or self._started_private()
            private.forward(self, effect)

    def _begin_handshake(self, initialize: Forward) -> None:
        """Leave the upstream that is not ready for the client's modern requests: the client no longer waits for it."""
        self._initialize = initialize
        if self._shared is not None and not self._shared.accepts:
            self._shared.detach(self)
            self._shared = None
            for pending in {*self.core.pending.values()} - {initialize.pending}:
                self.fail(pending, UPSTREAM_UNAVAILABLE, GIVEN_UP)

    def forward_modern(self, effect: Forward) -> None:
        """Pass a modern message on to the upstream it belongs to."""
        if (self.stateless or self._server.era is LEGACY) and not self._may_forward_modern(effect):
            return self.refuse_modern(effect)
        upstream = self._modern_upstream(effect)
        if upstream is None:
            if effect.message.method != b'"notifications/cancelled"':  # else nothing is left to cancel
                self._client.observe("dropped", "the upstream that it was meant for has ended")
        else:
            upstream.forward(self, effect)

    def hand_over(self, effect: Forward, upstream: Upstream) -> None:
        """Hand a message that has waited for its upstream over to it, through the gate if there is one."""
        if self.gate is None:
            upstream.transmit(self, effect)
        else:
            self.gate.hand_over(effect, upstream)

    def refuse_modern(self, effect: Forward) -> None:
        """Answer a modern request that no upstream can serve: the server speaks only the handshake era."""
        if effect.pending is not None and effect.message.kind is REQUEST:
            self.core.answered(effect.pending)
            refuse = eras.refuse_stateless if self._server.era is MODERN else eras.refuse_modern
            self.deliver(refuse(effect.pending.raw_id, self._server.name))

    def refuse_closing(self, effect: Forward) -> None:
        """Answer a request that arrives while the gateway shuts down."""
        if effect.pending is not None:
            self.fail(effect.pending, GATEWAY_CLOSING, "the gateway is shutting down; try again later")

    # --- toward the client ----------------------------------------------------------------------

    def deliver(
        self,
        message: Message,
        answered: Pending | None = None,
        received: float = 0.0,
        droppable: bool = False,
    ) -> None:
        """Pass a message from the server on to the client, through the bridge if there is one.

        Args:
            answered: the request it answers, if any.
            received: when the bytes of the upstream arrived (``time.perf_counter``); 0.0 for the gateway's own.
            droppable: whether it may be dropped (see :class:`~mcp_ws_ide.core.effects.Deliver`).
        """
        if self._client.ended:
            return
        if self.bridge is not None:
            return self._perform(self.bridge.to_client(message, answered), received)
        self._client.send(message, answered, received, droppable)

    def fail(self, pending: Pending, code: int, text: str) -> None:
        """Answer a request with an error, unless it was answered or cancelled."""
        error = self.core.fail(pending, code, text)
        if error is not None:
            self.deliver(error)

    # --- the bridge for a client of the handshake era -------------------------------------------

    @property
    def _needs_bridge(self) -> bool:
        """Whether a client of the handshake era is bridged from its first message on."""
        spec = self._server.spec
        return spec.bridge and (self._server.needs_bridge or spec.sharing == "always")

    def handshake_refused(self, pending: Pending, answer: Message) -> None:
        """Bridge the client if the server, which answered ``initialize`` with an error, may speak the modern era."""
        initialize, self._initialize = self._initialize, None
        bridged = (
            self._server.spec.bridge and initialize is not None and legacy_client.refuses_handshake(answer)
        )
        if not bridged or initialize is None or self._server.era is LEGACY:
            return self.deliver(answer, pending)
        if self.private is not None:
            self.private.close()
            self.private = None
        self.core.pending[pending.key] = pending
        self._server.refuses_handshake = True
        self.bridge = _new_bridge(self.core, self._server.name, answer)
        self._perform(self.bridge.from_client(initialize), 0.0)

    def _perform(self, effects: list[Effect], received: float) -> None:
        """Perform what the bridge makes of one message."""
        for effect in effects:
            if self._client.ended:
                return
            if type(effect) is Forward:
                self._forward_bridged(effect)
            elif type(effect) is Deliver:
                self._client.send(effect.message, effect.answered, received, effect.droppable)
            elif type(effect) is Abandon:
                if self._shared is not None:
                    self._shared.abandon(effect.state)
            elif type(effect) is Again:
                self._bridge_timer = self._services.loop.call_later(effect.delay, self._call_bridge_again)

    def _call_bridge_again(self) -> None:
        if self.bridge is not None and not self._client.ended:
            self._perform(self.bridge.again(), 0.0)

    def _forward_bridged(self, effect: Forward) -> None:
        if self._client.closing and effect.message.kind is REQUEST:
            return self.refuse_closing(effect)
        self.forward_modern(effect)

    # --- which upstream -------------------------------------------------------------------------

    def _started_private(self) -> PrivateUpstream:
        self.private = self._new_private()
        self.private.start()
        self._hold_new(self.private)
        return self.private

    def _new_private(self, kept: bytes = b"") -> PrivateUpstream:
        kind = RenewedUpstream if self._server.spec.kind in renewed.KINDS else PrivateUpstream
        return kind(self._services, self._server, self._principal, self, kept)

    def _may_forward_modern(self, effect: Forward) -> bool:
        if self.stateless and self._has_own_process and not self._server.members:
            return False
        declined = self._has_own_process and eras.declines_bridge(effect.message)
        return self._server.era is not LEGACY or (self._server.spec.bridge and not declined)

    @property
    def _has_own_process(self) -> bool:
        """Whether modern messages of this session go to an upstream that no other session uses."""
        sharing = "never" if self._server.members else self._server.spec.sharing
        return sharing == "never" or (self._server.era is LEGACY and sharing != "always")

    def _modern_upstream(self, effect: Forward) -> SharedUpstream | None:
        """Choose the upstream for a modern message; None if it cancels a request of an upstream that is gone."""
        pending = effect.pending
        if effect.message.kind is not REQUEST and pending is not None:
            return self._shared if self._shared is not None and self._shared.mux.owns(pending) else None
        if self._shared is None:
            self._shared = self._own_upstream() if self._has_own_process else self._pooled_upstream()
        return self._shared

    def _pooled_upstream(self) -> SharedUpstream:
        upstream = self._pool.get(self._server, self._principal)
        upstream.attach(self)
        return upstream

    def _own_upstream(self) -> SharedUpstream:
        upstream = SharedUpstream(self._services, self._server, self._principal, sole_user=self)
        upstream.attach(self)
        upstream.start()
        self._hold_new(upstream)
        return upstream

    # --- flow control ---------------------------------------------------------------------------

    def set_reading(self, reading: bool, upstream: Upstream) -> None:
        """Stop reading from the client while any of its upstreams is full."""
        self.stalled_by = [other for other in self.stalled_by if other is not upstream]
        if not reading:
            self.stalled_by.append(upstream)
        if not self._client.ended and not (reading and self.stalled_by):
            self._client.set_reading(reading)

    def hold(self, hold: bool) -> None:
        """Stop or resume reading from the upstreams of the session's own, so that the server feels a slow client."""
        if hold == self.held:
            return
        own = [up for up in (self.private, self._shared) if up is not None and not up.shared]
        self.held = hold and bool(own)
        for upstream in own:
            upstream.hold_reading(hold)

    def _hold_new(self, upstream: Upstream) -> None:
        if self._client.reads_slowly:
            self.held = True
            upstream.hold_reading(True)

    # --- ends -----------------------------------------------------------------------------------

    def private_lost(self, upstream: Upstream, reason: str) -> None:
        """End the session, because its private upstream has ended."""
        if upstream is self.private and not self._client.ended:
            self.private = None
            self._client.private_upstream_lost(reason)

    def shared_lost(self, upstream: Upstream) -> None:
        """Forget an upstream that is gone; the next request starts a new one."""
        if self._shared is upstream:
            self._shared = None

    def server_restarted(self) -> None:
        """End the session if it has a private upstream: the process is being replaced or stopped."""
        if self.private is not None:
            what = f"{self._server.name!r} was {'stopped' if self._server.stopped else 'restarted'}"
            self.private_lost(self.private, f"server {what} by its owner")

    def close(self, *, keep: bool = False) -> None:
        """Leave all upstreams: the session has ended here.

        Args:
            keep: whether its own session at a remote server stays open, for another gateway.
        """
        if self._shared is not None:
            self._shared.detach(self)
        if self.private is not None:
            if keep:
                self.private.keep()
            self.private.close()
        if self._bridge_timer is not None:
            self._bridge_timer.cancel()


def _new_bridge(core: SessionCore, server_name: str, original: Message | None = None) -> LegacyClient:
    return LegacyClient(
        core, server_name, original, new_id=lambda: secrets.token_urlsafe(16), clock=time.time
    )

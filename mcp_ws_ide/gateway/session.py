"""One session: a link on one side, its upstreams on the other, the pure core between them.

A plain session ends with its link. A resumable one keeps what the client has not acknowledged, outlives its
link by the grace time, and goes on with the next one.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import TYPE_CHECKING, Final

from mcp_ws_ide.core import binding, messages
from mcp_ws_ide.core import era as eras
from mcp_ws_ide.core.binding import FRAGILE_MAX_BYTES, CloseCode, ControlError
from mcp_ws_ide.core.bridges import legacy_client
from mcp_ws_ide.core.bridges.legacy_client import LegacyClient
from mcp_ws_ide.core.channel import ACK_WITH_DATA
from mcp_ws_ide.core.effects import Abandon, Again, Deliver, Drop, Effect, Forward, Pending
from mcp_ws_ide.core.era import Era
from mcp_ws_ide.core.resume import GatewayEnd, Overflow, Violation
from mcp_ws_ide.core.session import SessionCore
from mcp_ws_ide.core.tools import ToolRules, refusal, visible
from mcp_ws_ide.errors import (
    CANCELLED,
    GATEWAY_CLOSING,
    INTERNAL_ERROR,
    RESPONSE_TOO_LARGE,
    UPSTREAM_LOST,
    LimitExceeded,
    MalformedMessage,
)
from mcp_ws_ide.gateway.faults import Faults
from mcp_ws_ide.gateway.shared import SharedUpstream
from mcp_ws_ide.gateway.upstream import PrivateUpstream, Upstream
from mcp_ws_ide.links.base import Link, LinkInfo
from mcp_ws_ide.links.http import HttpLink
from mcp_ws_ide.tokens import new_resume_token

if TYPE_CHECKING:
    from mcp_ws_ide.gateway.gateway import Gateway
    from mcp_ws_ide.gateway.server import Server

MALFORMED_LIMIT: Final = 5
"""Malformed messages after which a link is closed with 1002."""

_SURELY_DATA: Final = b'{"jsonrpc"'

log = logging.getLogger(__name__)


class Session:
    """The conversation of one client with one server."""

    def __init__(self, gateway: Gateway, server: Server, link: Link, info: LinkInfo) -> None:
        self.id = secrets.token_hex(8)
        self.created = time.time()
        self.server = server
        self.info = info
        self.core = SessionCore(gateway.limits.max_in_flight)
        self.messages_in = self.messages_out = 0
        self.bytes_in = self.bytes_out = 0
        self.ended = False
        self.resumption: GatewayEnd | None = None
        """The resumable end; None for a plain session."""
        self.faults: Faults | None = None
        """What goes wrong on purpose; None, unless somebody tests the client."""
        self._gateway = gateway
        self._link: Link | None = link
        self._private: PrivateUpstream | None = None
        self._shared: SharedUpstream | None = None
        self._logging: SharedUpstream | None = None
        self._bridge: LegacyClient | None = None
        self._again: asyncio.TimerHandle | None = None
        """When the bridge is to be asked again."""
        self._initialize: Forward | None = None
        self._rules = _rules(server, info)
        self._malformed = 0
        self._link_full = False
        self._held_back = False
        self._stalled_by: set[Upstream] = set()
        """Those that have no room for what the client sends."""
        self._final: tuple[CloseCode, str] | None = None
        """Why the session ends as soon as its client has come back for the rest."""

    @property
    def http_link(self) -> HttpLink | None:
        """The link, where it is a handshake-era HTTP session's."""
        return self._link if isinstance(self._link, HttpLink) else None

    @property
    def link(self) -> Link | None:
        """The link; None while the client is away."""
        return self._link

    @property
    def attached(self) -> bool:
        """Whether there is a link."""
        return self._link is not None

    @property
    def era(self) -> str:
        """The era in use: the legacy handshake wins over a probe that preceded it."""
        if self._private is not None or self._final is not None or self._bridge is not None:
            return Era.LEGACY
        return Era.MODERN if Era.MODERN in self.core.eras else "unknown"

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait for the client."""
        kept = self.resumption.channel.unacked_bytes if self.resumption is not None else 0
        return max(kept, self._link.queued_bytes if self._link is not None else 0)

    # --- from the client ------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take one text message of the client; ``now`` is when it arrived (``time.perf_counter``)."""
        try:
            message = messages.parse(data)
        except MalformedMessage as error:
            self._note_in(data, None)
            return self._refuse(error)
        self.take(message, now)

    def take(self, message: messages.Message, now: float) -> None:
        """As :meth:`receive`, where the message is parsed already."""
        self._note_in(message.data, message)
        effect = self.core.from_client(message, now)
        if self._gateway.closing and type(effect) is Forward and message.kind is messages.Kind.REQUEST:
            return self._refuse_closing(effect)
        if type(effect) is Forward:
            self._try_forward(effect)
            cancels = message.kind is messages.Kind.NOTIFICATION and effect.pending is not None
            if cancels and self.http_link is not None:
                self._answer_cancelled(effect.pending)
        elif type(effect) is Deliver:
            self.deliver(effect.data)
        elif type(effect) is Drop:
            self.server.counters.dropped += 1
            self.observe("dropped", effect.reason)

    def _try_forward(self, effect: Forward) -> None:
        """A mistake of ours costs one request, which is answered, and never the link."""
        try:
            if self._rules and effect.message.method == b'"tools/call"' and self._forbidden(effect):
                return
            self._forward(effect)
        except Exception:
            log.exception("a message for server %s could not be passed on", self.server.name)
            if effect.pending is not None:
                self.fail(effect.pending, INTERNAL_ERROR, "internal error of the gateway; its log says more")

    def _answer_cancelled(self, pending: Pending | None) -> None:
        """Over HTTP a cancelled request has a response open, which no server need ever end."""
        if pending is not None and not self.ended:
            words = "the client cancelled the request"
            error = messages.error_response(pending.raw_id, CANCELLED, words, {"outcome": "unknown"})
            self._deliver(error, pending, 0.0, False)

    def _forbidden(self, effect: Forward) -> bool:
        """Whether allow and deny lists stop a call; then it has been answered."""
        pending = effect.pending
        if pending is None:
            return False
        error = refusal(self._rules, pending.raw_id, effect.message.params)
        if error is None:
            return False
        self.core.answered(pending)
        self._deliver(error, pending, 0.0, False)
        return True

    def receive_counted(self, link: Link, data: bytes, now: float) -> None:
        """As :meth:`receive`, for a resumable session: control frames apart, counted, acknowledged."""
        end = self.resumption
        if end is None or self.ended or not end.received(link):
            return
        if not data.startswith(_SURELY_DATA) and self._control(end, link, data):
            return
        self.receive(data, now)
        channel = end.channel
        if channel.accept(len(data)):
            self._acknowledge_or_hold(end, link)
        elif channel.received - channel.acked == 1:
            self._gateway.ack_due.add(self)

    def _acknowledge_or_hold(self, end: GatewayEnd, link: Link) -> None:
        """A full server holds its client by withholding acknowledgements: the client then keeps to its window, and
        control frames, which make room in the other direction, are still read."""
        channel, window = end.channel, end.window
        if not self._stalled_by:
            link.send(channel.take_ack())
        elif (
            channel.unacked_received > 2 * window.bytes
            or channel.received - channel.acked > 2 * window.frames
        ):
            link.set_reading(False)  # it does not keep to it

    def _control(self, end: GatewayEnd, link: Link, data: bytes) -> bool:
        """Deal with a control frame; False if ``data`` is none."""
        try:
            control = binding.parse_control(data)
            if control is None:
                return False
            for frame in end.control(control):
                link.send(frame)
        except (ControlError, Violation) as error:
            link.close(CloseCode.PROTOCOL_ERROR, str(error))
        if self._held_back:
            self._update_flow()
        return True

    def send_ack(self) -> None:
        """Acknowledge what was received lately, if a link is there to take it."""
        end = self.resumption
        if end is not None and self._link is not None and end.channel.owes_ack and not self._stalled_by:
            self._link.send(end.channel.take_ack())

    def observe(self, event: str, detail: str) -> None:
        """Say something of this session on the tap."""
        info = self.info
        self._gateway.tap.event(info.principal, self.server.name, self.id, event, detail, token=info.token_id)

    @property
    def sees_upstream(self) -> str | None:
        """The gateway token whose holder may see what passes between the gateway and the server for this session;
        None where lists of tools hide some of it from the client."""
        return None if self._rules else self.info.token_id

    def _note_in(self, data: bytes, message: messages.Message | None) -> None:
        size = len(data)
        self.messages_in += 1
        self.bytes_in += size
        counters = self.server.counters
        counters.messages_in += 1
        counters.bytes_in += size
        if self._gateway.tap.active:
            self._gateway.tap.message(
                *(self.info.principal, self.server.name, self.id, "client", "in", data),
                message=message,
                token=self.info.token_id,
            )

    def _refuse(self, error: MalformedMessage) -> None:
        self._malformed += 1
        self.deliver(messages.error_response(b"", error.code, error.reason))
        if self._malformed >= MALFORMED_LIMIT:
            self.end(
                CloseCode.PROTOCOL_ERROR, f"{MALFORMED_LIMIT} malformed messages; the last: {error.reason}"
            )

    def _refuse_closing(self, effect: Forward) -> None:
        if effect.pending is not None:
            self.fail(effect.pending, GATEWAY_CLOSING, "the gateway is shutting down; try again later")

    def _forward(self, effect: Forward) -> None:
        if self._bridge is None and not effect.modern and self._needs_bridge:
            self._bridge = LegacyClient(self.core, self.server.name)
        if self._bridge is not None:
            self._perform(self._bridge.from_client(effect), 0.0)
        elif effect.modern:
            self.forward_modern(effect)
        else:
            if effect.message.method == b'"initialize"':
                self._initialize = effect
            self._private_upstream().forward(self, effect)

    @property
    def _needs_bridge(self) -> bool:
        """Whether a client of the handshake era is bridged from its first message on."""
        spec = self.server.spec
        return (
            spec.bridge and self._private is None and (self.server.needs_bridge or spec.sharing == "always")
        )

    def handshake_refused(self, pending: Pending, answer: messages.Message) -> None:
        """The server answers ``initialize`` with an error: perhaps it speaks only the modern era."""
        initialize, self._initialize = self._initialize, None
        bridged = (
            self.server.spec.bridge and initialize is not None and legacy_client.refuses_handshake(answer)
        )
        if not bridged or initialize is None or self.server.era is Era.LEGACY:
            return self.deliver(answer.data, pending)
        if self._private is not None:
            self._private.close()
            self._private = None
        self.core.pending[pending.key] = pending
        self.server.refuses_handshake = True
        self._bridge = LegacyClient(self.core, self.server.name, answer.data)
        self._perform(self._bridge.from_client(initialize), 0.0)

    def _perform(self, effects: list[Effect], received: float) -> None:
        """What a bridge makes of a message."""
        for effect in effects:
            if self.ended:
                return
            if type(effect) is Forward:
                self._forward_bridged(effect)
            elif type(effect) is Deliver:
                self._deliver(effect.data, effect.answered, received, effect.droppable)
            elif type(effect) is Abandon:
                for upstream in (self._shared, self._logging):
                    if upstream is not None:
                        upstream.abandon(effect.state)
            elif type(effect) is Again:
                self._again = self._gateway.loop.call_later(effect.delay, self._ask_bridge_again)

    def _ask_bridge_again(self) -> None:
        if self._bridge is not None and not self.ended:
            self._perform(self._bridge.again(), 0.0)

    def _forward_bridged(self, effect: Forward) -> None:
        if self._gateway.closing and effect.message.kind is messages.Kind.REQUEST:
            return self._refuse_closing(effect)
        self.forward_modern(effect)

    @property
    def stateless(self) -> bool:
        """Whether it is one exchange over HTTP, and its client will come back as another session."""
        return self.info.link == "http" and self.http_link is None

    def forward_modern(self, effect: Forward) -> None:
        """Hand a modern message to the upstream it is for."""
        if not self._may_forward_modern():
            return self.refuse_modern(effect)
        upstream = self._modern_upstream(effect)
        if upstream is None:
            self.observe("dropped", "the server it belongs to is gone")
        else:
            upstream.forward(self, effect)

    def _private_upstream(self) -> PrivateUpstream:
        if self._private is None:
            self._private = PrivateUpstream(self._gateway, self.server, self)
            self._private.start()
            self._hold_new(self._private)
        return self._private

    def _modern_upstream(self, effect: Forward) -> SharedUpstream | None:
        """The shared upstream, or this session's own one where logs are concerned."""
        pending = effect.pending
        if effect.message.kind is not messages.Kind.REQUEST and pending is not None:
            return self._holder_of(pending)
        own = self._has_own_process
        wants_logs = effect.params.meta is not None and len(memoryview(effect.params.meta.log_level))
        if wants_logs and not own and self.server.spec.sharing != "always":
            logging_upstream = self._logging_upstream()
            if logging_upstream is not None:
                return logging_upstream
        if self._shared is None:
            self._shared = self._own_upstream() if own else self._pooled_upstream()
        return self._shared

    @property
    def _has_own_process(self) -> bool:
        """Whether modern messages of this session go to a server process that no other session uses."""
        sharing = self.server.spec.sharing
        if self.server.members:
            return True
        return sharing == "never" or (self.server.era is Era.LEGACY and sharing != "always")

    def _may_forward_modern(self) -> bool:
        if self.stateless and self._has_own_process and not self.server.members:
            return False
        return self.server.era is not Era.LEGACY or self.server.spec.bridge

    def _pooled_upstream(self) -> SharedUpstream:
        upstream = self._gateway.shared_upstream(self.server, self.info.principal)
        upstream.attach(self)
        return upstream

    def _own_upstream(self) -> SharedUpstream:
        upstream = SharedUpstream(self._gateway, self.server, self.info.principal, sole_owner=self)
        upstream.attach(self)
        upstream.start()
        self._hold_new(upstream)
        return upstream

    def _hold_new(self, upstream: Upstream) -> None:
        if self._link is not None and self._link_full:
            self._held_back = True
            upstream.pause_reading()

    def _holder_of(self, pending: Pending) -> SharedUpstream | None:
        for upstream in (self._shared, self._logging):
            if upstream is not None and upstream.mux.owns(pending):
                return upstream
        return None

    def _logging_upstream(self) -> SharedUpstream | None:
        """A process of its own, since log notifications name no request; None when the limit forbids it."""
        if self._logging is None:
            try:
                self._gateway.check_processes(self.server, wanted=1)
            except LimitExceeded as error:
                self.observe("log_level_stripped", str(error))
                return None
            self._logging = self._own_upstream()
        return self._logging

    def refuse_modern(self, effect: Forward) -> None:
        """The server turned out to speak only the handshake era."""
        if effect.pending is not None and effect.message.kind is messages.Kind.REQUEST:
            self.core.answered(effect.pending)
            refuse = eras.refuse_stateless if self.server.era is Era.MODERN else eras.refuse_modern
            self.deliver(refuse(effect.pending.raw_id, self.server.name))

    # --- toward the client ----------------------------------------------------------------------

    def deliver(
        self, data: bytes, answered: Pending | None = None, received: float = 0.0, droppable: bool = False
    ) -> None:
        """Send one message to the client, or keep it for when it is back.

        Args:
            received: when the upstream's bytes arrived.
            droppable: it may give way when too much waits (see :class:`~mcp_ws_ide.core.effects.Deliver`).
        """
        if self.ended:
            return
        if self._bridge is not None:
            return self._perform(self._bridge.to_client(data, answered), received)
        self._deliver(data, answered, received, droppable)

    def _deliver(self, data: bytes, answered: Pending | None, received: float, droppable: bool) -> None:
        if self._rules and b'"tools"' in data:
            data = self._visible(data)
        if self.info.fragile and len(data) > FRAGILE_MAX_BYTES:
            data = self._too_large(data, answered)
        size = len(data)
        self.messages_out += 1
        self.bytes_out += size
        counters = self.server.counters
        counters.messages_out += 1
        counters.bytes_out += size
        if self._gateway.tap.active:
            self._gateway.tap.message(
                *(self.info.principal, self.server.name, self.id, "client", "out", data),
                token=self.info.token_id,
            )
        end, link = self.resumption, self._link
        if end is not None:
            channel = end.channel
            if not channel.push_if_room(data, droppable) and not self._keep(data, droppable):
                return
            if (
                link is not None
                and channel.received - channel.acked >= ACK_WITH_DATA
                and not self._stalled_by
            ):
                link.send(channel.take_ack())
        if link is not None:
            link.send(data)
        if answered is not None:
            counters.total.observe(time.perf_counter() - answered.received)
            if received and answered.sent:
                counters.upstream.observe(received - answered.sent)
        if self.faults is not None and self.faults.take_duplicate():
            self._send_again(data)

    def _send_again(self, data: bytes) -> None:
        """A server that repeats itself: to the session it is one more message."""
        faults, self.faults = self.faults, None
        self._deliver(data, None, 0.0, False)
        self.faults = faults

    def _visible(self, data: bytes) -> bytes:
        """Whatever holds a list of tools, not the answers to ``tools/list`` alone: an id can be used anew before the
        answer to its cancelled request has come."""
        message = messages.parse(data)
        if not messages.member(message.result, "tools").lstrip().startswith(b"["):
            return data
        return messages.rebuild(message, message.id, result=visible(self._rules, message.result))

    def _keep(self, data: bytes, droppable: bool) -> bool:
        """Keep a message though the window is full. Returns False if that ended the session."""
        assert self.resumption is not None
        channel = self.resumption.channel
        dropped = channel.dropped
        try:
            self.resumption.push(data, droppable)
        except Overflow as error:
            self._gateway.metrics.refusals["window"] += 1
            self.end(CloseCode.OVERFLOW, str(error))
            return False
        if channel.dropped > dropped:
            self._gateway.metrics.gap_messages += channel.dropped - dropped
        self._update_flow()
        return True

    def _too_large(self, data: bytes, answered: Pending | None) -> bytes:
        text = (
            f"the message has {len(data)} bytes, and this client (Python SDK 1.x websocket_client) can receive "
            f"{FRAGILE_MAX_BYTES}; use websocket_transport of mcp_ws_ide.client"
        )
        self.observe("dropped", text)
        return messages.error_response(answered.raw_id if answered else b"", RESPONSE_TOO_LARGE, text)

    def fail(self, pending: Pending, code: int, text: str) -> None:
        """End one request that will get no answer."""
        data = self.core.fail(pending, code, text)
        if data is not None:
            self.deliver(data)

    def set_reading(self, reading: bool, upstream: Upstream) -> None:
        """``upstream`` is full, or has room again; the session may have another one that is full."""
        if reading:
            self._stalled_by.discard(upstream)
        else:
            self._stalled_by.add(upstream)
        if self.ended or (reading and self._stalled_by):
            return
        if self._link is not None and (reading or self.resumption is None):
            self._link.set_reading(reading)
        if reading:
            self.send_ack()

    def link_full(self, full: bool) -> None:
        """The client reads slowly, or has caught up."""
        self._link_full = full
        self._update_flow()

    def _update_flow(self) -> None:
        """Where a server is the session's own, let it feel that its client reads slowly.

        Not while the client is away: a server must be able to finish its work then.
        """
        window_full = self.resumption is not None and self.resumption.channel.full
        hold = self._link is not None and (self._link_full or window_full)
        if hold == self._held_back:
            return
        own = [upstream for upstream in (self._private, self._shared, self._logging) if upstream is not None]
        own = [upstream for upstream in own if not upstream.shared]
        self._held_back = hold and bool(own)
        for upstream in own:
            if hold:
                upstream.pause_reading()
            else:
                upstream.resume_reading()

    # --- links come and go ------------------------------------------------------------------------

    def resume(self, link: Link, info: LinkInfo, presented: bytes, recv: int, now: float) -> None:
        """Go on with a new link; the one before it, if it is still there, is superseded.

        Args:
            presented: digest of the token the client showed.
            recv: data frames the client has received.

        Raises:
            Refused: the session cannot go on from there.
        """
        assert self.resumption is not None
        token, digest = new_resume_token(self.id)
        frames = self.resumption.resume(link, presented, recv, token, digest, now)
        superseded, self._link, self.info = self._link, link, info
        self._rules = _rules(self.server, info)
        self._link_full = False
        if superseded is not None:
            superseded.close(CloseCode.SUPERSEDED, "another link of this client took over")
        for frame in frames:
            link.send(frame)
        self._gateway.session_attached(self, len(frames) - 1)
        self._update_flow()
        if self._final is not None:
            self.close_link(*self._final)

    def link_lost(self, link: Link, code: int, reason: str) -> None:
        """A link of a resumable session is gone. So is the session, if its client said so or cannot go on; else it
        waits."""
        if self.ended or self.resumption is None or link is not self._link:
            return
        confirmed = self._final is not None and code == self._final[0]
        if code == CloseCode.NORMAL or code in binding.VIOLATIONS or confirmed:
            return self.link_closed(code, reason)
        self.resumption.detach(link, time.monotonic())
        self._link = None
        self._gateway.session_detached(self, code, reason)
        self._update_flow()

    def close_link(self, code: CloseCode, reason: str) -> None:
        """Close the link; a resumable session may come back."""
        if self._link is not None:
            self._link.close(code, reason)

    # --- ends -----------------------------------------------------------------------------------

    def upstream_lost(self, upstream: Upstream, reason: str) -> None:
        """The session's own legacy server is gone: answer everything, then close (docs/binding.md, 7)."""
        if upstream is not self._private or self.ended:
            return
        self._private = None
        for pending in [entry for entry in self.core.pending.values() if not entry.upstream_id]:
            self.fail(pending, UPSTREAM_LOST, reason)
        if self.resumption is None:
            return self.end(CloseCode.UPSTREAM_ENDED, reason)
        # The session is over as soon as its client has got the rest, which its close frame confirms.
        self._final = (CloseCode.UPSTREAM_ENDED, reason)
        self.close_link(*self._final)

    def server_restarted(self) -> None:
        """Somebody ordered a new process; a session with a process of its own cannot go on."""
        if self._private is not None:
            done = "stopped" if self.server.stopped else "restarted"
            self.upstream_lost(self._private, f"server {self.server.name!r} was {done} by its owner")

    def shared_lost(self, upstream: SharedUpstream) -> None:
        """A shared server is gone; the next request starts a new one."""
        if self._shared is upstream:
            self._shared = None
        if self._logging is upstream:
            self._logging = None

    def end_for_shutdown(self) -> None:
        """Tell the client what becomes of its requests, then end."""
        for pending in list(self.core.pending.values()):
            self.fail(pending, GATEWAY_CLOSING, "the gateway shut down before the server answered")
        restart = CloseCode.GOING_AWAY if self.resumption is None else CloseCode.SERVICE_RESTART
        self.end(restart, "the gateway is shutting down")

    def end(self, code: CloseCode, reason: str) -> None:
        """End the session from this side."""
        if not self.ended:
            self.close_link(code, reason)
            self.link_closed(code, reason)

    def link_closed(self, code: int, reason: str) -> None:
        """The session is over. Cancels and stops what it had. Idempotent."""
        if self.ended:
            return
        self.ended = True
        for shared in (self._shared, self._logging):
            if shared is not None:
                shared.detach(self)
        if self._private is not None:
            self._private.close()
        if self._again is not None:
            self._again.cancel()
        self.core.pending.clear()
        self._gateway.session_ended(self, code, reason)


def _rules(server: Server, info: LinkInfo) -> tuple[ToolRules, ...]:
    """What limits the tools of a link: the server's own lists, and those of the token it was opened with."""
    return tuple(rules for rules in (server.spec.tools, info.tools) if rules is not None)

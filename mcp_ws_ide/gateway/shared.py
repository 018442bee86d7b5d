"""The upstream of modern sessions: shared by the sessions of one principal, or one session's own.

It detects which era the server speaks, and bridges a server of the handshake era.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from typing import Final

from mcp_ws_ide.core import era as eras
from mcp_ws_ide.core import log_levels, messages
from mcp_ws_ide.core.bridges.legacy_server import INTERNAL_ID, LegacyServer
from mcp_ws_ide.core.bridges.methods import LISTS, READS
from mcp_ws_ide.core.bridges.step import Step
from mcp_ws_ide.core.effects import Deliver, Drop, Forward, Pending, Reply, Unnamed
from mcp_ws_ide.core.era import Era
from mcp_ws_ide.core.lenient_json import error_code, error_text
from mcp_ws_ide.core.messages import REQUEST, RESPONSE, Message
from mcp_ws_ide.core.multiplexer import Multiplexer
from mcp_ws_ide.errors import SESSION_LOST, UPSTREAM_LOST, UPSTREAM_UNAVAILABLE
from mcp_ws_ide.gateway.lingering import Lifetime
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.gateway.services import Services
from mcp_ws_ide.gateway.upstream import Upstream, UpstreamUser
from mcp_ws_ide.transports.base import Transport
from mcp_ws_ide.version import __version__

LOG_MESSAGE: Final = b'"%b"' % log_levels.METHOD.encode()
INITIALIZE: Final = "initialize"
"""The request of a handshake-era client that a bridge turns into ``server/discover``, whose result is another."""


def _unreadable(readers: Iterable[UpstreamUser]) -> str:
    """Return why a log message goes to no session, or "".

    A log message names no request. Sessions of one user that came with the same credential may see each other's; a
    gateway token never shows its holder what others do.
    """
    tokens = {session.token_id for session in readers}
    if not tokens:
        return "log message that no request in flight asked for"
    return "log message that could be for holders of different gateway tokens" if len(tokens) > 1 else ""


def _keeps_process(
    users: set[UpstreamUser], waiting: Iterable[tuple[UpstreamUser, Forward]]
) -> UpstreamUser | None:
    """Return the one session that uses a process of the handshake era, and would need another one without it."""
    declined = any(eras.declines_bridge(forward.message) for _, forward in waiting)
    only = next(iter(users)) if len(users) == 1 and not declined else None
    return only if only is not None and not only.stateless else None


def _repeat(session: UpstreamUser, pending: Pending, request: Message) -> None:
    """Send a request to the next process, once: perhaps it was the request that ended the last one."""
    pending.read, pending.repeated = None, True
    pending.sent, pending.upstream_id = 0.0, 0
    session.forward_modern(Forward(request, True, messages.params_of(request), pending))


class SharedUpstream(Upstream):
    """One attachment to a server for the modern sessions of one principal, or for one session alone.

    Args:
        sole_user: the session that uses it alone, if any.
        on_leaving: called when new sessions must not use it any more.
    """

    def __init__(
        self,
        services: Services,
        server: Server,
        principal: str,
        sole_user: UpstreamUser | None = None,
        on_leaving: Callable[[SharedUpstream], None] = lambda upstream: None,
    ) -> None:
        super().__init__(services, server, principal, sole_user)
        self.mux: Multiplexer[UpstreamUser] = Multiplexer(sole_user)
        self._on_leaving = on_leaving
        self._users: set[UpstreamUser] = set()
        self.lifetime = Lifetime(services, server, self)
        self._probed = False
        """Whether the server was sent a probe; one that exits on it is started again, without."""
        self._probe_open = False
        """Whether the running process was sent the probe, and has not answered it."""
        self._probe_error = ""
        self._bridge: LegacyServer | None = None

    @property
    def era(self) -> Era:
        """The era spoken to the server."""
        return Era.LEGACY if self._bridge is not None else Era.MODERN

    @property
    def shared(self) -> bool:
        """Whether all sessions of its principal use it."""
        return self._sole_user is None

    @property
    def users(self) -> int:
        """The number of sessions that use it."""
        return len(self._users)

    def _new_transport(self) -> Transport:
        stateless = self._sole_user is not None and self._sole_user.stateless
        return self.server.new_transport(self.owner, stateless=stateless)

    # --- era detection ----------------------------------------------------------------------------

    def connected(self) -> None:
        """Detect the server's era before anything else is sent, unless it is known."""
        if self.server.era is Era.MODERN:
            return self.ready()
        if self.server.era is Era.LEGACY or self._probed:
            return self._start_handshake()
        self._probed = self._probe_open = True
        self._await(self._probe_unanswered, self._services.limits.probe_timeout)
        self.send(eras.probe(__version__))

    @property
    def _probing(self) -> bool:
        """Whether the server may exit because of the probe, which it may read late, even after the handshake."""
        return self._deadline is not None and self._probe_open

    @property
    def _for_its_sessions(self) -> bool:
        """Whether its sessions can keep this process if the server needs a handshake."""
        return self._sole_user is not None or self.server.spec.sharing == "always"

    def _probe_answered(self, answer: Message) -> None:
        """Take positive evidence of the modern era; otherwise try a handshake."""
        if error_code(answer.error) == SESSION_LOST:
            return  # the link was lost on the probe; transport_closed decides what that means
        self._probe_open = False
        if eras.read_probe(answer) is Era.MODERN:
            self._answered()
            self._bridge = None  # the response may have arrived after a handshake was started
            self.server.era = Era.MODERN
            return self.ready()
        refusal = self._bridge.failure if self._bridge is not None else ""
        if self._bridge is not None and not refusal:
            return  # the handshake decides
        self._answered()
        if reason := eras.refused_probe(answer) or refusal:
            self._fail_waiting(reason)
        elif self.server.spec.bridge:
            self._probe_error = f"it answered server/discover with {error_text(answer.error)!r}; "
            self._start_handshake()
        else:
            self.server.era = Era.LEGACY
            self._refuse_waiting()

    def _probe_unanswered(self) -> None:
        """Try a handshake: some servers answer nothing before ``initialize``."""
        if self.server.spec.bridge:
            self._start_handshake()
        else:
            self._refuse_waiting()

    def transport_closed(self, reason: str) -> None:
        """Start a server that exited on the probe again, for a handshake; otherwise fail the waiting requests.

        A server that has not read the probe did not exit because of it.
        """
        read_nothing = self._transport is not None and self._transport.read_nothing
        if not self._probing or self._closing or read_nothing:
            return super().transport_closed(reason)
        self._answered()
        if not self.server.spec.bridge:
            self._refuse_waiting()
            return self._end(reason)
        detail = f"{reason}; starting it again with a handshake, because some servers exit if anything else comes first"
        self.tell("upstream_closed", self._tap.redactor.text(detail))
        self._transport = self._bridge = None
        self._probe_open = False
        self.start()

    def _send_away(self) -> None:
        """Give each session a process of its own: they cannot share this one."""
        for session, forward in self._dismiss():
            session.forward_modern(forward)

    def _refuse_waiting(self) -> None:
        """Refuse the waiting requests: the server did not answer the probe, and the bridge is off."""
        for session, forward in self._dismiss():
            session.refuse_modern(forward)

    def _fail_waiting(self, reason: str) -> None:
        """Fail the waiting requests; the next request tries the server again."""
        self.server.failed(self.owner, reason)
        for session, forward in self._dismiss():
            if forward.pending is not None:
                session.fail(forward.pending, UPSTREAM_UNAVAILABLE, f"server {self.server.name!r}: {reason}")

    def _dismiss(self) -> list[tuple[UpstreamUser, Forward]]:
        """End the upstream; return what its sessions had for it."""
        waiting, self._waiting = self._waiting, []
        for session in list(self._users):
            session.shared_lost(self)
        self.close()
        return waiting

    # --- the bridge to a server of the handshake era ----------------------------------------------

    def _start_handshake(self) -> None:
        if not self._for_its_sessions and (only := _keeps_process(self._users, self._waiting)) is not None:
            self._on_leaving(self)
            self._sole_user, self._label, self.mux.sole_owner = only, only.id, only
        params = self._waiting[0][1].message.params if self._waiting else b"{}"
        self._bridge = LegacyServer(
            shared=self._sole_user is None,
            new_state=lambda: secrets.token_urlsafe(32),
            park_time=self._services.limits.park_timeout,
        )
        self._await_handshake(self._handshake_timed_out)
        self._perform(self._bridge.start(params, __version__))

    def _handshake_timed_out(self) -> None:
        silent = self._probed and not self._probe_error
        failed = "answered neither server/discover nor" if silent else "did not answer"
        refusal = self._bridge.failure if self._bridge is not None else ""
        reason = refusal or f"{self._probe_error}it {failed} {self._deadline_text}"
        self._fail_waiting(self.server.start_failure(self.owner, reason))

    def _perform(
        self, step: Step, pending: Pending | None = None, session: UpstreamUser | None = None
    ) -> None:
        for message in step.to_server:
            self.send(message, pending, session)
        now = time.perf_counter()
        for message in step.to_clients:
            self._route(message, now)

    def _from_legacy(self, bridge: LegacyServer, message: Message, now: float) -> None:
        step = bridge.from_server(message, time.monotonic())
        if step.unnamed:
            return self._take_unnamed(message)
        self._perform(step)
        if self._deadline is None or not (bridge.ready or bridge.failure):
            return
        if bridge.initialize_unknown and self._probe_open:
            return  # perhaps it speaks only the modern era, and its answer to the probe takes longer
        self._answered()
        self.server.era = None if bridge.failure else Era.LEGACY
        if bridge.failure:
            # Without a response, or with one from a gateway in between, the server itself has refused nothing.
            self._fail_waiting(self._probe_error + (eras.refused_probe(message) or bridge.failure))
        elif self._for_its_sessions:
            self.ready()
        else:
            self._send_away()

    def abandon(self, state: str) -> None:
        """End the parked call that waits for this ``requestState``, if there is one."""
        if self._bridge is not None and self.accepts:
            self._perform(self._bridge.abandon(state))
        if self._group is not None:
            self._group.abandon(state)

    def tick(self, now: float) -> None:
        """End parked calls whose clients did not return in time; called about once a second."""
        if self._group is not None:
            self._group.tick(now)
        if self._bridge is not None and self.accepts:
            self._perform(self._bridge.expire(now))

    @property
    def parked(self) -> int:
        """The number of calls that are parked here."""
        return 0 if self._bridge is None else self._bridge.parked

    def attach(self, session: UpstreamUser) -> None:
        """Note that ``session`` uses this upstream from now on."""
        self._users.add(session)
        self.lifetime.used()

    def detach(self, session: UpstreamUser) -> None:
        """Cancel what ``session`` left in flight: it has ended."""
        for cancellation in self.mux.drop(session.core.pending.values()):
            if self._bridge is None:
                self.send(cancellation)
            else:
                self._perform(self._bridge.from_client(cancellation, session, time.monotonic()))
        if self._bridge is not None and not session.stateless:  # an HTTP client returns as another session
            self._perform(self._bridge.owner_left(session))
        self._waiting = [entry for entry in self._waiting if entry[0] is not session]
        self._waiting_bytes = sum(len(forward.message.data) for _, forward in self._waiting)
        if session in self._stalled:
            self._stalled.discard(session)
            session.set_reading(True, self)
        self._users.discard(session)
        if not self._users and not self.closed:
            self.lifetime.unused()

    def close(self) -> None:
        """End the server; the next session starts a new one."""
        self._on_leaving(self)
        super().close()

    def transmit(self, session: UpstreamUser, effect: Forward) -> None:
        pending = effect.pending
        waiting = pending is None or session.core.pending.get(pending.key) is pending
        if not waiting and effect.message.kind is REQUEST:
            return  # cancelled while it waited
        if self.lifetime.work is not None and effect.message.kind is REQUEST:
            self.lifetime.work.requested(effect.message)
        if pending is not None and effect.message.method_name in READS and not pending.repeated:
            pending.read = effect.message
        message = self.mux.outbound(session, effect.message, effect.params, pending)
        if self._bridge is None:
            return self.send(message, pending, session)
        self._perform(self._bridge.from_client(message, session, time.monotonic()), pending, session)

    def _seen_by(self, session: UpstreamUser | None) -> str | None:
        """Return None behind a shared bridge: a message may be for several sessions, and only the owner may see it."""
        return None if self._bridge is not None and self.shared else super()._seen_by(session)

    def _meant_for(self, message: Message) -> UpstreamUser | None:
        return self._sole_user or self.mux.addressee(message)

    def _received(self, message: Message, now: float) -> None:
        waiting = self._probed and self._deadline is not None
        if waiting and message.id == eras.PROBE_ID and message.kind is RESPONSE:
            return self._probe_answered(message)
        if self._bridge is not None:
            return self._from_legacy(self._bridge, message, now)
        self._route(message, now)

    def _route(self, message: Message, now: float) -> None:
        """Deliver a message from a modern server to the session it belongs to."""
        if message.method == LOG_MESSAGE and self._sole_user is None:
            return self._route_log(message, now)
        owner, effect = self.mux.inbound(message)
        if type(effect) is Deliver and owner is not None:
            delivered, answered = effect.message, effect.answered
            if answered is not None:
                owner.core.answered(answered)
                if (delivered.odd and answered.method != INITIALIZE) or answered.method in LISTS:
                    delivered = self._odd.usable(answered.method, delivered, strict=False)
                    if answered.method not in LISTS:
                        self.lifetime.note_result(delivered.result, self._transport, now)
            elif self.lifetime.work is not None:
                self.lifetime.work.notified(delivered, now)
            owner.deliver(delivered, answered, now, effect.droppable)
        elif type(effect) is Reply:
            self.send(effect.message)
        elif type(effect) is Drop:
            if message.kind is not RESPONSE or not self._odd.take_repeated(message):
                self._dropped(effect)
        elif type(effect) is Unnamed:
            self._take_unnamed(message)

    def _take_unnamed(self, answer: Message) -> None:
        """Handle a response whose id names no open request."""
        late_probe = self._probe_open and answer.id == eras.PROBE_ID
        self._probe_open = self._probe_open and not late_probe
        of_bridge = answer.id.startswith(b'"' + INTERNAL_ID.encode())  # of one that was given up
        take = self._odd.take_repeated if self.mux.was_used(answer.id) else self._odd.take_unnamed
        if late_probe or of_bridge or not take(answer):
            self._dropped(Drop("response that matches no request in flight"))

    def open_ids(self) -> list[bytes]:
        """Return the ids, as JSON, of the requests that the server has not answered."""
        probe = [eras.PROBE_ID] if self._probe_open and self._deadline is not None else []
        return [*probe, *(self.mux.open_ids() if self._bridge is None else self._bridge.open_ids())]

    def was_used(self, raw_id: bytes) -> bool:
        """Return whether an id named a request that is no longer open."""
        return self.mux.was_used(raw_id)

    @property
    def position(self) -> float:
        """The number of requests so far."""
        return self.mux.sent

    def open_after(self, position: float) -> list[bytes]:
        """Return the ids, as JSON, of the open requests that were sent after a position."""
        return self.mux.open_after(int(position))

    def ended_after(self, position: float) -> int:
        """Return how many requests sent after a position have ended."""
        return self.mux.ended_after(int(position))

    @property
    def has_cancelled(self) -> bool:
        """Whether any request was cancelled."""
        return self.mux.has_cancelled

    def _route_log(self, message: Message, now: float) -> None:
        """Deliver a log message to each session that has a request in flight which asked for it."""
        readers = self.mux.log_readers(message)
        if reason := _unreadable(readers):
            return self._dropped(Drop(reason))
        for session in readers:
            session.deliver(message, None, now, True)

    def ended(self, reason: str) -> None:
        """Fail what is in flight, and send what only reads to the next process, for which the sessions continue."""
        self._on_leaving(self)
        self._answered()
        for session in list(self._users):  # first, since a failure may lead to another request
            session.shared_lost(self)
        unsent = {messages.parse(data).id for data in self._transport.unsent} if self._transport else set()
        for session, pending in self.mux.fail_all():
            if pending.read is not None and not self._closing and not session.ended:
                _repeat(session, pending, pending.read)
                continue
            if b"%d" % pending.upstream_id in unsent:
                pending.sent = 0.0
            session.fail(pending, UPSTREAM_LOST, f"server {self.server.name!r} ended: {reason}")


class SharedPool:
    """The upstreams that sessions of one principal share: at most one for each server and principal."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._upstreams: dict[tuple[Server, str], SharedUpstream] = {}

    def known(self, server: Server, principal: str) -> SharedUpstream | None:
        """Return the upstream that this principal's sessions share, if there is one."""
        return self._upstreams.get((server, principal))

    def get(self, server: Server, principal: str) -> SharedUpstream:
        """Return the upstream that this principal's sessions share; start it if there is none."""
        upstream = self._upstreams.get((server, principal))
        if upstream is None or upstream.closed:
            upstream = SharedUpstream(self._services, server, principal, on_leaving=self._forget_one)
            self._upstreams[server, principal] = upstream
            upstream.start()
        return upstream

    def _forget_one(self, upstream: SharedUpstream) -> None:
        key = upstream.server, upstream.owner
        if self._upstreams.get(key) is upstream:
            del self._upstreams[key]

    def of_server(self, server: Server) -> list[SharedUpstream]:
        """Return the upstreams of this server."""
        return [upstream for upstream in self._upstreams.values() if upstream.server is server]

    def forget(self, server: Server) -> None:
        """Let the next session start a new upstream of this server; the old ones continue for their sessions."""
        for upstream in self.of_server(server):
            self._forget_one(upstream)

"""A live attachment to a server: what private and shared upstreams have in common.

An upstream owns its transport from the first byte to the last. Messages that arrive before the server is ready wait in
order. When the server exits, every unanswered request fails with an error whose ``data.outcome`` says whether it may
have run. Sessions are known only as :class:`UpstreamUser`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Protocol

from mcp_ws_ide.compiling import mypyc_attr
from mcp_ws_ide.core import messages
from mcp_ws_ide.core.effects import Drop, Forward, Pending
from mcp_ws_ide.core.era import Era
from mcp_ws_ide.core.lenient_json import encode
from mcp_ws_ide.core.messages import Message
from mcp_ws_ide.core.session import SessionCore
from mcp_ws_ide.errors import (
    INTERNAL_ERROR,
    UPSTREAM_UNAVAILABLE,
    LimitExceededError,
    MalformedMessageError,
    NotAttemptedError,
    TransportClosedError,
    TransportError,
)
from mcp_ws_ide.gateway.message_transport import MessageTransport
from mcp_ws_ide.gateway.odd_messages import Conversation, OddMessages
from mcp_ws_ide.gateway.patience import Patience, download_hint
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.gateway.services import Services
from mcp_ws_ide.transports.base import Transport

HIGH_WATER: Final = 1 << 20
"""Bytes waiting for a server that is not ready, above which its clients are not read."""

INTERNAL: Final = "internal error of the gateway; see its log"
"""The text of errors that an exception in the gateway causes."""

log: Final = logging.getLogger(__name__)


class ClientState(Protocol):
    """The client of a session, as far as upstreams have to know it."""

    @property
    def token_id(self) -> str | None:
        """The gateway token that the client came with; None if it came with a credential of the user's own."""

    @property
    def away(self) -> bool:
        """Whether nothing would reach the client now."""

    @property
    def token_for_upstream(self) -> str | None:
        """The gateway token whose holder may see the session's traffic with the server; None if no one may."""


class UpstreamUser(ClientState, Protocol):
    """A session, as an upstream sees it. No method waits."""

    id: str
    core: SessionCore

    def __hash__(self) -> int: ...

    @property
    def ended(self) -> bool:
        """Whether the session has ended."""

    def deliver(self, message: Message, answered: Pending | None, received: float, droppable: bool) -> None:
        """Pass a message from the server on to the client.

        Args:
            answered: the request it answers, if any.
            received: when its bytes arrived (``time.perf_counter``).
            droppable: whether it may be dropped when the window is full.
        """

    def fail(self, pending: Pending, code: int, text: str) -> None:
        """Answer a request with an error, unless it was answered or cancelled."""

    def set_reading(self, reading: bool, upstream: Upstream) -> None:
        """Stop or resume reading from the client; a client is read when all of its upstreams agree."""

    # --- called by shared upstreams ---------------------------------------------------------------

    @property
    def stateless(self) -> bool:
        """Whether the session is one exchange over HTTP; the client returns as another session."""

    def hand_over(self, effect: Forward, upstream: Upstream) -> None:
        """Hand a message that has waited for its upstream over to it with :meth:`Upstream.transmit`."""

    def forward_modern(self, effect: Forward) -> None:
        """Choose an upstream again for a message that its upstream gives back."""

    def refuse_modern(self, effect: Forward) -> None:
        """Answer a request that its upstream gives back: the server speaks only the handshake era."""

    def shared_lost(self, upstream: Upstream) -> None:
        """Forget an upstream that is gone; the next request starts a new one."""

    # --- called by private upstreams --------------------------------------------------------------

    def private_lost(self, upstream: Upstream, reason: str) -> None:
        """End the session, because its own server has ended."""

    def handshake_refused(self, pending: Pending, answer: Message) -> None:
        """Handle a server that answers ``initialize`` with an error: it may speak only the modern era."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Upstream(Conversation, ABC):
    """One attachment to a server; also the :class:`~mcp_ws_ide.transports.base.Receiver` of its transport.

    Args:
        owner: the principal whose upstream it is.
        sole_user: the session that uses it alone, if any.
    """

    def __init__(
        self, services: Services, server: Server, owner: str, sole_user: UpstreamUser | None
    ) -> None:
        self._services = services
        self._tap = services.tap
        self.server = server
        self.started = time.time()
        self.owner = owner
        self._sole_user = sole_user
        self._label = sole_user.id if sole_user is not None else None
        self._transport: Transport | None = None
        self._group: MessageTransport | None = None
        """The transport, if the server is a group."""
        self._waiting: list[tuple[UpstreamUser, Forward]] = []
        self._waiting_bytes = 0
        self._transport_paused = False
        self._held = False
        """Whether the server is not to be read, because its client reads slowly."""
        self._stalled: set[UpstreamUser] = set()
        self.accepts = False
        """Whether messages are sent without waiting."""
        self._closing = False
        self._unwanted = asyncio.Event()
        self._deadline: asyncio.TimerHandle | None = None
        """When the server must have answered the probe, or the handshake."""
        self._patience = Patience(services.limits.probe_timeout, services.loop.time)
        self._odd = OddMessages(self, services.loop, services.tap)
        self.closed = False
        server.upstreams.add(self)

    @property
    @abstractmethod
    def era(self) -> Era:
        """The era spoken to the server."""

    @property
    @abstractmethod
    def shared(self) -> bool:
        """Whether all sessions of its principal use it."""

    @property
    @abstractmethod
    def users(self) -> int:
        """The number of sessions that use it."""

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the server in the background."""
        self._services.tasks.spawn(self._start(), f"start {self.server.name}")

    async def _start(self) -> None:
        try:
            # A prewarmed process is counted already.
            self.server.check_processes(self.owner, wanted=-1 if self.server.prewarmed else 0)
            await self._wait_for_turn(self.server.crash_loop(self.owner).delay())
            if self._closing:
                return self._end("it was stopped before it had started")
            prewarmed = self.server.prewarmed
            transport = prewarmed.take(self) if prewarmed is not None else None
            if transport is None:
                transport = self._new_transport()
                await transport.connect(self)
        except (TransportError, LimitExceededError) as error:
            failed = isinstance(error, TransportError) and not isinstance(error, NotAttemptedError)
            if failed and self.server.refusal_to(self.owner) is None:
                self.server.crashed(self.owner)
            return self._end(str(error), failed=failed)
        except Exception:  # an internal error must not leave a request without a response
            log.exception("cannot attach to server %s", self.server.name)
            return self._end(INTERNAL)
        self._transport = transport
        self._group = transport if isinstance(transport, MessageTransport) else None
        if self._closing:
            return await transport.close()
        what = transport.kind if transport.pid is None else f"pid {transport.pid}"
        log.info("server %s started, %s", self.server.name, what)
        self.tell("upstream_started", what)
        try:
            self.connected()
        except Exception:
            log.exception("the messages queued for server %s could not be sent", self.server.name)
            self._end(INTERNAL)
            await transport.close()

    def _new_transport(self) -> Transport:
        return self.server.new_transport(self.owner)

    async def _wait_for_turn(self, delay: float) -> None:
        """Wait for the backoff after a crash, or until the upstream is no longer wanted."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._unwanted.wait()

    def connected(self) -> None:
        """Continue now that the transport is connected."""
        self.ready()

    def ready(self) -> None:
        """Send what has waited; later messages are sent immediately."""
        self.accepts = True
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        for session, forward in waiting:
            session.hand_over(forward, self)
        if not self._transport_paused:  # by what has just been sent
            self._wake_stalled()
        if self._held:
            self.hold_reading(True)

    @property
    def closing(self) -> bool:
        """Whether it is being ended."""
        return self._closing

    def close(self) -> None:
        """End the server in the background, as it is no longer needed."""
        if self._closing:
            return
        self._closing = True
        self._unwanted.set()
        if self._transport is not None:
            self._services.tasks.spawn(self._transport.close(), f"close {self.server.name}")

    async def aclose(self) -> None:
        """End the server, and wait for that."""
        self._closing = True
        self._unwanted.set()
        if self._transport is not None:
            await self._transport.close()

    def transport_closed(self, reason: str) -> None:
        """Fail the requests that wait for the server, which has ended."""
        reason = self._tap.redactor.text(reason)  # it may quote stderr of the server
        if not self._closing:
            starting = self._deadline is not None
            reason = self.server.exited(self.owner, reason, self._transport, starting=starting)
            log.warning("server %s ended: %s", self.server.name, reason)
        self._end(reason)

    def _end(self, reason: str, *, failed: bool = True) -> None:
        if self.closed:
            return
        reason = self._tap.redactor.text(reason)
        self.closed = True
        self.accepts = False
        self._odd.close()
        self.server.upstreams.discard(self)
        if failed and not self._closing:
            self.server.failed(self.owner, reason)
        self.tell("upstream_closed", reason)
        waiting, self._waiting = self._waiting, []
        for session, forward in waiting:
            if forward.pending is not None and forward.message.kind is messages.REQUEST:
                session.fail(forward.pending, UPSTREAM_UNAVAILABLE, f"server {self.server.name!r}: {reason}")
        self._wake_stalled()
        self.ended(reason)

    @abstractmethod
    def ended(self, reason: str) -> None:
        """Tell the sessions that use it that the server is gone."""

    def _await(self, too_late: Callable[[], None], seconds: float) -> None:
        def expired() -> None:
            self._deadline = None
            too_late()

        self._deadline = self._services.loop.call_later(seconds, expired)

    def _answered(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _await_handshake(self, too_late: Callable[[], None]) -> None:
        """Call ``too_late`` if the handshake, which begins now, is not answered in time."""
        self._patience.begin(process=self._transport is not None and self._transport.process)
        self._patience.watch(self._await, too_late)

    @property
    def _deadline_text(self) -> str:
        """What the server failed to answer in time, for an error text."""
        return f"initialize within {self._patience}{download_hint(self.server.spec.command)}"

    # --- toward the server ----------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """The process id, if it has one."""
        return self._transport.pid if self._transport is not None else None

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait for the server."""
        return self._waiting_bytes + (self._transport.queued_bytes if self._transport is not None else 0)

    def forward(self, session: UpstreamUser, effect: Forward) -> None:
        """Send a client's message, now or when the server is ready."""
        if self.accepts:
            self.transmit(session, effect)
        else:
            self._waiting.append((session, effect))
            self._waiting_bytes += len(effect.message.data)
        if self._transport_paused or self._waiting_bytes > HIGH_WATER:
            self._stalled.add(session)
            session.set_reading(False, self)

    @abstractmethod
    def transmit(self, session: UpstreamUser, effect: Forward) -> None:
        """Send a client's message now: the server is ready."""

    def send(
        self, message: Message, pending: Pending | None = None, session: UpstreamUser | None = None
    ) -> None:
        """Hand a message to the transport; ``session`` is the one whose ``pending`` request it carries."""
        transport = self._transport
        if transport is None:
            return
        data = messages.one_line(message.data)
        if self._tap.active:
            origin = (session.id, pending.raw_id) if pending is not None and session is not None else None
            name, token = self.server.name, self._seen_by(session)
            self._tap.message(self.owner, name, self._label, "upstream", "out", data, message, origin, token)
        try:
            if self._group is not None:
                self._group.send_message(message)
            else:
                transport.send(data)
        except TransportClosedError:
            return  # transport_closed fails what is pending
        if pending is not None:
            pending.sent = time.perf_counter()
        elif message.kind is not messages.REQUEST:
            self._odd.note_unanswerable()

    def write_paused(self, paused: bool) -> None:
        """Note that the server takes its input too slowly, or fast enough again."""
        self._transport_paused = paused
        if not paused:
            self._wake_stalled()

    def _wake_stalled(self) -> None:
        stalled, self._stalled = self._stalled, set()
        for session in stalled:
            session.set_reading(True, self)

    # --- from the server ------------------------------------------------------------------------

    def message_received(self, data: bytes) -> None:
        """Handle one message from the server, as it was written."""
        now = time.perf_counter()
        if not data.isascii() and not messages.is_text(data):
            return self._odd.read(data)
        try:
            message = messages.parse_server(data)
        except MalformedMessageError:
            return self._odd.read(data)
        self._take(data, message, now)

    def parsed_received(self, message: Message) -> None:
        """Handle one message from a server that is in the gateway itself."""
        self._take(message.data, message, time.perf_counter())

    def _take(self, data: bytes, message: Message, now: float) -> None:
        """Handle a message from the server; ``data`` is how it was written."""
        if self._tap.active:
            self.observe(data, message)
        try:
            if message.kind is not messages.REQUEST or not self._odd.take_echo(message):
                self._received(message, now)
        except Exception:  # an internal error costs one message, never the rest of what was read
            log.exception("a message of server %s could not be passed on", self.server.name)
            if message.kind is messages.RESPONSE:
                self.fail_open(message.id, encode({"code": INTERNAL_ERROR, "message": INTERNAL}))

    def fail_open(self, raw_id: bytes, error: bytes) -> None:
        """Fail an open request, named by its id toward the server, with an error object; both are JSON."""
        try:
            self._received(messages.failure(raw_id, error), time.perf_counter())
        except Exception:
            log.exception("an error of server %s could not be passed on", self.server.name)

    def observe(self, data: bytes, message: Message | None) -> None:
        """Report a message from the server on the tap."""
        tap = self._tap
        token = self._seen_by(self._meant_for(message)) if tap.for_tokens and message is not None else None
        tap.message(self.owner, self.server.name, self._label, "upstream", "in", data, message, None, token)

    @abstractmethod
    def _meant_for(self, message: Message) -> UpstreamUser | None:
        """Return the session that a message from the server belongs to; None if that is not known yet."""

    def tell(self, event: str, detail: str) -> None:
        """Report an event of this upstream on the tap."""
        session = self._sole_user
        token = session.token_for_upstream if session is not None and not session.ended else None
        self._tap.event(self.owner, self.server.name, self._label, event, detail, token=token)

    def _seen_by(self, session: UpstreamUser | None) -> str | None:
        """Return the gateway token whose holder may see a message for this session."""
        return session.token_for_upstream if session is not None else None

    @abstractmethod
    def _received(self, message: Message, now: float) -> None: ...

    def noise_received(self, source: str, text: str) -> None:
        """Report output that is not a message on the tap and in the log."""
        self._patience.note_writing()
        if source == "stderr":
            self.server.stderr(self.owner).add(self.pid, text)
        tap = self._tap
        tap.noise(self.owner, self.server.name, self._label, source, text)
        if log.isEnabledFor(logging.DEBUG):
            for line in tap.redactor.lines(text):
                log.debug("%s of server %s: %s", source, self.server.name, line)

    def hold_reading(self, hold: bool) -> None:
        """Stop reading from the server while a client reads slowly, or resume.

        Not before the server is ready, which requires reading.
        """
        held, self._held = self._held, hold
        if not self.accepts or self._transport is None:
            return
        if hold:
            self._transport.pause_reading()
        elif held:
            self._transport.resume_reading()

    def abandon(self, state: str) -> None:
        """End the parked call that waits for this ``requestState``, if it has one."""

    def tick(self, now: float) -> None:
        """Do what is due; called about once a second (``now``: ``time.monotonic``)."""

    def _dropped(self, effect: Drop) -> None:
        self.server.counters.dropped += 1
        self.tell("dropped", effect.reason)

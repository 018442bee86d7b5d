"""Live attachments to servers: what all have in common, and the kind that is one session's own (the other: shared.py).

An upstream owns its transport from the first byte to the last. Messages that arrive before the server is
ready wait in order; when the server ends, every request it owes an answer gets an error that says whether
it may have run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.effects import Deliver, Drop, Forward, Pending, Reply
from mcp_ws_ide.core.era import Era
from mcp_ws_ide.errors import (
    INTERNAL_ERROR,
    UPSTREAM_UNAVAILABLE,
    LimitExceeded,
    MalformedMessage,
    NotAttempted,
    TransportClosed,
    TransportError,
)
from mcp_ws_ide.transports.base import Transport

if TYPE_CHECKING:
    from mcp_ws_ide.gateway.gateway import Gateway
    from mcp_ws_ide.gateway.server import Server
    from mcp_ws_ide.gateway.session import Session

HIGH_WATER: Final = 1 << 20
"""Bytes waiting for a server that is not ready, above which its clients are not read."""

HANDSHAKE_FACTOR: Final = 6
"""How many times as long as for the probe a handshake is waited for: a first start may download the server."""

ANSWER_ENDS: Final = 2048
"""How much of either end of an unusable message is searched for the id it answers."""


log = logging.getLogger(__name__)


class Upstream(ABC):
    """What both kinds have in common; also the :class:`~mcp_ws_ide.transports.base.Receiver`."""

    era: Era
    shared: bool
    handshake_factor = HANDSHAKE_FACTOR

    def __init__(self, gateway: Gateway, server: Server, owner: str, label: str | None) -> None:
        self._gateway = gateway
        self.server = server
        self.started = time.time()
        self.owner = owner
        self._label = label
        self._transport: Transport | None = None
        self._waiting: list[tuple[Session, Forward]] = []
        self._waiting_bytes = 0
        self._transport_paused = False
        self._held = False
        """Whether it is not to be read."""
        self._stalled: set[Session] = set()
        self._ready = False
        self._closing = False
        self._unwanted = asyncio.Event()
        self._deadline: asyncio.TimerHandle | None = None
        """Until when the server has to answer the probe, or the handshake."""
        self.closed = False
        server.upstreams.add(self)

    @property
    @abstractmethod
    def users(self) -> int:
        """Sessions that use it."""

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to start the server; returns at once."""
        self._gateway.tasks.spawn(self._start(), f"start {self.server.name}")

    async def _start(self) -> None:
        try:
            if not self.server.warm:  # one that was started ahead is counted already
                self._gateway.check_processes(self.server)
            await self._wait_for_turn(self.server.crash_loop.delay())
            if self._closing:
                return self._end("ended before it was started")
            transport = self._warm_transport()
            if transport is None:
                transport = self._new_transport()
                await transport.connect(self)
        except (TransportError, LimitExceeded) as error:
            failed = isinstance(error, TransportError) and not isinstance(error, NotAttempted)
            if failed and self.server.refusal is None:
                self.server.crash_loop.crashed()
            return self._end(str(error), failed=failed)
        except Exception:  # a mistake of ours must not leave anybody waiting
            log.exception("server %s could not be attached to", self.server.name)
            return self._end("internal error of the gateway; its log says more")
        self._transport = transport
        if self._closing:
            return await transport.close()
        what = transport.kind if transport.pid is None else f"pid {transport.pid}"
        log.info("server %s started, %s", self.server.name, what)
        self._tell("upstream_started", what)
        try:
            self.connected()
        except Exception:
            log.exception("what waited for server %s could not be sent", self.server.name)
            self._end("internal error of the gateway; its log says more")
            await transport.close()

    def _warm_transport(self) -> Transport | None:
        """A process that was started ahead."""
        return self.server.warm.take(self) if self.server.warm is not None else None

    def _new_transport(self) -> Transport:
        return self.server.new_transport(self.owner)

    async def _wait_for_turn(self, delay: float) -> None:
        """The delay after a crash; cut short when the upstream is not wanted any more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._unwanted.wait()

    def connected(self) -> None:
        """The transport is up."""
        self.ready()

    def ready(self) -> None:
        """Send what has waited; from now on everything goes straight through."""
        self._ready = True
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        for session, forward in waiting:
            self._transmit(session, forward)
        if not self._transport_paused:  # by what has just been sent
            self._wake_stalled()
        if self._held:
            self.pause_reading()

    @property
    def closing(self) -> bool:
        """Whether it is being ended."""
        return self._closing

    def close(self) -> None:
        """End the server because nobody needs it; returns at once."""
        if self._closing:
            return
        self._closing = True
        self._unwanted.set()
        if self._transport is not None:
            self._gateway.tasks.spawn(self._transport.close(), f"close {self.server.name}")

    async def aclose(self) -> None:
        """End the server and wait until it has ended."""
        self._closing = True
        self._unwanted.set()
        if self._transport is not None:
            await self._transport.close()

    def transport_closed(self, reason: str) -> None:
        """The server is gone."""
        reason = self._gateway.tap.redactor.text(reason)  # it may quote the server's last words
        if not self._closing:
            self.server.counters.restarts += 1
            self.server.crash_loop.crashed()
            log.warning("server %s ended: %s", self.server.name, reason)
        self._end(reason)

    def _end(self, reason: str, *, failed: bool = True) -> None:
        if self.closed:
            return
        reason = self._gateway.tap.redactor.text(reason)
        self.closed = True
        self._ready = False
        self.server.upstreams.discard(self)
        if failed and not self._closing:
            self.server.failed(self.owner, reason)
        self._tell("upstream_closed", reason)
        waiting, self._waiting = self._waiting, []
        for session, forward in waiting:
            if forward.pending is not None and forward.message.kind is messages.Kind.REQUEST:
                session.fail(forward.pending, UPSTREAM_UNAVAILABLE, f"server {self.server.name!r}: {reason}")
        self._wake_stalled()
        self.ended(reason)

    @abstractmethod
    def ended(self, reason: str) -> None:
        """Tell everybody who was waiting for the server."""

    def _await(self, too_late: Callable[[], None], seconds: float) -> None:
        def expired() -> None:
            self._deadline = None
            too_late()

        self._deadline = self._gateway.loop.call_later(seconds, expired)

    def _answered(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    @property
    def _handshake_timeout(self) -> float:
        return self.handshake_factor * self._gateway.limits.probe_timeout

    @property
    def _in_time(self) -> str:
        """What a server did not do that answered no handshake, in words."""
        return (
            f"initialize within {self._handshake_timeout:g} s ({self.handshake_factor} times probe_timeout)"
        )

    # --- toward the server ----------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """Process id, when there is one."""
        return self._transport.pid if self._transport is not None else None

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait for the server."""
        return self._waiting_bytes + (self._transport.queued_bytes if self._transport is not None else 0)

    def forward(self, session: Session, effect: Forward) -> None:
        """Send a client's message, now or as soon as the server is ready."""
        if self._ready:
            self._transmit(session, effect)
        else:
            self._waiting.append((session, effect))
            self._waiting_bytes += len(effect.message.data)
        if self._transport_paused or self._waiting_bytes > HIGH_WATER:
            self._stalled.add(session)
            session.set_reading(False, self)

    @abstractmethod
    def _transmit(self, session: Session, effect: Forward) -> None: ...

    def send(self, data: bytes, pending: Pending | None = None, session: Session | None = None) -> None:
        """Hand one line to the transport; ``session`` is the one whose ``pending`` request it carries."""
        transport = self._transport
        if transport is None:
            return
        if self._gateway.tap.active:
            origin = (session.id, pending.raw_id) if pending is not None and session is not None else None
            self._gateway.tap.message(
                *(self.owner, self.server.name, self._label, "upstream", "out", data),
                origin=origin,
                token=self._seen_by(session),
            )
        try:
            transport.send(data)
        except TransportClosed:
            return  # transport_closed fails what is pending
        if pending is not None:
            pending.sent = time.perf_counter()

    def write_paused(self, paused: bool) -> None:
        """The server takes its input too slowly, or fast enough again."""
        self._transport_paused = paused
        if not paused:
            self._wake_stalled()

    def _wake_stalled(self) -> None:
        stalled, self._stalled = self._stalled, set()
        for session in stalled:
            session.set_reading(True, self)

    # --- from the server ------------------------------------------------------------------------

    def message_received(self, message: bytes) -> None:
        """One line of the server."""
        now = time.perf_counter()
        if not messages.is_text(message):
            self._observe(message, None)
            self.noise_received("stdout", f"a line of {len(message)} bytes that is not UTF-8")
            return self._unusable(message, now, "the server's answer is not valid UTF-8")
        try:
            parsed = messages.parse(message)
        except MalformedMessage as error:
            self._observe(message, None)
            log.debug("server %s sent a malformed message: %s", self.server.name, error)
            return self._unusable(message, now, f"the server's answer is no JSON-RPC message: {error}")
        if self._gateway.tap.active:
            self._observe(message, parsed)
        try:
            self._received(parsed, now)
        except Exception:  # a mistake of ours costs one message, never the rest of what was read
            log.exception("a message of server %s could not be passed on", self.server.name)
            self._unusable(message, now, "internal error of the gateway; its log says more")

    def _observe(self, data: bytes, message: messages.Message | None) -> None:
        """Show what came from the server on the tap."""
        tap = self._gateway.tap
        tap.message(
            *(self.owner, self.server.name, self._label, "upstream", "in", data),
            message=message,
            token=self._seen_by(self._meant_for(message)) if tap.for_tokens and message is not None else None,
        )

    @abstractmethod
    def _meant_for(self, message: messages.Message) -> Session | None:
        """The session whose message of the server this is; None where that is not known before it is dealt with."""

    def _tell(self, event: str, detail: str) -> None:
        """Say something of this upstream on the tap."""
        session = self._gateway.sessions.get(self._label or "")
        token = session.sees_upstream if session is not None else None
        self._gateway.tap.event(self.owner, self.server.name, self._label, event, detail, token=token)

    def _seen_by(self, session: Session | None) -> str | None:
        """The gateway token whose holder may see a message that passes for this session."""
        return session.sees_upstream if session is not None else None

    def _unusable(self, message: bytes, now: float, words: str) -> None:
        """Nobody gets this message; if it was an answer, its request still gets one."""
        self.server.counters.dropped += 1
        raw_id = messages.answered_id(message[:ANSWER_ENDS], message[-ANSWER_ENDS:])
        if raw_id:
            with contextlib.suppress(MalformedMessage):
                error = messages.error_response(raw_id, INTERNAL_ERROR, words, {"outcome": "unknown"})
                self._received(messages.parse(error), now)

    @abstractmethod
    def _received(self, message: messages.Message, now: float) -> None: ...

    def noise_received(self, source: str, text: str) -> None:
        """Output that is no message stays visible in the tap and the log."""
        if source == "stderr":
            self.server.stderr(self.owner).add(self.pid, text)
        tap = self._gateway.tap
        tap.noise(self.owner, self.server.name, self._label, source, text)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s of server %s: %s", source, self.server.name, tap.redactor.text(text))

    def pause_reading(self) -> None:
        """Let the server feel that its client reads slowly; not before it is ready, for which it has to be read."""
        self._held = True
        if self._ready and self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Undo :meth:`pause_reading`."""
        held, self._held = self._held, False
        if held and self._ready and self._transport is not None:
            self._transport.resume_reading()

    def tick(self, now: float) -> None:  # noqa: B027 - most have nothing to do
        """Called about once a second (``now``: ``time.monotonic``)."""

    def _dropped(self, effect: Drop) -> None:
        self.server.counters.dropped += 1
        self._tell("dropped", effect.reason)


class PrivateUpstream(Upstream):
    """A legacy session's own server process: every message passes verbatim, in both directions."""

    era = Era.LEGACY
    shared = False
    handshake_factor = 30
    """Its client may be in no hurry, and have no bound of its own; what is being downloaded is not to be cut off."""

    def __init__(self, gateway: Gateway, server: Server, session: Session) -> None:
        super().__init__(gateway, server, session.info.principal, session.id)
        self._session = session

    @property
    def users(self) -> int:
        """Sessions that use it."""
        return 1

    def _transmit(self, session: Session, effect: Forward) -> None:
        self.send(messages.one_line(effect.message.data), effect.pending, session)
        if effect.pending is not None and effect.pending.method == "initialize":
            self._answered()
            self._await(partial(self._not_shaken, effect.pending), self._handshake_timeout)

    def _not_shaken(self, initialize: Pending) -> None:
        """A server that answers no handshake is no use; its client may know no bound of its own."""
        if self._session.core.pending.get(initialize.key) is not initialize:
            return  # cancelled
        words = f"it did not answer {self._in_time}"
        log.warning("server %s: %s", self.server.name, words)
        self.server.failed(self.owner, words)
        self._session.upstream_lost(self, f"server {self.server.name!r}: {words}")
        self.close()

    def close(self) -> None:
        """End the server because nobody needs it; returns at once."""
        self._answered()
        super().close()

    def _meant_for(self, message: messages.Message) -> Session | None:
        return self._session

    def _received(self, message: messages.Message, now: float) -> None:
        effect = self._session.core.from_legacy_server(message)
        if type(effect) is Deliver:
            shaken = effect.answered is not None and effect.answered.method == "initialize"
            if shaken:
                self._answered()
            if shaken and message.error and effect.answered is not None:
                return self._session.handshake_refused(effect.answered, message)
            self._session.deliver(effect.data, effect.answered, now, effect.droppable)
        elif type(effect) is Reply:
            self.send(effect.data)
        elif type(effect) is Drop:
            self._dropped(effect)

    def ended(self, reason: str) -> None:
        """A legacy session does not survive its server: what it negotiated is gone."""
        self._answered()
        self._session.upstream_lost(self, f"server {self.server.name!r}: {reason}")

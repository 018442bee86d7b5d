"""One session: a link on one side, its upstreams on the other, the pure core between them."""

from __future__ import annotations

import logging
import secrets
import time
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from mcp_ws_ide import messages
from mcp_ws_ide.binding import FRAGILE_MAX_BYTES, CloseCode
from mcp_ws_ide.core import era as eras
from mcp_ws_ide.core.effects import Deliver, Drop, Forward, Pending
from mcp_ws_ide.core.era import Era
from mcp_ws_ide.core.session import SessionCore
from mcp_ws_ide.errors import RESPONSE_TOO_LARGE, UPSTREAM_LOST, LimitExceeded, MalformedMessage
from mcp_ws_ide.gateway.upstream import PrivateUpstream, SharedUpstream, Upstream

if TYPE_CHECKING:
    from mcp_ws_ide.gateway.gateway import Gateway
    from mcp_ws_ide.gateway.server import Server

MALFORMED_LIMIT: Final = 5
"""Malformed messages after which a link is closed with 1002."""

log = logging.getLogger(__name__)


class LinkInfo(msgspec.Struct, frozen=True):
    """What is known of a link's peer when it opens."""

    principal: str
    remote: str = ""
    user_agent: str = ""
    subprotocol: str | None = None
    fragile: bool = False
    token_id: str | None = None
    """The gateway token it was opened with, if any."""


class Link(Protocol):
    """One physical client connection, as sessions see it. Nothing here waits."""

    def send(self, data: bytes) -> None:
        """Queue one message."""

    def close(self, code: CloseCode, reason: str) -> None:
        """Send what is queued, then close."""

    def set_reading(self, reading: bool) -> None:
        """Stop or go on reading from the client."""

    @property
    def queued_bytes(self) -> int:
        """Bytes the client has not taken yet."""


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
        self._gateway = gateway
        self._link = link
        self._private: PrivateUpstream | None = None
        self._shared: SharedUpstream | None = None
        self._logging: SharedUpstream | None = None
        self._malformed = 0

    @property
    def era(self) -> str:
        """The era in use: the legacy handshake wins over a probe that preceded it."""
        if self._private is not None:
            return Era.LEGACY
        return Era.MODERN if Era.MODERN in self.core.eras else "unknown"

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait for the client."""
        return self._link.queued_bytes

    # --- from the client ------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take one text message of the client; ``now`` is when it arrived (``time.perf_counter``)."""
        self._count_in(len(data))
        if self._gateway.tap.active:
            self._gateway.tap.message(self.info.principal, self.server.name, self.id, "client", "in", data)
        try:
            message = messages.parse(data)
        except MalformedMessage as error:
            return self._refuse(error)
        effect = self.core.from_client(message, now)
        if type(effect) is Forward:
            self._forward(effect)
        elif type(effect) is Deliver:
            self.deliver(effect.data)
        elif type(effect) is Drop:
            self.server.counters.dropped += 1
            self._gateway.tap.event(self.info.principal, self.server.name, self.id, "dropped", effect.reason)

    def _count_in(self, size: int) -> None:
        self.messages_in += 1
        self.bytes_in += size
        counters = self.server.counters
        counters.messages_in += 1
        counters.bytes_in += size

    def _refuse(self, error: MalformedMessage) -> None:
        self._malformed += 1
        self.deliver(messages.error_response(b"", error.code, error.reason))
        if self._malformed >= MALFORMED_LIMIT:
            self.end(
                CloseCode.PROTOCOL_ERROR, f"{MALFORMED_LIMIT} malformed messages; the last: {error.reason}"
            )

    def _forward(self, effect: Forward) -> None:
        if not effect.modern:
            return self._private_upstream().forward(self, effect)
        if self.server.era is Era.LEGACY:
            return self.refuse_modern(effect)
        upstream = self._modern_upstream(effect)
        if upstream is None:
            self._gateway.tap.event(
                self.info.principal, self.server.name, self.id, "dropped", "the server it belongs to is gone"
            )
        else:
            upstream.forward(self, effect)

    def _private_upstream(self) -> PrivateUpstream:
        if self._private is None:
            self._private = PrivateUpstream(self._gateway, self.server, self)
            self._private.start()
        return self._private

    def _modern_upstream(self, effect: Forward) -> SharedUpstream | None:
        """The shared upstream, or this session's own one where logs are concerned."""
        pending = effect.pending
        if effect.message.kind is not messages.Kind.REQUEST and pending is not None:
            return self._holder_of(pending)
        if effect.params.meta is not None and len(memoryview(effect.params.meta.log_level)):
            own = self._logging_upstream()
            if own is not None:
                return own
        if self._shared is None:
            self._shared = self._gateway.shared_upstream(self.server, self.info.principal)
            self._shared.attach(self)
        return self._shared

    def _holder_of(self, pending: Pending) -> SharedUpstream | None:
        for upstream in (self._shared, self._logging):
            if upstream is not None and upstream.mux.owns(pending):
                return upstream
        return None

    def _logging_upstream(self) -> SharedUpstream | None:
        """A process of its own, since log notifications name no request; None when the limit forbids it."""
        if self._logging is None:
            try:
                self._gateway.check_processes(wanted=1)
            except LimitExceeded as error:
                self._gateway.tap.event(
                    self.info.principal, self.server.name, self.id, "log_level_stripped", str(error)
                )
                return None
            self._logging = SharedUpstream(self._gateway, self.server, self.info.principal, sole_owner=self)
            self._logging.attach(self)
            self._logging.start()
        return self._logging

    def refuse_modern(self, effect: Forward) -> None:
        """The server turned out to speak only the handshake era."""
        if effect.pending is not None and effect.message.kind is messages.Kind.REQUEST:
            self.core.answered(effect.pending)
            self.deliver(eras.refuse_modern(effect.pending.raw_id, self.server.name))

    # --- toward the client ----------------------------------------------------------------------

    def deliver(self, data: bytes, answered: Pending | None = None, received: float = 0.0) -> None:
        """Send one message to the client. ``received`` is when the upstream's bytes arrived."""
        if self.ended:
            return
        if self.info.fragile and len(data) > FRAGILE_MAX_BYTES:
            data = self._too_large(data, answered)
        size = len(data)
        self.messages_out += 1
        self.bytes_out += size
        counters = self.server.counters
        counters.messages_out += 1
        counters.bytes_out += size
        if self._gateway.tap.active:
            self._gateway.tap.message(self.info.principal, self.server.name, self.id, "client", "out", data)
        self._link.send(data)
        if answered is not None:
            counters.total.observe(time.perf_counter() - answered.received)
            if received and answered.sent:
                counters.upstream.observe(received - answered.sent)

    def _too_large(self, data: bytes, answered: Pending | None) -> bytes:
        text = (
            f"the message has {len(data)} bytes, and this client (Python SDK 1.x websocket_client) can receive "
            f"{FRAGILE_MAX_BYTES}; use websocket_transport of mcp_ws_ide.client"
        )
        self._gateway.tap.event(self.info.principal, self.server.name, self.id, "dropped", text)
        return messages.error_response(answered.raw_id if answered else b"", RESPONSE_TOO_LARGE, text)

    def fail(self, pending: Pending, code: int, text: str) -> None:
        """End one request that will get no answer."""
        data = self.core.fail(pending, code, text)
        if data is not None:
            self.deliver(data)

    def set_reading(self, reading: bool) -> None:
        """An upstream is full, or has room again."""
        if not self.ended:
            self._link.set_reading(reading)

    def link_full(self, full: bool) -> None:
        """The client reads slowly: where the server is its own, let the server feel it."""
        if self._private is not None:
            if full:
                self._private.pause_reading()
            else:
                self._private.resume_reading()

    # --- ends -----------------------------------------------------------------------------------

    def upstream_lost(self, upstream: Upstream, reason: str) -> None:
        """The session's own legacy server is gone: answer everything, then close (docs/binding.md, 7)."""
        if upstream is not self._private or self.ended:
            return
        for pending in [entry for entry in self.core.pending.values() if not entry.upstream_id]:
            self.fail(pending, UPSTREAM_LOST, reason)
        self.end(CloseCode.UPSTREAM_ENDED, reason)

    def shared_lost(self, upstream: SharedUpstream) -> None:
        """A shared server is gone; the next request starts a new one."""
        if self._shared is upstream:
            self._shared = None
        if self._logging is upstream:
            self._logging = None

    def end(self, code: CloseCode, reason: str) -> None:
        """End the session from this side."""
        if not self.ended:
            self._link.close(code, reason)
            self.link_closed(code, reason)

    def link_closed(self, code: int, reason: str) -> None:
        """The link is gone; a plain session goes with it. Cancels and stops what it had. Idempotent."""
        if self.ended:
            return
        self.ended = True
        for shared in (self._shared, self._logging):
            if shared is not None:
                shared.detach(self)
        if self._private is not None:
            self._private.close()
        self.core.pending.clear()
        self._gateway.session_ended(self, code, reason)

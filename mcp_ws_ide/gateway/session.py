"""The client side of a session: its link, and what its client may send and see.

A session ends with its link, unless it is a :class:`~mcp_ws_ide.gateway.resumable.ResumableSession`. Upstreams and
bridges are the business of :class:`~mcp_ws_ide.gateway.attachments.Attachments`.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from typing import ClassVar, Final, Protocol

from mcp_ws_ide.compiling import mypyc_attr
from mcp_ws_ide.core import messages, reader
from mcp_ws_ide.core.binding import FRAGILE_MAX_BYTES, CloseCode
from mcp_ws_ide.core.effects import Deliver, Drop, Forward, Pending
from mcp_ws_ide.core.era import Era
from mcp_ws_ide.core.messages import NOTIFICATION, REQUEST, RESPONSE, Message
from mcp_ws_ide.core.reader import ReportedKinds, Unreadable
from mcp_ws_ide.core.session import SessionCore
from mcp_ws_ide.core.tools import ToolRules, problem, visible
from mcp_ws_ide.errors import (
    CANCELLED,
    GATEWAY_CLOSING,
    INTERNAL_ERROR,
    RESPONSE_TOO_LARGE,
    SESSION_LOST,
    UPSTREAM_LOST,
    MalformedMessageError,
)
from mcp_ws_ide.gateway.attachments import Attachments
from mcp_ws_ide.gateway.faults import Faults
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.gateway.services import Services
from mcp_ws_ide.gateway.shared import SharedPool
from mcp_ws_ide.gateway.upstream import INTERNAL
from mcp_ws_ide.links.base import Link, LinkInfo
from mcp_ws_ide.links.http import HttpLink

MALFORMED_LIMIT: Final = 5
"""Malformed messages after which a link is closed with 1002."""

log: Final = logging.getLogger(__name__)


class SessionOwner(Protocol):
    """The registry of the sessions, as a session sees it."""

    closing: bool
    """Whether the gateway is shutting down."""

    def session_ended(self, session: Session, code: int, reason: str) -> None:
        """Forget a session; each session calls this once."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Session:
    """One client's conversation with one server, without resumption.

    Attributes:
        created: seconds since the epoch.
        messages_in, messages_out, bytes_in, bytes_out: what has passed between client and gateway.
        stateless: whether it is one exchange over HTTP; the client returns as another session.
        faults: injected faults; None unless a client is being tested.
        closing: whether further requests are refused, because the gateway is shutting down.
        restored: whether another gateway process opened it, before a restart or elsewhere.
    """

    restored = False
    shutdown_code: ClassVar[CloseCode] = CloseCode.GOING_AWAY
    """How the link is closed when the gateway shuts down."""

    def __init__(
        self,
        services: Services,
        owner: SessionOwner,
        pool: SharedPool,
        server: Server,
        link: Link | None,
        info: LinkInfo,
        session_id: str = "",
    ) -> None:
        self.id = session_id or secrets.token_hex(8)
        self.created = time.time()
        self.server = server
        self.info = info
        self.core = SessionCore(services.limits.max_in_flight)
        self.messages_in = self.messages_out = 0
        self.bytes_in = self.bytes_out = 0
        self.ended = False
        self.closing = owner.closing
        self.stateless = info.link == "http" and not isinstance(link, HttpLink)
        self.faults: Faults | None = None
        self.attachments = Attachments(services, pool, self, info.principal)
        self._tap = services.tap
        self._owner = owner
        self._link: Link | None = link
        self._link_full = False
        self._rules = tool_rules(server, info)
        self._malformed = 0
        self._mended = ReportedKinds()

    @property
    def http_link(self) -> HttpLink | None:
        """The link of a handshake-era session over HTTP; None for any other session."""
        return self._link if isinstance(self._link, HttpLink) else None

    @property
    def link(self) -> Link | None:
        """The link; None while the session is detached."""
        return self._link

    @property
    def attached(self) -> bool:
        """Whether there is a link."""
        return self._link is not None

    @property
    def away(self) -> bool:
        """Whether nothing would reach the client now: there is no link, or no open response of HTTP."""
        return self._link is None or (isinstance(self._link, HttpLink) and self._link.idle)

    @property
    def era(self) -> str:
        """The era in use; a client that probed first and then sent a handshake speaks the handshake era."""
        if self.attachments.legacy:
            return Era.LEGACY
        return Era.MODERN if self.core.used_modern else "unknown"

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait for the client."""
        return self._link.queued_bytes if self._link is not None else 0

    # --- from the client ------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Handle one text message from the client, which arrived at ``now`` (``time.perf_counter``)."""
        try:
            message = messages.parse(data)
        except MalformedMessageError:
            return self._read(data, now)
        self.take(message, now)

    def _read(self, data: bytes, now: float) -> None:
        """Handle anything but one valid message: mend it, or refuse it."""
        reading = reader.read_client(data)
        self._note_mended(reading.notices)
        for message in reading.messages:
            self.take(message, now)
        for fault in reading.unreadable:
            self._note_in(data, None)
            self._refuse_malformed(fault)

    def _note_mended(self, notices: dict[str, str]) -> None:
        """Report, once for each kind, that an invalid message from this client was mended."""
        for text in self._mended.add(notices):
            shown = self._tap.redactor.text(text)
            log.warning(
                "session %s with server %s: %s; this is reported once", self.id, self.server.name, shown
            )
            self.observe("mended", text)

    def take(self, message: Message, now: float) -> None:
        """Handle one message from the client that is parsed already; otherwise as :meth:`receive`."""
        self._note_in(message.data, message)
        effect = self.core.from_client(message, now)
        if type(effect) is Forward:
            if self.closing and message.kind is REQUEST:
                return self.attachments.refuse_closing(effect)
            self._try_forward(effect)
            if message.kind is NOTIFICATION and effect.pending is not None and self.http_link is not None:
                self._answer_cancelled(effect.pending)
        elif type(effect) is Deliver:
            self.attachments.deliver(effect.message)
        elif type(effect) is Drop:
            self.server.counters.dropped += 1
            self.observe("dropped", effect.reason)

    def _try_forward(self, effect: Forward) -> None:
        """Forward a message; an internal error fails only this request, and never costs the link."""
        try:
            permitted = self._permitted(effect) if self._rules else effect
            if permitted is not None:
                self.attachments.forward(permitted)
        except Exception:
            log.exception("a message for server %s could not be passed on", self.server.name)
            if effect.pending is not None:
                self.attachments.fail(effect.pending, INTERNAL_ERROR, INTERNAL)

    def _permitted(self, effect: Forward) -> Forward | None:
        """Return what allow and deny lists let pass, rebuilt so that no server reads it differently; None if nothing.

        A forbidden request is answered, a forbidden response fails what it answers, a forbidden notification is
        dropped.
        """
        message, pending = effect.message, effect.pending
        refused = problem(self._rules, message, self.server.group_names)
        refused = refused or self.server.continuations.refusal(message, self.info)
        if refused is None:
            passes = messages.with_id(message, message.id)
            return Forward(passes, effect.modern, effect.params, pending)
        if message.kind is RESPONSE:
            return Forward(messages.error(message.id, *refused), effect.modern, effect.params, pending)
        if message.kind is REQUEST and pending is not None:
            self.core.answered(pending)
            self.send(messages.error(message.id, *refused), pending, 0.0, False)
        else:
            self.observe("dropped", refused[1])
        return None

    def _answer_cancelled(self, pending: Pending) -> None:
        """End the HTTP response of a cancelled request: the server need not answer it."""
        if not self.ended:
            text = "the client cancelled the request"
            error = messages.error(pending.raw_id, CANCELLED, text, {"outcome": "unknown"})
            self.send(error, pending, 0.0, False)

    def _refuse_malformed(self, fault: Unreadable) -> None:
        """Answer a message that cannot be read: with its id, if that is known and names no other request."""
        self._malformed += 1
        raw_id = fault.ids[0] if len(fault.ids) == 1 else b""
        if self.fail_answer(fault) or fault.answer or self._is_pending(raw_id):
            raw_id = b""
        self.attachments.deliver(messages.error(raw_id, fault.code, fault.reason))
        if self._malformed >= MALFORMED_LIMIT:
            self.end(
                CloseCode.PROTOCOL_ERROR, f"{MALFORMED_LIMIT} malformed messages; the last: {fault.reason}"
            )

    def fail_answer(self, fault: Unreadable) -> bool:
        """Fail the server's request that an unreadable message from the client answers; return whether it is one."""
        asked = [raw_id for raw_id in fault.ids if self._is_asked(raw_id)] if fault.answer else []
        if len(asked) != 1:
            return False
        reason = f"the client's response is not a JSON-RPC message: {fault.reason}"
        effect = self.core.from_client(messages.error(asked[0], INTERNAL_ERROR, reason), time.perf_counter())
        if type(effect) is Forward:
            self._try_forward(effect)
        return True

    def _is_asked(self, raw_id: bytes) -> bool:
        with contextlib.suppress(MalformedMessageError):
            return messages.decode_id(raw_id) in self.core.asked
        return False

    def _is_pending(self, raw_id: bytes) -> bool:
        with contextlib.suppress(MalformedMessageError):
            return bool(raw_id) and messages.decode_id(raw_id) in self.core.pending
        return True

    # --- toward the client ----------------------------------------------------------------------

    def send(self, message: Message, answered: Pending | None, received: float, droppable: bool) -> None:
        """Send one message to the client, as far as tool rules and its limits allow.

        Args:
            answered: the request it answers, if any.
            received: when the bytes of the upstream arrived (``time.perf_counter``); 0.0 for the gateway's own.
            droppable: whether it may be dropped when the window is full.
        """
        if (
            self._rules and message.result
        ):  # also of another request: a client may reuse the id of a cancelled one
            message = visible(self._rules, message, self.server.group_names)
            self.server.continuations.given(message.result, self.info)
        if self.info.fragile and len(message.data) > FRAGILE_MAX_BYTES:
            message = self._too_large(message, answered)
        data, counters = message.data, self.server.counters
        size = len(data)
        self.messages_out += 1
        self.bytes_out += size
        counters.messages_out += 1
        counters.bytes_out += size
        if self._tap.active:
            info = self.info
            self._tap.message(
                info.principal, self.server.name, self.id, "client", "out", data, message, None, info.token_id
            )
        if not self._write(message, droppable):
            return
        if answered is not None:
            counters.request_seconds.observe(time.perf_counter() - answered.received)
            if received and answered.sent:
                counters.upstream_seconds.observe(received - answered.sent)
        if self.faults is not None and self.faults.take_duplicate():
            self._send_again(message)

    def _write(self, message: Message, droppable: bool) -> bool:
        """Hand a message to the link; return False if that ended the session."""
        if self._link is not None:
            self._link.deliver(message)
        return True

    def _send_again(self, message: Message) -> None:
        """Send a message twice, as an injected fault; to the session it is one more message."""
        faults, self.faults = self.faults, None
        self.send(message, None, 0.0, False)
        self.faults = faults

    def _too_large(self, message: Message, answered: Pending | None) -> Message:
        text = (
            f"the message has {len(message.data)} bytes, and this client (Python SDK 1.x websocket_client) can receive "
            f"{FRAGILE_MAX_BYTES}; use websocket_transport of mcp_ws_ide.client"
        )
        self.observe("dropped", text)
        return messages.error(answered.raw_id if answered else b"", RESPONSE_TOO_LARGE, text)

    # --- counters and tap -----------------------------------------------------------------------

    def observe(self, event: str, detail: str) -> None:
        """Report an event of this session on the tap."""
        info = self.info
        self._tap.event(info.principal, self.server.name, self.id, event, detail, token=info.token_id)

    @property
    def token_id(self) -> str | None:
        """The gateway token that the client came with; None if it came with a credential of the user's own."""
        return self.info.token_id

    @property
    def token_for_upstream(self) -> str | None:
        """The gateway token whose holder may see the traffic between gateway and server for this session; None if
        tool rules hide some of it from the client."""
        return None if self._rules else self.info.token_id

    def _note_in(self, data: bytes, message: Message | None) -> None:
        size = len(data)
        self.messages_in += 1
        self.bytes_in += size
        counters = self.server.counters
        counters.messages_in += 1
        counters.bytes_in += size
        if self._tap.active:
            info = self.info
            self._tap.message(
                info.principal, self.server.name, self.id, "client", "in", data, message, None, info.token_id
            )

    # --- flow control ---------------------------------------------------------------------------

    def set_reading(self, reading: bool) -> None:
        """Stop or resume reading from the client."""
        if self._link is not None:
            self._link.set_reading(reading)

    @property
    def reads_slowly(self) -> bool:
        """Whether the link is full."""
        return self._link is not None and self._link_full

    def link_full(self, full: bool) -> None:
        """Note that the client reads slowly, or has caught up."""
        self._link_full = full
        self._update_flow()

    def _update_flow(self) -> None:
        """Hold the upstreams of the session's own while its client reads slowly."""
        self.attachments.hold(self.reads_slowly)

    # --- ends -----------------------------------------------------------------------------------

    def close_link(self, code: CloseCode, reason: str) -> None:
        """Close the link, if there is one; a resumable session may be resumed."""
        if self._link is not None:
            self._link.close(code, reason)

    def private_upstream_lost(self, reason: str) -> None:
        """Fail the requests to the private upstream, then end the session (docs/reference/binding.md, 6.5)."""
        self._fail_private(reason)
        self.end(CloseCode.UPSTREAM_ENDED, reason)

    def _fail_private(self, reason: str) -> None:
        for pending in [entry for entry in self.core.pending.values() if not entry.upstream_id]:
            self.attachments.fail(pending, UPSTREAM_LOST, reason)

    @property
    def busy(self) -> bool:
        """Whether a shutdown waits for it."""
        return bool(self.core.pending)

    def end_for_shutdown(self) -> None:
        """Fail the waiting requests, then end the session: the gateway is shutting down."""
        for pending in list(self.core.pending.values()):
            self.attachments.fail(
                pending, GATEWAY_CLOSING, "the gateway shut down before the server answered"
            )
        self.end(self.shutdown_code, "the gateway is shutting down")

    def end(self, code: CloseCode, reason: str) -> None:
        """End the session from this side. Over HTTP each waiting request fails: a response has no close code."""
        if not self.ended:
            if self.info.link == "http":
                for pending in list(self.core.pending.values()):
                    self.attachments.fail(pending, SESSION_LOST, reason)
            self.close_link(code, reason)
            self.link_closed(code, reason)

    def link_closed(self, code: int, reason: str) -> None:
        """End the session: cancel its requests and leave its upstreams. Idempotent."""
        if self.ended:
            return
        self.ended = True
        self.attachments.close()
        self.core.pending.clear()
        self._owner.session_ended(self, code, reason)


def tool_rules(server: Server, info: LinkInfo) -> tuple[ToolRules, ...]:
    """Return the rules that apply to a link: those of the server, and those of the gateway token it came with."""
    return tuple(rules for rules in (server.spec.tools, info.tools) if rules is not None)

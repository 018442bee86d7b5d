"""A session that outlives its links (``mcp.resume.v1``, docs/reference/binding.md section 6).

It keeps what its client has not acknowledged; when its link is lost, it is detached for at most the grace period, and
continues with the next link. :class:`~mcp_ws_ide.core.resume.GatewayEnd` decides what may be resumed, and from where.
"""

from __future__ import annotations

import time
from typing import ClassVar, Final, Protocol, cast

from mcp_ws_ide.compiling import mypyc_attr
from mcp_ws_ide.core import binding
from mcp_ws_ide.core.binding import CloseCode, Control, ControlError, Window
from mcp_ws_ide.core.channel import ACK_WITH_DATA
from mcp_ws_ide.core.era import Era
from mcp_ws_ide.core.messages import Message
from mcp_ws_ide.core.resume import GatewayEnd, ProtocolViolationError, WindowOverflowError
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.gateway.services import Limits, Services
from mcp_ws_ide.gateway.session import Session, SessionOwner, tool_rules
from mcp_ws_ide.gateway.shared import SharedPool
from mcp_ws_ide.links.base import LinkInfo, Rebindable
from mcp_ws_ide.tokens import new_resume_token

SURELY_DATA: Final = b'{"jsonrpc"'
"""How most data frames begin; no control frame does."""


class ResumableOwner(SessionOwner, Protocol):
    """The registry of the sessions, as a resumable session sees it."""

    ack_due: set[ResumableSession]
    """Sessions that have something to acknowledge within a second."""

    def session_attached(self, session: ResumableSession, replayed: int) -> None:
        """Note that a session was resumed on a new link, with this many messages replayed."""

    def session_detached(self, session: ResumableSession, code: int, reason: str) -> None:
        """Note that a session has lost its link."""

    def session_left(self, session: ResumableSession, reason: str) -> None:
        """Forget a session that is left to another gateway."""


@mypyc_attr(allow_interpreted_subclasses=True)
class ResumableSession(Session):
    """One client's conversation with one server, over one link after the other."""

    resumption: GatewayEnd
    shutdown_code: ClassVar[CloseCode] = CloseCode.SERVICE_RESTART

    def __init__(
        self,
        services: Services,
        owner: ResumableOwner,
        pool: SharedPool,
        server: Server,
        link: Rebindable | None,
        info: LinkInfo,
        session_id: str = "",
    ) -> None:
        super().__init__(services, owner, pool, server, link, info, session_id)
        self._registry = owner
        self._metrics = services.metrics
        self.final: tuple[CloseCode, str] | None = None
        """How the session ends as soon as its client has fetched the rest; None while it continues."""
        if session_id:
            return  # a stored session has its end of the resumption already
        limits = services.limits
        token, digest = new_resume_token(self.id)
        window = Window(limits.window_frames, limits.window_bytes)
        self.resumption = GatewayEnd(link, digest, window, limits.grace, live_window(limits))
        self._announce(self.resumption.opened(self.id, token, limits.message_bytes(server.spec)))

    def _announce(self, opened: bytes) -> None:
        """Tell the client that the session is open."""
        if (link := self._frame_link) is not None:
            link.send(opened)

    @property
    def _frame_link(self) -> Rebindable | None:
        """The link, which carries control frames. (Not declared again: that corrupts memory where it is compiled; see
        docs/contribute/compiled.md.)"""
        return cast("Rebindable | None", self._link)

    @property
    def era(self) -> str:
        """The era in use."""
        return Era.LEGACY if self.final is not None else super().era

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait for the client, including those it has not acknowledged."""
        return max(self.resumption.channel.unacked_bytes, super().queued_bytes)

    # --- from the client ------------------------------------------------------------------------

    def receive_frame(self, link: Rebindable, data: bytes, now: float) -> None:
        """Handle a frame of a link: a message, which is counted and acknowledged, or a control frame."""
        end = self.resumption
        if self.ended or not end.received(link):
            return
        if not data.startswith(SURELY_DATA) and self._control(end, link, data):
            return
        if self.final is not None:
            return  # the client is told at its next resume
        self.receive(data, now)
        channel = end.channel
        if channel.accept(len(data)):
            self._acknowledge_or_hold(end, link)
        elif channel.received - channel.acked == 1:
            self._registry.ack_due.add(self)

    def _acknowledge_or_hold(self, end: GatewayEnd, link: Rebindable) -> None:
        """Acknowledge at once, unless the server is full: withholding acknowledgements makes the client keep to its
        window, while control frames, which make room in the other direction, are still read."""
        channel, window = end.channel, end.window
        if not self.attachments.stalled_by:
            link.send(channel.take_ack())
        elif (
            channel.unacked_received > 2 * window.bytes
            or channel.received - channel.acked > 2 * window.frames
        ):
            link.set_reading(False)  # the client does not keep to its window

    def _control(self, end: GatewayEnd, link: Rebindable, data: bytes) -> bool:
        """Process a control frame; return False if ``data`` is not one."""
        try:
            control = binding.parse_control(data)
            if control is None:
                return False
            for frame in self._take_control(end, control):
                link.send(frame)
        except (ControlError, ProtocolViolationError) as error:
            link.close(CloseCode.PROTOCOL_ERROR, str(error))
        if self.attachments.held:
            self._update_flow()
        return True

    def _take_control(self, end: GatewayEnd, control: Control) -> list[bytes]:
        """Process a control frame; return the frames to write."""
        return end.control(control)

    def send_ack(self) -> None:
        """Acknowledge what was received recently, if there is a link and the server has room."""
        channel = self.resumption.channel
        owes = channel.owes_ack and not self.attachments.stalled_by
        if owes and (link := self._frame_link) is not None:
            link.send(channel.take_ack())

    # --- toward the client ----------------------------------------------------------------------

    def _write(self, message: Message, droppable: bool) -> bool:
        """Keep a message until it is acknowledged, and hand it to the link; return False if that ended the session."""
        channel, link, data = self.resumption.channel, self._frame_link, message.data
        if not channel.push_if_room(data, droppable) and not self._keep(data, droppable):
            return False
        if link is not None:
            if channel.received - channel.acked >= ACK_WITH_DATA and not self.attachments.stalled_by:
                link.send(channel.take_ack())
            link.send(data)
        return True

    def _keep(self, data: bytes, droppable: bool) -> bool:
        """Keep a message though the window is full; return False if that ended the session."""
        try:
            self.resumption.push(data, droppable)
        except WindowOverflowError as error:
            self._metrics.refusals["window"] += 1
            self.end(CloseCode.OVERFLOW, str(error))
            return False
        self._update_flow()
        return True

    # --- flow control ---------------------------------------------------------------------------

    def set_reading(self, reading: bool) -> None:
        """Resume reading from the client; it is stopped by withholding acknowledgements instead."""
        if reading:
            super().set_reading(True)
            self.send_ack()

    def _update_flow(self) -> None:
        """Hold the upstreams of the session's own while its client reads slowly, or its window is full.

        Not while the session is detached: a server must be able to finish its work then.
        """
        self.attachments.hold(self._link is not None and (self._link_full or self.resumption.channel.full))

    # --- links come and go ----------------------------------------------------------------------

    def resume(self, link: Rebindable, info: LinkInfo, presented: bytes, recv: int, now: float) -> None:
        """Continue on a new link; the previous one, if it is still open, is superseded.

        Args:
            presented: digest of the token that the client presented.
            recv: data frames that the client has received.

        Raises:
            ResumeRefusedError: the session cannot continue from there.
        """
        token, digest = new_resume_token(self.id)
        last = self.final is not None
        frames = self.resumption.resume(link, presented, recv, token, digest, now, last=last)
        self._metrics.gap_messages += self.resumption.channel.count_gaps()
        superseded, self._link, self.info = self._link, link, info
        self._rules = tool_rules(self.server, info)
        self._link_full = False
        if superseded is not None:
            superseded.close(CloseCode.SUPERSEDED, "another link of this client took over")
        for frame in frames:
            link.send(frame)
        self._registry.session_attached(self, len(frames) - 1)
        self._update_flow()
        if self.final is not None:
            self.close_link(*self.final)

    def link_lost(self, link: Rebindable, code: int, reason: str) -> None:
        """Detach the session from a link that is gone; end it if its client asked for that or cannot continue."""
        if self.ended or link is not self._link:
            return
        confirmed = self.final is not None and code == self.final[0]
        if code == CloseCode.NORMAL or code in binding.VIOLATIONS or confirmed:
            return self.link_closed(code, reason)
        self.resumption.detach(link, time.monotonic())
        self._link = None
        self._registry.session_detached(self, code, reason)
        self._update_flow()

    def leave(self, seconds: float, now: float) -> None:
        """Shorten the wait for a client that leaves (see :meth:`GatewayEnd.leave`)."""
        self.resumption.leave(seconds, now)

    def private_upstream_lost(self, reason: str) -> None:
        """Fail the requests that wait for the session's private upstream, then let the client fetch the rest."""
        self._fail_private(reason)
        # The session ends as soon as its client has fetched the rest, which its close frame confirms.
        self.final = (CloseCode.UPSTREAM_ENDED, reason)
        self.close_link(*self.final)


def live_window(limits: Limits) -> Window:
    """Return how much may be unacknowledged while a link is open.

    It must hold the responses to all requests that may be in flight, which must never end an attached session."""
    return Window(4 * limits.max_in_flight, limits.max_queued_bytes)

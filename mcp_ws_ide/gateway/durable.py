"""A resumable session that an engine stores, so that it outlives the gateway's process.

**Commit, then act.** What arrives and what is to be sent is staged (:mod:`.commits`). When a batch is stored, its
frames of the client are processed and counted, and its messages to the client are sent. What of the session is stored
is in :mod:`.stored_state`.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.binding import CloseCode, Control
from mcp_ws_ide.core.channel import ACK_WITH_DATA
from mcp_ws_ide.core.effects import Pending
from mcp_ws_ide.core.messages import REQUEST, RESPONSE, Message
from mcp_ws_ide.core.resume import GatewayEnd, ProtocolViolationError
from mcp_ws_ide.engines import crash_points
from mcp_ws_ide.engines.base import Engine, EngineUnavailableError, StoredSession
from mcp_ws_ide.engines.crash_points import Point
from mcp_ws_ide.engines.unstored_changes import UnstoredChanges
from mcp_ws_ide.errors import MalformedMessageError, McpWsError
from mcp_ws_ide.gateway.actions import Actions, Arrival, Inbound
from mcp_ws_ide.gateway.commits import Commits
from mcp_ws_ide.gateway.intake import Intake
from mcp_ws_ide.gateway.resumable import SURELY_DATA, ResumableOwner, ResumableSession
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.gateway.services import Services
from mcp_ws_ide.gateway.session import tool_rules
from mcp_ws_ide.gateway.shared import SharedPool
from mcp_ws_ide.gateway.snapshots import Snapshots
from mcp_ws_ide.gateway.stored_state import ended_errors, restore_parts
from mcp_ws_ide.gateway.upstream import INTERNAL
from mcp_ws_ide.gateway.whole_requests import ACKNOWLEDGED_JSON, WholeRequests
from mcp_ws_ide.links.base import LinkInfo, Rebindable
from mcp_ws_ide.tokens import new_resume_token

LEAVING: Final = "the gateway is draining or shutting down; resume to continue"

log = logging.getLogger(__name__)


class StoreUnavailableError(McpWsError):
    """The session cannot be resumed now, because nothing can be stored: close with 1013; the text is the reason."""


class DurableSession(ResumableSession):
    """One client's conversation with one server, over one link after the other and one gateway after the other.

    Implements :class:`~mcp_ws_ide.gateway.commits.CommitListener`.

    Args:
        engine: stores the session.
        stored: the stored session to continue; None for a new one.

    Attributes:
        asleep: whether it is restored, and its client is not back yet.
        leaving: whether further requests are left to the next gateway, because this one drains.
        holding: whether a message was left to it, or nothing more is accepted; so are all that follow on this link.

    Raises:
        UnreadableStateError: the stored session cannot be read.
    """

    def __init__(
        self,
        services: Services,
        engine: Engine,
        owner: ResumableOwner,
        pool: SharedPool,
        server: Server,
        link: Rebindable | None,
        info: LinkInfo,
        stored: StoredSession | None = None,
    ) -> None:
        super().__init__(services, owner, pool, server, link, info, stored.id if stored is not None else "")
        self._engine = engine
        self._whole = WholeRequests()
        self._arriving: Arrival | None = None
        self._paused: Rebindable | None = None
        """A link that is not read until everything that came over it is stored."""
        self.leaving, self.holding = owner.closing, False
        self._releasing = self._deleted = False
        self.restored = self.asleep = stored is not None
        if stored is not None:
            self.created = stored.created
            restore_parts(self, self._whole, stored, services.limits)
        self._snapshots = Snapshots(self, self._whole)
        self._stored = stored or self._new_session()
        self._changes = UnstoredChanges(self._stored, self.resumption.channel)
        self.commits = self._commits = Commits(engine, self._changes, self._snapshots, self, services.tasks)
        self._commits.open = stored is not None
        self._intake = Intake(self._commits, self.core, self.attachments, self._whole, self._process)
        self.attachments.gate = self._intake
        if self.final is not None:
            for error in ended_errors(self._whole):
                self.send(error, None, 0.0, False)

    # --- open -----------------------------------------------------------------------------------

    def _announce(self, opened: bytes) -> None:
        """Wait: the client is told when the session is stored."""
        self._hello = opened

    def _new_session(self) -> StoredSession:
        window = self.resumption.window
        owner, facts, state = self.info.principal, self._snapshots.facts, self._snapshots.state
        begin = (self.id, owner, self.server.name, self.created)
        return StoredSession(*begin, window.frames, window.bytes, facts, state)

    async def store(self) -> None:
        """Store the new session, then tell its client that it is open."""
        link = self._frame_link
        try:
            await self._engine.create(self._stored)
        except EngineUnavailableError as error:
            self._deleted = True
            return self.end(CloseCode.TRY_AGAIN_LATER, f"the session cannot be stored: {error}")
        self._commits.open = True
        hello, self._hello = self._hello, b""
        if not self.ended and link is not None and link is self._link:
            link.send(hello)
        elif not self.ended:
            self.end(CloseCode.GONE, "the client left before the session was stored")
        self._commits.flush()

    # --- from the client ------------------------------------------------------------------------

    def receive_frame(self, link: Rebindable, data: bytes, now: float) -> None:
        """Stage a message of the client; handle a control frame at once."""
        end = self.resumption
        if self.ended or not end.received(link):
            return
        if not data.startswith(SURELY_DATA) and self._control(end, link, data):
            return
        try:
            frame = Inbound(data, messages.parse(data), now)
        except MalformedMessageError:
            frame = Inbound(data, None, now)
        if (self.leaving or self.holding) and self._is_left(frame.message):
            return
        self._intake.take(frame)
        self._commits.flush()
        if self._changes.received - end.channel.received > 2 * end.window.frames:
            self._paused = link  # the client does not keep to its window, and nothing is stored
            link.set_reading(False)

    def _control(self, end: GatewayEnd, link: Rebindable, data: bytes) -> bool:
        handled = super()._control(end, link, data)
        if handled and self._changes.trimmed:
            self._registry.ack_due.add(self)
            self._commits.flush()
        return handled

    def _take_control(self, end: GatewayEnd, control: Control) -> list[bytes]:
        """Process a control frame; refuse the acknowledgement of what is not stored, and therefore was not sent."""
        if control.kind == "ack" and (control.recv or 0) > self._changes.sent:
            sent = self._changes.sent
            raise ProtocolViolationError(
                f"the peer acknowledged {control.recv} frames, but only {sent} were sent"
            )
        return super()._take_control(end, control)

    def _is_left(self, message: Message | None) -> bool:
        """Return whether a message is left to the next gateway: the client sends it again, from its next request on."""
        self.holding = self.holding or message is None or message.kind is REQUEST
        return self.holding

    # --- what a stored batch allows -------------------------------------------------------------

    def act(self, actions: Actions) -> None:
        """Send what is stored, then process what the client sent."""
        if crash_points.armed is not None:
            crash_points.reach(Point.SENDING)
        if actions.arrival is not None:
            self._attach(actions.arrival)
        elif actions.out and (link := self._frame_link) is not None:
            channel = self.resumption.channel
            acknowledges = channel.received - channel.acked >= ACK_WITH_DATA and not self.ended
            if acknowledges and not self.attachments.stalled_by:
                link.send(channel.take_ack())
            for data in actions.out:
                link.send(data)
        if actions.close is not None:
            link, code, reason = actions.close
            link.close(code, reason)
        if self.ended:
            return
        if crash_points.armed is not None:
            crash_points.reach(Point.SENT)
        if actions.frames or actions.released or self._intake.stored:
            self._intake.act(actions)
        if self._paused is not None and not self._intake.stored:
            paused, self._paused = self._paused, None
            paused.set_reading(True)

    def _process(self, frame: Inbound) -> None:
        try:
            if frame.message is None:
                self._read(frame.data, frame.now)
            else:
                self.take(frame.message, frame.now)
                if frame.repeats:
                    self._intake.note_late(frame.message)
        except Exception:
            log.exception("handling a client's message failed")
            self.close_link(CloseCode.INTERNAL, INTERNAL)
        if crash_points.armed is not None:
            crash_points.reach(Point.FORWARDED)
        if self.ended or frame.again:
            return
        channel, link = self.resumption.channel, self._frame_link
        if not channel.accept(len(frame.data)):
            if channel.received - channel.acked == 1:
                self._registry.ack_due.add(self)
        elif link is not None:
            self._acknowledge_or_hold(self.resumption, link)
        if crash_points.armed is not None:
            crash_points.reach(Point.ACKNOWLEDGED)

    # --- toward the client ----------------------------------------------------------------------

    def send(self, message: Message, answered: Pending | None, received: float, droppable: bool) -> None:
        """Stage one message to the client; parameters as of :meth:`Session.send`."""
        if answered is not None:
            self._changes.remove(answered.key)
            if self._whole.open:
                self._whole.remove(answered.key)
        if message.kind is RESPONSE and message.id != b"null":
            if answered is None or answered.raw_id != message.id:
                self._intake.forget(message.id_key)
            return super().send(message, answered, received, droppable)
        if message.method != ACKNOWLEDGED_JSON:
            return super().send(message, answered, received, droppable)
        for made in self._whole.acknowledged(message):
            super().send(made, answered, received, droppable)

    def _write(self, message: Message, droppable: bool) -> bool:
        channel, data = self.resumption.channel, message.data
        if not channel.push_if_room(data, droppable) and not self._keep(data, droppable):
            return False
        self._commits.actions.out.append(data)
        self._commits.flush()
        return True

    def send_ack(self) -> None:
        """Acknowledge what was received, and free what the client has acknowledged."""
        super().send_ack()
        self._commits.flush(trim=True)

    # --- links come and go ----------------------------------------------------------------------

    def resume(self, link: Rebindable, info: LinkInfo, presented: bytes, recv: int, now: float) -> None:
        """Go on with a new link, as soon as its token is stored; parameters as of :meth:`ResumableSession.resume`.

        Raises:
            ResumeRefusedError: the session cannot continue from there.
            StoreUnavailableError: nothing can be stored.
        """
        if self._commits.stalled:
            raise StoreUnavailableError(f"the session cannot be stored: {self._engine.problem}")
        if self._releasing:
            raise StoreUnavailableError(LEAVING)
        token, digest = new_resume_token(self.id)
        self.resumption.admit(link, presented, recv, digest, now, self._changes.sent)
        self._close_links(CloseCode.SUPERSEDED, "another link of this client took over")
        self._link, self.info = None, info
        self.holding = self.final is not None
        self._rules = tool_rules(self.server, info)
        self._link_full = False
        self._arriving = self._commits.actions.arrival = Arrival(link, recv, token)
        self._commits.flush()

    def _attach(self, arrival: Arrival) -> None:
        """Write to a link whose token is stored what its client has not received."""
        if arrival is not self._arriving or self.ended:
            return
        self._arriving = None
        end, link = self.resumption, arrival.link
        sent, stored, last = self._changes.sent, self._changes.stored, self.final is not None
        frames = end.catch_up(arrival.recv, arrival.token, sent, stored, last=last)
        self._metrics.gap_messages += end.channel.count_gaps()
        self._link = link
        for frame in frames:
            link.send(frame)
        self._registry.session_attached(self, len(frames) - 1)
        self._update_flow()
        if self.final is not None:
            return self.close_link(*self.final)
        if self.asleep:
            self._wake()

    def _wake(self) -> None:
        """Attach the restored session to its server, and send the stored requests there: the client is there."""
        self.asleep = False
        self.attachments.wake()
        self._intake.send_whole(time.perf_counter())

    def link_lost(self, link: Rebindable, code: int, reason: str) -> None:
        """Detach the session from a link that is gone; parameters as of :meth:`ResumableSession.link_lost`."""
        arriving = self._arriving
        if not self.ended and arriving is not None and link is arriving.link:
            self._arriving = None
            if code == CloseCode.NORMAL:
                return self.link_closed(code, reason)
            self.resumption.detach(link, time.monotonic())
            self._registry.session_detached(self, code, reason)
        else:
            super().link_lost(link, code, reason)
        self._commits.flush()

    def leave(self, seconds: float, now: float) -> None:
        """Shorten the wait for a client that leaves; parameters as of :meth:`GatewayEnd.leave`."""
        super().leave(seconds, now)
        self._snapshots.expiry_changed()
        self._commits.flush()

    def close_link(self, code: CloseCode, reason: str) -> None:
        """Close the link when everything staged before is sent."""
        if self._commits.idle or self._commits.failing or not self._commits.open:
            return super().close_link(code, reason)
        if (link := self._frame_link) is not None:
            self._commits.actions.close = (link, code, reason)

    # --- ends -----------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a shutdown waits for it."""
        return bool(self._changes.in_flight or self._whole.awaited)

    def end(self, code: CloseCode, reason: str) -> None:
        """End the session from this side; its client first gets what is staged."""
        super().end(code, reason)
        if self._arriving is not None:
            self._arriving.link.close(code, reason)
            self._arriving = None

    def link_closed(self, code: int, reason: str) -> None:
        """End the session, and delete what is stored of it."""
        super().link_closed(code, reason)
        self._commits.ending = True
        self._intake.clear()
        if self._commits.failing:
            self._delete()
        else:
            self._commits.flush()

    def all_stored(self) -> None:
        """Go on with an end that waited until everything was stored."""
        if self.ended:
            self._delete()
        elif self._releasing:
            self._leave_stored(CloseCode.SERVICE_RESTART, LEAVING)

    def _delete(self) -> None:
        if not self._deleted:
            self._deleted = True
            self._commits.delete(self._stored)

    def end_for_shutdown(self) -> None:
        """Leave the session to the next gateway, as soon as everything is stored; nothing fails."""
        self._releasing = self._commits.ending = True
        self._commits.flush()

    def abandon(self) -> None:
        """Leave the session to the next gateway now, whatever is stored of it."""
        self._leave_stored(CloseCode.SERVICE_RESTART, LEAVING)

    def fenced(self) -> None:
        """Drop the session: another gateway owns it."""
        if self.ended:
            self._deleted = True
        else:
            self._leave_stored(CloseCode.SERVICE_RESTART, "another gateway has taken the session over")

    def _leave_stored(self, code: CloseCode, reason: str) -> None:
        """Drop the session here, and leave what is stored."""
        if self.ended:
            return
        self._deleted = self.ended = True
        self._commits.leave(self.resumption.patience)
        self._close_links(code, reason)
        self.attachments.close(keep=True)
        self.core.pending.clear()
        self._registry.session_left(self, reason)

    def _close_links(self, code: CloseCode, reason: str) -> None:
        for link in (self._link, self._arriving.link if self._arriving is not None else None):
            if link is not None:
                link.close(code, reason)

    def stalled(self, reason: str) -> None:
        """Tell the client to come back later: nothing can be stored."""
        self._close_links(CloseCode.TRY_AGAIN_LATER, f"the session cannot be stored: {reason}")

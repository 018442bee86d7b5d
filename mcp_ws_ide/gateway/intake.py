"""What the client of a stored session sends: noted when it arrives, processed in order when it is stored.

A request that has to wait for its server is stored whole, or as not transmitted, and marked in a later batch before it
is handed over. If the gateway ends in between, the next one forwards it, or its outcome is ``not_sent`` rather than
``unknown``. Whatever the client sent after it waits as well.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable

from mcp_ws_ide.core import messages, reader
from mcp_ws_ide.core.effects import Forward
from mcp_ws_ide.core.messages import NOTIFICATION, REQUEST, IdKey, Message
from mcp_ws_ide.core.multiplexer import LISTEN
from mcp_ws_ide.core.session import CANCELLED, SessionCore
from mcp_ws_ide.errors import UPSTREAM_UNAVAILABLE, MalformedMessageError
from mcp_ws_ide.gateway.actions import Actions, Inbound
from mcp_ws_ide.gateway.attachments import Attachments
from mcp_ws_ide.gateway.commits import Commits
from mcp_ws_ide.gateway.stored_state import detail_of
from mcp_ws_ide.gateway.upstream import Upstream
from mcp_ws_ide.gateway.whole_requests import READS, WholeRequests


class Intake:
    """The messages from one client. Implements :class:`~mcp_ws_ide.gateway.attachments.Gate`.

    Args:
        process: processes a frame that is stored.

    Attributes:
        stored: frames that are stored and wait to be processed.
    """

    def __init__(
        self,
        commits: Commits,
        core: SessionCore,
        attachments: Attachments,
        whole: WholeRequests,
        process: Callable[[Inbound], None],
    ) -> None:
        self._commits = commits
        self._changes = commits.changes
        self._core = core
        self._attachments = attachments
        self._whole = whole
        self._process = process
        self.stored: deque[Inbound] = deque()
        self._marking = False
        """Whether messages wait until a request is stored as transmitted."""

    def clear(self) -> None:
        """Process nothing any more."""
        self.stored.clear()

    # --- what arrives ---------------------------------------------------------------------------

    def take(self, frame: Inbound) -> None:
        """Stage a frame, with what it changes among the requests in flight."""
        message = frame.message
        if message is not None:
            self._note(message, frame)
        else:
            for message in reader.read_client(frame.data).messages:
                self._note(message, frame)
        self._changes.received += 1
        self._commits.actions.frames.append(frame)

    def _note(self, message: Message, frame: Inbound) -> None:
        if message.kind is REQUEST:
            key: IdKey = messages.decode_id(message.id)
            if key in self._changes.in_flight or key in self._whole.open:
                frame.repeats = True
                return  # it will be refused, unless that one is answered first
            reads = message.method_name in READS
            accepted = self._attachments.accepts
            waits = not (accepted or reads)
            whole = (waits or reads) and (message.method_name == LISTEN or self._continues(message))
            if not (whole and self._whole.add(message, waits=waits)):
                self._changes.add(key, detail_of(message), transmitted=accepted)
                waits = not accepted
            if waits:
                frame.waits.append(key)
        elif message.kind is NOTIFICATION and message.method_name == CANCELLED:
            with contextlib.suppress(MalformedMessageError, TypeError):
                self.forget(messages.decode_id(bytes(messages.params_of(message).request_id) or b"null"))

    def _continues(self, message: Message) -> bool:
        """Return whether another gateway can send a request to the server that it is meant for."""
        private = self._attachments.private
        if private is not None:
            return bool(private.kept)
        meta = (message.routing or messages.params_of(message)).meta
        modern = meta is not None and meta.version is not messages.ABSENT
        return modern or self._attachments.bridge is not None

    def note_late(self, message: Message) -> None:
        """Note a request whose id was in flight when it arrived, if it was not any more when it was processed."""
        key, noted = message.id_key, (self._changes.in_flight, self._whole.open)
        if key in self._core.pending and not any(key in ids for ids in noted):
            self._changes.add(key, detail_of(message), transmitted=True)

    def forget(self, key: IdKey) -> None:
        """Note that a request is answered or cancelled."""
        self._changes.remove(key)
        if self._whole.open:
            self._whole.remove(key)

    def send_whole(self, now: float) -> None:
        """Process the requests that another gateway has stored whole."""
        for message in self._whole.requests():
            key: IdKey = messages.decode_id(message.id)
            waits = [key] if self._whole.waits(key) else []
            self.stored.append(Inbound(message.data, message, now, waits, again=True))

    # --- what is stored -------------------------------------------------------------------------

    def act(self, actions: Actions) -> None:
        """Hand over and process what is stored."""
        if actions.marks:
            self._marking = self._commits.actions.marks
        for forward, upstream in actions.released:
            self._transmit(forward, upstream)
        self.stored.extend(actions.frames)
        stored = self.stored
        while stored and not self._marking and not (stored[0].waits and self._must_mark(stored[0])):
            self._process(stored.popleft())

    def _must_mark(self, frame: Inbound) -> bool:
        """Mark the waiting requests of a frame, if their server has become ready; return whether that is to be
        stored."""
        if not self._attachments.accepts:
            return False
        waits, frame.waits = frame.waits, []
        if any([self._mark(key) for key in waits]):
            self._marking = self._commits.actions.marks = True
            return True
        return False

    def _mark(self, key: IdKey) -> bool:
        """Mark a request as one that may run from now on; return False if it was marked, or needs no mark."""
        if not self._whole.waits(key):
            return self._changes.transmit(key)
        detail = detail_of(messages.parse(self._whole.open[key].data))
        self._whole.remove(key)
        self._changes.add(key, detail, transmitted=True)
        return True

    def hand_over(self, forward: Forward, upstream: Upstream) -> None:
        """Mark a request that has waited for its upstream as transmitted, then hand it over."""
        pending = forward.pending
        if pending is not None and forward.message.kind is REQUEST and self._mark(pending.key):
            self._marking = self._commits.actions.marks = True
        if not self._marking:
            return upstream.transmit(self._attachments, forward)
        self._commits.actions.released.append((forward, upstream))
        self._commits.flush()

    def _transmit(self, forward: Forward, upstream: Upstream) -> None:
        """Hand a message over that was held back until a request was marked."""
        request = forward.pending if forward.message.kind is REQUEST else None
        if request is not None and self._core.pending.get(request.key) is not request:
            return  # it was cancelled
        if not upstream.closed:
            upstream.transmit(self._attachments, forward)
        elif request is not None:
            reason = f"server {upstream.server.name!r} ended before the request was sent"
            self._attachments.fail(request, UPSTREAM_UNAVAILABLE, reason)

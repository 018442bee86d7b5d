"""The two ends of a resumable session (``mcp.resume.v1``, docs/reference/binding.md section 6).

Pure: frames, links (any object, compared by identity) and the time go in; frames to write and messages to process come
out. :class:`GatewayEnd` is the gateway's end, :class:`ClientEnd` that of a client. Rules:

1. Only the current link counts: frames of a superseded link are ignored.
2. A session is resumed only with the newest token, or with the one before it until the client has shown that it knows
   the newest.
3. Data leaves a buffer only when the peer has acknowledged it.
4. Undeliverable requests fail with an explicit outcome: a request that a loss leaves unanswered gets an error with
   ``data.outcome``: ``not_sent`` (safe to retry) or ``unknown`` (it may have run).
"""

from __future__ import annotations

import hmac
from collections import deque
from enum import Enum
from typing import Final

import msgspec

from mcp_ws_ide.core import binding, messages, reader
from mcp_ws_ide.core.binding import Control, ControlError, Window
from mcp_ws_ide.core.channel import PositionError, ReliableChannel
from mcp_ws_ide.core.lenient_json import encode, error_code
from mcp_ws_ide.core.messages import NOTIFICATION, REQUEST, RESPONSE, IdKey, Message
from mcp_ws_ide.core.reader import Unreadable
from mcp_ws_ide.core.stand_ins import TO_NOTIFICATIONS, replaces_response
from mcp_ws_ide.errors import (
    INTERNAL_ERROR,
    LIMIT_EXCEEDED,
    PARSE_ERROR,
    SESSION_LOST,
    MalformedMessageError,
)

MAX_ENDED: Final = 64
"""Ids of ended requests that a client keeps, to tell a late response from one with a wrong id."""
OVERFLOW_FACTOR: Final = 2
"""Windows that may be unacknowledged while a link is open: a slow network is not a lost client."""


class ProtocolViolationError(Exception):
    """The peer broke the protocol: close with 1002; the text is the reason."""


class ResumeRefusedError(Exception):
    """A session cannot be resumed: answer ``gone``, then close with 4404; the text is the reason."""


class WindowOverflowError(Exception):
    """Responses alone exceed the window: close with 4413 and end the session; the text is the reason."""


class EndState(msgspec.Struct, frozen=True):
    """What is stored of a gateway's end, beside its channel.

    Attributes:
        token: digest of the newest resume token.
        previous: digest of the token before, while that is valid.
        left: seconds to wait for a client that has announced its leave; None for the grace period.
    """

    token: bytes
    previous: bytes | None = None
    left: float | None = None


class GatewayEnd:
    """The gateway's end of one session.

    Args:
        link: the link that opened it.
        digest: of the token that ``opened`` carries; tokens themselves are not kept.
        window: the limit of what either side keeps unacknowledged.
        grace: the grace period, in seconds.
        live: what may be unacknowledged while a link is open, if that is more than :data:`OVERFLOW_FACTOR` windows.

    Attributes:
        deadline: when the detached session expires, on the caller's clock; None while it is attached.
        replayed: frames written a second time, in all.
        changes: how often :attr:`state` has changed.
    """

    __slots__ = (
        *("_left", "_live", "_previous", "_token", "changes", "channel", "deadline", "grace", "link"),
        *("replayed", "window"),
    )

    def __init__(
        self, link: object, digest: bytes, window: Window, grace: float, live: Window | None = None
    ) -> None:
        self.link: object | None = link
        self.channel = ReliableChannel(window.frames, window.bytes)
        self.window = window
        frames, size = (live.frames, live.bytes) if live is not None else (0, 0)
        self._live = Window(
            max(frames, OVERFLOW_FACTOR * window.frames), max(size, OVERFLOW_FACTOR * window.bytes)
        )
        self.grace = grace
        self.deadline: float | None = None
        self.replayed = self.changes = 0
        self._left: float | None = None
        self._token = digest
        self._previous: bytes | None = None

    @property
    def state(self) -> EndState:
        """What another gateway needs to restore it."""
        return EndState(self._token, self._previous, self._left)

    @classmethod
    def restored(
        cls,
        state: EndState,
        channel: ReliableChannel,
        window: Window,
        grace: float,
        live: Window,
        deadline: float,
    ) -> GatewayEnd:
        """Return the end of a stored session, which is detached until ``deadline``."""
        end = cls(None, state.token, window, grace, live)
        end.channel, end.deadline = channel, deadline
        end._previous, end._left = state.previous, state.left
        return end

    def opened(self, session: str, token: str, max_message_bytes: int | None = None) -> bytes:
        """Encode the answer to ``open``, with the longest message in bytes if that is known."""
        control = Control("opened", token=token, session=session, grace=self.grace, window=self.window)
        control.max_message_bytes = max_message_bytes
        return binding.encode_control(control)

    def knows(self, digest: bytes) -> bool:
        """Return whether a token with this digest may resume the session, in constant time."""
        newest = hmac.compare_digest(digest, self._token)
        return hmac.compare_digest(digest, self._previous or self._token) or newest

    def resume(
        self,
        link: object,
        presented: bytes,
        recv: int,
        token: str,
        digest: bytes,
        now: float,
        *,
        last: bool = False,
    ) -> list[bytes]:
        """Attach ``link``, which presented a token that :meth:`knows` accepts.

        Args:
            presented: the digest of that token, which stays valid until the client shows that it has the new one.
            recv: data frames that the client has received so far.
            token, digest: the new token, and its digest.
            now: the caller's clock, in seconds.
            last: whether nothing more is accepted from the client.

        Returns:
            What to write: ``resumed``, then everything that the client has not received.

        Raises:
            ResumeRefusedError: the session has expired, or its buffer does not reach back to that position.
        """
        replay = self._replay(recv, now)
        self._bind(link, presented, digest)
        return self._resumed(replay, token, self.channel.received, last)

    def _replay(self, recv: int, now: float, until: int | None = None) -> list[bytes]:
        if self.expired(now):
            raise ResumeRefusedError("the session has expired")
        try:
            return self.channel.replay_after(recv, until)
        except PositionError as error:
            raise ResumeRefusedError(str(error)) from None

    def _bind(self, link: object, presented: bytes, digest: bytes) -> None:
        self._previous, self._token = presented, digest
        self.link, self.deadline, self._left = link, None, None
        self.changes += 1

    def _resumed(self, replay: list[bytes], token: str, received: int, last: bool) -> list[bytes]:
        self.replayed += len(replay)
        # `resumed` carries the count of received frames, which acknowledges them.
        self.channel.take_ack()
        head = Control("resumed", recv=received, token=token, last=last or None)
        return [binding.encode_control(head), *replay]

    def admit(
        self, link: object, presented: bytes, recv: int, digest: bytes, now: float, stored: int
    ) -> None:
        """Attach ``link`` as :meth:`resume` does, before its tokens are stored; :meth:`catch_up` follows then.

        Args:
            stored: the last position that is stored: the client has received nothing after it.

        Raises:
            ResumeRefusedError: as :meth:`resume`.
        """
        if recv > stored:
            raise ResumeRefusedError(f"the peer acknowledged {recv} frames, but only {stored} were sent")
        self._replay(recv, now, until=recv)
        self._bind(link, presented, digest)

    def catch_up(
        self, recv: int, token: str, stored: int, received: int, *, last: bool = False
    ) -> list[bytes]:
        """Return what to write to the link of :meth:`admit`: ``resumed``, then what its client has not received.

        Args:
            recv: data frames that the client has received.
            token: the new token, whose digest is stored.
            stored: the last position that may be sent.
            received: data frames of the client that are stored, processed or not.
            last: whether nothing more is accepted from the client.
        """
        replay = self.channel.replay_after(max(recv, self.channel.base), until=stored)
        return self._resumed(replay, token, received, last)

    def detach(self, link: object, now: float) -> bool:
        """Detach the session from ``link``, which is lost; return False, and change nothing, for a superseded link."""
        if link is not self.link:
            return False
        self.link, self.deadline = None, now + self.patience
        return True

    @property
    def patience(self) -> float:
        """Seconds for which the session waits for its client."""
        return self.grace if self._left is None else self._left

    def leave(self, seconds: float, now: float) -> None:
        """Shorten the wait for a client that leaves to ``seconds``, from now or from the loss of its link.

        The wait never exceeds the grace period. A resume restores the full grace period.
        """
        self._left = min(seconds, self.grace)
        self.changes += 1
        if self.deadline is not None:
            self.deadline = min(self.deadline, now + self._left)

    def expires_in(self, now: float) -> float | None:
        """Return the seconds until the session expires; None while it is attached."""
        return None if self.deadline is None else max(0.0, self.deadline - now)

    def expired(self, now: float) -> bool:
        """Return whether the grace period is over."""
        return self.deadline is not None and now >= self.deadline

    def received(self, link: object) -> bool:
        """Note that a frame arrived; return whether it counts: not if its link was superseded."""
        if link is not self.link:
            return False
        if self._previous is not None:
            self._previous = None  # the client has the newest token, or it could not have sent this
            self.changes += 1
        return True

    def control(self, control: Control) -> list[bytes]:
        """Process a control frame of the current link; return the frames to write.

        Raises:
            ProtocolViolationError: a client must not send this control frame.
        """
        if control.kind == "ack":
            _acknowledge(self.channel, control)
            return []
        if control.kind == "ping":
            return [binding.PONG]
        if control.kind == "pong":
            return []
        raise ProtocolViolationError(f"a client must not send the control frame {control.kind!r}")

    def forget(self) -> None:
        """Release the buffer of a session that has ended; keep the tokens, to tell its client the reason."""
        self.channel = ReliableChannel(0, 0)

    def push(self, data: bytes, droppable: bool) -> None:
        """Keep a message to the client until it is acknowledged; the caller writes it if there is a link.

        Raises:
            WindowOverflowError: too many messages are unacknowledged that must not be dropped.
        """
        channel = self.channel
        if channel.push_if_room(data, droppable):
            return
        if not self._patient():
            channel.make_room()
        if channel.full and not self._patient():
            if droppable:
                return channel.push_gap()
            raise WindowOverflowError(
                f"the window is full of responses: {channel.unacked} messages ({channel.unacked_bytes} bytes); "
                "raise MCPWebSocketApp.window_frames or window_bytes"
            )
        channel.push(data, droppable)

    def _patient(self) -> bool:
        channel, live = self.channel, self._live
        return self.link is not None and channel.unacked_bytes < live.bytes and channel.kept < live.frames


class Waiting(msgspec.Struct):
    """An unanswered request from the client.

    Attributes:
        raw_id: its id, as JSON.
        position: its position among the frames.
    """

    raw_id: bytes
    position: int


class Doubt(msgspec.Struct, frozen=True):
    """What a peer of plain ``mcp`` wrote in place of a message, which may be the response to an open request.

    Attributes:
        open: the requests that were open then.
        error: the error object, as JSON, with which they fail.
        certain: whether it is the response to one of them.
    """

    open: frozenset[IdKey]
    error: bytes
    certain: bool = False


class Event(Enum):
    """What a frame from the gateway changed."""

    OPENED = "opened"
    RESUMED = "resumed"
    GONE = "gone"
    GAP = "gap"
    PONG = "pong"
    NOTHING = "nothing"


class ClientEnd:
    """A client's end: what to write, what to hand to the SDK, and the outcome of each request.

    After connecting, write :meth:`hello`; pass frames to :meth:`receive`; send messages through :meth:`send`. After a
    loss, call :meth:`lost_link`; to end, call :meth:`give_up`.

    Attributes:
        max_message_bytes: the longest message that the gateway accepts, if it has announced that.
        live: whether the link is open for data frames.
        legacy: whether the client has sent ``initialize``: then no other session can take over.
        waiting: unanswered requests, by id.
        replayed: frames written again at the last resume.
        gap: messages that the last ``gap`` frame stands for.
        gone_reason: the reason in the last ``gone`` frame.
        plain: whether the gateway does not resume: what is written counts as delivered.
        odd: whether the newest message may need :meth:`readable`.
    """

    def __init__(self) -> None:
        self.channel = ReliableChannel(Window().frames, Window().bytes)
        self.session = ""
        self.grace = 0.0
        self.max_message_bytes: int | None = None
        self.live = False
        self.legacy = False
        self.waiting: dict[IdKey, Waiting] = {}
        self.replayed = 0
        self.gap = 0
        self.gone_reason = ""
        self.plain = False
        self.odd = False
        self._doubt: Doubt | None = None
        self._ended: deque[IdKey] = deque(maxlen=MAX_ENDED)
        """Requests that ended last."""
        self._has_cancelled = False
        self._malformed = 0
        """Messages sent that the peer cannot read, and has not refused yet."""
        self._token = ""
        self._written = 0
        self._refused = False
        """Whether the gateway accepts nothing more: what it has not received was not processed."""

    @property
    def resumable(self) -> bool:
        """Whether there is a session to resume."""
        return bool(self._token)

    def hello(self) -> bytes:
        """Return the first frame for a new link."""
        if self._token:
            return binding.encode_control(Control("resume", token=self._token, recv=self.channel.received))
        return binding.encode_control(Control("open"))

    def fit(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what to send for a message of the SDK, and what to answer the SDK instead; ``b""`` for nothing.

        The gateway ends a session that sends a message above its limit. Therefore a request is answered here, a
        response becomes an error that reaches the server, and a notification is dropped.
        """
        limit = self.max_message_bytes
        if limit is None or len(data) <= limit:
            return data, b""
        try:
            message = messages.parse(data)
        except MalformedMessageError:
            return data, b""
        text = (
            f"the message has {len(data)} bytes, and the gateway accepts at most {limit}; "
            "raise MCPWebSocketApp.max_message_bytes"
        )
        details = {"limit": "max_message_bytes", "outcome": "not_sent"}
        error = messages.error_response(message.id, LIMIT_EXCEEDED, text, details)
        if message.kind is REQUEST:
            return b"", error
        return (error if message.kind is RESPONSE else b""), b""

    def send(self, data: bytes) -> bytes | None:
        """Handle a message of the SDK; return it if it is to be written now, None if it is kept for the next link."""
        self.channel.push(data)
        self._note_request(data)
        if not self.live or self._refused:
            return None
        self._note_written()
        return data

    def _note_written(self) -> None:
        self._written = self.channel.sent
        if self.plain:
            self.channel.acknowledge(self._written)

    def start_plain(self) -> list[bytes]:
        """Continue without resumption, because the peer speaks plain ``mcp``; return the queued messages, to write
        now."""
        self.plain = self.live = True
        queued = self.channel.replay_after(self.channel.base)
        self._note_written()
        return queued

    def unwritten(self) -> list[bytes]:
        """Return the messages of the SDK that arrived while no link was live."""
        return self.channel.replay_after(max(self._written, self.channel.base))

    def _note_request(self, data: bytes) -> None:
        try:
            message = messages.parse(data)
        except MalformedMessageError:
            reading = reader.read_client(data)
            if not reading.messages:
                self._malformed += 1
                return  # the gateway answers it with an error of its own
            message = reading.messages[0]
        if message.kind is REQUEST:
            self.waiting[message.id_key] = Waiting(message.id, self.channel.sent)
            self.legacy = self.legacy or message.method == b'"initialize"'
        elif message.kind is NOTIFICATION and message.method == b'"notifications/cancelled"':
            self._has_cancelled = True
            self._forget(bytes(messages.params_of(message).request_id))

    def _forget(self, raw_id: bytes) -> None:
        try:
            key = messages.decode_id(raw_id or b"null")
            if self.waiting.pop(key, None) is not None:
                self._ended.append(key)
        except (MalformedMessageError, TypeError):
            return

    def receive(self, data: bytes) -> tuple[bytes | None, list[bytes], Event]:
        """Process a frame from the gateway.

        Returns:
            The message for the SDK, if the frame is one; the frames to write now; what changed.

        Raises:
            ProtocolViolationError: the gateway broke the protocol.
        """
        if self.plain:
            self._note_answer(data)
            return data, [], Event.NOTHING
        try:
            control = binding.parse_control(data)
        except ControlError as error:
            raise ProtocolViolationError(str(error)) from None
        if control is not None:
            return self._control(control)
        if not self.live:
            raise ProtocolViolationError("data arrived before 'opened' or 'resumed'")
        self._note_answer(data)
        if self.channel.accept(len(data)):
            return data, [self.channel.take_ack()], Event.NOTHING
        return data, [], Event.NOTHING

    def _note_answer(self, data: bytes) -> None:
        if self.plain and not messages.is_text(data):  # a binary frame
            self.odd = True
            return
        try:
            message = messages.parse_server(data) if self.plain else messages.parse(data)
        except MalformedMessageError:
            self.odd = True
            return
        if message.kind is not RESPONSE:
            self.odd = False
            return
        waiting = self.waiting.get(message.id_key)
        self.odd = waiting is None or waiting.raw_id != message.id  # 7.0 for 7
        if not self.odd:
            del self.waiting[message.id_key]
            self._ended.append(message.id_key)

    def readable(self, data: bytes) -> list[bytes]:
        """Return what the SDK can read of a message from the peer that is :attr:`odd`; see :mod:`.reader`.

        A request whose answer cannot be read gets an error; so does each open one if that does not show its request,
        or says that the peer could not read one (-32700 without an id).
        """
        reading = reader.read_server(data)
        made = [message for one in reading.messages for message in self._paired(one)]
        made += [message for fault in reading.unreadable for message in self._failed(fault)]
        if not reading.messages and not reading.unreadable and replaces_response("message", data.strip()):
            shown = reader.quote(data.strip(), 0)
            self._note_doubt(_unknown_outcome(f"the server sent what is not a JSON-RPC message: {shown}"))
        return [message.data for message in made]

    def _note_doubt(self, error: bytes, *, certain: bool = False) -> None:
        if self.waiting:
            self._doubt = Doubt(frozenset(self.waiting), error, certain)

    def take_doubt(self) -> Doubt | None:
        """Return the doubt about what was last read, if it stands in place of a message; see :meth:`settle`."""
        doubt, self._doubt = self._doubt, None
        return doubt

    def settle(self, doubt: Doubt) -> list[bytes]:
        """Return the errors for the SDK, :data:`.SUSPICION` seconds after a doubt arose.

        If one of the requests that were open has been answered since, the doubt was about that one.
        """
        left = doubt.open & self.waiting.keys()
        if not doubt.certain and left != doubt.open:
            return []
        failed = [self.waiting.pop(key) for key in left]
        return [messages.failure(waiting.raw_id, doubt.error).data for waiting in failed]

    def _paired(self, message: Message) -> list[Message]:
        if message.kind is not RESPONSE:
            return [message]
        if message.id == b"null" and error_code(message.error) == PARSE_ERROR:
            return self._unread(message)
        raw_id = messages.alike(message.id, [waiting.raw_id for waiting in self.waiting.values()])
        if not raw_id:
            return self._misnamed(message)
        self._forget(raw_id)
        return [messages.with_id(message, raw_id)]

    def _misnamed(self, message: Message) -> list[Message]:
        """Handle a response of a server that is no gateway, whose id names no open request.

        It is the response to the only open request, unless it may be a late one, or answer a notification.
        """
        if not self.plain or not self.waiting or message.id_key in self._ended:
            return [message]
        notified = message.id == b"null" and error_code(message.error) in TO_NOTIFICATIONS
        if len(self.waiting) == 1 and not self._has_cancelled and not notified:
            ((_, waiting),) = self.waiting.items()
            self.waiting.clear()
            return [messages.with_id(message, waiting.raw_id)]
        shown = message.id.decode()[:80]
        error = f"the server answered with the id {shown}, which names no open request"
        self._note_doubt(message.error or _unknown_outcome(error), certain=not notified)
        return []

    def _unread(self, message: Message) -> list[Message]:
        """Handle the error for a message that could not be read: one that was sent malformed, or any open request."""
        if self._malformed:
            self._malformed -= 1
            return [message]
        return self._end_open(message.error)

    def _failed(self, fault: Unreadable) -> list[Message]:
        if not fault.answer:
            return []
        error = _unknown_outcome(f"the server's response is not a JSON-RPC message: {fault.reason}")
        if len(fault.ids) != 1:
            return self._end_open(error)
        raw_id = messages.alike(fault.ids[0], [waiting.raw_id for waiting in self.waiting.values()])
        if raw_id:
            self._forget(raw_id)
            return [messages.failure(raw_id, error)]
        return [] if fault.certain else self._end_open(error)

    def _end_open(self, error: bytes) -> list[Message]:
        """Fail every open request with the same error object, as JSON."""
        open_ids = [waiting.raw_id for waiting in self.waiting.values()]
        self.waiting.clear()
        return [messages.failure(raw_id, error) for raw_id in open_ids]

    def _control(self, control: Control) -> tuple[None, list[bytes], Event]:
        kind, channel = control.kind, self.channel
        if kind == "opened":
            return self._opened(control)
        if kind == "resumed":
            return self._resumed(control)
        if kind == "gone":
            self.gone_reason = control.reason or "no reason was given"
            return None, [], Event.GONE
        if kind == "gap":
            self.gap = control.dropped or 0
            channel.accept(0, self.gap)
            return None, [channel.take_ack()], Event.GAP
        if kind == "ack":
            _acknowledge(channel, control)
            return None, [], Event.NOTHING
        if kind == "ping":
            return None, [binding.PONG], Event.NOTHING
        if kind == "pong":
            return None, [], Event.PONG
        raise ProtocolViolationError(f"a gateway must not send the control frame {kind!r}")

    def _opened(self, control: Control) -> tuple[None, list[bytes], Event]:
        if self._token or control.window is None:
            raise ProtocolViolationError("'opened' arrived, but the session was already open")
        assert control.session is not None
        assert control.token is not None
        self.session, self._token, self.grace = control.session, control.token, control.grace or 0.0
        self.max_message_bytes = control.max_message_bytes
        self.channel.set_window(control.window.frames, control.window.bytes)
        self.live = True
        queued = self.channel.replay_after(0)
        self._written = self.channel.sent
        return None, queued, Event.OPENED

    def _resumed(self, control: Control) -> tuple[None, list[bytes], Event]:
        assert control.token is not None
        assert control.recv is not None
        if not self._token or self.live:
            raise ProtocolViolationError("'resumed' arrived, but no 'resume' had been sent")
        try:
            replay = self.channel.replay_after(control.recv)
        except PositionError as error:
            raise ProtocolViolationError(str(error)) from None
        self._token, self.live, self._refused = control.token, True, control.last or False
        if self._refused:
            replay, self._written = [], control.recv
        else:
            self._written = self.channel.sent
        self.replayed = len(replay)
        # At least one frame, which tells the gateway that the new token has arrived.
        return None, [self.channel.take_ack(), *replay], Event.RESUMED

    def lost_link(self) -> None:
        """Note that the link is gone; messages are kept until the next one."""
        self.live = False

    def start_over(self, reason: str) -> list[bytes]:
        """Begin a new session in place of one that is gone; only for a client that has not sent ``initialize``.

        Messages that were never written are kept for the new session; all other waiting requests fail with the outcome
        ``unknown``.

        Returns:
            The errors to hand to the SDK.
        """
        errors = self._fail(reason, only_written=True)
        unwritten = self.channel.sent - self._written
        kept = self.channel.replay_after(self.channel.base)[-unwritten:] if unwritten else []
        self.channel = ReliableChannel(self.channel.max_frames, self.channel.max_bytes)
        for data in kept:
            self.channel.push(data)
        for waiting in self.waiting.values():
            waiting.position -= self._written
        self._token, self._written, self.live, self.plain = "", 0, False, False
        self._refused = False
        return errors

    def give_up(self, reason: str) -> list[bytes]:
        """End the session; return the errors to hand to the SDK, one for each unanswered request."""
        self.live = False
        return self._fail(reason, only_written=False)

    def _fail(self, reason: str, *, only_written: bool) -> list[bytes]:
        errors = []
        for key, waiting in list(self.waiting.items()):
            written = waiting.position <= self._written
            if written or not only_written:
                del self.waiting[key]
                outcome = {"outcome": "unknown" if written else "not_sent"}
                errors.append(messages.error_response(waiting.raw_id, SESSION_LOST, reason, outcome))
        return errors


def _acknowledge(channel: ReliableChannel, control: Control) -> None:
    try:
        channel.acknowledge(control.recv or 0)
    except PositionError as error:
        raise ProtocolViolationError(str(error)) from None


def _unknown_outcome(reason: str) -> bytes:
    """Return an error object, as JSON, for a request that may have run."""
    return encode({"code": INTERNAL_ERROR, "message": reason, "data": {"outcome": "unknown"}})

"""One client's conversation: which requests are in flight, and in which era it speaks.

Pure: messages and the time go in, effects come out. Rules, in the order in which they apply to a client's message:

1. A request whose id is in flight is refused with ``id: null``: with its id the refusal would answer the first request.
2. A request above the in-flight limit, or of a user who sends too much, is refused with its own id.
3. A request with a protocol version in ``_meta`` is of the modern era, every other one of the handshake era. A modern
   ``initialize`` is refused: it must not reach a process that sessions share.
4. A cancellation goes where the request that it names went; a response goes where its request came from.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any, Final, NamedTuple

import msgspec

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.effects import Deliver, Drop, Effect, Forward, Pending, Ping, Reply, Unnamed
from mcp_ws_ide.core.era import MODERN_VERSION
from mcp_ws_ide.core.messages import ABSENT, REQUEST, RESPONSE, IdKey, Message
from mcp_ws_ide.core.session_state import CoreState
from mcp_ws_ide.errors import INVALID_REQUEST, LIMIT_EXCEEDED, METHOD_NOT_FOUND, MalformedMessageError

CANCELLED: Final = "notifications/cancelled"
DROPPABLE: Final = frozenset({b'"notifications/progress"', b'"notifications/message"'})
"""Methods (as JSON) of the notifications that may be dropped when the window is full."""

MAX_RECENT: Final = 256
"""Requests that ended last, whose ids are kept: a second or late response is known by them."""
_NONE_RECENT: Final[deque[Pending]] = deque(maxlen=0)

NO_HANDSHAKE = (
    f"Method not found: {MODERN_VERSION} has no initialize; send it without a protocol version in _meta to speak "
    "an earlier revision"
)

_encode: Final = msgspec.json.Encoder().encode


class Throttled(NamedTuple):
    """Why a user's requests are refused for a while.

    Attributes:
        limit: messages per second that are allowed.
        until: when requests are accepted again, on the clock of :meth:`SessionCore.from_client`.
    """

    limit: int
    until: float


class SessionCore:
    """The requests of one session. Not thread-safe; never waits.

    Attributes:
        pending: unanswered requests from the client, by id.
        asked: ids of the unanswered requests from a server of the handshake era; the message of those that are pings.
        used_modern, used_legacy: the eras that the client has used so far.
        has_cancelled: whether the client has cancelled a request, so that its response may still come.
        recent: the last :data:`MAX_RECENT` requests that the private upstream answered, or that were cancelled.

    Most sessions are idle, so what is empty must be small: an empty set has 216 bytes, an empty deque 760.
    """

    def __init__(self, max_in_flight: int) -> None:
        self._max_in_flight = self._most = max_in_flight
        self._throttled: Throttled | None = None
        self.pending: dict[IdKey, Pending] = {}
        self.asked: dict[IdKey, Message | None] = {}
        self.used_modern = self.used_legacy = False
        self.has_cancelled = False
        self.recent = _NONE_RECENT

    @property
    def state(self) -> CoreState:
        """What another gateway needs to restore it."""
        return CoreState(self.used_modern, self.used_legacy, [_encode(key) for key in self.asked])

    def restore(self, state: CoreState, *, same_server: bool) -> None:
        """Continue a stored session.

        Args:
            same_server: whether its server still waits for the answers to its requests.
        """
        self.used_modern, self.used_legacy = state.used_modern, state.used_legacy
        if same_server:
            self.asked = {messages.decode_id(raw_id): None for raw_id in state.asked}

    def from_client(self, message: Message, now: float) -> Effect:
        """Return what to do with a message from the client."""
        if message.kind is REQUEST:
            return self._request(message, now)
        if message.kind is RESPONSE:
            return self._response(message)
        return self._notification(message)

    def _request(self, message: Message, now: float) -> Effect:
        key: IdKey = messages.decode_id(message.id)
        if key in self.pending:
            text = f"the id {message.id.decode()} is already in flight; use each id only once"
            return Deliver(messages.error(b"", INVALID_REQUEST, text))
        if len(self.pending) >= self._most:
            return Deliver(self._over_limit(message.id, now))
        params = message.routing or messages.params_of(message)
        modern = params.meta is not None and params.meta.version is not ABSENT
        if (
            modern and message.method == b'"initialize"'
        ):  # sessions that share a process must not initialize it
            return Deliver(messages.error(message.id, METHOD_NOT_FOUND, NO_HANDSHAKE))
        if modern:
            self.used_modern = True
        else:
            self.used_legacy = True
        pending = Pending(key, message.id, message.method_name, now, modern=modern)
        self.pending[key] = pending
        return Forward(message, modern, params, pending)

    def throttle(self, throttled: Throttled | None) -> None:
        """Refuse further requests, or stop doing so: the in-flight limit becomes 0, which requests are checked against
        anyway."""
        self._throttled = throttled
        self._most = self._max_in_flight if throttled is None else 0

    def _over_limit(self, raw_id: bytes, now: float) -> Message:
        """Return the error for a request above a limit; safe to send again."""
        most = self._max_in_flight
        text = f"max_in_flight ({most}) is reached; wait for responses or raise MCPWebSocketApp.max_in_flight"
        data: dict[str, Any] = {"limit": "max_in_flight", "outcome": "not_sent"}
        if self._throttled is not None:
            seconds = max(1, math.ceil(self._throttled.until - now))
            text = (
                f"more than {self._throttled.limit} messages a second (max_messages_per_second) came from this user; "
                f"send the request again in {seconds} s"
            )
            data = {"limit": "max_messages_per_second", "outcome": "not_sent", "retry_after": seconds}
        return messages.error(raw_id, LIMIT_EXCEEDED, text, data)

    def _response(self, message: Message) -> Effect:
        key = message.id_key
        if key not in self.asked:
            return Drop("response that matches no request of the server")
        del self.asked[key]
        return Forward(message, False, messages.NO_PARAMS)

    def _notification(self, message: Message) -> Effect:
        if message.method_name != CANCELLED:
            return Forward(message, self.used_modern and not self.used_legacy, messages.NO_PARAMS)
        params = messages.params_of(message)
        pending = self._named_by(params)
        if pending is None:
            return Drop("cancellation that matches no request in flight")
        del self.pending[pending.key]
        self.has_cancelled = True
        if self.recent is _NONE_RECENT:
            self._keep_recent()
        self.recent.append(pending)
        return Forward(message, pending.modern, params, pending)

    def _named_by(self, params: messages.Params) -> Pending | None:
        raw = bytes(params.request_id)
        if len(raw) > messages.MAX_ID_BYTES:
            return None
        try:
            return self.pending.get(messages.decode_id(raw or b"null"))
        except (MalformedMessageError, TypeError):  # TypeError: an id of an unhashable type
            return None

    def from_legacy_server(self, message: Message) -> Effect:
        """Return what to do with a message of the session's private upstream: it passes verbatim."""
        if message.kind is RESPONSE:
            key: IdKey = messages.decode_id(message.id)
            pending = self.pending.get(key)
            if pending is None:
                pending = self.pending.get(messages.of_other_type(key) or key)
            if pending is None:
                return Unnamed(message)
            if pending.modern:
                return Drop("response to a request that another server process received")
            del self.pending[pending.key]
            if self.recent is _NONE_RECENT:
                self._keep_recent()
            self.recent.append(pending)
            if message.id != pending.raw_id:
                message = messages.with_id(message, pending.raw_id)
            return Deliver(message, pending)
        if message.kind is REQUEST:
            key = message.id_key
            if key in self.asked:
                text = f"the id {message.id.decode()} is already in flight; use each id only once"
                return Reply(messages.error(b"", INVALID_REQUEST, text))
            if message.method == b'"ping"':
                self.asked[key] = message
                return Ping(message)
            self.asked[key] = None
            return Deliver(message)
        return Deliver(message, None, message.method in DROPPABLE)

    def _keep_recent(self) -> None:
        self.recent = deque(maxlen=MAX_RECENT)

    def answer_ping(self, ping: Message) -> Message | None:
        """Return a response to a ping in place of the client, which is too late; None if the client has responded."""
        key = ping.id_key
        if self.asked.get(key) is not ping:
            return None
        del self.asked[key]
        return messages.response(ping.id, b"{}")

    def open_at_private(self, since: float = 0.0) -> list[bytes]:
        """Return the ids, as JSON, of the requests that the private upstream was sent after ``since`` (``sent``)."""
        open_ = (p for p in self.pending.values() if not p.modern and not p.upstream_id)
        return [p.raw_id for p in open_ if p.sent > since]

    def answered(self, pending: Pending) -> None:
        """Forget a request that was answered, unless another one uses its id by now."""
        if self.pending.get(pending.key) is pending:
            del self.pending[pending.key]

    def _forget(self, pending: Pending) -> bool:
        """Forget a request; return False if it is not in flight any more: another one may use its id by now."""
        if self.pending.get(pending.key) is not pending:
            return False
        del self.pending[pending.key]
        return True

    def fail(self, pending: Pending, code: int, text: str) -> Message | None:
        """Return the error that ends a request; None if the request is no longer waited for.

        ``data.outcome`` is ``"not_sent"`` (safe to retry) or ``"unknown"`` (it may have run).
        """
        if not self._forget(pending):
            return None
        outcome = "unknown" if pending.sent else "not_sent"
        return messages.error(pending.raw_id, code, text, {"outcome": outcome})

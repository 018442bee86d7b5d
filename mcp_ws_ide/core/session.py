"""One client's conversation: which requests are in flight, and in which era it speaks.

Pure: messages and the time go in, effects come out. Rules, in the order they are applied to a message
from the client:

1. A request whose id is in flight is refused with ``id: null`` (with the id it would answer the first).
2. A request above the in-flight limit is refused with its own id.
3. A request with a protocol version in ``_meta`` is modern; every other one is legacy. A modern ``initialize`` is
   refused: it must not reach a process that others share.
4. A cancellation goes where the request it names went; a response, where the question came from.
"""

from __future__ import annotations

from typing import Any

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.effects import Deliver, Drop, Effect, Forward, Pending, Reply
from mcp_ws_ide.core.era import MODERN_VERSION, Era
from mcp_ws_ide.core.messages import IdKey, Kind, Message
from mcp_ws_ide.errors import INVALID_REQUEST, LIMIT_EXCEEDED, METHOD_NOT_FOUND, MalformedMessage

CANCELLED = "notifications/cancelled"
DROPPABLE = frozenset({b'"notifications/progress"', b'"notifications/message"'})
"""Methods (as JSON) of the notifications that may give way when a client is away for too long."""

NO_HANDSHAKE = (
    f"Method not found: {MODERN_VERSION} has no initialize; send it without a protocol version in _meta to speak "
    "an earlier revision"
)


class SessionCore:
    """The state of one session. Not thread-safe; never waits."""

    def __init__(self, max_in_flight: int) -> None:
        self._max_in_flight = max_in_flight
        self.pending: dict[IdKey, Pending] = {}
        """Requests of the client that wait for an answer."""
        self.asked: set[IdKey] = set()
        """Requests of a legacy server that wait for the client's answer."""
        self.eras: set[Era] = set()
        """The eras the client has used so far."""

    def from_client(self, message: Message, now: float) -> Effect:
        """What becomes of a message from the client."""
        if message.kind is Kind.REQUEST:
            return self._request(message, now)
        if message.kind is Kind.RESPONSE:
            return self._response(message)
        return self._notification(message)

    def _request(self, message: Message, now: float) -> Effect:
        key = message.id_key
        if key in self.pending:
            words = f"the id {message.id.decode()} is already in flight; use every id once"
            return Deliver(messages.error(b"", INVALID_REQUEST, words))
        if len(self.pending) >= self._max_in_flight:
            return Deliver(_over_limit(message.id, self._max_in_flight))
        params = messages.params_of(message)
        modern = params.meta is not None and len(memoryview(params.meta.version)) > 0
        if modern and message.method == b'"initialize"':  # a process that many share must not see it
            return Deliver(messages.error(message.id, METHOD_NOT_FOUND, NO_HANDSHAKE))
        self.eras.add(Era.MODERN if modern else Era.LEGACY)
        pending = Pending(key, message.id, message.method_name, now, modern=modern)
        self.pending[key] = pending
        return Forward(message, modern, params, pending)

    def _response(self, message: Message) -> Effect:
        key = message.id_key
        if key not in self.asked:
            return Drop("answers no question of the server")
        self.asked.discard(key)
        return Forward(message, False, messages.NO_PARAMS)

    def _notification(self, message: Message) -> Effect:
        if message.method_name != CANCELLED:
            return Forward(
                message, Era.LEGACY not in self.eras and Era.MODERN in self.eras, messages.NO_PARAMS
            )
        params = messages.params_of(message)
        pending = self._named_by(params)
        if pending is None:
            return Drop("cancels no request in flight")
        del self.pending[pending.key]
        return Forward(message, pending.modern, params, pending)

    def _named_by(self, params: messages.Params) -> Pending | None:
        raw = bytes(params.request_id)
        if len(raw) > messages.MAX_ID_BYTES:
            return None
        try:
            return self.pending.get(messages.decode_id(raw or b"null"))
        except (MalformedMessage, TypeError):  # TypeError: an id of an unhashable type
            return None

    def from_legacy_server(self, message: Message) -> Effect:
        """What becomes of a message from the session's own legacy upstream: it passes verbatim."""
        if message.kind is Kind.RESPONSE:
            pending = self.pending.get(message.id_key)
            if pending is None:
                return Deliver(message)
            if pending.modern:
                return Drop("answers a request that went to another server process")
            del self.pending[pending.key]
            return Deliver(message, pending)
        if message.kind is Kind.REQUEST:
            key = message.id_key
            if key in self.asked:
                words = f"the id {message.id.decode()} is already in flight"
                return Reply(messages.error(b"", INVALID_REQUEST, words))
            self.asked.add(key)
            return Deliver(message)
        return Deliver(message, None, message.method in DROPPABLE)

    def answered(self, pending: Pending) -> None:
        """A shared upstream answered this request."""
        self._forget(pending)

    def _forget(self, pending: Pending) -> bool:
        """Whether this very request was waited for; another one may use its id by now."""
        if self.pending.get(pending.key) is not pending:
            return False
        del self.pending[pending.key]
        return True

    def fail(self, pending: Pending, code: int, text: str) -> Message | None:
        """The error that ends a request which will get no answer; None if it is no longer waited for.

        ``data.outcome`` is ``"not_sent"`` (safe to retry) or ``"unknown"`` (it may have run).
        """
        if not self._forget(pending):
            return None
        outcome = "unknown" if pending.sent else "not_sent"
        return messages.error(pending.raw_id, code, text, {"outcome": outcome})


def _over_limit(raw_id: bytes, limit: int) -> Message:
    text = f"{limit} requests of this session are in flight already; wait for answers (max_in_flight)"
    data: dict[str, Any] = {"limit": "max_in_flight", "outcome": "not_sent"}
    return messages.error(raw_id, LIMIT_EXCEEDED, text, data)

"""The subscriptions of a client of the handshake era, as one modern subscription (docs/reference/eras.md). Pure.

All resources and lists that the client follows go into one ``subscriptions/listen``. A change makes a new one, which
replaces the old one when the server acknowledges it; a lost one is made again, and then everything is announced as
changed, since changes may have been missed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.methods import LIST_CHANGED, MAX_URIS
from mcp_ws_ide.core.bridges.server_subscriptions import offers
from mcp_ws_ide.core.effects import Again, Deliver, Effect, Forward, Pending
from mcp_ws_ide.core.lenient_json import encode, error_code, error_text, object_of, text_of, texts_of
from mcp_ws_ide.core.messages import NOTIFICATION, Message
from mcp_ws_ide.core.session import CANCELLED, SessionCore
from mcp_ws_ide.core.shown_uris import shown
from mcp_ws_ide.errors import GATEWAY_ERRORS, INTERNAL_ERROR, INVALID_PARAMS, LIMIT_EXCEEDED

RESOURCE_NOT_FOUND: Final = -32002
"""How servers of the handshake era refuse a subscription."""
AGAIN_FIRST: Final = 1.0
"""Seconds until a lost subscription is tried again; each further failure doubles them."""
AGAIN_LAST: Final = 30.0
"""Longest time between two attempts, in seconds."""
INTERNAL_ID: Final = "\0mcp-ws-"
"""Start of the ids of the bridge's own requests."""

_Asked = tuple[Pending, str]
"""A request from the client, and the URI it subscribes to; ``""`` for one that unsubscribes."""


class SubscriptionState(msgspec.Struct):
    """What is stored of a subscription.

    Attributes:
        capabilities: those that the server offers, as JSON.
        uris: the resources that the client follows.
        wanted: whether the client has finished its handshake, or subscribed.
    """

    capabilities: bytes
    uris: list[str]
    wanted: bool


class ClientSubscription:
    """The one subscription of a bridged client.

    Args:
        core: the session's; the subscription's request is entered there.
        send: sends a request of the bridge, given its entry, method and params.

    Attributes:
        capabilities: those that the server offers.
        changes: the number of changes of :attr:`state`, apart from the capabilities.

    Methods return effects in the order in which they are to be performed.
    """

    def __init__(self, core: SessionCore, send: Callable[[Pending, str, dict[str, Any]], Forward]) -> None:
        self.capabilities: dict[str, Any] = {}
        self.changes = 0
        self._core = core
        self._send = send
        self._uris: set[str] = set()
        self._wanted = False
        """Whether the client has finished its handshake, or subscribed."""
        self._count = 0
        self._current: Pending | None = None
        """The subscription whose notifications count."""
        self._next: Pending | None = None
        """Its successor, which is not acknowledged yet."""
        self._waiting: list[_Asked] = []
        """Requests that the next subscription will answer."""
        self._covered: list[_Asked] = []
        """Requests that :attr:`_next` answers."""
        self._stale = False
        """Whether the client asked for more since :attr:`_next` was sent."""
        self._refused = False
        """Whether the server takes no subscription at all."""
        self._failures = 0
        """Attempts in a row at which the server could not be reached."""
        self._scheduled = False
        """Whether another attempt follows."""
        self._missed = False
        """Whether changes may have been missed; announced as soon as the client can hear of new ones."""

    @property
    def state(self) -> SubscriptionState:
        """What another gateway needs to restore it."""
        return SubscriptionState(encode(self.capabilities), sorted(self._uris), self._wanted)

    def restore(self, state: SubscriptionState) -> list[Effect]:
        """Subscribe again to what a stored session followed; then everything is announced as changed."""
        self.capabilities = object_of(state.capabilities)
        self._uris, self._wanted, self._missed = set(state.uris), state.wanted, True
        return self.again()

    # --- from the client ------------------------------------------------------------------------

    def start(self) -> list[Effect]:
        """Subscribe for the first time: the client has finished its handshake."""
        self._wanted = True
        self.changes += 1
        return self._listen()

    def renew(self) -> list[Effect]:
        """Subscribe again, because the envelope of requests has changed."""
        return self._listen() if self._wanted else []

    def change(self, message: Message, pending: Pending, subscribe: bool) -> list[Effect]:
        """Subscribe to a resource, or unsubscribe from it, as a request from the client asks."""
        uri = text_of(messages.member(message.params, "uri"))
        if not uri:
            self._core.answered(pending)
            reason = "params.uri must be a string"
            return [Deliver(messages.error(pending.raw_id, INVALID_PARAMS, reason), pending)]
        if subscribe and len(self._uris) >= MAX_URIS and uri not in self._uris:
            return self._fail(
                [(pending, uri)],
                LIMIT_EXCEEDED,
                f"the session is subscribed to {MAX_URIS} resources, which is the maximum; unsubscribe from one",
            )
        (self._uris.add if subscribe else self._uris.discard)(uri)
        self._waiting.append((pending, uri if subscribe else ""))
        self._wanted, self._refused = True, False
        self.changes += 1
        return self._listen()

    def again(self) -> list[Effect]:
        """Subscribe if nothing is subscribed: the delay of an :class:`Again` is over, or the client sent a request."""
        self._scheduled = False
        if not self._wanted or self._refused or self._current is not None or self._next is not None:
            return []
        return self._listen()

    def _listen(self) -> list[Effect]:
        """Make a new subscription in place of the old one, which ends when the new one is acknowledged.

        One at a time: what the client asks for until the acknowledgement goes into the next one.
        """
        if self._next is not None:
            self._stale = True
            return []
        wanted: dict[str, Any] = dict.fromkeys(self._lists(), True)
        if self._uris:
            wanted["resourceSubscriptions"] = sorted(self._uris)
        covered, self._waiting = self._waiting, []
        if not wanted:
            ended, self._current = self._end(self._current), None
            return [*ended, *self._confirm(covered)]
        self._count += 1
        name = f"{INTERNAL_ID}{self._count}"
        pending = Pending(name, encode(name), "subscriptions/listen", 0.0, modern=True)
        self._core.pending[name] = pending
        self._next, self._covered = pending, covered
        return [self._send(pending, "subscriptions/listen", {"notifications": wanted})]

    def _lists(self) -> dict[str, str]:
        """Return the lists whose changes the server announces: name in a subscription, and notification."""
        return {
            name: method
            for method, (name, capability) in LIST_CHANGED.items()
            if offers(self.capabilities, capability, "listChanged")
        }

    def _end(self, listen: Pending | None) -> list[Effect]:
        if listen is None:
            return []
        self._core.pending.pop(listen.key, None)
        cancellation = messages.notification(CANCELLED, b'{"requestId":%b}' % listen.raw_id)
        return [forward_modern(cancellation, listen)]

    # --- answers to the client ------------------------------------------------------------------

    def _still_waiting(self, asked: list[_Asked]) -> list[_Asked]:
        return [entry for entry in asked if self._core.pending.get(entry[0].key) is entry[0]]

    def _confirm(self, asked: list[_Asked]) -> list[Effect]:
        """Answer requests that the subscription fulfils."""
        return [empty_result(self._core, pending) for pending, _ in self._still_waiting(asked)]

    def _fail(self, asked: list[_Asked], code: int, reason: str) -> list[Effect]:
        """Answer requests that the subscription does not fulfil; unsubscribing still succeeds."""
        effects: list[Effect] = []
        for pending, uri in self._still_waiting(asked):
            if not uri:
                effects.append(empty_result(self._core, pending))
                continue
            self._core.answered(pending)
            effects.append(Deliver(messages.error(pending.raw_id, code, reason), pending))
        return effects

    # --- from the server ------------------------------------------------------------------------

    def is_current(self, raw_id: bytes) -> bool:
        """Return whether this id (JSON) is that of the subscription whose notifications count."""
        return self._current is not None and self._current.raw_id == raw_id

    def response(self, message: Message) -> list[Effect] | None:
        """Handle a response; None if it does not answer a subscription."""
        if self.is_current(message.id):
            return self._lost()
        if self._next is not None and self._next.raw_id == message.id:
            return self._not_accepted(message)
        return None

    def cancelled(self, raw_id: bytes) -> list[Effect]:
        """Note that the server has ended the request of this id (JSON)."""
        return self._lost() if self.is_current(raw_id) else []

    def acknowledged(self, tag: bytes, honored: bytes) -> list[Effect]:
        """Replace the old subscription by the new one, which the server has acknowledged.

        Args:
            tag: id of the subscription, as JSON.
            honored: what the server promises, as JSON.
        """
        if self._next is None or tag != self._next.raw_id:
            return []
        old, self._current, self._next = self._current, self._next, None
        covered, self._covered = self._covered, []
        self._failures = 0
        taken = set(texts_of(messages.member(honored, "resourceSubscriptions")))
        refused = [entry for entry in covered if entry[1] and entry[1] not in taken]
        self._uris.difference_update(uri for _, uri in refused)
        self.changes += bool(refused)
        effects = [*self._end(old), *self._confirm([entry for entry in covered if entry not in refused])]
        effects += self._fail(
            refused, RESOURCE_NOT_FOUND, "the server does not accept a subscription to this resource"
        )
        if self._missed:
            self._missed = False
            effects += self._announce_all()
        if self._stale:
            self._stale = False
            effects += self._listen()
        return effects

    def _announce_all(self) -> list[Effect]:
        """Announce everything that is followed as changed."""
        changed = [messages.notification(method) for method in self._lists().values()]
        updated = "notifications/resources/updated"
        changed += [messages.notification(updated, encode({"uri": shown(uri)})) for uri in sorted(self._uris)]
        return [Deliver(message) for message in changed]

    def _lost(self) -> list[Effect]:
        """Subscribe again after a while: the subscription ended, or its server exited."""
        self._current, self._missed = None, True
        return [] if self._next is not None else self._later()

    def _not_accepted(self, message: Message) -> list[Effect]:
        """Fail the requests that a subscription covers, which the server ended or refused; the old one continues."""
        self._next, self._stale = None, False
        covered = [*self._covered, *self._waiting]
        self._covered, self._waiting = [], []
        self._uris.difference_update(uri for _, uri in covered)
        self.changes += bool(covered)
        code = error_code(message.error)
        reason = (
            error_text(message.error) if message.error else "the server ended the subscription immediately"
        )
        effects = self._fail(covered, code or INTERNAL_ERROR, reason)
        if code in GATEWAY_ERRORS:
            return [*effects, *self._later()]
        self._refused = self._current is None
        return effects

    def _later(self) -> list[Effect]:
        if self._scheduled:
            return []
        self._scheduled = True
        delay = min(AGAIN_FIRST * 2**self._failures, AGAIN_LAST)
        self._failures += 1
        return [Again(delay)]


def empty_result(core: SessionCore, pending: Pending) -> Deliver:
    """Answer a request with an empty result."""
    core.answered(pending)
    return Deliver(messages.response(pending.raw_id, b"{}"), pending)


def forward_modern(message: Message, pending: Pending) -> Forward:
    """Forward a modern request, or the cancellation of one, for its entry in the session's core."""
    pending.modern = True
    if message.kind is not NOTIFICATION:
        pending.upstream_id = 0
    return Forward(message, True, messages.params_of(message), pending)

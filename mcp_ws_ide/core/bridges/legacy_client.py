"""The bridge that presents a client of the handshake era as one of 2026-07-28 (docs/reference/eras.md). Pure.

It stands between one session's client and its modern server: answers the handshake from ``server/discover``, adds the
envelope to each request and removes it from each result, turns ``input_required`` into requests to the client and their
answers into another round of the same call, and keeps one ``subscriptions/listen`` for all subscriptions.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw

from mcp_ws_ide.core import log_levels, messages
from mcp_ws_ide.core.bridges.client_subscription import (
    ClientSubscription,
    SubscriptionState,
    empty_result,
    forward_modern,
)
from mcp_ws_ide.core.bridges.methods import (
    CAPABILITIES_KEY,
    CLIENT_INFO_KEY,
    LISTS,
    QUESTIONS,
    SERVER_INFO_KEY,
    TASK,
    without_tasks,
)
from mcp_ws_ide.core.call_results import CALLS, read_result
from mcp_ws_ide.core.effects import Abandon, Deliver, Effect, Forward, Pending
from mcp_ws_ide.core.era import MODERN_VERSION
from mcp_ws_ide.core.lenient_json import (
    encode,
    error_code,
    error_text,
    members_of,
    object_of,
    text_of,
)
from mcp_ws_ide.core.list_items import read_list, with_note
from mcp_ws_ide.core.messages import IdKey, Kind, Message
from mcp_ws_ide.core.session import CANCELLED, SessionCore
from mcp_ws_ide.core.shown_uris import NAMES_RESOURCE, READ, UPDATED, as_shown, as_written, shown_contents
from mcp_ws_ide.errors import GATEWAY_ERRORS, INTERNAL_ERROR, INVALID_PARAMS

REFUSALS: Final = frozenset({-32601, -32022})
"""Error codes with which servers without a handshake answer ``initialize``."""
MAX_ROUNDS: Final = 10
"""Maximum number of rounds of questions in one call; the SDKs have the same limit."""

TASK_REFUSED: Final = "the server answered with a task, which this client did not declare that it can follow"
"""Error of a call that a server of the modern era answers with a task."""

_INTERNAL_JSON: Final = b'"\\u0000mcp-ws-'
"""Start of :data:`~mcp_ws_ide.core.bridges.client_subscription.INTERNAL_ID` in JSON."""
_QUESTION: Final = "mcp-ws-q"
"""Start of the ids of questions to the client."""


class _InputRequest(msgspec.Struct):
    method: str
    params: Raw = Raw(b"{}")


class _Result(msgspec.Struct):
    kind: str = msgspec.field(name="resultType", default="complete")
    requests: dict[str, _InputRequest] = msgspec.field(name="inputRequests", default_factory=dict)
    state: Raw = msgspec.field(name="requestState", default=Raw())


class _Round:
    """One call, which may take several rounds.

    Attributes:
        rounds: rounds of questions so far.
        state: the server's ``requestState``, as JSON.
        waiting: the server's keys of unanswered questions, by their ids toward the client.
        responses: the client's answers, by the server's keys.
    """

    def __init__(self, pending: Pending, message: Message) -> None:
        self.pending = pending
        self.message = message
        self.rounds = 0
        self.state = b""
        self.waiting: dict[IdKey, str] = {}
        self.responses: dict[str, Raw] = {}


class LegacyClientState(msgspec.Struct):
    """What is stored of the bridge of one session. Its calls in flight are not: they end when it is restored.

    Attributes:
        version: the negotiated protocol version.
        envelope: the members that each request gets, as JSON.
        subscription: what the client follows.
        generation: how often it was restored before, so that no id of a question is used twice.
    """

    version: str
    envelope: bytes
    subscription: SubscriptionState
    generation: int = 0


class LegacyClient:
    """The bridge of one session.

    Args:
        core: the session's; the bridge enters its own requests there.
        server_name: the server's name for clients, if the server does not introduce itself.
        original: the server's refusal of the client's ``initialize``, if there was one; the client gets it if the
            server does not answer ``server/discover`` either.

    Methods return effects in the order in which they are to be performed.
    """

    def __init__(self, core: SessionCore, server_name: str, original: Message | None = None) -> None:
        self._core = core
        self._server_name = server_name
        self._original = original
        self._version = messages.NEWEST_HANDSHAKE
        self._envelope: dict[str, Any] = {}
        self._initializing: Pending | None = None
        self._calls: dict[IdKey, _Round] = {}
        self._subscription = ClientSubscription(core, self._send)
        self._questions = 0
        self._generation = 0
        self._changes = 0

    @property
    def changes(self) -> int:
        """The number of changes of :attr:`state`."""
        return self._changes + self._subscription.changes

    @property
    def state(self) -> LegacyClientState:
        """What another gateway needs to restore it."""
        subscription = self._subscription.state
        return LegacyClientState(self._version, encode(self._envelope), subscription, self._generation)

    def restore(self, state: LegacyClientState) -> list[Effect]:
        """Continue a stored bridge with another upstream; subscribe again to what the client follows."""
        self._version, self._generation = state.version, state.generation + 1
        self._envelope = dict(members_of(state.envelope))
        return self._subscription.restore(state.subscription)

    # --- from the client ------------------------------------------------------------------------

    def from_client(self, effect: Forward) -> list[Effect]:
        """Handle a message that the core would forward to a server of the client's era."""
        message = effect.message
        if message.kind is Kind.RESPONSE:
            return self._answered(message)
        if message.kind is Kind.REQUEST:
            assert effect.pending is not None
            return self._request(message, effect.pending)
        if message.method_name == "notifications/initialized":
            return self._subscription.start()
        if effect.pending is not None:  # a cancellation
            call = self._calls.pop(effect.pending.key, None)
            waits_for_client = call is not None and call.waiting
            return _abandoned(call) if waits_for_client else [forward_modern(message, effect.pending)]
        return []  # roots/list_changed and progress have no modern counterpart

    def _request(self, message: Message, pending: Pending) -> list[Effect]:
        method = message.method_name
        if method == "initialize":
            return self._initialize(message, pending)
        if method == "ping":
            return [empty_result(self._core, pending)]
        if method == "logging/setLevel":
            return self._set_level(message, pending)
        if method in NAMES_RESOURCE:
            message = as_written(message)
        if method in ("resources/subscribe", "resources/unsubscribe"):
            return self._subscription.change(message, pending, method == "resources/subscribe")
        call = _Round(pending, message)
        self._calls[pending.key] = call
        return [*self._subscription.again(), self._modern(call)]

    def _initialize(self, message: Message, pending: Pending) -> list[Effect]:
        params = members_of(message.params)
        version = text_of(bytes(params.get("protocolVersion", b"")))
        self._version = version if version in messages.HANDSHAKE_VERSIONS else messages.NEWEST_HANDSHAKE
        self._envelope = {
            messages.PROTOCOL_VERSION_KEY: MODERN_VERSION,
            CLIENT_INFO_KEY: params.get("clientInfo", Raw(b"{}")),
            CAPABILITIES_KEY: Raw(encode(without_tasks(object_of(bytes(params.get("capabilities", b"")))))),
        }
        self._initializing = pending
        self._changes += 1
        return [self._send(pending, "server/discover", {})]

    def _set_level(self, message: Message, pending: Pending) -> list[Effect]:
        """Make each request ask for logs from now on; the subscription too, so that all go to one process."""
        level = text_of(messages.member(message.params, "level"))
        if level not in log_levels.LEVELS:
            self._core.answered(pending)
            text = f"params.level must be one of {', '.join(log_levels.LEVELS)}"
            return [Deliver(messages.error(pending.raw_id, INVALID_PARAMS, text), pending)]
        self._envelope[messages.LOG_LEVEL_KEY] = level
        self._changes += 1
        return [empty_result(self._core, pending), *self._subscription.renew()]

    def _modern(self, call: _Round) -> Forward:
        members: dict[str, Any] = dict(members_of(call.message.params))
        members.pop("task", None)  # of 2025-11-25: asks for a task
        meta = members_of(bytes(members.get("_meta", b"{}")))
        members["_meta"] = {**meta, **self._envelope}
        if call.rounds:
            members["inputResponses"] = call.responses
            if call.state:
                members["requestState"] = Raw(call.state)
        message = call.message
        return forward_modern(messages.rebuild(message, message.id, params=encode(members)), call.pending)

    def _send(self, pending: Pending, method: str, params: dict[str, Any]) -> Forward:
        """Build a request of the bridge's own."""
        payload = encode({**params, "_meta": self._envelope})
        return forward_modern(messages.request(pending.raw_id, method, payload), pending)

    def again(self) -> list[Effect]:
        """Repeat what an :class:`~mcp_ws_ide.core.effects.Again` was returned for: its delay is over."""
        return self._subscription.again()

    # --- toward the client ------------------------------------------------------------------------

    def to_client(self, message: Message, answered: Pending | None) -> list[Effect]:
        """Handle a message from the modern server, or an error in place of its answer."""
        if message.kind is Kind.RESPONSE:
            return self._response(message, answered)
        if message.kind is Kind.NOTIFICATION:
            return self._notification(message)
        return [Deliver(message)]

    def _response(self, message: Message, answered: Pending | None) -> list[Effect]:
        effects = self._subscription.response(message)
        if effects is not None:
            return effects
        if message.id_key == (self._initializing.key if self._initializing is not None else None):
            return self._discovered(message)
        if message.id.startswith(_INTERNAL_JSON):
            return []
        call = self._calls.pop(message.id_key, None)
        if call is None or message.error or answered is None:
            return [Deliver(message, answered)]
        return self._result(call, message, answered)

    def _result(self, call: _Round, message: Message, answered: Pending) -> list[Effect]:
        try:
            result = msgspec.json.decode(message.result, type=_Result)
        except (msgspec.DecodeError, RecursionError):
            if text_of(messages.member(message.result, "resultType")) == "input_required":
                return self._fail(call, "the server's input_required result is malformed")
            result = _Result()
        if result.kind == TASK:
            return self._fail(call, TASK_REFUSED)
        if result.kind != "input_required":
            legacy = self._legacy_result(answered.method, message)
            return [Deliver(messages.rebuild(message, message.id, result=legacy), answered)]
        return self._next_round(call, result, answered)

    def _legacy_result(self, method: str, message: Message) -> bytes:
        """Return a result as clients of the handshake era read it: schemas and structured content are objects."""
        result = _without_modern_members(message.result)
        notices: dict[str, str] = {}
        if method in ("tools/list", "resources/list"):
            result, notices = read_list(LISTS[method], result, strict=True)
        elif message.odd and method in CALLS:
            result, notices = read_result(method, result, strict=True)
        if method == READ:
            result, more = shown_contents(result)
            notices = {**notices, **more}
        return with_note(result, self._server_name, notices.values()) if notices else result

    def _next_round(self, call: _Round, result: _Result, answered: Pending) -> list[Effect]:
        """Ask the client what the server asks."""
        call.rounds += 1
        if call.rounds > MAX_ROUNDS:
            return self._fail(call, f"the server asked for input more than {MAX_ROUNDS} times")
        capabilities = members_of(bytes(self._envelope.get(CAPABILITIES_KEY, b"{}")))
        for request in result.requests.values():
            needed = QUESTIONS.get(request.method)
            if needed is None or needed not in capabilities:
                return self._fail(
                    call, f"the server sent {request.method}, for which the client lacks the capability"
                )
        self._core.pending[answered.key] = answered  # the call is still open
        self._calls[answered.key] = call
        call.state, call.responses = bytes(result.state), {}
        if not result.requests:
            return [self._modern(call)]
        return [self._question(call, key, request) for key, request in result.requests.items()]

    def _question(self, call: _Round, key: str, request: _InputRequest) -> Deliver:
        self._questions += 1
        restored = f"{self._generation}-" if self._generation else ""
        name = f"{_QUESTION}{restored}{self._questions}"
        call.waiting[name] = key
        self._core.asked[name] = None
        members: dict[str, Any] = dict(members_of(bytes(request.params)))
        if request.method == "elicitation/create" and text_of(bytes(members.get("mode", b""))) == "url":
            members.setdefault("elicitationId", name)
        return Deliver(messages.request(encode(name), request.method, encode(members)))

    def _answered(self, message: Message) -> list[Effect]:
        """Take the client's answer to a question; the last one starts another round."""
        name = message.id_key
        call = next((call for call in self._calls.values() if name in call.waiting), None)
        if call is None:
            return []  # the call has been cancelled
        key = call.waiting.pop(name)
        if self._core.pending.get(call.pending.key) is not call.pending:
            self._calls.pop(call.pending.key, None)
            return []
        if message.error:
            self._calls.pop(call.pending.key)
            reason = f"the client refused to answer: {error_text(message.error)}"
            return [*self._fail(call, reason), *_abandoned(call)]
        call.responses[key] = Raw(message.result)
        return [] if call.waiting else [self._modern(call)]

    def _fail(self, call: _Round, reason: str) -> list[Effect]:
        self._core.answered(call.pending)
        return [Deliver(messages.error(call.pending.raw_id, INTERNAL_ERROR, reason), call.pending)]

    def _discovered(self, message: Message) -> list[Effect]:
        pending, self._initializing = self._initializing, None
        assert pending is not None
        if message.error:
            original = None if error_code(message.error) in GATEWAY_ERRORS else self._original
            return [Deliver(original or message, pending)]
        result = members_of(message.result)
        offered = without_tasks(object_of(bytes(result.get("capabilities", b"{}"))))
        self._subscription.capabilities = offered
        self._changes += 1
        meta = members_of(bytes(result.get("_meta", b"{}")))
        answer: dict[str, Any] = {
            "protocolVersion": self._version,
            "capabilities": {
                "logging": {},
                **offered,
            },  # the bridge takes the level, whatever the server offers
            "serverInfo": meta.get(SERVER_INFO_KEY, {"name": self._server_name, "version": "unknown"}),
        }
        if "instructions" in result:
            answer["instructions"] = result["instructions"]
        return [Deliver(messages.response(pending.raw_id, encode(answer)), pending)]

    def _notification(self, message: Message) -> list[Effect]:
        method = message.method_name
        if method == CANCELLED:
            raw_id = bytes(messages.params_of(message).request_id)
            return self._subscription.cancelled(raw_id)
        meta = messages.params_of(message).meta
        tag = bytes(meta.subscription_id) if meta is not None else b""
        if not tag:
            droppable = method in ("notifications/progress", "notifications/message")
            return [Deliver(message, None, droppable)]
        if method == "notifications/subscriptions/acknowledged":
            return self._subscription.acknowledged(tag, messages.member(message.params, "notifications"))
        if not self._subscription.is_current(tag):
            return []
        params = messages.with_meta(message.params, messages.SUBSCRIPTION_ID_KEY, b"")
        if messages.member(params, "_meta") == b"{}":
            params = messages.with_member(params, "_meta", b"")
        tagless = messages.rebuild(message, b"", params=params)
        return [Deliver(as_shown(tagless) if message.method == UPDATED else tagless)]


def refuses_handshake(answer: Message) -> bool:
    """Return whether an error to ``initialize`` is that of a server without a handshake."""
    return error_code(answer.error) in REFUSALS


def _abandoned(call: _Round | None) -> list[Effect]:
    """Return the effect that ends a call parked under its ``requestState``."""
    return [Abandon(text_of(call.state))] if call is not None and call.state else []


def _without_modern_members(result: bytes) -> bytes:
    """Return a result without the members of 2026-07-28: strict clients refuse unknown members in an empty result."""
    members = members_of(result)
    for name in ("resultType", "ttlMs", "cacheScope"):
        members.pop(name, None)
    meta = members_of(bytes(members.pop("_meta", b"{}")))
    meta.pop(SERVER_INFO_KEY, None)
    if meta:
        members["_meta"] = Raw(encode(meta))
    return encode(members)

"""The bridge that presents a client of the handshake era as one of 2026-07-28 (docs/reference/eras.md). Pure.

It stands between one session's client and its modern server: answers the handshake from ``server/discover``, adds the
envelope to each request and removes it from each result, turns ``input_required`` into requests to the client and their
answers into another round of the same call, and keeps one ``subscriptions/listen`` for all subscriptions. It runs the
tasks of 2025-11-25 that its client asks for, and follows those of a server for calls that are possible only as tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw

from mcp_ws_ide.core import log_levels, messages
from mcp_ws_ide.core.bridges import client_tasks
from mcp_ws_ide.core.bridges.client_subscription import (
    ClientSubscription,
    SubscriptionState,
    empty_result,
    forward_modern,
)
from mcp_ws_ide.core.bridges.client_tasks import ClientTasks
from mcp_ws_ide.core.bridges.followed_tasks import (
    FollowedTasks,
    declaring,
    needs_tasks,
    offers_tasks,
    outcome_of,
    read_state,
)
from mcp_ws_ide.core.bridges.legacy_results import legacy_result
from mcp_ws_ide.core.bridges.methods import (
    CAPABILITIES_KEY,
    CLIENT_INFO_KEY,
    QUESTIONS,
    SERVER_INFO_KEY,
    TASK,
    without_tasks,
)
from mcp_ws_ide.core.bridges.rounds import InputRequest, Result, Round
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
from mcp_ws_ide.core.messages import NOTIFICATION, REQUEST, RESPONSE, IdKey, Message
from mcp_ws_ide.core.session import CANCELLED, SessionCore
from mcp_ws_ide.core.shown_uris import NAMES_RESOURCE, UPDATED, as_shown, as_written
from mcp_ws_ide.errors import GATEWAY_ERRORS, INTERNAL_ERROR, INVALID_PARAMS

REFUSALS: Final = frozenset({-32601, -32022})
"""Error codes with which servers without a handshake answer ``initialize``."""
MAX_ROUNDS: Final = 10
"""Maximum number of rounds of questions in one call; the SDKs have the same limit."""

_INTERNAL_JSON: Final = b'"\\u0000mcp-ws-'
"""Start of :data:`~mcp_ws_ide.core.bridges.client_subscription.INTERNAL_ID` in JSON."""
_QUESTION: Final = "mcp-ws-q"
"""Start of the ids of questions to the client."""


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
        new_id: makes an unguessable string for each task of the client.
        clock: the time, in seconds since the epoch.

    Methods return effects in the order in which they are to be performed.
    """

    def __init__(
        self,
        core: SessionCore,
        server_name: str,
        original: Message | None = None,
        *,
        new_id: Callable[[], str],
        clock: Callable[[], float],
    ) -> None:
        self._core = core
        self._server_name = server_name
        self._original = original
        self._version = messages.NEWEST_HANDSHAKE
        self._envelope: dict[str, Any] = {}
        self._initializing: Pending | None = None
        self._calls: dict[IdKey, Round] = {}
        self._subscription = ClientSubscription(core, self._send)
        self._tasks = ClientTasks(core, new_id, clock)
        self._followed = FollowedTasks(core, self._send_declaring)
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

    @property
    def runs_tasks(self) -> bool:
        """Whether tasks of the client are running; they end with the bridge."""
        return self._tasks.running

    def restore(self, state: LegacyClientState) -> list[Effect]:
        """Continue a stored bridge with another upstream; subscribe again to what the client follows."""
        self._version, self._generation = state.version, state.generation + 1
        self._envelope = dict(members_of(state.envelope))
        return self._subscription.restore(state.subscription)

    # --- from the client ------------------------------------------------------------------------

    def from_client(self, effect: Forward) -> list[Effect]:
        """Handle a message that the core would forward to a server of the client's era."""
        return self._tasks.settle(self._from_client(effect))

    def _from_client(self, effect: Forward) -> list[Effect]:
        message = effect.message
        if message.kind is RESPONSE:
            return self._answered(message)
        if message.kind is REQUEST:
            assert effect.pending is not None
            return self._request(message, effect.pending)
        if message.method_name == "notifications/initialized":
            return self._subscription.start()
        if effect.pending is not None:  # a cancellation
            call = self._calls.pop(effect.pending.key, None)
            call = call or Round(effect.pending, message)
            return self._give_up(call, message)
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
        if self._offers_tasks and method in client_tasks.REQUESTS:
            return self._of_task(message, pending)
        call = Round(pending, message)
        created: list[Effect] = []
        if self._offers_tasks and method == "tools/call" and messages.member(message.params, "task"):
            call, answer = self._tasks.begin(message, pending, self._followed.new_name())
            call.follows_tasks = self._server_has_tasks
            created.append(answer)
        self._calls[call.pending.key] = call
        return [*created, *self._subscription.again(), self._modern(call)]

    @property
    def _offers_tasks(self) -> bool:
        """Whether the client speaks the revision whose tasks the bridge runs."""
        return self._version >= client_tasks.FIRST_VERSION

    @property
    def _server_has_tasks(self) -> bool:
        return offers_tasks(self._subscription.capabilities)

    def _of_task(self, message: Message, pending: Pending) -> list[Effect]:
        if message.method_name != "tasks/cancel":
            return self._tasks.request(message, pending)
        call, effects = self._tasks.cancel(message, pending)
        if call is None:
            return effects
        self._calls.pop(call.pending.key, None)
        self._core.answered(call.pending)
        cancellation = messages.notification(CANCELLED, b'{"requestId":%b}' % call.pending.raw_id)
        return [*self._give_up(call, cancellation), *effects]

    def _give_up(self, call: Round, cancellation: Message) -> list[Effect]:
        """Cancel a call at the server."""
        if call.server_task:
            return [self._followed.cancel(call)]
        if call.waiting:
            return _abandoned(call)
        return [forward_modern(cancellation, call.pending)]

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

    def _modern(self, call: Round) -> Forward:
        members: dict[str, Any] = dict(members_of(call.message.params))
        members.pop("task", None)  # of 2025-11-25: asks for a task
        meta = members_of(bytes(members.get("_meta", b"{}")))
        envelope = declaring(self._envelope) if call.follows_tasks else self._envelope
        members["_meta"] = {**meta, **envelope}
        if call.rounds:
            members["inputResponses"] = call.responses
            if call.state:
                members["requestState"] = Raw(call.state)
        message = messages.rebuild(call.message, call.pending.raw_id, params=encode(members))
        return forward_modern(message, call.pending)

    def _send(self, pending: Pending, method: str, params: dict[str, Any]) -> Forward:
        """Build a request of the bridge's own."""
        return _own_request(pending, method, params, self._envelope)

    def _send_declaring(self, pending: Pending, method: str, params: dict[str, Any]) -> Forward:
        """Build a request of the bridge's own about a task of the server."""
        return _own_request(pending, method, params, declaring(self._envelope))

    def again(self) -> list[Effect]:
        """Repeat what an :class:`~mcp_ws_ide.core.effects.Again` was returned for: its delay is over."""
        return [*self._subscription.again(), *self._followed.again()]

    # --- toward the client ------------------------------------------------------------------------

    def to_client(self, message: Message, answered: Pending | None) -> list[Effect]:
        """Handle a message from the modern server, or an error in place of its answer."""
        return self._tasks.settle(self._to_client(message, answered))

    def _to_client(self, message: Message, answered: Pending | None) -> list[Effect]:
        if message.kind is RESPONSE:
            return self._response(message, answered)
        if message.kind is NOTIFICATION:
            return self._notification(message)
        return [Deliver(message)]

    def _response(self, message: Message, answered: Pending | None) -> list[Effect]:
        effects = self._subscription.response(message)
        if effects is not None:
            return effects
        if message.id_key == (self._initializing.key if self._initializing is not None else None):
            return self._discovered(message)
        if self._followed.takes(message):
            return self._told_of_task(message)
        call = self._calls.pop(message.id_key, None)
        if call is None:
            return [] if message.id.startswith(_INTERNAL_JSON) else [Deliver(message, answered)]
        if answered is not None and not call.follows_tasks and needs_tasks(message.error):
            call.follows_tasks = True
            self._reopen(call)
            return [self._modern(call)]
        if message.error or answered is None:
            return [Deliver(message, call.pending if call.client_task else answered)]
        return self._result(call, message, answered)

    def _reopen(self, call: Round) -> None:
        """Note that a call is still open, although the server has answered."""
        self._core.pending[call.pending.key] = call.pending
        self._calls[call.pending.key] = call

    def _result(self, call: Round, message: Message, answered: Pending) -> list[Effect]:
        try:
            result = msgspec.json.decode(message.result, type=Result)
        except (msgspec.DecodeError, RecursionError):
            if text_of(messages.member(message.result, "resultType")) == "input_required":
                return self._fail(call, "the server's input_required result is malformed")
            result = Result()
        if result.kind == TASK:
            return self._follow(call, message.result)
        if result.kind != "input_required":
            legacy = self._legacy_result(answered.method, message)
            return [Deliver(messages.rebuild(message, message.id, result=legacy), answered)]
        return self._next_round(call, result)

    def _legacy_result(self, method: str, message: Message) -> bytes:
        may_be_tasks = self._offers_tasks and self._server_has_tasks
        return legacy_result(method, message, self._server_name, may_be_tasks=may_be_tasks)

    def _next_round(self, call: Round, result: Result) -> list[Effect]:
        """Ask the client what the server asks."""
        call.rounds += 1
        if call.rounds > MAX_ROUNDS:
            return self._fail(call, f"the server asked for input more than {MAX_ROUNDS} times")
        self._reopen(call)
        call.state, call.responses = bytes(result.state), {}
        return self._ask(call, result.requests) if result.requests else [self._modern(call)]

    def _ask(self, call: Round, requests: dict[str, InputRequest]) -> list[Effect]:
        """Put the questions of a call to the client."""
        method = _unanswerable(requests, bytes(self._envelope.get(CAPABILITIES_KEY, b"{}")))
        if method is not None:
            failed = self._fail(call, f"the server sent {method}, for which the client lacks the capability")
            return [*failed, *([self._followed.cancel(call)] if call.server_task else [])]
        questions = [self._question(call, key, request) for key, request in requests.items()]
        return self._tasks.asks(call, questions)

    def _question(self, call: Round, key: str, request: InputRequest) -> Deliver:
        self._questions += 1
        restored = f"{self._generation}-" if self._generation else ""
        name = f"{_QUESTION}{restored}{self._questions}"
        call.waiting[name] = key
        self._core.asked[name] = None
        params = _question_params(request, name)
        if call.client_task:
            params = client_tasks.about_task(params, call.client_task)
        return Deliver(messages.request(encode(name), request.method, params))

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
            reason = f"the client refused to answer: {error_text(message.error)}"
            failed = self._fail(call, reason)
            return [*failed, *([self._followed.cancel(call)] if call.server_task else _abandoned(call))]
        call.responses[key] = Raw(message.result)
        if call.waiting:
            return []
        if call.server_task:
            return [self._followed.ask(call, "tasks/update", inputResponses=call.responses)]
        return [self._modern(call)]

    def _fail(self, call: Round, reason: str) -> list[Effect]:
        return self._end(call, messages.error(call.pending.raw_id, INTERNAL_ERROR, reason))

    def _end(self, call: Round, answer: Message) -> list[Effect]:
        self._calls.pop(call.pending.key, None)
        self._core.answered(call.pending)
        return [Deliver(answer, call.pending)]

    # --- calls that the server answers with a task ----------------------------------------------

    def _follow(self, call: Round, created: bytes) -> list[Effect]:
        call.server_task = text_of(messages.member(created, "taskId"))
        if not call.server_task:
            return self._fail(call, "the server answered with a task that has no id")
        self._reopen(call)
        return self._followed.later(call, read_state(created).poll)

    def _told_of_task(self, message: Message) -> list[Effect]:
        """Continue a call with what the server says of its task."""
        call = self._followed.response(message)
        if call is None:
            return []
        raw_id = call.pending.raw_id
        if message.error:
            return self._end(call, messages.with_id(message, raw_id))
        state = read_state(message.result)
        outcome = outcome_of(state, raw_id)
        if outcome is not None:
            result = self._legacy_result(call.pending.method, outcome) if outcome.result else b""
            return self._end(call, messages.rebuild(outcome, raw_id, result=result))
        questions = {key: each for key, each in state.requests.items() if key not in call.asked}
        if questions and not call.waiting:
            call.asked |= questions.keys()
            call.responses = {}
            return self._ask(call, questions)
        return self._followed.later(call, state.poll)

    def _discovered(self, message: Message) -> list[Effect]:
        pending, self._initializing = self._initializing, None
        assert pending is not None
        if message.error:
            original = None if error_code(message.error) in GATEWAY_ERRORS else self._original
            return [Deliver(original or message, pending)]
        self._subscription.capabilities = object_of(messages.member(message.result, "capabilities"))
        self._changes += 1
        answer = _handshake(message.result, self._version, self._server_name, tasks=self._offers_tasks)
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
        tagless = _without_tag(message)
        return [Deliver(as_shown(tagless) if message.method == UPDATED else tagless)]


def refuses_handshake(answer: Message) -> bool:
    """Return whether an error to ``initialize`` is that of a server without a handshake."""
    return error_code(answer.error) in REFUSALS


def _abandoned(call: Round | None) -> list[Effect]:
    """Return the effect that ends a call parked under its ``requestState``."""
    return [Abandon(text_of(call.state))] if call is not None and call.state else []


def _handshake(discovered: bytes, version: str, server_name: str, *, tasks: bool) -> dict[str, Any]:
    """Return the result of ``initialize`` from that of ``server/discover``.

    Args:
        tasks: whether the bridge offers its tasks.
    """
    result = members_of(discovered)
    offered = without_tasks(object_of(bytes(result.get("capabilities", b"{}"))))
    meta = members_of(bytes(result.get("_meta", b"{}")))
    answer: dict[str, Any] = {
        "protocolVersion": version,
        "capabilities": {  # the bridge takes the level, whatever the server offers
            "logging": {},
            **offered,
            **({"tasks": client_tasks.CAPABILITY} if tasks else {}),
        },
        "serverInfo": meta.get(SERVER_INFO_KEY, {"name": server_name, "version": "unknown"}),
    }
    if "instructions" in result:
        answer["instructions"] = result["instructions"]
    return answer


def _unanswerable(requests: dict[str, InputRequest], capabilities: bytes) -> str | None:
    """Return the method of a question that a client with these capabilities cannot answer; None for none."""
    declared = members_of(capabilities)
    methods = (request.method for request in requests.values())
    return next((method for method in methods if QUESTIONS.get(method) not in declared), None)


def _question_params(request: InputRequest, name: str) -> bytes:
    members: dict[str, Any] = dict(members_of(bytes(request.params)))
    if request.method == "elicitation/create" and text_of(bytes(members.get("mode", b""))) == "url":
        members.setdefault("elicitationId", name)
    return encode(members)


def _without_tag(message: Message) -> Message:
    """Return a notification without the id of its subscription."""
    params = messages.with_meta(message.params, messages.SUBSCRIPTION_ID_KEY, b"")
    if messages.member(params, "_meta") == b"{}":
        params = messages.with_member(params, "_meta", b"")
    return messages.rebuild(message, b"", params=params)


def _own_request(pending: Pending, method: str, params: dict[str, Any], envelope: dict[str, Any]) -> Forward:
    payload = encode({**params, "_meta": envelope})
    return forward_modern(messages.request(pending.raw_id, method, payload), pending)

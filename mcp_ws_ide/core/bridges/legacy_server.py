"""The bridge that presents a server of the handshake era as one of 2026-07-28 (docs/reference/eras.md). Pure.

On one side are the messages that a :class:`~mcp_ws_ide.core.multiplexer.Multiplexer` exchanges with a modern server,
with integer ids of the gateway; on the other those of the old server. The bridge owns the handshake, subscriptions, the
log level, tools that run only as tasks, and parked calls: a question of the server (sampling, elicitation, roots)
becomes an ``input_required`` result, and its call stays open at the server until the client repeats it with the answers
and the ``requestState``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from msgspec import Raw

from mcp_ws_ide.core import log_levels, messages
from mcp_ws_ide.core.bridges.methods import (
    CACHEABLE,
    CAPABILITIES_KEY,
    CLIENT_INFO_KEY,
    ENVELOPE,
    INTERACTIVE,
    LIST_CHANGED,
    QUESTIONS,
    RELATED_TASK,
    SERVER_INFO_KEY,
    TASK_METHODS,
    without_tasks,
)
from mcp_ws_ide.core.bridges.server_logs import ServerLogs
from mcp_ws_ide.core.bridges.server_subscriptions import OnAnswer, ServerSubscriptions
from mcp_ws_ide.core.bridges.server_tasks import ServerTasks, TaskCall
from mcp_ws_ide.core.bridges.server_visits import (
    TOO_MANY_VISITS,
    URL_ELICITATION_REQUIRED,
    Visits,
    input_required,
    pages_of,
)
from mcp_ws_ide.core.bridges.step import Step
from mcp_ws_ide.core.call_results import read_result
from mcp_ws_ide.core.era import MODERN_VERSION
from mcp_ws_ide.core.lenient_json import (
    encode,
    error_code,
    error_text,
    members_of,
    object_of,
    text_of,
)
from mcp_ws_ide.core.messages import REQUEST, RESPONSE, Message
from mcp_ws_ide.core.session import CANCELLED
from mcp_ws_ide.errors import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND

UNSUPPORTED_VERSION: Final = -32022
MAX_PARKED: Final = 256
"""Calls of one server that may be parked at once."""

MAX_QUESTIONS: Final = 64
"""Questions of one parked call that wait for its client."""
MAX_QUESTION_BYTES: Final = 1 << 20
"""Bytes of params of these questions."""
MAX_GHOSTS: Final = 1024
"""Abandoned calls that are remembered, because the server may still ask a question for them."""
BAD_LEVEL: Final = f"{messages.LOG_LEVEL_KEY} must be one of {', '.join(log_levels.LEVELS)}"
UNKNOWN_STATE: Final = "this requestState is unknown, used or expired; make the call again without it"
NO_TASKS: Final = f"the server speaks only MCP revisions before {MODERN_VERSION}, whose tasks are not bridged"

INTERNAL_ID: Final = "mcp-ws-"
"""Start of the ids of the bridge's own requests."""


@dataclass(slots=True, eq=False)
class _Question:
    key: str
    raw_id: bytes
    method: str
    params: bytes


@dataclass(slots=True, eq=False)
class _Call:
    """A request that is open at the server.

    Attributes:
        owner: the session it belongs to.
        logs: the log messages it asked for, as :func:`~mcp_ws_ide.core.log_levels.verbosity`; 0 for none.
        capabilities: those that its client declared.
        client_id: the id that its answer goes to; 0 while it is parked.
        asked: questions that the client was given and has not answered.
        unasked: questions that arrived while it was parked.
        answer: its answer, if that arrived while it was parked.
        state: its ``requestState`` while it is parked.
        deadline: when a parked call is given up, on the caller's clock.
        params: what it was called with, while it may still have to be repeated as a task.
        task: how it runs at the server, if that is as a task.
    """

    server_id: int
    method: str
    owner: Hashable
    capabilities: frozenset[str]
    client_id: int
    wants_progress: bool = False
    logs: int = 0
    asked: list[_Question] = field(default_factory=list)
    unasked: list[_Question] = field(default_factory=list)
    answer: Message | None = None
    state: str = ""
    deadline: float = 0.0
    params: bytes = b""
    task: TaskCall | None = None


class LegacyServer:
    """The bridge of one connection to one server.

    Args:
        shared: whether several sessions use it; then no message is attributed by guessing.
        new_state: makes an unguessable string for each parked call.
        park_time: seconds for which a parked call waits for its client.

    Any session may present a ``requestState``, since over HTTP each exchange is a session of its own: it cannot be
    guessed, and a connection to a server belongs to one principal.

    Write what :meth:`start` returns, and pass messages from the server to :meth:`from_server`; once :attr:`ready`, pass
    modern messages to :meth:`from_client`. :attr:`failure` says why it never became ready, :attr:`initialize_unknown`
    whether the server has no such method.
    """

    def __init__(self, *, shared: bool, new_state: Callable[[], str], park_time: float) -> None:
        self.ready = self.initialize_unknown = False
        self.failure = ""
        self._shared, self._new_state, self._park_time = shared, new_state, park_time
        self._result: dict[str, Raw] = {}
        self._capabilities: dict[str, Any] = {}
        self._calls: dict[int, _Call] = {}
        self._by_client: dict[int, _Call] = {}
        """Calls that are not parked, by the id that their client waits for."""
        self._ghosts: dict[int, Hashable] = {}
        """Owners of given-up calls that the server has not answered; a question may still be for one of them."""
        self._parked: dict[str, _Call] = {}
        self._visits = Visits(new_state, park_time)
        self._subscriptions = ServerSubscriptions(self._ask)
        self._tasks = ServerTasks(self._ask)
        self._logs = ServerLogs(self._ask)
        self._orphans: list[_Question] = []  # arrived while no call was open; the next call asks them
        self._internal: dict[str, OnAnswer] = {}
        self._internal_count = self._question_count = 0

    @property
    def parked(self) -> int:
        """The number of parked calls."""
        return len(self._parked)

    # --- handshake ------------------------------------------------------------------------------

    def start(self, first_params: bytes, client_version: str) -> Step:
        """Begin the handshake.

        Args:
            first_params: ``params`` (JSON) of the request that made the server start. Its client is introduced to the
                server; to a shared server, the gateway is.
            client_version: the gateway's version.
        """
        step, params = Step(), _initialize_params(first_params, client_version, self._shared)
        self._ask(step, "initialize", encode(params), self._initialized)
        return step

    def _initialized(self, answer: Message, step: Step) -> None:
        if answer.error:
            self.failure = f"it refused the handshake: {error_text(answer.error)}"
            self.initialize_unknown = error_code(answer.error) == METHOD_NOT_FOUND
            return
        self._result = _usable_handshake(answer.result)
        self._capabilities = object_of(bytes(self._result.get("capabilities", b"{}")))
        self._tasks.read_capabilities(self._capabilities)
        self._logs.offered = "logging" in self._capabilities
        step.to_server.append(messages.notification("notifications/initialized"))
        self.ready = True

    def _ask(self, step: Step, method: str, params: bytes, then: OnAnswer) -> None:
        """Send a request of the bridge's own."""
        self._internal_count += 1
        name = f"{INTERNAL_ID}{self._internal_count}"
        self._internal[name] = then
        step.to_server.append(messages.request(encode(name), method, params))

    # --- from a client --------------------------------------------------------------------------

    def from_client(self, message: Message, owner: Hashable, now: float) -> Step:
        """Handle a modern message whose id is an integer of the gateway.

        Args:
            owner: the session it comes from; compared by equality.
            now: the caller's clock, in seconds.
        """
        step = Step()
        if message.kind is REQUEST:
            self._request(int(message.id), message, owner, now, step)
        elif message.method_name == CANCELLED:
            self._cancelled(message, step)
        elif message.method_name == "notifications/roots/list_changed" and not self._shared:
            step.to_server.append(messages.notification("notifications/roots/list_changed"))
        return step

    def _request(self, number: int, message: Message, owner: Hashable, now: float, step: Step) -> None:
        method = message.method_name
        meta = object_of(messages.member(message.params, "_meta"))
        if (version := meta.get(messages.PROTOCOL_VERSION_KEY)) != MODERN_VERSION:
            return _refuse_version(step, number, str(version))
        if method == "server/discover":
            return _result(step, number, encode(_discovered(self._result, self._capabilities)))
        if method == "ping":
            return _result(step, number, b'{"resultType":"complete"}')
        if method in TASK_METHODS:
            return _error(step, number, METHOD_NOT_FOUND, f"Method not found: {method}: {NO_TASKS}")
        if method == "subscriptions/listen":
            return self._subscriptions.listen(number, message, self._capabilities, step)
        if (level := meta.get(messages.LOG_LEVEL_KEY)) is not None and level not in log_levels.LEVELS:
            return _error(step, number, INVALID_PARAMS, BAD_LEVEL)
        state = messages.member(message.params, "requestState") if method in INTERACTIVE else b""
        if state:
            return self._retry(number, message, owner, text_of(state), meta, now, step)
        self._call(number, message, owner, meta, now, step)

    def _call(
        self, number: int, message: Message, owner: Hashable, meta: dict[str, Any], now: float, step: Step
    ) -> None:
        capabilities = meta.get(CAPABILITIES_KEY)
        declared = frozenset(capabilities) if isinstance(capabilities, dict) else frozenset()
        call = _Call(number, message.method_name, owner, declared, number)
        call.wants_progress = "progressToken" in meta
        call.logs = self._logs.begin(meta, (other.logs for other in self._calls.values()), step)
        self._calls[number] = self._by_client[number] = call
        params = _without_envelope(message.params)
        if self._tasks.offered and call.method == "tools/call":
            call.params = params
        if call.params and self._tasks.needed(params):
            self._run_as_task(call, step)
        else:
            step.to_server.append(messages.rebuild(message, b"%d" % number, params=params))
        if call.method in INTERACTIVE:
            orphans, self._orphans = self._orphans, []
            for question in orphans:
                self._put(question, call, now, step)

    def _run_as_task(self, call: _Call, step: Step) -> None:
        params, call.params = call.params, b""
        call.task = self._tasks.run(params, partial(self._answered, call), step)

    def _cancelled(self, message: Message, step: Step) -> None:
        number = _number(bytes(messages.params_of(message).request_id))
        if number in self._subscriptions:
            return self._subscriptions.end(number, step)
        if (call := self._by_client.get(number)) is not None:
            self._give_up(call, "cancelled by the client", step)

    def _give_up(self, call: _Call, reason: str, step: Step) -> None:
        """Cancel a call that is no longer waited for, and refuse its questions."""
        del self._calls[call.server_id]
        self._by_client.pop(call.client_id, None)
        if call.method in INTERACTIVE and self._shared and call.answer is None:
            self._ghosts[call.server_id] = call.owner
            if len(self._ghosts) > MAX_GHOSTS:
                del self._ghosts[next(iter(self._ghosts))]
        self._parked.pop(call.state, None)
        for question in (*call.asked, *call.unasked):
            _refuse(step, question, reason)
        if call.task is not None:
            return self._tasks.give_up(call.task, step)
        params = encode({"requestId": call.server_id, "reason": reason})
        step.to_server.append(messages.notification(CANCELLED, params))

    def abandon(self, state: str) -> Step:
        """Give up the call that is parked under this ``requestState``."""
        step = Step()
        self._visits.take(state)
        if (call := self._parked.get(state)) is not None:
            self._give_up(call, "the client did not answer", step)
        return step

    def owner_left(self, owner: Hashable) -> Step:
        """Give up the parked calls of a session that has ended."""
        step = Step()
        for call in [c for c in self._calls.values() if c.owner == owner and not c.client_id]:
            self._give_up(call, "the session has ended", step)
        self._visits.owner_left(owner)
        return step

    def expire(self, now: float) -> Step:
        """Give up the parked calls whose clients did not return in time."""
        step = Step()
        for call in [c for c in self._parked.values() if now >= c.deadline and not c.client_id]:
            self._give_up(call, f"the client did not answer within {self._park_time:g} s", step)
        self._visits.expire(now)
        return step

    # --- parked calls -----------------------------------------------------------------------------

    def _retry(
        self,
        number: int,
        message: Message,
        owner: Hashable,
        state: str,
        meta: dict[str, Any],
        now: float,
        step: Step,
    ) -> None:
        """Resume a parked call with the answers from its client."""
        if (visit := self._visits.take(state)) is not None:
            if visit.accepted(message):
                return self._call(number, message, owner, meta, now, step)
            step.to_clients.append(messages.with_id(visit.refusal, b"%d" % number))
            return None
        call = self._parked.get(state)
        if call is None or call.method != message.method_name:
            return _error(step, number, INVALID_PARAMS, UNKNOWN_STATE)
        del self._parked[state]
        call.client_id, call.owner, call.state = number, owner, ""
        self._by_client[number] = call
        call.wants_progress = "progressToken" in meta
        responses = members_of(messages.member(message.params, "inputResponses"))
        for question in call.asked:
            _answer(step, question, responses.get(question.key))
        call.asked = []
        if call.answer is not None:
            return self._deliver(call, call.answer, step)
        unasked, call.unasked = call.unasked, []
        if unasked:
            self._park(call, unasked, now, step)

    def _put(self, question: _Question, call: _Call, now: float, step: Step) -> None:
        """Put a question to the client of a call, now or when the client repeats the call."""
        needed = QUESTIONS[question.method]
        if needed not in call.capabilities:
            return _refuse(step, question, f"the client lacks the capability {needed!r}", METHOD_NOT_FOUND)
        if not call.client_id:
            waiting = sum(len(other.params) for other in call.unasked) + len(question.params)
            if len(call.unasked) >= MAX_QUESTIONS or waiting > MAX_QUESTION_BYTES:
                return _refuse(step, question, "too many questions are waiting for this client")
            call.unasked.append(question)
        elif len(self._parked) >= MAX_PARKED:
            _refuse(step, question, f"{MAX_PARKED} calls are parked, which is the maximum")
        else:
            self._park(call, [question], now, step)

    def _park(self, call: _Call, questions: list[_Question], now: float, step: Step) -> None:
        number, call.client_id = call.client_id, 0
        self._by_client.pop(number, None)
        call.asked, call.state, call.deadline = questions, self._new_state(), now + self._park_time
        self._parked[call.state] = call
        requests = {q.key: {"method": q.method, "params": Raw(_question_params(q))} for q in questions}
        _result(step, number, input_required(requests, call.state))

    # --- from the server --------------------------------------------------------------------------

    def open_ids(self) -> list[bytes]:
        """Return the ids, as JSON, of the requests that the server has not answered."""
        waiting = (call for call in self._calls.values() if call.answer is None and call.task is None)
        calls = [b"%d" % call.server_id for call in waiting]
        return [*(encode(name) for name in self._internal), *calls]

    def from_server(self, message: Message, now: float) -> Step:
        """Handle a message from the server."""
        step = Step()
        if message.kind is RESPONSE:
            self._response(message, now, step)
        elif message.kind is REQUEST:
            self._question(message, now, step)
        else:
            self._notification(message, step)
        return step

    def _response(self, message: Message, now: float, step: Step) -> None:
        key = message.id_key
        then = self._internal.pop(key, None) if isinstance(key, str) else None
        if then is not None:
            return then(message, step)
        number = messages.whole_number(key)  # some servers turn numbers into strings
        if (call := self._calls.get(number)) is None:
            step.unnamed = self._ghosts.pop(number, None) is None and not str(key).startswith(INTERNAL_ID)
            return  # cancelled, or never sent
        if call.params and message.error and error_code(message.error) == METHOD_NOT_FOUND:
            self._run_as_task(call, step)  # how a tool refuses a call that asks for no task
        elif call.client_id and message.error and error_code(message.error) == URL_ELICITATION_REQUIRED:
            self._ask_to_visit(call, message, now, step)
        else:
            self._answered(call, message, step)

    def _answered(self, call: _Call, answer: Message, step: Step) -> None:
        """Deliver the answer to a call, or keep it while the call is parked."""
        if call.client_id:
            self._deliver(call, answer, step)
        else:
            call.answer = answer

    def _deliver(self, call: _Call, answer: Message, step: Step) -> None:
        del self._calls[call.server_id]
        self._by_client.pop(call.client_id, None)
        if call.method == "tools/list":
            self._tasks.read_list(answer.result)
        result = _modern_result(call.method, answer.result) if answer.result else b""
        step.to_clients.append(messages.rebuild(answer, b"%d" % call.client_id, result=result))

    def _ask_to_visit(self, call: _Call, answer: Message, now: float, step: Step) -> None:
        """Turn -32042 into ``input_required``; when the user has accepted, the call is repeated.

        If the user declines or closes a question, -32042 is the answer: a repeated call would be refused again.
        """
        pages = pages_of(answer.error)
        if not pages or "elicitation" not in call.capabilities:
            return self._deliver(call, answer, step)
        del self._calls[call.server_id]
        self._by_client.pop(call.client_id, None)
        result = self._visits.begin(call.owner, answer, pages, now)
        if not result:
            return _error(step, call.client_id, INTERNAL_ERROR, TOO_MANY_VISITS)
        _result(step, call.client_id, result)

    def _question(self, message: Message, now: float, step: Step) -> None:
        method = message.method_name
        if method == "ping":
            step.to_server.append(messages.response(message.id, b"{}"))
            return
        self._question_count += 1
        question = _Question(f"q{self._question_count}", message.id, method, message.params)
        if method not in QUESTIONS:
            return _refuse(step, question, f"Method not found: {method}", METHOD_NOT_FOUND)
        calls = [c for c in self._calls.values() if c.method in INTERACTIVE and c.answer is None]
        if len({c.owner for c in calls} | set(self._ghosts.values())) > 1:
            reason = "several clients share this server, and the request does not say which one it is for"
            return _refuse(step, question, reason)
        if calls:
            return self._put(question, ([c for c in calls if c.client_id] or calls)[-1], now, step)
        if self._shared or not self.ready or len(self._orphans) >= len(QUESTIONS):  # else it may wait
            return _refuse(step, question, "no call is open, so there is no client to ask")
        self._orphans.append(question)

    def _notification(self, message: Message, step: Step) -> None:
        method = message.method_name
        if method in LIST_CHANGED:
            self._subscriptions.list_changed(message, step)
        elif method == "notifications/resources/updated":
            self._subscriptions.resource_updated(message, step)
        elif method == "notifications/progress":
            self._progress(message, step)
        elif method == log_levels.METHOD:
            if any(call.logs for call in self._calls.values()):
                step.to_clients.append(message)
        elif method == CANCELLED:
            raw_id = bytes(messages.params_of(message).request_id)
            self._orphans = _without(self._orphans, raw_id)
            for call in self._calls.values():
                # If the client has the question already, its answer is dropped later.
                call.unasked = _without(call.unasked, raw_id)

    def _progress(self, message: Message, step: Step) -> None:
        call = self._calls.get(_number(bytes(messages.params_of(message).progress_token)))
        if call is not None and call.client_id and call.wants_progress:
            token = b"%d" % call.client_id
            params = messages.with_member(message.params, "progressToken", token)
            step.to_clients.append(messages.rebuild(message, b"", params=params))


def _without(questions: list[_Question], raw_id: bytes) -> list[_Question]:
    """Return the questions without the one that the server has cancelled."""
    return [question for question in questions if question.raw_id != raw_id]


def _initialize_params(first_params: bytes, client_version: str, shared: bool) -> dict[str, Any]:
    meta = {} if shared else object_of(messages.member(first_params, "_meta"))
    declared = object_of(encode(meta.get(CAPABILITIES_KEY, {})))
    gateway = {"name": "mcp-ws-ide", "version": client_version}
    return {
        "protocolVersion": messages.NEWEST_HANDSHAKE,
        "capabilities": {"sampling": {}, "elicitation": {}} if shared else without_tasks(declared),
        "clientInfo": meta.get(CLIENT_INFO_KEY, gateway),
    }


def _usable_handshake(result: bytes) -> dict[str, Raw]:
    """Return the members of the result of ``initialize`` as clients can read them, and no others."""
    written, mended = members_of(result), read_result("initialize", result, strict=True)[0]
    return {name: raw for name, raw in members_of(mended).items() if name in written}


def _discovered(initialized: dict[str, Raw], capabilities: dict[str, Any]) -> dict[str, Any]:
    """Return the result of ``server/discover`` from that of ``initialize``."""
    result: dict[str, Any] = {
        "resultType": "complete",
        "supportedVersions": [MODERN_VERSION],
        "capabilities": without_tasks(capabilities),
        "ttlMs": 0,
        "cacheScope": "private",
    }
    if "instructions" in initialized:
        result["instructions"] = initialized["instructions"]
    if "serverInfo" in initialized:
        result["_meta"] = {SERVER_INFO_KEY: initialized["serverInfo"]}
    return result


def _modern_result(method: str, result: bytes) -> bytes:
    """Return a result with the members that 2026-07-28 requires."""
    members = members_of(result)
    if not members and result.strip() != b"{}":
        return result
    members.setdefault("resultType", Raw(b'"complete"'))
    if method in CACHEABLE:
        members.setdefault("ttlMs", Raw(b"0"))
        members.setdefault("cacheScope", Raw(b'"private"'))
    return encode(members)


def _without_envelope(params: bytes) -> bytes:
    """Return ``params`` without the members of 2026-07-28."""
    members = members_of(params)
    for name in ("inputResponses", "requestState", "task"):
        members.pop(name, None)
    meta = members_of(bytes(members.pop("_meta", b"{}")))
    for name in ENVELOPE:
        meta.pop(name, None)
    if meta:
        members["_meta"] = Raw(encode(meta))
    return encode(members)


def _question_params(question: _Question) -> bytes:
    members = members_of(question.params)
    for name in ("_meta", "task", "elicitationId"):
        members.pop(name, None)
    return encode(members)


def _result(step: Step, number: int, result: bytes) -> None:
    step.to_clients.append(messages.response(b"%d" % number, result))


def _refuse_version(step: Step, number: int, version: str) -> None:
    data = {"supported": [MODERN_VERSION], "requested": version}
    text = f"unsupported protocol version {version!r}; the bridge supports {MODERN_VERSION}"
    _error(step, number, UNSUPPORTED_VERSION, text, data)


def _error(step: Step, number: int, code: int, text: str, data: dict[str, Any] | None = None) -> None:
    step.to_clients.append(messages.error(b"%d" % number, code, text, data))


def _refuse(step: Step, question: _Question, reason: str, code: int = INTERNAL_ERROR) -> None:
    step.to_server.append(messages.error(question.raw_id, code, reason))


def _answer(step: Step, question: _Question, response: Raw | None) -> None:
    if response is None:
        return _refuse(step, question, "the client did not answer this question")
    result = bytes(response)
    if members_of(result):
        result = messages.with_member(result, "resultType", b"")
        if task := messages.member(messages.member(question.params, "_meta"), RELATED_TASK):
            result = messages.with_member(result, "_meta", encode({RELATED_TASK: Raw(task)}))
    step.to_server.append(messages.response(question.raw_id, result))


def _number(raw: bytes) -> int:
    return int(raw) if raw.isdigit() and len(raw) < 20 else 0

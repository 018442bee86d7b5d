"""A client of the handshake era, seen as one of 2026-07-28: the other half of the era bridge (docs/eras.md).

Pure. It stands between one session's client and its modern server: answers the handshake from ``server/discover``, puts
the envelope on each request and takes it off each result, turns ``input_required`` into questions to the client and
their answers into another round of the same call, and keeps one ``subscriptions/listen`` for all subscriptions.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw

from mcp_ws_ide import messages
from mcp_ws_ide.core.effects import Deliver, Effect, Forward, Pending
from mcp_ws_ide.core.era import MODERN_VERSION
from mcp_ws_ide.core.legacy_server import (
    CAPABILITIES_KEY,
    CLIENT_INFO_KEY,
    LEGACY_VERSION,
    LIST_CHANGED,
    QUESTIONS,
    SERVER_INFO_KEY,
)
from mcp_ws_ide.core.payload import code_of, encode, members_of, object_of, text_of
from mcp_ws_ide.core.session import SessionCore
from mcp_ws_ide.errors import INTERNAL_ERROR, INVALID_PARAMS
from mcp_ws_ide.messages import IdKey, Kind, Message

HANDSHAKE_VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""Revisions a client may be told that it speaks."""
REFUSALS: Final = frozenset({-32601, -32022})
"""Errors with which a server without a handshake answers ``initialize``."""
MAX_ROUNDS: Final = 10
"""Rounds of questions in one call, as the SDKs bound it."""

_INTERNAL: Final = "\0mcp-ws-"
_INTERNAL_JSON: Final = b'"\\u0000mcp-ws-'
_QUESTION: Final = "mcp-ws-q"


class _InputRequest(msgspec.Struct):
    method: str
    params: Raw = Raw(b"{}")


class _Result(msgspec.Struct):
    kind: str = msgspec.field(name="resultType", default="complete")
    requests: dict[str, _InputRequest] = msgspec.field(name="inputRequests", default_factory=dict)
    state: Raw = msgspec.field(name="requestState", default=Raw())


class _Round:
    """One call, and the questions whose answers it waits for."""

    def __init__(self, pending: Pending, message: Message) -> None:
        self.pending = pending
        self.message = message
        self.rounds = 0
        self.state = b""
        self.waiting: dict[IdKey, str] = {}
        self.responses: dict[str, Raw] = {}


class LegacyClient:
    """The bridge of one session.

    Args:
        core: the session's; the bridge enters requests of its own there.
        server_name: told to clients of servers that do not introduce themselves.
        original: the server's answer to the client's ``initialize``, if it refused that: what the client gets when the
            server turns out to answer nothing else either.

    :meth:`from_client` and :meth:`to_client` return effects in the order in which they are to be performed.
    """

    def __init__(self, core: SessionCore, server_name: str, original: bytes = b"") -> None:
        self._core = core
        self._server_name = server_name
        self._original = original
        self._version = LEGACY_VERSION
        self._envelope: dict[str, Any] = {}
        self._initializing: Pending | None = None
        self._offered: dict[str, Any] = {}
        self._calls: dict[IdKey, _Round] = {}
        self._uris: set[str] = set()
        self._listening = False
        self._listen_count = 0
        self._listen: Pending | None = None
        """The subscription whose notifications count."""
        self._next_listen: Pending | None = None
        """Its successor, not acknowledged yet."""
        self._subscribing: list[Pending] = []
        self._questions = 0

    # --- from the client ------------------------------------------------------------------------

    def from_client(self, effect: Forward, now: float) -> list[Effect]:
        """What becomes of a message that the core would forward to a server of the client's era."""
        message = effect.message
        if message.kind is Kind.RESPONSE:
            return self._answered(message)
        if message.kind is Kind.REQUEST:
            assert effect.pending is not None
            return self._request(message, effect.pending, now)
        if message.method_name == "notifications/initialized":
            self._listening = True
            return self._relisten(now)
        if effect.pending is not None:  # a cancellation
            self._calls.pop(effect.pending.key, None)
            return [_forward(message.data, effect.pending)]
        return []  # roots/list_changed and progress have no counterpart

    def _request(self, message: Message, pending: Pending, now: float) -> list[Effect]:
        method = message.method_name
        if method == "initialize":
            return self._initialize(message, pending)
        if method == "ping":
            return [self._local(pending)]
        if method == "logging/setLevel":
            self._envelope[messages.LOG_LEVEL_KEY] = Raw(
                messages.member(message.params, "level") or b'"info"'
            )
            return [self._local(pending)]
        if method in ("resources/subscribe", "resources/unsubscribe"):
            return self._subscribe(message, pending, method == "resources/subscribe", now)
        call = _Round(pending, message)
        self._calls[pending.key] = call
        lost = self._listening and self._listen is None and self._next_listen is None
        return [*(self._relisten(now) if lost else []), self._modern(call)]

    def _initialize(self, message: Message, pending: Pending) -> list[Effect]:
        params = members_of(message.params)
        version = text_of(bytes(params.get("protocolVersion", b"")))
        self._version = version if version in HANDSHAKE_VERSIONS else LEGACY_VERSION
        self._envelope = {
            messages.PROTOCOL_VERSION_KEY: MODERN_VERSION,
            CLIENT_INFO_KEY: params.get("clientInfo", Raw(b"{}")),
            CAPABILITIES_KEY: params.get("capabilities", Raw(b"{}")),
        }
        self._initializing = pending
        return [self._send(pending, "server/discover", {})]

    def _local(self, pending: Pending) -> Deliver:
        """An empty result, given here."""
        self._core.answered(pending)
        return Deliver(b'{"jsonrpc":"2.0","id":%b,"result":{}}' % pending.raw_id, pending)

    def _modern(self, call: _Round) -> Forward:
        members: dict[str, Any] = dict(members_of(call.message.params))
        meta = members_of(bytes(members.get("_meta", b"{}")))
        members["_meta"] = {**meta, **self._envelope}
        if call.rounds:
            members["inputResponses"] = call.responses
            if call.state:
                members["requestState"] = Raw(call.state)
        message = call.message
        return _forward(messages.rebuild(message, message.id, params=encode(members)), call.pending)

    def _send(self, pending: Pending, method: str, params: dict[str, Any]) -> Forward:
        """A request of the bridge's own making."""
        payload = encode({**params, "_meta": self._envelope})
        return _forward(
            b'{"jsonrpc":"2.0","id":%b,"method":"%b","params":%b}'
            % (pending.raw_id, method.encode(), payload),
            pending,
        )

    # --- subscriptions ----------------------------------------------------------------------------

    def _subscribe(self, message: Message, pending: Pending, wanted: bool, now: float) -> list[Effect]:
        uri = text_of(messages.member(message.params, "uri"))
        if not uri:
            self._core.answered(pending)
            words = "params.uri must be a text"
            return [Deliver(messages.error_response(pending.raw_id, INVALID_PARAMS, words), pending)]
        (self._uris.add if wanted else self._uris.discard)(uri)
        self._subscribing.append(pending)
        relisten = self._relisten(now)
        return relisten or self._subscribed()

    def _subscribed(self) -> list[Effect]:
        """The subscription says what was asked for: answer who asked."""
        done, self._subscribing = self._subscribing, []
        return [self._local(pending) for pending in done if self._core.pending.get(pending.key) is pending]

    def _relisten(self, now: float) -> list[Effect]:
        """A new subscription in place of the old one, which ends when this one is acknowledged."""
        wanted: dict[str, Any] = {
            name: True
            for name, capability in LIST_CHANGED.values()
            if self._offers(capability, "listChanged")
        }
        if self._uris:
            wanted["resourceSubscriptions"] = sorted(self._uris)
        effects = self._end(self._next_listen)
        self._next_listen = None
        if not wanted:
            effects += self._end(self._listen)
            self._listen = None
            return effects
        self._listen_count += 1
        name = f"{_INTERNAL}{self._listen_count}"
        pending = Pending(name, encode(name), "subscriptions/listen", now, modern=True)
        self._core.pending[name] = pending
        self._next_listen = pending
        return [*effects, self._send(pending, "subscriptions/listen", {"notifications": wanted})]

    def _end(self, listen: Pending | None) -> list[Effect]:
        if listen is None:
            return []
        self._core.pending.pop(listen.key, None)
        data = (
            b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%b}}' % listen.raw_id
        )
        return [_forward(data, listen)]

    def _offers(self, capability: str, member: str) -> bool:
        offered = self._offered.get(capability)
        return isinstance(offered, dict) and offered.get(member) is True

    # --- toward the client ------------------------------------------------------------------------

    def to_client(self, data: bytes, answered: Pending | None) -> list[Effect]:
        """What becomes of a message of a modern server, or of an error that stands for its answer."""
        message = messages.parse(data)
        if message.kind is Kind.RESPONSE:
            return self._response(message, answered)
        if message.kind is Kind.NOTIFICATION:
            return self._notification(message)
        return [Deliver(data)]

    def _response(self, message: Message, answered: Pending | None) -> list[Effect]:
        for name in ("_listen", "_next_listen"):
            listen = getattr(self, name)
            if listen is not None and listen.raw_id == message.id:
                setattr(self, name, None)
                return self._subscribed()  # it ended, or was refused: nothing more can be promised
        if message.id_key == (self._initializing.key if self._initializing is not None else None):
            return self._discovered(message)
        if message.id.startswith(_INTERNAL_JSON):
            return []
        call = self._calls.pop(message.id_key, None)
        if call is None or message.error or answered is None:
            return [Deliver(message.data, answered)]
        return self._result(call, message, answered)

    def _result(self, call: _Round, message: Message, answered: Pending) -> list[Effect]:
        try:
            found = msgspec.json.decode(message.result, type=_Result)
        except (msgspec.DecodeError, RecursionError):
            found = _Result()
        if found.kind != "input_required":
            return [
                Deliver(
                    messages.rebuild(message, message.id, result=_legacy_result(message.result)), answered
                )
            ]
        call.rounds += 1
        if call.rounds > MAX_ROUNDS:
            return self._fail(call, f"the server asked for input more than {MAX_ROUNDS} times")
        capabilities = members_of(bytes(self._envelope.get(CAPABILITIES_KEY, b"{}")))
        for request in found.requests.values():
            needed = QUESTIONS.get(request.method)
            if needed is None or needed not in capabilities:
                return self._fail(call, f"the server asks {request.method}, which the client does not offer")
        self._core.pending[answered.key] = answered  # it is still open
        self._calls[answered.key] = call
        call.state, call.responses = bytes(found.state), {}
        if not found.requests:
            return [self._modern(call)]
        return [self._question(call, key, request) for key, request in found.requests.items()]

    def _question(self, call: _Round, key: str, request: _InputRequest) -> Deliver:
        self._questions += 1
        name = f"{_QUESTION}{self._questions}"
        call.waiting[name] = key
        self._core.asked.add(name)
        members: dict[str, Any] = dict(members_of(bytes(request.params)))
        if request.method == "elicitation/create" and members.get("mode") == b'"url"':
            members.setdefault("elicitationId", name)
        return Deliver(
            b'{"jsonrpc":"2.0","id":%b,"method":%b,"params":%b}'
            % (encode(name), encode(request.method), encode(members))
        )

    def _answered(self, message: Message) -> list[Effect]:
        """The client answered one of our questions."""
        name = message.id_key
        call = next((call for call in self._calls.values() if name in call.waiting), None)
        if call is None:
            return []  # the call was cancelled meanwhile
        key = call.waiting.pop(name)
        if self._core.pending.get(call.pending.key) is not call.pending:
            self._calls.pop(call.pending.key, None)
            return []
        if message.error:
            self._calls.pop(call.pending.key)
            words = text_of(messages.member(message.error, "message"))
            return self._fail(call, f"the client refused to answer: {words[:300]}")
        call.responses[key] = Raw(message.result)
        return [] if call.waiting else [self._modern(call)]

    def _fail(self, call: _Round, words: str) -> list[Effect]:
        self._core.answered(call.pending)
        return [Deliver(messages.error_response(call.pending.raw_id, INTERNAL_ERROR, words), call.pending)]

    def _discovered(self, message: Message) -> list[Effect]:
        pending, self._initializing = self._initializing, None
        assert pending is not None
        if message.error:
            return [Deliver(self._original or message.data, pending)]
        result = members_of(message.result)
        self._offered = object_of(bytes(result.get("capabilities", b"{}")))
        meta = members_of(bytes(result.get("_meta", b"{}")))
        answer: dict[str, Any] = {
            "protocolVersion": self._version,
            "capabilities": {
                "logging": {},
                **self._offered,
            },  # the bridge takes the level, whatever the server says
            "serverInfo": meta.get(SERVER_INFO_KEY, {"name": self._server_name, "version": "unknown"}),
        }
        if "instructions" in result:
            answer["instructions"] = result["instructions"]
        data = b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (pending.raw_id, encode(answer))
        return [Deliver(data, pending)]

    def _notification(self, message: Message) -> list[Effect]:
        method = message.method_name
        if method == "notifications/cancelled":
            return []
        meta = messages.params_of(message).meta
        tag = bytes(meta.subscription_id) if meta is not None else b""
        if not tag:
            droppable = method in ("notifications/progress", "notifications/message")
            return [Deliver(message.data, None, droppable)]
        if method == "notifications/subscriptions/acknowledged":
            return self._acknowledged(tag)
        if self._listen is None or tag != self._listen.raw_id:
            return []
        params = messages.with_meta(message.params, messages.SUBSCRIPTION_ID_KEY, b"")
        if messages.member(params, "_meta") == b"{}":
            params = messages.with_member(params, "_meta", b"")
        return [Deliver(messages.rebuild(message, b"", params=params))]

    def _acknowledged(self, tag: bytes) -> list[Effect]:
        if self._next_listen is None or tag != self._next_listen.raw_id:
            return []
        old, self._listen, self._next_listen = self._listen, self._next_listen, None
        return [*self._end(old), *self._subscribed()]


def refuses_handshake(answer: Message) -> bool:
    """Whether an error to ``initialize`` is that of a server that knows no handshake."""
    return code_of(answer.error) in REFUSALS


def _forward(data: bytes, pending: Pending) -> Forward:
    message = messages.parse(data)
    pending.modern, pending.upstream_id = (
        True,
        pending.upstream_id if message.kind is Kind.NOTIFICATION else 0,
    )
    return Forward(message, True, messages.params_of(message), pending)


def _legacy_result(result: bytes) -> bytes:
    """A result without what 2026-07-28 added: strict clients refuse an unknown member in an empty result."""
    members = members_of(result)
    for name in ("resultType", "ttlMs", "cacheScope"):
        members.pop(name, None)
    meta = members_of(bytes(members.pop("_meta", b"{}")))
    meta.pop(SERVER_INFO_KEY, None)
    if meta:
        members["_meta"] = Raw(encode(meta))
    return encode(members)

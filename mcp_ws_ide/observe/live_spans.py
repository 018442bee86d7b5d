"""Makes spans of the tap's records as they come: one for each session and for each request on each leg.

Keeps what is open and nothing else, unlike the inspector, which keeps every record. Knows nothing of how spans are
sent. A request is identified as the inspector does it (:mod:`mcp_ws_ide.inspector.model.pairing`).

Bounds: at most :data:`MAX_OPEN` requests and as many sessions and shared servers; further ones get no span.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from msgspec import structs

from mcp_ws_ide.observe.spans import (
    CLIENT,
    INTERNAL,
    SERVER,
    Caller,
    Span,
    attribute,
    caller_of,
    event,
    fail,
    name_of,
    nanoseconds,
    place_of,
    request_attributes,
    session_attributes,
)
from mcp_ws_ide.observe.tap_record import NO_ID, TapRecord

MAX_OPEN: Final = 20_000
"""Requests without a response that are remembered; also the sessions and shared servers."""
MAX_EVENTS: Final = 32
"""Events that a span has at most."""
ENDLESS: Final = "subscriptions/listen"
"""A request that stays open for as long as it is useful."""
_VERSION: Final = "io.modelcontextprotocol/protocolVersion"


class _Meta(msgspec.Struct, gc=False):
    """What a span needs of ``_meta``."""

    traceparent: Any = None
    tracestate: Any = None
    progress_token: msgspec.Raw = msgspec.field(name="progressToken", default=NO_ID)
    revision: Any = msgspec.field(name=_VERSION, default=None)


class _Params(msgspec.Struct):
    """What a span needs of ``params``."""

    name: Any = None
    uri: Any = None
    task: Any = msgspec.field(name="taskId", default=None)
    message: Any = None
    revision: Any = msgspec.field(name="protocolVersion", default=None)
    progress_token: msgspec.Raw = msgspec.field(name="progressToken", default=NO_ID)
    request_id: msgspec.Raw = msgspec.field(name="requestId", default=NO_ID)
    meta: _Meta = msgspec.field(name="_meta", default_factory=_Meta)


class _Error(msgspec.Struct, gc=False):
    code: Any = None
    message: Any = None


class _Result(msgspec.Struct, gc=False):
    is_error: Any = msgspec.field(name="isError", default=False)


class _Content(msgspec.Struct):
    """What a span needs of a message."""

    params: _Params = msgspec.field(default_factory=_Params)
    error: _Error = msgspec.field(default_factory=_Error)
    result: _Result = msgspec.field(default_factory=_Result)


_decode: Final = msgspec.json.Decoder(_Content).decode
_Key = tuple[bool, bool, bytes]
"""Whether it is on the client leg, whether the client's side asks, and the id as JSON."""


@dataclass(slots=True)
class _Scope:
    """What the ids of requests belong to: a session, or a server process that sessions share."""

    server: str
    session: str
    """The session's id; ``""`` for a shared server."""
    start: float
    trace: str
    span: str
    """The ids of the session's trace and span."""
    client: str = ""
    revision: str = ""
    open: dict[_Key, _Request] = field(default_factory=dict)
    by_token: dict[_Key, _Request] = field(default_factory=dict)
    """Requests by their progress token."""


@dataclass(slots=True)
class _Request:
    """A request without a response."""

    record: TapRecord
    """Its record, without the text."""
    key: _Key
    token: _Key | None
    target: str
    trace: str
    """The id of its session's trace."""
    session_span: str
    caller: Caller | None
    outer: _Request | None
    """The same request on the leg it came from."""
    span: str
    events: list[Span] = field(default_factory=list)
    cancelled: bool = False
    """Whether the gateway has told the server that it was cancelled."""


class LiveSpans:
    """The open requests and sessions of all principals.

    Args:
        finished: called with the server and each span that has ended.

    Attributes:
        ignored: requests that got no span, because too many were open.
    """

    def __init__(self, finished: Callable[[str, Span], None]) -> None:
        self._finished = finished
        self._scopes: dict[tuple[str, str], _Scope] = {}
        self._count = 0
        """Open requests."""
        self.ignored = 0

    def add(self, owner: str, record: TapRecord) -> None:
        """Take the next record of a principal."""
        kind = record.kind
        if kind == "request":
            self._begin(owner, record)
        elif kind in ("response", "error"):
            self._answer(owner, record)
        elif kind == "notification":
            self._notify(owner, record)
        elif kind == "event":
            self._event(owner, record)

    # --- requests -------------------------------------------------------------------------------

    def _begin(self, owner: str, record: TapRecord) -> None:
        scope = self._scope(owner, record)
        if scope is None or self._count >= MAX_OPEN:
            self.ignored += 1
            return
        params = _content(record).params
        if not scope.revision and isinstance(revision := params.revision or params.meta.revision, str):
            scope.revision = revision
        key = _key(record, bytes(record.id), answers=False)
        token = None
        if params.meta.progress_token != NO_ID:
            token = (*key[:2], bytes(params.meta.progress_token))
        outer = self._outer(owner, scope, record, key)
        request = _Request(
            *(structs.replace(record, raw=None), key, token, _target(params)),
            *((outer.trace, outer.session_span) if outer is not None else (scope.trace, scope.span)),
            outer.caller if outer is not None else caller_of(params.meta.traceparent, params.meta.tracestate),
            outer,
            _id(8),
        )
        self._count += key not in scope.open
        scope.open[key] = request
        if token is not None:
            scope.by_token[token] = request

    def _outer(self, owner: str, scope: _Scope, record: TapRecord, key: _Key) -> _Request | None:
        """Return the request that this one carries to the other leg; None if it begins here."""
        if record.leg == "upstream" and record.direction == "out":
            origin = self._scopes.get((owner, record.origin_session or ""))
            return None if origin is None else origin.open.get((True, True, bytes(record.origin_id)))
        if record.leg == "client" and record.direction == "out":  # a server's request keeps its id
            return scope.open.get((False, False, key[2]))
        return None

    def _answer(self, owner: str, record: TapRecord) -> None:
        scope = self._scopes.get((owner, _scope_name(record)))
        request = None if scope is None else scope.open.get(_key(record, bytes(record.id), answers=True))
        if scope is None or request is None:
            return
        code = text = number = ""
        if record.kind == "error":
            error = _content(record).error
            code = number = str(error.code)
            text = str(error.message)
        elif '"isError"' in (record.raw or "") and _content(record).result.is_error is True:
            code, text = "tool_error", "the result has isError"
        self._end(scope, request, record, code, text, "", number)

    def _notify(self, owner: str, record: TapRecord) -> None:
        method, scope = record.method, self._scopes.get((owner, _scope_name(record)))
        if scope is None or method not in ("notifications/progress", "notifications/cancelled"):
            return
        params = _content(record).params
        if method == "notifications/progress":
            request = scope.by_token.get(_key(record, bytes(params.progress_token), answers=True))
            if request is not None and len(request.events) < MAX_EVENTS:
                request.events.append(event(record.time, method, params.message))
            return
        for answers in (
            False,
            True,
        ):  # senders cancel their own requests, and a server may end a subscription
            request = scope.open.get(_key(record, bytes(params.request_id), answers))
            if request is not None:
                request.events.append(event(record.time, method, None))
                if request.outer is not None:
                    request.outer.cancelled = True
                return self._end(scope, request, record, "", "", "cancelled")

    def _end(
        self,
        scope: _Scope,
        request: _Request,
        record: TapRecord,
        code: str,
        text: str,
        status: str,
        number: str = "",
    ) -> None:
        """Finish the span of a request with what ended it; ``number`` is the code of a JSON-RPC error."""
        del scope.open[request.key]
        self._count -= 1
        if request.token is not None and scope.by_token.get(request.token) is request:
            del scope.by_token[request.token]
        if request.caller is not None and not request.caller.sampled:
            return
        asked = request.record
        attributes = [
            *request_attributes(
                asked.method or "", request.target, _plain(bytes(asked.id)), asked.session or ""
            ),
            attribute("mcp_ws.leg", "client" if request.key[0] else "server"),
        ]
        if number:
            attributes.append(attribute("rpc.response.status_code", number))
        if status:
            attributes.append(attribute("mcp_ws.status", status))
        span: Span = {
            "spanId": request.span,
            **place_of(
                *(request.caller, request.trace, request.session_span),
                request.outer.span if request.outer is not None else "",
            ),
            "name": name_of(asked.method or "", request.target),
            "kind": SERVER if asked.direction == "in" else CLIENT,
            "startTimeUnixNano": nanoseconds(asked.time),
            "endTimeUnixNano": nanoseconds(asked.time + max(0.0, record.mono - asked.mono)),
            "attributes": attributes,
        }
        if request.events:
            span["events"] = request.events
        if code:
            fail(span, code, text)
        self._finished(asked.server, span)

    # --- sessions -------------------------------------------------------------------------------

    def _scope(self, owner: str, record: TapRecord) -> _Scope | None:
        """Return what a record's ids belong to, new if it was not known; None if there are too many."""
        name = _scope_name(record)
        scope = self._scopes.get((owner, name))
        if scope is None and len(self._scopes) < MAX_OPEN:
            session = record.session or ""
            scope = _Scope(record.server, session, record.time, _id(16), _id(8) if session else "")
            self._scopes[owner, name] = scope
        return scope

    def _event(self, owner: str, record: TapRecord) -> None:
        if record.event == "link_opened" and record.session is not None:
            scope = self._scope(owner, record)
            if scope is not None:
                scope.client = (record.detail or "").partition(" ")[2]
        elif record.event in ("link_closed", "upstream_closed"):
            place = (owner, _scope_name(record))
            scope = self._scopes.get(place)
            if scope is None:
                return
            is_whole = record.event == "link_closed" or not scope.session
            self._settle(scope, record, whole=is_whole)
            if is_whole:
                del self._scopes[place]
                self._end_session(scope, record.time)

    def _settle(self, scope: _Scope, record: TapRecord, *, whole: bool) -> None:
        """End the requests that get no response any more: all, or those on the server leg."""
        for request in [one for one in scope.open.values() if whole or not one.key[0]]:
            # A client that closes its HTTP exchange cancels the request: the gateway tells only the server.
            if request.cancelled:
                self._end(scope, request, record, "", "", "cancelled")
            elif request.record.method == ENDLESS:
                self._end(scope, request, record, "", "", "")
            else:
                self._end(scope, request, record, "lost", "got no response", "")

    def _end_session(self, scope: _Scope, end: float) -> None:
        if not scope.session:
            return
        span: Span = {
            "traceId": scope.trace,
            "spanId": scope.span,
            "name": f"session {scope.server}",
            "kind": INTERNAL,
            "startTimeUnixNano": nanoseconds(scope.start),
            "endTimeUnixNano": nanoseconds(max(scope.start, end)),
            "attributes": session_attributes(scope.session, scope.revision, scope.client),
        }
        self._finished(scope.server, span)


def _scope_name(record: TapRecord) -> str:
    """Return the session's id, or a name that no session has for a server process that sessions share."""
    return record.session or f"\0{record.server}"


def _key(record: TapRecord, identifier: bytes, answers: bool) -> _Key:
    """Return the key of the sender's own request or, with ``answers``, of one of the other side."""
    client_leg, inward = record.leg == "client", record.direction == "in"
    toward_server = client_leg == inward
    return client_leg, toward_server != answers, identifier


def _content(record: TapRecord) -> _Content:
    """Return what a span needs of a message; nothing if it was cut, withheld, or is of other types."""
    try:
        return _decode(record.raw or "") if not record.truncated else _Content()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _Content()


def _target(params: _Params) -> str:
    """Return the tool, prompt, resource or task that a request names."""
    return next((one for one in (params.name, params.uri, params.task) if isinstance(one, str)), "")


def _plain(identifier: bytes) -> str:
    """Return an id as text: a string without its quotes."""
    try:
        value = msgspec.json.decode(identifier)
    except msgspec.DecodeError:
        value = identifier.decode(errors="replace")
    return value if isinstance(value, str) else identifier.decode(errors="replace")


def _id(size: int) -> str:
    """Return a random id of ``size`` bytes, in hexadecimal; it need not be secret."""
    return f"{random.getrandbits(8 * size) or 1:0{2 * size}x}"

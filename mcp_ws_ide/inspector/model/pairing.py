"""Link related rows: requests and responses, progress, cancellations, subscriptions, rounds, both legs.

A request is identified by (scope, leg, sender, typed id): both sides of a link may use the same id at once, and ``7``
is not ``"7"``. The scope is the session, which outlives its links, or else the server at its gateway.

=================================================  ==================================================
row                                                linked to
=================================================  ==================================================
response, error                                    its request, in both directions (``pair``)
``notifications/progress``                         the request of its ``progressToken`` (``parent``)
``notifications/cancelled``                        the request of its ``requestId`` (``parent``)
a notification with a ``subscriptionId``           the ``subscriptions/listen`` (``parent``)
a request with a ``requestState``                  the request whose response had it (``parent``)
``tasks/get`` and others with a ``taskId``         the request that was answered with this task (``parent``)
``notifications/tasks``                            the same, else the ``subscriptions/listen`` (``parent``)
a message on the server leg                        the same message on the client leg (``twin``)
a response whose request was not seen              the same response on the other leg (``twin``)
=================================================  ==================================================

Rounds of input_required are linked only by ``requestState``, as nothing else about them is exact; tasks by the ids of
one leg, as groups change them. Legs are linked by
the origin that the gateway records for a request; for a session's private process, by identical messages.

Bounds: at most :data:`MAX_OPEN` requests, tokens, states and tasks each are remembered; the oldest are forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from mcp_ws_ide.core.bridges.methods import TASK
from mcp_ws_ide.core.messages import SUBSCRIPTION_ID_KEY, IdKey
from mcp_ws_ide.inspector.model.records import (
    CLIENT_LEG,
    TO_SERVER,
    Kind,
    Lane,
    Status,
    id_key,
    part,
    value_key,
)
from mcp_ws_ide.inspector.model.store import NONE, Store
from mcp_ws_ide.observe.tap_record import TapRecord

MAX_OPEN: Final = 100_000
ENDS: Final = frozenset({"link_closed", "upstream_closed"})
"""Events after which no response comes."""

Key = tuple[str, bool, bool, IdKey]
"""Scope, whether it is the client leg, whether the client side asks, id."""
Value = TypeVar("Value")


class Recent(OrderedDict[Any, Value], Generic[Value]):
    """A dictionary that drops its oldest entry above :data:`MAX_OPEN`."""

    def put(self, key: Any, value: Value) -> None:
        """Add an entry."""
        self[key] = value
        if len(self) > MAX_OPEN:
            self.popitem(last=False)


@dataclass(slots=True)
class PairingOutcome:
    """What was learned from a row."""

    request: int | None = None
    """The request that this row responds to, or None."""
    duplicate: int | None = None
    """The open request whose id this request reuses."""
    orphan: bool = False
    """Whether it is a response without a request."""
    token: IdKey | None = None
    """The progress token that is free again."""
    changed: list[int] = field(default_factory=list)
    """Earlier rows whose columns have changed."""


class Pairing:
    """Fills the columns ``pair``, ``parent``, ``twin``, ``status`` and ``latency`` of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.open: Recent[int] = Recent()
        """Requests without a response, oldest first."""
        self._tokens: Recent[int] = Recent()
        self._token_of: Recent[tuple[Any, IdKey]] = Recent()
        self._states: Recent[int] = Recent()
        self._tasks: Recent[int] = Recent()
        """Requests that were answered with a task."""
        self._notes: Recent[list[int]] = Recent()
        self._began: set[str] = set()

    def add(self, row: int, record: TapRecord, content: dict[str, Any]) -> PairingOutcome:
        """Link one row; rows must be added in order."""
        outcome = PairingOutcome()
        kind = self._store.kind_of(row)
        if kind is Kind.REQUEST:
            self._request(row, record, content, outcome)
        elif kind in (Kind.RESPONSE, Kind.ERROR):
            self._answer(row, record, content, outcome)
        elif kind is Kind.NOTIFICATION:
            self._notification(row, record, content, outcome)
        elif kind is Kind.EVENT:
            self._event(record, outcome)
        elif kind is Kind.GAP:
            self._doubt(outcome)
            self._began.clear()
        return outcome

    # --- requests and responses --------------------------------------------------------------------

    def _request(self, row: int, record: TapRecord, content: dict[str, Any], outcome: PairingOutcome) -> None:
        lane = self._store.lane_of(row)
        identifier = id_key(record.id)
        if lane is Lane.NONE or identifier is None:
            return
        key = _key(record, lane, identifier)
        before = self.open.get(key)
        if before is not None and not self._doubted(before):
            outcome.duplicate = before
        self._set(row, Status.PENDING)
        self.open.put(key, row)
        params = content.get("params")
        token = value_key(part(params, "_meta", "progressToken"))
        if token is not None:
            self._tokens.put((key[:3], token), row)
            self._token_of.put(row, (key[:3], token))
        state = part(params, "requestState")
        if (
            isinstance(state, str)
            and (earlier := self._states.get((record.server, key[1], hash(state)))) is not None
        ):
            self._link(self._store.parent, row, earlier)
        elif (created := self._creator(record, lane, params)) is not None:
            self._link(self._store.parent, row, created)
        self._request_twin(row, record, lane, identifier, outcome)

    def _creator(self, record: TapRecord, lane: Lane, params: Any) -> int | None:
        """Return the request that was answered with the task that a message names."""
        task = part(params, "taskId")
        return self._tasks.get((record.server, lane in CLIENT_LEG, task)) if isinstance(task, str) else None

    def _request_twin(
        self, row: int, record: TapRecord, lane: Lane, identifier: IdKey, outcome: PairingOutcome
    ) -> None:
        """Link a request to the same request on the leg it came from."""
        if lane is Lane.UPSTREAM_OUT:
            origin, session, client_asks = id_key(record.origin_id), record.origin_session, True
        elif lane is Lane.CLIENT_OUT:  # a server's request keeps its id
            origin, session, client_asks = identifier, record.session, False
        else:
            return
        if session is None or origin is None:
            return
        twin = self.open.get((session, client_asks, client_asks, origin))
        store = self._store
        same = twin is not None and store.holds(twin) and store.method_of(twin) == record.method
        if twin is not None and same:
            self._link(self._store.twin, row, twin)
            self._link(self._store.twin, twin, row)
            outcome.changed.append(twin)

    def _answer(self, row: int, record: TapRecord, content: dict[str, Any], outcome: PairingOutcome) -> None:
        lane = self._store.lane_of(row)
        identifier = id_key(record.id)
        if lane is Lane.NONE:
            return
        if identifier is None:  # an error response to an unreadable message
            return self._set(row, _status(self._store.kind_of(row), content))
        key = _key(record, lane, identifier, answers=True)
        request = self.open.pop(key, None)
        if request is None or not self._store.holds(request):
            outcome.orphan = request is None and key[0] in self._began
            self._set(row, _status(self._store.kind_of(row), content))
            return self._verbatim_twin(row, record, lane, outcome)
        outcome.request = request
        if (used := self._token_of.pop(request, None)) is not None:
            self._tokens.pop(used, None)
            outcome.token = used[1]
        outcome.changed.append(request)
        self._pair(request, row, record, _status(self._store.kind_of(row), content), outcome)
        state = part(content, "result", "requestState")
        if isinstance(state, str):
            self._states.put((record.server, key[1], hash(state)), request)
        task = part(content, "result", "taskId")
        if isinstance(task, str) and part(content, "result", "resultType") == TASK:
            self._tasks.put((record.server, key[1], task), request)

    def _pair(
        self, request: int, row: int, record: TapRecord, status: Status, outcome: PairingOutcome
    ) -> None:
        store, first = self._store, self._store.first
        store.pair[request - first], store.pair[row - first] = row, request
        store.method[row - first] = store.method[request - first]
        store.target[row - first] = store.target[request - first]
        latency = max(0.0, (record.mono - store.mono[request - first]) * 1000)
        store.latency[request - first] = store.latency[row - first] = latency
        store.status[row - first] = status
        if store.status[request - first] != Status.CANCELLED:
            store.status[request - first] = status
        other = store.linked(store.twin, request)
        if other is not None and (answered := store.linked(store.pair, other)) is not None:
            self._link(store.twin, row, answered)
            self._link(store.twin, answered, row)
            outcome.changed.append(answered)

    # --- notifications ----------------------------------------------------------------------------

    def _notification(
        self, row: int, record: TapRecord, content: dict[str, Any], outcome: PairingOutcome
    ) -> None:
        lane = self._store.lane_of(row)
        if lane is Lane.NONE:
            return
        parent = self._parent(record, lane, content, outcome)
        if parent is not None and self._store.holds(parent):
            self._link(self._store.parent, row, parent)
            index = row - self._store.first
            if not self._store.target_of(row):
                self._store.target[index] = self._store.target[parent - self._store.first]
        self._verbatim_twin(row, record, lane, outcome)

    def _parent(
        self, record: TapRecord, lane: Lane, content: dict[str, Any], outcome: PairingOutcome
    ) -> int | None:
        params = content.get("params")
        if record.method == "notifications/progress":
            token = value_key(part(params, "progressToken"))
            return None if token is None else self._tokens.get((_scope(record, lane, True), token))
        if record.method == "notifications/cancelled":
            return self._cancelled(record, lane, value_key(part(params, "requestId")), outcome)
        created = self._creator(record, lane, params)
        if created is not None and self._store.holds(created):
            return created
        subscription = value_key(part(params, "_meta", SUBSCRIPTION_ID_KEY))
        if subscription is None:
            return None
        return self.open.get((*_scope(record, lane, True), subscription))

    def _cancelled(
        self, record: TapRecord, lane: Lane, request: IdKey | None, outcome: PairingOutcome
    ) -> int | None:
        """Return the cancelled request: senders cancel their own requests, and a server may end a subscription."""
        if request is None:
            return None
        for answers in (False, True):
            row = self.open.get((*_scope(record, lane, answers), request))
            if row is not None and self._store.holds(row):
                self._set(row, Status.CANCELLED)
                outcome.changed.append(row)
                return row
        return None

    def _verbatim_twin(self, row: int, record: TapRecord, lane: Lane, outcome: PairingOutcome) -> None:
        """Link the same message of the session on the other leg, if no request links them: verbatim, and in order."""
        if record.session is None or record.raw is None:
            return
        toward = lane in TO_SERVER
        name = (record.session, toward, record.method, hash(record.raw))
        if lane in (Lane.CLIENT_IN, Lane.UPSTREAM_IN):
            waiting = self._notes.get(name)
            if waiting is None:
                self._notes.put(name, waiting := [])
            waiting.append(row)
            del waiting[:-16]
        elif waiting := self._notes.get(name):
            twin = waiting.pop(0)
            if self._store.holds(twin):
                self._link(self._store.twin, row, twin)
                self._link(self._store.twin, twin, row)
                outcome.changed.append(twin)

    # --- ends -------------------------------------------------------------------------------------

    def _event(self, record: TapRecord, outcome: PairingOutcome) -> None:
        scope = record.session or _shared(record)
        if record.event == "link_opened":
            self._began.add(scope)
        elif record.event == "upstream_started":
            self._began.add(_shared(record))
        elif record.event in ENDS:
            self._began.discard(scope)
            client = record.event == "link_closed"
            self._settle(lambda key: key[0] == scope and (client or not key[1]), Status.LOST, outcome)

    def _settle(self, concerns: Any, status: Status, outcome: PairingOutcome) -> None:
        for key in [key for key in self.open if concerns(key)]:
            row = self.open.pop(key)
            if self._store.holds(row):
                if self._store.status_of(row) is Status.PENDING:
                    # A client that closes its HTTP exchange cancels the request: the gateway tells only the server.
                    self._set(row, Status.CANCELLED if self._cancelled_on_other_leg(row) else status)
                outcome.changed.append(row)

    def _cancelled_on_other_leg(self, row: int) -> bool:
        twin = self._store.linked(self._store.twin, row)
        return twin is not None and self._store.status_of(twin) is Status.CANCELLED

    def _doubt(self, outcome: PairingOutcome) -> None:
        """Mark open requests as unknown: records are missing, and responses with them. Late responses still pair."""
        for row in list(self.open.values()):
            if self._store.holds(row) and self._store.status_of(row) is Status.PENDING:
                self._set(row, Status.UNKNOWN)
                outcome.changed.append(row)

    def _doubted(self, row: int) -> bool:
        return not self._store.holds(row) or self._store.status_of(row) is Status.UNKNOWN

    def _set(self, row: int, status: Status) -> None:
        self._store.status[row - self._store.first] = status

    def _link(self, column: Any, row: int, other: int) -> None:
        if other != NONE and self._store.holds(row):
            column[row - self._store.first] = other


def _shared(record: TapRecord) -> str:
    """Return the scope of ids on a server leg that several sessions share: each gateway has its own."""
    return f"\0{record.server}\0{record.gateway or ''}"


def _scope(record: TapRecord, lane: Lane, answers: bool) -> tuple[str, bool, bool]:
    """Return the scope of an id: the sender's own requests or, with ``answers``, those of the other side."""
    scope = record.session or _shared(record)
    return scope, lane in CLIENT_LEG, (lane in TO_SERVER) != answers


def _key(record: TapRecord, lane: Lane, identifier: IdKey, answers: bool = False) -> Key:
    return (*_scope(record, lane, answers), identifier)


def _status(kind: Kind, content: dict[str, Any]) -> Status:
    if kind is Kind.ERROR:
        return Status.ERROR
    if part(content, "result", "resultType") == "input_required":
        return Status.INPUT
    return Status.FAILED if part(content, "result", "isError") is True else Status.OK

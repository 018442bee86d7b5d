"""A group of servers presented as one: names prefixed, lists merged, everything else routed. Pure.

All sides speak the modern era: requests from the client have integer ids of the gateway, and each member answers under
the same id, as its session serves this client alone. Clients see tools and prompts as ``member__name``, and tasks as
``member:id``. Addresses of apps are ``ui://member/…``; all other URIs of resources stay as they are, and belong to the
member that listed them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.client_subscription import RESOURCE_NOT_FOUND
from mcp_ws_ide.core.bridges.methods import ACKNOWLEDGED, LISTS, SERVER_INFO_KEY, TASK_METHODS
from mcp_ws_ide.core.era import bridged
from mcp_ws_ide.core.group_bare import LIST_OF, BareNames, name_in
from mcp_ws_ide.core.group_merge import (
    DISCOVER,
    GATHER_TIME,
    SEPARATOR,
    Gathering,
    Names,
    offers_none,
)
from mcp_ws_ide.core.group_tasks import TaskIds
from mcp_ws_ide.core.group_uris import SCHEME, AppUris
from mcp_ws_ide.core.lenient_json import encode, error_code, error_text, members_of, text_of, texts_of
from mcp_ws_ide.core.list_items import UNAVAILABLE_KEY
from mcp_ws_ide.core.messages import NOTIFICATION, REQUEST, RESPONSE, Message
from mcp_ws_ide.core.open_work import TASK_CHANGED
from mcp_ws_ide.core.session import CANCELLED
from mcp_ws_ide.core.shown_uris import READ, UPDATED
from mcp_ws_ide.errors import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND

ACKNOWLEDGE_TIME: Final = 5.0
"""Seconds for which a subscription waits for the acknowledgements of all members."""
MAX_EARLY: Final = 1000
"""Notifications that are kept until their subscription is acknowledged; further ones are passed on immediately."""
MISSING_CAPABILITY: Final = -32021
"""Error code: the client did not declare a capability that its request needs (MCP 2026-07-28)."""
NAMED: Final = frozenset({"tools/call", "prompts/get"})
"""Requests that name a tool or prompt, and so the member they go to."""


@dataclass(slots=True)
class Out:
    """What to send: to members by name, and to the client."""

    to_members: list[tuple[str, Message]] = field(default_factory=list)
    to_client: list[Message] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Attempts:
    """A request that goes from member to member until one accepts it."""

    message: Message
    left: list[str]
    refusal: Message | None = None
    """The most telling error so far."""


@dataclass(slots=True, eq=False)
class _Listening:
    """A subscription of the client at all members.

    Attributes:
        missing: members that have not acknowledged it.
        open: members whose subscription has not ended.
        honored, uris, tasks: what the members promise.
        notes: why members have no part in it.
        deadline: when it is acknowledged without the missing members; 0 before the first tick.
        acknowledged: whether the client has the acknowledgement.
        early: notifications that arrived before it, each once, by their bytes.
    """

    missing: set[str]
    open: set[str]
    honored: dict[str, Any] = field(default_factory=dict)
    uris: dict[str, None] = field(default_factory=dict)
    tasks: dict[str, None] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    deadline: float = 0.0
    acknowledged: bool = False
    early: dict[bytes, Message] = field(default_factory=dict)


class Group:
    """The members of one connection.

    Args:
        name: the group's name.
        members: names of servers, in the order in which their tools, prompts and resources are listed.
        version: the gateway's version.
        bare: whether tools and prompts are shown under their own names, unless two members have the same.
    """

    def __init__(self, name: str, members: Sequence[str], version: str, *, bare: bool = False) -> None:
        self._name, self._version = name, version
        self._members = list(members)
        self._names = Names(members)
        self._tasks = TaskIds(members)
        self._apps = AppUris(members)
        self._bare, self._shows_bare = BareNames(self._members, SEPARATOR), bare
        self._routes: dict[int, str] = {}
        self._gathering: dict[int, Gathering] = {}
        self._attempts: dict[int, _Attempts] = {}
        self._listening: dict[int, _Listening] = {}
        self._owners: dict[str, dict[str, str]] = {}
        """The member that listed a URI, by the method of the list (resources or templates)."""
        self._silent: set[str] = set()
        """Members that failed to acknowledge a subscription in time; the next one does not wait for them."""

    # --- from the client ------------------------------------------------------------------------

    def from_client(self, message: Message) -> Out:
        """Handle a modern message from the client."""
        out = Out()
        if message.kind is REQUEST:
            self._request(int(message.id), message, out)
        elif message.kind is NOTIFICATION and message.method_name == CANCELLED:
            self._cancelled(message, out)
        return out

    def _request(self, number: int, message: Message, out: Out) -> None:
        method = message.method_name
        if method == DISCOVER or method in LISTS:
            self._ask_all(number, message, out)
        elif method in NAMED:
            self._named(number, message, out)
        elif method == READ:
            self._read(number, message, out)
        elif method == "completion/complete":
            self._complete(number, message, out)
        elif method in TASK_METHODS:
            self._of_task(number, message, out)
        elif method == "subscriptions/listen":
            self._listen(number, message, out)
        elif method == "ping":
            out.to_client.append(messages.response(message.id, b'{"resultType":"complete"}'))
        else:
            self._unknown(number, message, out)

    def _ask_all(self, number: int, message: Message, out: Out) -> None:
        """Send a request to all members, whose responses are merged."""
        self._gathering[number] = Gathering(message, self._members, self._names, self._apps, self._shows_bare)
        params = bridged(messages.with_member(message.params, "cursor", b""))  # all pages come at once
        one = messages.rebuild(message, message.id, params=params)
        out.to_members += [(member, one) for member in self._members]

    def _unknown(self, number: int, message: Message, out: Out) -> None:
        """Send a request of an unknown method to the member that its name or address belongs to."""
        name, uri = (text_of(messages.member(message.params, member)) for member in ("name", "uri"))
        if (target := self._names.split(name)) is not None:
            return self._send_own(number, target, message, "name", out)
        if self._apps.split(uri) is not None or self._owner(uri) is not None:
            return self._read(number, message, out)
        prefixes = ", ".join(member + SEPARATOR for member in self._members)
        text = (
            f"Method not found: a group of servers passes {message.method_name} on only where params.name begins with "
            f"one of {prefixes}, or params.uri is an address that one of them has listed"
        )
        _error(out, number, METHOD_NOT_FOUND, text)

    def _named(self, number: int, message: Message, out: Out) -> None:
        target = self._names.split(name_in(message))
        if target is None and (self._shows_bare or message.method_name == "tools/call"):
            return self._list_for(number, message, out)
        if target is None:
            return _error(out, number, INVALID_PARAMS, self._bare.refusal(message.method_name, ""))
        self._send_own(number, target, message, "name", out)

    def _list_for(self, number: int, message: Message, out: Out) -> None:
        """Send a call without a prefix to the member that has the name; list the names first if that is not known."""
        method = message.method_name
        if self._bare.knows(method, name_in(message)):
            return self._bare_call(number, message, out)
        meta = messages.with_member(messages.member(message.params, "_meta") or b"{}", "progressToken", b"")
        self._bare.waiting[number] = message
        params = messages.with_member(b"{}", "_meta", meta)
        self._ask_all(number, messages.request(message.id, LIST_OF[method], params), out)

    def _bare_call(self, number: int, message: Message, out: Out) -> None:
        method, name = message.method_name, name_in(message)
        member = self._bare.member_of(method, name)
        if member is None:
            return _error(out, number, INVALID_PARAMS, self._bare.refusal(method, name))
        self._send(number, member, message, out)

    def _complete(self, number: int, message: Message, out: Out) -> None:
        ref = messages.member(message.params, "ref")
        uri = text_of(messages.member(ref, "uri"))
        if uri:
            if (app := self._apps.split(uri)) is not None:
                ref = messages.with_member(ref, "uri", encode(app[1]))
                params = messages.with_member(message.params, "ref", ref)
                return self._send(number, app[0], messages.rebuild(message, message.id, params=params), out)
            return self._of_uri(number, message, uri, out)
        target = self._names.split(name_in(message))
        if target is None and self._shows_bare:
            return self._list_for(number, message, out)
        if target is None:
            return _error(out, number, INVALID_PARAMS, self._bare.refusal(message.method_name, ""))
        member, name = target
        params = messages.with_member(message.params, "ref", messages.with_member(ref, "name", encode(name)))
        self._send(number, member, messages.rebuild(message, message.id, params=params), out)

    def _read(self, number: int, message: Message, out: Out) -> None:
        """Send a request with an address to its member; an app names its own resources without the member."""
        uri = text_of(messages.member(message.params, "uri"))
        if (target := self._apps.split(uri)) is not None:
            return self._send_own(number, target, message, "uri", out)
        listed = [m for m in self._members if self._owner(self._apps.shown(m, uri)) == m]
        if len(listed) > 1 and uri.startswith(SCHEME):
            shown = ", ".join(self._apps.shown(member, uri) for member in listed)
            return _error(
                out, number, INVALID_PARAMS, f"several members have {uri[:200]!r}; read one of {shown}"
            )
        self._of_uri(number, message, uri, out)

    def _of_uri(self, number: int, message: Message, uri: str, out: Out) -> None:
        """Send a request to the member that listed its URI; for an unlisted URI, as of a template, to each in turn."""
        owner = next((m for m in self._members if self._owner(self._apps.shown(m, uri)) == m), None)
        if owner is not None:
            return self._send(number, owner, message, out)
        first, *left = self._members
        self._attempts[number] = _Attempts(message, left)
        self._send(number, first, message, out)

    def _of_task(self, number: int, message: Message, out: Out) -> None:
        member = TASK_METHODS[message.method_name]
        target = self._tasks.split(text_of(messages.member(message.params, member)))
        if target is None:
            prefixes = ", ".join(self._tasks.prefixes)
            return _error(out, number, INVALID_PARAMS, f"Unknown task: ids begin with one of {prefixes}")
        self._send_own(number, target, message, member, out)

    def _owner(self, uri: str) -> str | None:
        return next((owners[uri] for owners in self._owners.values() if uri in owners), None)

    def _send(self, number: int, member: str, message: Message, out: Out) -> None:
        self._routes[number] = member
        out.to_members.append((member, message))

    def _send_own(self, number: int, target: tuple[str, str], message: Message, name: str, out: Out) -> None:
        """Send a request to a member with what the member itself calls the thing that ``params.name`` names."""
        member, own = target
        params = messages.with_member(message.params, name, encode(own))
        self._send(number, member, messages.rebuild(message, message.id, params=params), out)

    def _listen(self, number: int, message: Message, out: Out) -> None:
        wanted = members_of(messages.member(message.params, "notifications"))
        uris = texts_of(bytes(wanted.pop("resourceSubscriptions", b"")))
        tasks = texts_of(bytes(wanted.pop("taskIds", b"")))
        listening = self._listening[number] = _Listening(set(self._members), set(self._members))
        for member in sorted(listening.missing, key=self._members.index):
            mine = [uri for uri in uris if self._owner(uri) in (None, member)]
            own = [known for uri in mine if (known := self._apps.own(member, uri)) is not None]
            filters: dict[str, Any] = {**wanted, **({"resourceSubscriptions": own} if own else {})}
            if own_tasks := self._tasks.own(member, tasks):
                filters["taskIds"] = own_tasks
            params = messages.with_member(message.params, "notifications", encode(filters))
            out.to_members.append((member, messages.rebuild(message, message.id, params=params)))

    def _cancelled(self, message: Message, out: Out) -> None:
        number = _number(bytes(messages.params_of(message).request_id))
        concerned: set[str] = set()
        if (gathering := self._gathering.pop(number, None)) is not None:
            concerned = gathering.missing
            self._bare.waiting.pop(number, None)
        elif (listening := self._listening.pop(number, None)) is not None:
            concerned = listening.open
        elif (member := self._routes.pop(number, None)) is not None:
            concerned = {member}
            self._attempts.pop(number, None)
        out.to_members += [(member, message) for member in self._members if member in concerned]

    # --- from a member --------------------------------------------------------------------------

    def from_member(self, member: str, message: Message) -> Out:
        """Handle a modern message from one member."""
        out = Out()
        if message.kind is RESPONSE:
            self._response(member, message, out)
        elif message.kind is NOTIFICATION:
            self._notification(member, message, out)
        return out

    def lost(self, member: str, reason: str) -> Out:
        """Fail the requests to a member after its session has ended."""
        out = Out()
        self._silent.discard(member)
        numbers = [n for n, m in self._routes.items() if m == member]
        numbers += [n for n, g in self._gathering.items() if member in g.missing]
        numbers += [n for n, li in self._listening.items() if member in li.open]
        for number in numbers:
            error = messages.error(b"%d" % number, INTERNAL_ERROR, reason, {"outcome": "unknown"})
            self._response(member, error, out)
        return out

    def _response(self, member: str, message: Message, out: Out) -> None:
        number = _number(message.id)
        if (gathering := self._gathering.get(number)) is not None and member in gathering.missing:
            return self._gather(number, gathering, member, message, out)
        if (listening := self._listening.get(number)) is not None and member in listening.open:
            return self._listen_ended(number, listening, member, message, out)
        if self._routes.get(number) != member:
            return
        del self._routes[number]
        attempts = self._attempts.get(number)
        if attempts is not None and message.error:
            if attempts.refusal is None or _weight(message.error) >= _weight(attempts.refusal.error):
                attempts.refusal = message
            if attempts.left:
                return self._send(number, attempts.left.pop(0), attempts.message, out)
            message = attempts.refusal
        self._attempts.pop(number, None)
        shown = self._tasks.result(member, message) if message.odd else message
        out.to_client.append(self._apps.result(member, shown))

    def _gather(self, number: int, gathering: Gathering, member: str, message: Message, out: Out) -> None:
        cursor = b""
        if message.error:
            gathering.failed(member, message.error)
        else:
            cursor = gathering.add(member, message.result)
        if cursor:
            params = messages.with_member(gathering.message.params, "cursor", cursor)
            next_page = messages.rebuild(gathering.message, message.id, params=params)
            out.to_members.append((member, next_page))
            return
        gathering.missing.discard(member)
        if gathering.missing:
            return
        del self._gathering[number]
        if gathering.message.method_name in ("resources/list", "resources/templates/list"):
            self._owners[gathering.message.method_name] = gathering.owners
        self._bare.learn(gathering.message.method_name, gathering.offers)
        if (call := self._bare.waiting.pop(number, None)) is not None:
            return self._bare_call(number, call, out)
        meta = {SERVER_INFO_KEY: {"name": self._name, "version": self._version}}
        out.to_client.append(gathering.answer(number, meta))

    # --- subscriptions ----------------------------------------------------------------------------

    def _notification(self, member: str, message: Message, out: Out) -> None:
        if message.method_name == CANCELLED:
            return self._ended_by_member(member, message, out)
        if message.method == TASK_CHANGED:
            message = self._tasks.notification(member, message)
        elif message.method == UPDATED:
            message = self._apps.updated(member, message)
        meta = messages.params_of(message).meta
        number = _number(bytes(meta.subscription_id)) if meta is not None else 0
        listening = self._listening.get(number)
        if message.method_name == ACKNOWLEDGED:
            if listening is not None:
                self._acknowledged(number, listening, member, message, out)
        elif listening is not None and not listening.acknowledged and len(listening.early) < MAX_EARLY:
            listening.early[message.data] = message
        else:
            out.to_client.append(message)

    def _acknowledged(
        self, number: int, listening: _Listening, member: str, message: Message, out: Out
    ) -> None:
        for name, value in members_of(messages.member(message.params, "notifications")).items():
            if name == "resourceSubscriptions":
                listening.uris |= {self._apps.shown(member, uri): None for uri in texts_of(bytes(value))}
            elif name == "taskIds":
                listening.tasks |= {self._tasks.shown(member, task): None for task in texts_of(bytes(value))}
            else:
                listening.honored[name] = value
        self._silent.discard(member)
        listening.missing.discard(member)
        self._acknowledge(number, listening, out)

    def _ended_by_member(self, member: str, message: Message, out: Out) -> None:
        """End a subscription; a server cancels nothing else."""
        number = _number(bytes(messages.params_of(message).request_id))
        listening = self._listening.get(number)
        if listening is not None and member in listening.open:
            self._listen_ended(number, listening, member, message, out)

    def tick(self, now: float) -> Out:
        """Go on without silent members; called about once a second (``now``: the caller's clock, in seconds)."""
        out = Out()
        for number, gathering in list(self._gathering.items()):
            for member in gathering.silent(now):
                cancellation, error = _given_up(number, gathering.message.method_name)
                out.to_members.append((member, cancellation))
                self._gather(number, gathering, member, error, out)
        for number, listening in self._listening.items():
            if not listening.deadline:
                listening.deadline = now + ACKNOWLEDGE_TIME
            elif now >= listening.deadline and not listening.acknowledged:
                self._silent |= listening.missing
                self._acknowledge(number, listening, out)
        return out

    def _acknowledge(self, number: int, listening: _Listening, out: Out) -> None:
        """Acknowledge to the client, once, as soon as a member has answered and none is waited for."""
        answered = bool(listening.open - listening.missing)
        if listening.acknowledged or not answered or listening.missing - self._silent:
            return
        listening.acknowledged = True
        if listening.uris:
            listening.honored["resourceSubscriptions"] = list(listening.uris)
        if listening.tasks:
            listening.honored["taskIds"] = list(listening.tasks)
        note = "it has not acknowledged the subscription; its later notifications are passed on"
        notes = listening.notes | dict.fromkeys(listening.missing, note)
        meta: dict[str, Any] = {messages.SUBSCRIPTION_ID_KEY: number}
        if notes:
            meta[UNAVAILABLE_KEY] = {member: notes[member] for member in self._members if member in notes}
        params = {"_meta": meta, "notifications": listening.honored}
        out.to_client.append(messages.notification(ACKNOWLEDGED, encode(params)))
        out.to_client += listening.early.values()
        listening.early = {}

    def _listen_ended(
        self, number: int, listening: _Listening, member: str, message: Message, out: Out
    ) -> None:
        """Go on without a member that never acknowledged; otherwise end the whole subscription, so that the client
        subscribes again and misses nothing, or learns which capability it must declare."""
        listening.open.discard(member)
        undeclared = error_code(message.error) == MISSING_CAPABILITY
        if member in listening.missing and listening.open and not undeclared:
            listening.missing.discard(member)
            if message.error and not offers_none(message.error):
                listening.notes[member] = error_text(message.error)
            return self._acknowledge(number, listening, out)
        del self._listening[number]
        left = [other for other in self._members if other in listening.open]
        out.to_members += [(other, _cancellation(number)) for other in left]
        out.to_client.append(message)


def _given_up(number: int, method: str) -> tuple[Message, Message]:
    """Return the cancellation of a request that a member has not answered, and the error in place of its response."""
    reason = f"it did not answer {method} within {GATHER_TIME:g} s"
    cancellation = messages.notification(CANCELLED, encode({"requestId": number, "reason": reason}))
    return cancellation, messages.error(b"%d" % number, INTERNAL_ERROR, reason, {"outcome": "unknown"})


def _weight(error: bytes) -> int:
    """Rank an error: the member has no resources at all (0), none with this URI (1), or another error (2)."""
    if offers_none(error):
        return 0
    return 1 if error_code(error) in (INVALID_PARAMS, RESOURCE_NOT_FOUND) else 2


def _number(raw: bytes) -> int:
    """Decode an id of the gateway; 0 if it is not one."""
    return int(raw) if raw.isdigit() and len(raw) < 20 else 0


def _cancellation(number: int) -> Message:
    return messages.notification(CANCELLED, b'{"requestId":%d}' % number)


def _error(out: Out, number: int, code: int, text: str) -> None:
    out.to_client.append(messages.error(b"%d" % number, code, text))

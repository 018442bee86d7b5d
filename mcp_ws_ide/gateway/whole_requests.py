"""The requests of a client that another gateway sends again, without asking the client.

They are stored as the client sent them, and not among the requests in flight, which end with an error when a gateway
takes the session over. There are three kinds:

- ``subscriptions/listen``. What its server announced in between is lost, so everything that it follows is then
  announced as changed.
- Other requests that only read (:data:`READS`): they may run twice.
- Requests that wait for their server. Before one is handed over, it becomes a request in flight.
"""

from __future__ import annotations

from typing import Final

import msgspec

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges import methods
from mcp_ws_ide.core.bridges.methods import ACKNOWLEDGED, LIST_CHANGED
from mcp_ws_ide.core.lenient_json import encode, members_of, texts_of
from mcp_ws_ide.core.messages import IdKey, Message
from mcp_ws_ide.core.multiplexer import LISTEN

READS: Final = methods.READS | {LISTEN}
"""Methods of the requests that change nothing, so that they may be sent again, with that of subscriptions."""
MAX_BYTES: Final = 65_536
"""Bytes of requests above which no further one is stored whole: each change stores all of them again."""
ACKNOWLEDGED_JSON: Final = b'"%b"' % ACKNOWLEDGED.encode()
RESOURCE_UPDATED: Final = "notifications/resources/updated"


class WholeRequest(msgspec.Struct):
    """One request.

    Attributes:
        data: the client's message.
        acknowledged: whether it is a subscription, and the client was sent the acknowledgement.
        waits: whether it waits for its server, and must not run twice.
    """

    data: bytes
    acknowledged: bool = False
    waits: bool = False


class WholeRequests:
    """The requests of one session that are stored whole, by decoded id.

    Attributes:
        changes: the number of changes of :attr:`state`.
        open: those without an answer.
        awaited: ids of those that are no subscriptions, which do not end by themselves.
    """

    def __init__(self) -> None:
        self.changes = self._bytes = 0
        self.open: dict[IdKey, WholeRequest] = {}
        self.awaited: set[IdKey] = set()

    def add(self, message: Message, *, waits: bool) -> bool:
        """Keep a request; return False if there is no room. For a subscription there is."""
        subscription = message.method_name == LISTEN
        if not subscription and self._bytes + len(message.data) > MAX_BYTES:
            return False
        self._keep(message, WholeRequest(message.data, waits=waits))
        self.changes += 1
        return True

    def _keep(self, message: Message, request: WholeRequest) -> None:
        key: IdKey = messages.decode_id(message.id)
        self.open[key] = request
        self._bytes += len(request.data)
        if message.method_name != LISTEN:
            self.awaited.add(key)

    def remove(self, key: IdKey) -> None:
        """Forget a request that is answered, cancelled or handed over, if it is stored whole."""
        request = self.open.pop(key, None)
        if request is not None:
            self.awaited.discard(key)
            self._bytes -= len(request.data)
            self.changes += 1

    def waits(self, key: IdKey) -> bool:
        """Return whether a request is stored whole because it waits for its server."""
        request = self.open.get(key)
        return request is not None and request.waits

    @property
    def state(self) -> list[WholeRequest]:
        """What another gateway needs."""
        return list(self.open.values())

    def restore(self, state: list[WholeRequest]) -> None:
        """Continue with the requests of another gateway."""
        for request in state:
            self._keep(messages.parse(request.data), request)

    def requests(self) -> list[Message]:
        """Return the requests, to be sent to a server again."""
        return [messages.parse(request.data) for request in self.open.values()]

    def acknowledged(self, message: Message) -> list[Message]:
        """Return what the client gets for an acknowledgement: the first time that, then what may have changed."""
        meta = messages.params_of(message).meta
        raw_id = bytes(meta.subscription_id) if meta is not None else b""
        listen = self.open.get(messages.decode_id(raw_id)) if raw_id else None
        if listen is None:
            return [message]
        if listen.acknowledged:
            return _changed(raw_id, messages.member(message.params, "notifications"))
        listen.acknowledged = True
        self.changes += 1
        return [message]


def _changed(raw_id: bytes, honored: bytes) -> list[Message]:
    """Return the announcement that everything which a subscription follows has changed.

    Args:
        raw_id: its id, as JSON.
        honored: what the server has promised, as JSON.
    """
    members = members_of(honored)
    announced: list[tuple[str, dict[str, object]]] = [
        (method, {}) for method, (name, _) in LIST_CHANGED.items() if bytes(members.get(name, b"")) == b"true"
    ]
    uris = texts_of(bytes(members.get("resourceSubscriptions", b"")))
    announced += [(RESOURCE_UPDATED, {"uri": uri}) for uri in uris]
    return [
        messages.notification(
            method, messages.with_meta(encode(params), messages.SUBSCRIPTION_ID_KEY, raw_id)
        )
        for method, params in announced
    ]

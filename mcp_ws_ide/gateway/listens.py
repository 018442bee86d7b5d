"""The open subscriptions of a modern client, so that another gateway can make them again.

A ``subscriptions/listen`` is the one request that may be repeated without asking its client: it changes nothing. It is
therefore kept as it was sent, and not among the requests in flight, which end when a gateway takes the session over.
What its server announced in between is lost, so everything that it follows is then announced as changed.
"""

from __future__ import annotations

from typing import Final

import msgspec

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.methods import ACKNOWLEDGED, LIST_CHANGED
from mcp_ws_ide.core.lenient_json import encode, members_of, texts_of
from mcp_ws_ide.core.messages import IdKey, Message

ACKNOWLEDGED_JSON: Final = b'"%b"' % ACKNOWLEDGED.encode()
RESOURCE_UPDATED: Final = "notifications/resources/updated"


class Listen(msgspec.Struct):
    """One subscription.

    Attributes:
        data: the client's request.
        acknowledged: whether the client was sent the acknowledgement.
    """

    data: bytes
    acknowledged: bool = False


class Listens:
    """The subscriptions of one session, by decoded id.

    Attributes:
        changes: the number of changes of :attr:`state`.
        open: those that have not ended.
    """

    def __init__(self) -> None:
        self.changes = 0
        self.open: dict[IdKey, Listen] = {}

    def add(self, key: IdKey, data: bytes) -> None:
        """Keep a request."""
        self.open[key] = Listen(data)
        self.changes += 1

    def remove(self, key: IdKey) -> None:
        """Forget a subscription that has ended, if it is one."""
        if self.open.pop(key, None) is not None:
            self.changes += 1

    @property
    def state(self) -> list[Listen]:
        """What another gateway needs."""
        return list(self.open.values())

    def restore(self, state: list[Listen]) -> None:
        """Continue with the subscriptions of another gateway."""
        self.open = {messages.parse(listen.data).id_key: listen for listen in state}

    def requests(self) -> list[Message]:
        """Return the requests, to be sent to a server again."""
        return [messages.parse(listen.data) for listen in self.open.values()]

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

"""Many modern sessions on one server: rewrites ids toward the server, and back. Pure.

Exactly these members are rewritten (docs/reference/binding.md, section 7):

=====================================================  ================================================
client → server                                        server → client
=====================================================  ================================================
``id``                                                 ``id`` of responses
``params._meta.progressToken``                         ``params.progressToken``
``params.requestId`` of ``notifications/cancelled``    ``params.requestId`` of a cancellation
\\                                                      ``_meta[…/subscriptionId]``, also in the result
=====================================================  ================================================

Invariant: an entry exists from :meth:`Multiplexer.outbound` until its response, its cancellation or the end of its
owner. A message from the server that names no entry is dropped, never broadcast.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, TypeVar

from mcp_ws_ide.core import log_levels, messages
from mcp_ws_ide.core.effects import Deliver, Drop, Pending, Reply, Unnamed
from mcp_ws_ide.core.messages import ABSENT, NOTIFICATION, REQUEST, RESPONSE, Message, Meta, Params
from mcp_ws_ide.core.session import CANCELLED, DROPPABLE
from mcp_ws_ide.errors import METHOD_NOT_FOUND, MalformedMessageError

LISTEN: Final = "subscriptions/listen"
PROGRESS: Final = "notifications/progress"
MAX_TAG_BYTES: Final = 32
"""Longest id of the gateway, in bytes of JSON; a longer one of a server names no request."""

Owner = TypeVar("Owner")


class Multiplexer(Generic[Owner]):
    """The requests in flight of one shared upstream. ``Owner`` stands for a session; it is hashed by identity.

    Args:
        sole_owner: the session, if the upstream serves one session alone: then messages that name no request (logs) are
            its own.

    Attributes:
        has_cancelled: whether a request was cancelled, so that its response may still come.
    """

    def __init__(self, sole_owner: Owner | None = None) -> None:
        self.sole_owner = sole_owner
        self._next_id = 0
        self._entries: dict[int, tuple[Owner, Pending]] = {}
        self.has_cancelled = False

    def __len__(self) -> int:
        return len(self._entries)

    def owns(self, pending: Pending) -> bool:
        """Return whether this request is in flight here."""
        entry = self._entries.get(pending.upstream_id)
        return entry is not None and entry[1] is pending

    def outbound(self, owner: Owner, message: Message, params: Params, pending: Pending | None) -> Message:
        """Return the message to send to the server in place of a client's message."""
        if pending is None:
            return message
        if message.kind is NOTIFICATION:
            return self._cancellation(message, pending)
        self._next_id += 1
        pending.upstream_id = self._next_id
        self._entries[self._next_id] = (owner, pending)
        raw_id = b"%d" % self._next_id
        payload, meta = message.params, params.meta
        if meta is not None and (meta.progress_token is not ABSENT or meta.log_level is not ABSENT):
            payload = self._noted(payload, meta, pending, raw_id)
        return messages.rebuild(message, raw_id, params=payload)

    def _noted(self, payload: bytes, meta: Meta, pending: Pending, raw_id: bytes) -> bytes:
        """Note the progress and logs that a request asks for; return its params with a token of the gateway's own."""
        if meta.progress_token is not ABSENT:
            pending.progress_token = bytes(meta.progress_token)
            payload = messages.with_meta(payload, "progressToken", raw_id)
        if meta.log_level is not ABSENT:
            pending.logs = log_levels.verbosity(messages.text_in(bytes(meta.log_level)) or "")
        return payload

    def _cancellation(self, message: Message, pending: Pending) -> Message:
        raw_id = b"%d" % pending.upstream_id
        self.has_cancelled = True
        self._entries.pop(pending.upstream_id, None)
        return messages.rebuild(
            message, b"", params=messages.with_member(message.params, "requestId", raw_id)
        )

    def open_ids(self) -> list[bytes]:
        """Return the ids toward the server, as JSON, of what is in flight; subscriptions only if nothing else is."""
        calls = [b"%d" % number for number, (_, pending) in self._entries.items() if pending.method != LISTEN]
        return calls or [b"%d" % number for number in self._entries]

    @property
    def sent(self) -> int:
        """The number of requests so far, which is the id of the last."""
        return self._next_id

    def open_after(self, number: int) -> list[bytes]:
        """Return the ids toward the server, as JSON, of what is in flight and was sent after a request."""
        return [raw_id for raw_id in self.open_ids() if int(raw_id) > number]

    def ended_after(self, number: int) -> int:
        """Return how many requests sent after the one with this id have ended."""
        return self._next_id - number - sum(open_id > number for open_id in self._entries)

    def was_used(self, raw_id: bytes) -> bool:
        """Return whether an id was given to a request and names none that is in flight."""
        number = _upstream_id(raw_id)
        return 1 <= number <= self._next_id and number not in self._entries

    def inbound(self, message: Message) -> tuple[Owner | None, Deliver | Reply | Drop | Unnamed]:
        """Return the owner of a message from the server, and what to do with it."""
        if message.kind is RESPONSE:
            return self._response(message)
        if message.kind is REQUEST:
            text = "since 2026-07-28 a server must not send requests; use input_required"
            return None, Reply(messages.error(message.id, METHOD_NOT_FOUND, text))
        return self._notification(message)

    def _response(self, message: Message) -> tuple[Owner | None, Deliver | Drop | Unnamed]:
        entry = self._entries.pop(int(message.id), None) if message.id.isdigit() else None
        if entry is None:
            entry = self._entries.pop(_upstream_id(message.id), None)
        if entry is None:
            if not self.was_used(message.id):
                return None, Unnamed(message)
            return None, Drop("response that matches no request in flight")
        owner, pending = entry
        result = message.result
        if pending.method == LISTEN and messages.result_meta(message).subscription_id is not ABSENT:
            result = messages.with_meta(result, messages.SUBSCRIPTION_ID_KEY, pending.raw_id)
        return owner, Deliver(messages.rebuild(message, pending.raw_id, result=result), pending)

    def _notification(self, message: Message) -> tuple[Owner | None, Deliver | Drop]:
        params, method = messages.params_of(message), message.method_name
        if method == PROGRESS:
            return self._tagged(message, "progressToken", bytes(params.progress_token))
        if method == CANCELLED:
            return self._ended_by_server(message, bytes(params.request_id))
        if params.meta is not None and (tag := bytes(params.meta.subscription_id)):
            return self._tagged(message, messages.SUBSCRIPTION_ID_KEY, tag)
        if self.sole_owner is not None:
            return self.sole_owner, Deliver(message, None, message.method in DROPPABLE)
        return None, Drop("notification that names no request, from a server that several sessions share")

    def addressee(self, message: Message) -> Owner | None:
        """Return the owner of the request that a message from the server names; None if it names none."""
        if message.kind is REQUEST:
            return None
        if message.kind is RESPONSE:
            tag = message.id if message.id.isdigit() else b""
        else:
            tag = _tag_of(message.method_name, messages.params_of(message))
        entry = self._entries.get(_upstream_id(tag))
        return entry[0] if entry is not None else None

    def log_readers(self, message: Message) -> list[Owner]:
        """Return the owners of the requests in flight that asked for this log message, which names none of them.

        A subscription is open all the time: its owner gets what no other request asked for.
        """
        least = max(log_levels.verbosity_of(message), 1)
        entries = [entry for entry in self._entries.values() if entry[1].logs >= least]
        calls = [entry for entry in entries if entry[1].method != LISTEN]
        return list({owner: None for owner, _ in calls or entries})

    def _ended_by_server(self, message: Message, tag: bytes) -> tuple[Owner | None, Deliver | Drop]:
        """Deliver the end of a subscription; its request gets no other response."""
        entry = self._entries.get(_upstream_id(tag))
        if entry is not None and entry[1].method != LISTEN:
            return None, Drop("a server cannot cancel a client's request")
        owner, effect = self._tagged(message, "requestId", tag)
        if entry is None or type(effect) is not Deliver:
            return owner, effect
        del self._entries[entry[1].upstream_id]
        return owner, Deliver(effect.message, entry[1])

    def _tagged(self, message: Message, member: str, tag: bytes) -> tuple[Owner | None, Deliver | Drop]:
        """Deliver a notification to the owner of the request that its ``member`` names."""
        entry = self._entries.get(_upstream_id(tag))
        if entry is None:
            return None, Drop(f"{member} matches no request in flight")
        owner, pending = entry
        if member == messages.SUBSCRIPTION_ID_KEY:
            params = messages.with_meta(message.params, member, pending.raw_id)
        else:
            own = pending.progress_token if member == "progressToken" else pending.raw_id
            if not own:
                return None, Drop("progress that the client did not request")
            params = messages.with_member(message.params, member, own)
        return owner, Deliver(messages.rebuild(message, b"", params=params), None, member == "progressToken")

    def drop(self, pending: Iterable[Pending]) -> list[Message]:
        """Forget the requests of a session that has ended; return the cancellations to send for them."""
        mine = [entry.upstream_id for entry in pending if self.owns(entry)]
        self.has_cancelled = self.has_cancelled or bool(mine)
        for upstream_id in mine:
            del self._entries[upstream_id]
        return [_cancel(upstream_id) for upstream_id in mine]

    def fail_all(self) -> list[tuple[Owner, Pending]]:
        """Forget and return everything in flight: the server is gone."""
        entries, self._entries = list(self._entries.values()), {}
        return entries


def _tag_of(method: str, params: Params) -> bytes:
    """Return the JSON that names the request of a notification; ``b""`` if it names none."""
    if method == PROGRESS:
        return bytes(params.progress_token)
    if method == CANCELLED:
        return bytes(params.request_id)
    return bytes(params.meta.subscription_id) if params.meta is not None else b""


def _upstream_id(tag: bytes) -> int:
    """Return the id that a tag names, 0 for none; some servers turn numbers into strings, so ``"7"`` reads as 7."""
    if not tag or len(tag) > MAX_TAG_BYTES:
        return 0
    try:
        key = messages.decode_id(tag)
    except MalformedMessageError:
        return 0
    return messages.whole_number(key) if isinstance(key, str | int | float) else 0


def _cancel(upstream_id: int) -> Message:
    params = b'{"requestId":%d,"reason":"the session has ended"}' % upstream_id
    return messages.notification(CANCELLED, params)

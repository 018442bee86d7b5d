"""Instructions from the core to whoever performs I/O. Performing one enqueues; it never waits."""

from __future__ import annotations

import msgspec

from mcp_ws_ide.core.messages import IdKey, Message, Params


class Pending(msgspec.Struct, gc=False, eq=False):
    """One request a client waits for.

    Attributes:
        key: the client's id, decoded.
        raw_id: the client's id, as JSON; goes back verbatim.
        method: what was asked.
        received: when the request reached the gateway (seconds, the caller's clock).
        sent: when it was handed to the upstream; 0.0 as long as it was not.
        progress_token: the client's own token as JSON, ``b""`` when it asked for none.
        modern: whether it is of the era without a handshake.
        upstream_id: the id used toward a shared upstream; 0 where ids are not rewritten.
    """

    key: IdKey
    raw_id: bytes
    method: str
    received: float
    sent: float = 0.0
    progress_token: bytes = b""
    upstream_id: int = 0
    modern: bool = False


class Deliver(msgspec.Struct, gc=False, frozen=True):
    """Send ``message`` to the session's client.

    ``answered`` is the request it answers, if it answers one. ``droppable`` messages (progress, logs) are dropped
    when more waits for a detached client than its window holds.
    """

    message: Message
    answered: Pending | None = None
    droppable: bool = False


class Forward(msgspec.Struct, gc=False, frozen=True):
    """Hand a client's message to the session's upstream of this era.

    ``pending`` is the new entry of a request, or the entry that a cancellation names.
    """

    message: Message
    modern: bool
    params: Params
    pending: Pending | None = None


class Reply(msgspec.Struct, gc=False, frozen=True):
    """Send ``message`` back to the upstream that a message came from."""

    message: Message


class Drop(msgspec.Struct, gc=False, frozen=True):
    """Nobody can be given this message; ``reason`` says why, for the tap and the metrics."""

    reason: str


class Abandon(msgspec.Struct, gc=False, frozen=True):
    """Nobody will come back with this ``requestState``: what waits for it may end."""

    state: str


class Again(msgspec.Struct, gc=False, frozen=True):
    """Ask whoever returned this again, ``delay`` seconds from now."""

    delay: float


Effect = Deliver | Forward | Reply | Drop | Abandon | Again

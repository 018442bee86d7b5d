"""Instructions from the core to the shells that perform I/O. Performing one enqueues; it never waits."""

from __future__ import annotations

import msgspec

from mcp_ws_ide.core.messages import IdKey, Message, Params


class Pending(msgspec.Struct, gc=False, eq=False):
    """One request that a client waits for.

    Attributes:
        key: the client's id, decoded.
        raw_id: the client's id, as JSON; it goes back verbatim.
        method: the requested method.
        received: when the request reached the gateway, in seconds on the caller's clock.
        sent: when it was handed to the upstream; 0.0 until then.
        progress_token: the client's own token as JSON; ``b""`` if it asked for no progress.
        modern: whether it is of the modern era.
        upstream_id: the id used toward a shared upstream; 0 if ids are not rewritten.
        logs: the log messages it asked for, as :func:`~mcp_ws_ide.core.log_levels.verbosity`; 0 for none.
    """

    key: IdKey
    raw_id: bytes
    method: str
    received: float
    sent: float = 0.0
    progress_token: bytes = b""
    upstream_id: int = 0
    modern: bool = False
    logs: int = 0


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

    ``pending`` is the new entry of a request, or that of the request which a cancellation names.
    """

    message: Message
    modern: bool
    params: Params
    pending: Pending | None = None


class Reply(msgspec.Struct, gc=False, frozen=True):
    """Send ``message`` back to the upstream that a message came from."""

    message: Message


class Ping(msgspec.Struct, gc=False, frozen=True):
    """Pass a server's ``ping`` on to the session's client, or answer it, if the client is away."""

    message: Message


class Drop(msgspec.Struct, gc=False, frozen=True):
    """Drop a message that belongs to no session; ``reason`` is for the tap."""

    reason: str


class Unnamed(msgspec.Struct, gc=False, frozen=True):
    """Find the request for a response whose id, such as ``null``, names no open request."""

    message: Message


class Abandon(msgspec.Struct, gc=False, frozen=True):
    """End the call that is parked under this ``requestState``: its client will not retry it."""

    state: str


class Again(msgspec.Struct, gc=False, frozen=True):
    """Call the bridge that returned this again, ``delay`` seconds from now."""

    delay: float


Effect = Deliver | Forward | Reply | Ping | Drop | Unnamed | Abandon | Again

"""Instructions from the core to the shells that perform I/O. Performing one enqueues; it never waits."""

from __future__ import annotations

from mcp_ws_ide.compiling import plain_data
from mcp_ws_ide.core.messages import IdKey, Message, Params


@plain_data(acyclic=True)
class Pending:
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
        read: the client's message, if it only reads and the next process of the server may get it as well.
        repeated: whether it was sent to a second process already.
    """

    __slots__ = (
        "key",
        "logs",
        "method",
        "modern",
        "progress_token",
        "raw_id",
        "read",
        "received",
        "repeated",
        "sent",
        "upstream_id",
    )

    def __init__(
        self,
        key: IdKey,
        raw_id: bytes,
        method: str,
        received: float,
        sent: float = 0.0,
        progress_token: bytes = b"",
        upstream_id: int = 0,
        modern: bool = False,
        logs: int = 0,
        read: Message | None = None,
        repeated: bool = False,
    ) -> None:
        self.key = key
        self.raw_id = raw_id
        self.method = method
        self.received = received
        self.sent = sent
        self.progress_token = progress_token
        self.upstream_id = upstream_id
        self.modern = modern
        self.logs = logs
        self.read = read
        self.repeated = repeated


@plain_data(acyclic=True)
class Deliver:
    """Send ``message`` to the session's client.

    ``answered`` is the request it answers, if it answers one. ``droppable`` messages (progress, logs) are dropped
    when more waits for a detached client than its window holds.
    """

    __slots__ = ("answered", "droppable", "message")

    def __init__(self, message: Message, answered: Pending | None = None, droppable: bool = False) -> None:
        self.message = message
        self.answered = answered
        self.droppable = droppable


@plain_data(acyclic=True)
class Forward:
    """Hand a client's message to the session's upstream of this era.

    ``pending`` is the new entry of a request, or that of the request which a cancellation names.
    """

    __slots__ = ("message", "modern", "params", "pending")

    def __init__(
        self,
        message: Message,
        modern: bool,
        params: Params,
        pending: Pending | None = None,
    ) -> None:
        self.message = message
        self.modern = modern
        self.params = params
        self.pending = pending


@plain_data(acyclic=True)
class Reply:
    """Send ``message`` back to the upstream that a message came from."""

    __slots__ = ("message",)

    def __init__(self, message: Message) -> None:
        self.message = message


@plain_data(acyclic=True)
class Ping:
    """Pass a server's ``ping`` on to the session's client, or answer it, if the client is away."""

    __slots__ = ("message",)

    def __init__(self, message: Message) -> None:
        self.message = message


@plain_data(acyclic=True)
class Drop:
    """Drop a message that belongs to no session; ``reason`` is for the tap."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


@plain_data(acyclic=True)
class Unnamed:
    """Find the request for a response whose id, such as ``null``, names no open request."""

    __slots__ = ("message",)

    def __init__(self, message: Message) -> None:
        self.message = message


@plain_data(acyclic=True)
class Abandon:
    """End the call that is parked under this ``requestState``: its client will not retry it."""

    __slots__ = ("state",)

    def __init__(self, state: str) -> None:
        self.state = state


@plain_data(acyclic=True)
class Again:
    """Call the bridge that returned this again, ``delay`` seconds from now."""

    __slots__ = ("delay",)

    def __init__(self, delay: float) -> None:
        self.delay = delay


Effect = Deliver | Forward | Reply | Ping | Drop | Unnamed | Abandon | Again

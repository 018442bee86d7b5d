"""The error tree, and the JSON-RPC error codes that the gateway sends.

::

    McpWsError
    ├── MalformedMessageError        a peer sent something that is not a JSON-RPC message (has the error code)
    ├── TransportError               a server could not be started or reached
    │   ├── NotAttemptedError        no attempt was made: the server is disabled, or failed too often recently
    │   └── TransportClosedError     the connection to the server, or its process, has ended
    ├── LimitExceededError           a configured limit was reached (has the trait's name)
    ├── RecordingError               a recording cannot be written or read (inspector)
    ├── ToolError                    a tool reported an error (has its name and its result)
    └── ConnectError                 the Python client could not connect
        ├── UnauthorizedError        401 or 403: the credential was refused
        ├── UnknownServerError       404: no server of that name is configured
        ├── ServerUnavailableError   the server could not be started or reached, or does not answer
        ├── UnusableArgumentError    an address, a name or a file cannot be used
        │   └── UnusableHeaderError  a configured header cannot be sent (has its name)
        └── ConnectionLostError      the client was connected and has given up reconnecting

Codes of the gateway lie outside -32768…-32000, which JSON-RPC 2.0 section 5.1 reserves.
"""

from __future__ import annotations

from mcp_ws_ide.sanitise import visible

PARSE_ERROR = -32700
"""The message is not JSON; ``id`` is its own if that can be determined. Five malformed messages close the link with
1002."""
INVALID_REQUEST = -32600
"""The message is not one JSON-RPC 2.0 message, has a duplicate member, or reuses the id of an open request; ``id``
is its own if that names no other request."""
METHOD_NOT_FOUND = -32601
"""The method does not exist in the era of the session: ``initialize`` in the modern era, or a modern request to a
server of the handshake era where the bridge is off."""
INVALID_PARAMS = -32602
"""The parameters cannot be used: for example the ``requestState`` of a parked call that has timed out, or a
task that another credential was given."""
INTERNAL_ERROR = -32603
"""The server's response cannot be read (the message says why), or the gateway failed to process it; ``data.outcome`` is
``unknown``."""
HEADER_MISMATCH = -32020
"""A header contradicts the part of the body that it repeats (MCP 2026-07-28, streamable-http)."""

UPSTREAM_LOST = -31001
"""The server ended, or the connection to a remote one broke, before it answered. ``data.outcome``: ``unknown`` (the
request may have run) or ``not_sent`` (safe to retry). If the gateway ended, ``data.method`` is the request's method."""
UPSTREAM_UNAVAILABLE = -31002
"""The server could not be started or reached; ``data.outcome`` is ``not_sent``."""
LIMIT_EXCEEDED = -31003
"""A limit of the gateway is reached. ``data.limit`` names the trait; ``data.outcome`` is ``not_sent``."""
RESPONSE_TOO_LARGE = -31004
"""The response is larger than this peer can receive, or than ``max_message_bytes``. The request ran."""
GATEWAY_CLOSING = -31005
"""The gateway is shutting down; ``data.outcome`` says whether the request may have run."""
SESSION_LOST = -31006
"""Link and session are lost. Written by the end that lost them: the client, or a gateway in front of this one, and over
HTTP also the gateway that ends a session or a response. ``data.outcome`` says whether the request may have run."""
CANCELLED = -31007
"""The client cancelled the request. Only over HTTP in the handshake era, where the open response has to end;
``data.outcome`` says whether the request may have run."""
REFUSED = -31008
"""The gateway refused the HTTP request, usually before it read the message; ``data.status`` is the HTTP status. ``id``
is null, and ``data.outcome`` is ``not_sent``, except with status 500. The Python client also uses it for what a proxy
answers in place of the gateway, with the id of the request and ``data.by_gateway`` false."""
GATEWAY_ERRORS = range(-31099, -30999)
"""Codes that come from a gateway and not from the server behind it."""


class McpWsError(Exception):
    """Base of every error this package raises on purpose."""


class MalformedMessageError(McpWsError):
    """A frame is not a JSON-RPC message.

    Attributes:
        code: JSON-RPC error code to answer with (-32700 or -32600).
        reason: what is wrong.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class TransportError(McpWsError):
    """A server could not be started or reached; the text is for the user."""


class NotAttemptedError(TransportError):
    """No attempt was made: the server is disabled, or has failed too often recently."""


class TransportClosedError(TransportError):
    """The connection to the server, or its process, has ended."""


class LimitExceededError(McpWsError):
    """A configured limit was reached.

    Attributes:
        limit: name of the trait to change.
    """

    def __init__(self, limit: str, reason: str) -> None:
        super().__init__(reason)
        self.limit = limit


class ToolError(McpWsError):
    """A tool that was called through ``connect_sync`` reported an error; the text is the tool's.

    Attributes:
        tool: name of the tool.
        result: what it returned, a :class:`~mcp_ws_ide.client.sync.results.ToolResult`.
    """

    def __init__(self, tool: str, reason: str, result: object) -> None:
        super().__init__(f"{tool}: {reason}")
        self.tool = tool
        self.result = result


class ConnectError(McpWsError):
    """The Python client could not connect; the text says what to do.

    Attributes:
        noticed: code of what a proxy on the way did (:mod:`mcp_ws_ide.core.intermediaries`); ``""`` if unknown.
        by_gateway: whether the gateway itself refused.
    """

    noticed: str = ""
    by_gateway: bool = False

    def __init__(self, text: str = "") -> None:
        super().__init__(visible(text))  # it may quote a server, a gateway or a proxy, and ends in a terminal


class UnauthorizedError(ConnectError):
    """The gateway refused the credential (HTTP 401 or 403)."""


class UnknownServerError(ConnectError):
    """No server of that name is configured at the gateway (HTTP 404)."""


class ServerUnavailableError(ConnectError):
    """The server behind the link could not be started or reached, or has not answered the handshake in time.

    ``connect`` raises it whether the gateway answered with an error (-31001, -31002), refused the link (502), closed
    it (4502), or the client gave up waiting.
    """


class UnusableArgumentError(ConnectError):
    """An argument, such as an address, a name or a file, cannot be used; no connection was attempted."""


class UnusableHeaderError(UnusableArgumentError):
    """A configured header cannot be sent, or only the transport may set it.

    Attributes:
        name: the header's name.
        reason: why, and what to do; never contains the header's value.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"the header {name!r} {reason}")
        self.name = name
        self.reason = reason


class ConnectionLostError(ConnectError):
    """The Python client was connected and has given up reconnecting; see ``SessionTransport.error``."""

"""One JSON-RPC message: its kind, its id and its members, as raw JSON. Knows nothing of parsing, sessions or I/O."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import msgspec

from mcp_ws_ide.compiling import plain_data
from mcp_ws_ide.core.message_types import Params
from mcp_ws_ide.errors import INVALID_REQUEST, MalformedMessageError

MAX_ID_BYTES: Final = 1024
"""Longest id accepted, in bytes of JSON; ids are kept while a request is in flight."""

MAX_METHOD_NAMES: Final = 512
"""Methods whose names are remembered."""
method_names: Final[dict[bytes, str]] = {}
"""Decoded methods, by their JSON."""

IdKey = str | int | float
"""A decoded request id: ``7`` and ``7.0`` are the same id, ``"7"`` is another."""


class Kind(IntEnum):
    """The kind of a message, which its members determine (JSON-RPC 2.0 sections 4 and 5)."""

    REQUEST = 0
    NOTIFICATION = 1
    RESPONSE = 2


REQUEST: Final = Kind.REQUEST
NOTIFICATION: Final = Kind.NOTIFICATION
RESPONSE: Final = Kind.RESPONSE


@plain_data(acyclic=True)
class Message:
    """One JSON-RPC message: its members as raw JSON, and the whole as bytes. Never changed once it is made.

    Attributes:
        kind: request, notification or response.
        data: the whole message, as it came or was built.
        id, method, params, result, error: raw JSON bytes; ``b""`` if absent.
        extra: members that JSON-RPC does not define, as ``,"name":value…``, to append to a rewritten envelope.
        routing: what routing needs of ``params``, if that is known already; see :func:`params_of`.
        odd: whether it is a server's response with a result that clients could not read as that of a call.
    """

    __slots__ = ("data", "error", "extra", "id", "kind", "method", "odd", "params", "result", "routing")

    def __init__(
        self,
        kind: Kind,
        data: bytes,
        id: bytes = b"",
        method: bytes = b"",
        params: bytes = b"",
        result: bytes = b"",
        error: bytes = b"",
        extra: bytes = b"",
        routing: Params | None = None,
        odd: bool = False,
    ) -> None:
        self.kind = kind
        self.data = data
        self.id = id
        self.method = method
        self.params = params
        self.result = result
        self.error = error
        self.extra = extra
        self.routing = routing
        self.odd = odd

    def __repr__(self) -> str:
        return (
            f"<Message {self.kind.name} {self.method.decode()} id={self.id.decode()} {len(self.data)} bytes>"
        )

    @property
    def method_name(self) -> str:
        """The decoded method; ``""`` for a response."""
        name = method_names.get(self.method)
        return name if name is not None else _decode_method(self.method)

    @property
    def id_key(self) -> IdKey:
        """The decoded id (see :data:`IdKey`); only for messages that have one."""
        key: IdKey = decode_id(self.id)
        return key


_decode_str: Final = msgspec.json.Decoder(str).decode


def _decode_method(raw: bytes) -> str:
    if not raw:
        return ""
    name = _decode_str(raw)
    if len(method_names) < MAX_METHOD_NAMES:
        method_names[raw] = name
    return name


def decode_id(raw: bytes) -> Any:
    """Decode an id; ``null`` becomes ``"\\0null"``, which equals no id on the wire.

    Returns an :data:`IdKey`, or what else the JSON is: what names a request may be anything.

    Raises:
        MalformedMessageError: a number outside the range of a double.
    """
    if (
        raw.isdigit() and len(raw) <= MAX_ID_BYTES
    ):  # Python refuses to parse thousands of digits, with an error of its own
        return int(raw)
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedMessageError(INVALID_REQUEST, f"invalid id: {error}") from None
    return "\0null" if value is None else value

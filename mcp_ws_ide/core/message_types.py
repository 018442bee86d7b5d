"""The parts of a JSON-RPC message as msgspec structs, and the ids and method names in them.

Kept apart from :mod:`.messages`, because msgspec decodes into these classes: mypyc compiles that module, not this one
(docs/contribute/compiled.md). Knows nothing of parsing, sessions, links or I/O.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import msgspec
from msgspec import Raw

from mcp_ws_ide.errors import INVALID_REQUEST, MalformedMessage

PROTOCOL_VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
SUBSCRIPTION_ID_KEY: Final = "io.modelcontextprotocol/subscriptionId"
LOG_LEVEL_KEY: Final = "io.modelcontextprotocol/logLevel"

MAX_ID_BYTES: Final = 1024
"""Longest id accepted, in bytes of JSON; ids are kept while a request is in flight."""

_METHOD_NAMES: dict[bytes, str] = {}
_METHOD_NAMES_LIMIT: Final = 512

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

ABSENT: Final = Raw()
"""Stands, by identity, for a member that a message does not have."""


class Meta(msgspec.Struct, gc=False):
    """The members of ``params._meta`` and ``result._meta`` that routing needs; :data:`ABSENT` if they are absent."""

    version: Raw = msgspec.field(name=PROTOCOL_VERSION_KEY, default=ABSENT)
    progress_token: Raw = msgspec.field(name="progressToken", default=ABSENT)
    subscription_id: Raw = msgspec.field(name=SUBSCRIPTION_ID_KEY, default=ABSENT)
    log_level: Raw = msgspec.field(name=LOG_LEVEL_KEY, default=ABSENT)


class Params(msgspec.Struct, gc=False):
    """The members of ``params`` that routing needs; :data:`ABSENT` if they are absent."""

    meta: Meta | None = msgspec.field(name="_meta", default=None)
    progress_token: Raw = msgspec.field(name="progressToken", default=ABSENT)
    request_id: Raw = msgspec.field(name="requestId", default=ABSENT)


class Envelope(msgspec.Struct, gc=False):
    """The members of a JSON-RPC message as raw JSON; empty if absent."""

    jsonrpc: Raw = ABSENT
    id: Raw = ABSENT
    method: Raw = ABSENT
    params: Raw = ABSENT
    result: Raw = ABSENT
    error: Raw = ABSENT


class Message(msgspec.Struct, gc=False, eq=False):
    """One JSON-RPC message: its members as raw JSON, and the whole as bytes. Never changed once it is made.

    Attributes:
        kind: request, notification or response.
        data: the whole message, as it came or was built.
        id, method, params, result, error: raw JSON bytes; ``b""`` if absent.
        extra: members that JSON-RPC does not define, as ``,"name":value…``, to append to a rewritten envelope.
        routing: what routing needs of ``params``, if that is known already; see :func:`params_of`.
        odd: whether it is a server's response with a result that clients could not read as that of a call.
    """

    kind: Kind
    data: bytes
    id: bytes = b""
    method: bytes = b""
    params: bytes = b""
    result: bytes = b""
    error: bytes = b""
    extra: bytes = b""
    routing: Params | None = None
    odd: bool = False

    def __repr__(self) -> str:
        return (
            f"<Message {self.kind.name} {self.method.decode()} id={self.id.decode()} {len(self.data)} bytes>"
        )

    @property
    def method_name(self) -> str:
        """The decoded method; ``""`` for a response."""
        name = _METHOD_NAMES.get(self.method)
        return name if name is not None else _decode_method(self.method)

    @property
    def id_key(self) -> IdKey:
        """The decoded id (see :data:`IdKey`); only for messages that have one."""
        key: IdKey = decode_id(self.id)
        return key


class ErrorMembers(msgspec.Struct, gc=False):
    """What clients need of an error."""

    code: int
    message: str


NO_PARAMS: Final = Params()
NO_META: Final = Meta()

_decode_str = msgspec.json.Decoder(str).decode


def _decode_method(raw: bytes) -> str:
    if not raw:
        return ""
    name = _decode_str(raw)
    if len(_METHOD_NAMES) < _METHOD_NAMES_LIMIT:
        _METHOD_NAMES[raw] = name
    return name


def decode_id(raw: bytes) -> Any:
    """Decode an id; ``null`` becomes ``"\\0null"``, which equals no id on the wire.

    Returns an :data:`IdKey`, or what else the JSON is: what names a request may be anything.

    Raises:
        MalformedMessage: a number outside the range of a double.
    """
    if (
        raw.isdigit() and len(raw) <= MAX_ID_BYTES
    ):  # Python refuses to parse thousands of digits, with an error of its own
        return int(raw)
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedMessage(INVALID_REQUEST, f"invalid id: {error}") from None
    return "\0null" if value is None else value

"""Parse, check, build and rewrite JSON-RPC messages; payloads keep the bytes they arrived as.

A message is parsed once into a :class:`Message`: the envelope members as raw JSON, nothing deeper. Nearly all messages
have their members in one of the two orders that SDKs write. For these, a regular expression reads the envelope, and one
decoding of the payload checks it and yields what routing needs. All other messages, and all invalid ones, take the
general path (tests/fuzz/reference_parser.py compares the two). This module knows JSON-RPC 2.0 and the names of the MCP
members that carry ids; it knows nothing of sessions, links or I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Raw

# Under "as": the rest of the package takes the types from here, where they belong.
from mcp_ws_ide.core.long_numbers import MAX_DIGITS, long_number_at
from mcp_ws_ide.core.message import MAX_ID_BYTES as MAX_ID_BYTES
from mcp_ws_ide.core.message import NOTIFICATION as NOTIFICATION
from mcp_ws_ide.core.message import REQUEST as REQUEST
from mcp_ws_ide.core.message import RESPONSE as RESPONSE
from mcp_ws_ide.core.message import IdKey as IdKey
from mcp_ws_ide.core.message import Kind as Kind
from mcp_ws_ide.core.message import Message as Message
from mcp_ws_ide.core.message import decode_id as decode_id
from mcp_ws_ide.core.message_types import ABSENT as ABSENT
from mcp_ws_ide.core.message_types import LOG_LEVEL_KEY as LOG_LEVEL_KEY
from mcp_ws_ide.core.message_types import NO_META as NO_META
from mcp_ws_ide.core.message_types import NO_PARAMS as NO_PARAMS
from mcp_ws_ide.core.message_types import PROTOCOL_VERSION_KEY as PROTOCOL_VERSION_KEY
from mcp_ws_ide.core.message_types import SUBSCRIPTION_ID_KEY as SUBSCRIPTION_ID_KEY
from mcp_ws_ide.core.message_types import Envelope, ErrorMembers
from mcp_ws_ide.core.message_types import Meta as Meta
from mcp_ws_ide.core.message_types import Params as Params
from mcp_ws_ide.core.readable_results import is_readable
from mcp_ws_ide.errors import INVALID_REQUEST, PARSE_ERROR, MalformedMessageError

HANDSHAKE_VERSIONS: Final = ("2024-10-07", "2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""MCP revisions of the handshake era, in which sessions begin with ``initialize``; oldest first."""
NEWEST_HANDSHAKE: Final = HANDSHAKE_VERSIONS[-1]

MAX_MEMBERS: Final = 100
"""Members of one message; JSON-RPC defines six, and each further one takes time."""
FEW_QUOTES: Final = 4 * MAX_MEMBERS
"""Quotes in a message up to which its members need not be counted before they are looked at."""

MAX_LONE_HALVES: Final = 100_000
"""Halves of surrogate pairs that are replaced in one message, which takes about 30 ms; more are no text."""

TOO_DEEP: Final = "JSON is nested too deeply"
"""Reason of a message that exceeds the recursion limit."""

WITHOUT_VERSION: Final = 'member "jsonrpc" must be "2.0"'
"""Reason of a message that does not name JSON-RPC 2.0."""

_MEMBERS: Final = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_LF: Final = ord("\n")
_CR: Final = ord("\r")
"""As numbers: looking for a byte takes a tenth of looking for a string of one byte."""
_LINE_BREAKS: Final = bytes.maketrans(b"\r\n", b"  ")
_VERSION: Final = b'"2.0"'

_PLAIN_ID: Final = rb'(0|-?[1-9][0-9]{0,17}|"[ !#-\[\]-~]{0,256}")'
"""An id that needs no further check: a whole number of 64 bits, or a short string of ASCII without escapes."""
_PAYLOAD_NAME: Final = rb'(?:"method": ?("[ !#-\[\]-~]+"), ?"params"|"result"): ?\{'
_HEAD: Final = re.compile(rb'\{"jsonrpc": ?"2\.0", ?(?:"id": ?' + _PLAIN_ID + rb", ?)?" + _PAYLOAD_NAME)
"""How most messages begin, up to the payload, which is the last member; a blank after commas and colons is allowed."""
_SHORT_HEAD: Final = re.compile(rb"\{" + _PAYLOAD_NAME)
"""How the messages of TypeScript SDKs and of the Python SDK 1.x begin, up to the payload."""
_TAIL: Final = re.compile(rb'\},"jsonrpc":"2\.0"(?:,"id":' + _PLAIN_ID + rb")?\}\Z")
"""How those end, after the payload."""
_MAX_TAIL: Final = 320
"""Longest text that :data:`_TAIL` matches, in bytes, rounded up."""

_RAW_ID: Final = rb'(-?\d+|"(?:[^"\\]|\\.)*")'
_VERSION_MEMBER: Final = rb'"jsonrpc"\s*:\s*"2\.0"'
_ID_FIRST: Final = re.compile(
    rb"\s*\{\s*(?:" + _VERSION_MEMBER + rb'\s*,\s*)?"id"\s*:\s*' + _RAW_ID + rb'\s*,\s*"(?:result|error)"'
)
_PAYLOAD_FIRST: Final = re.compile(rb"\s*\{\s*(?:" + _VERSION_MEMBER + rb'\s*,\s*)?"(?:result|error)"')
_ID_LAST: Final = re.compile(
    rb"(?:"
    + _VERSION_MEMBER
    + rb'\s*,\s*)?"id"\s*:\s*'
    + _RAW_ID
    + rb"\s*(?:,\s*"
    + _VERSION_MEMBER
    + rb")?\s*\}\s*$"
)

_MEMBER_NAME: Final = re.compile(rb'[ \t\r\n]*("(?:[^"\\]|\\.)*")[ \t\r\n]*:[ \t\r\n]*')
_MEMBER_END: Final = re.compile(rb"[ \t\r\n]*([,}])")
_OFFSET: Final = re.compile(r"\(byte (\d+)\)")
"""How an error of the parser names an offset."""

_HEX: Final = rb"[0-9a-fA-F]{2}"
_LONE_HALF: Final = re.compile(
    rb"\\u[dD](?:[89abAB]"
    + _HEX
    + rb"(?!\\u[dD][c-fC-F])|[c-fC-F]"
    + _HEX
    + rb"(?<!\\u[dD][89abAB]..\\u....))"
)
"""An escaped half of a surrogate pair without the other half, in text without escaped backslashes."""
_BACKSLASH: Final = b"\\\\"
"""An escaped backslash."""
_NOT_UTF8: Final = b"\xff\xff"
"""Stands for an escaped backslash: of the same length, and in no UTF-8 text."""

_decode_envelope: Final = msgspec.json.Decoder(Envelope).decode
_decode_params: Final = msgspec.json.Decoder(Params).decode
_decode_object: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_raw: Final = msgspec.json.Decoder(Raw).decode
_decode_str: Final = msgspec.json.Decoder(str).decode
_encode: Final = msgspec.json.Encoder().encode


def parse(data: bytes) -> Message:
    """Parse one message.

    An escaped half of a surrogate pair, which most parsers refuse, becomes U+FFFD: a string that was cut in the middle
    of an emoji does not make the message unreadable.

    Args:
        data: one JSON object, UTF-8.

    Raises:
        MalformedMessageError: not JSON (-32700), or not one JSON-RPC 2.0 message (-32600). Batches are refused: MCP has
            none since 2025-06-18.
    """
    message = _parse_usual(data)
    return message if message is not None else _parse_unusual(data)


def _parse_unusual(data: bytes) -> Message:
    """Parse a message in any order of members; see :func:`parse`."""
    try:
        return _from_envelope(data, _decode_envelope(data))
    except msgspec.ValidationError:
        raise MalformedMessageError(INVALID_REQUEST, _not_an_object(data)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        repaired = _without_lone_surrogates(data)
        if repaired != data:
            return parse(repaired)
        reason = str(error).removeprefix("JSON is malformed: ")
        raise MalformedMessageError(PARSE_ERROR, f"not valid JSON: {reason}") from None
    except RecursionError:
        raise MalformedMessageError(PARSE_ERROR, TOO_DEEP) from None


def parse_server(data: bytes) -> Message:
    """Parse one message of a server as :func:`parse` does; a response must be one that SDKs read.

    Raises:
        MalformedMessageError: also for a result that is no object, for an error without code and message, and for a
            number that is too long (-32600).
    """
    message = _parse_usual(data, by_server=True)
    if message is None:
        if b"jsonrpc" not in data and b"\\u" not in data:  # a line of a log, as a rule
            raise MalformedMessageError(INVALID_REQUEST, WITHOUT_VERSION)
        message = _parse_unusual(data)
        if message.kind is RESPONSE:
            _check_answer(message)
            message.odd = bool(message.result) and not is_readable(message.result)
    if len(data) > MAX_DIGITS and message.kind is RESPONSE and (at := long_number_at(data)) >= 0:
        reason = f"a number has more than {MAX_DIGITS} digits, which MCP SDKs do not read (byte {at})"
        raise MalformedMessageError(INVALID_REQUEST, reason)
    return message


def _parse_usual(data: bytes, *, by_server: bool = False) -> Message | None:
    """Parse a message in one of the two usual orders of members; return None for any other, and for what is wrong.

    What is around the payload is matched to the byte, and the payload is exactly one JSON object. So there is no other
    member, no duplicate, and only one way to read it.
    """
    head = _HEAD.match(data)
    if head is not None:
        raw_id, method = head.groups(b"")
        payload = data[head.end() - 1 : -1] if data.endswith(b"}}") else b""
    else:
        head = _SHORT_HEAD.match(data)
        tail = _TAIL.search(data, max(0, len(data) - _MAX_TAIL)) if head is not None else None
        if head is None or tail is None:
            return None
        raw_id, method = tail[1] or b"", head[1] or b""
        payload = data[head.end() - 1 : tail.start() + 1]
    try:
        if method:
            routing = _decode_params(payload)
            kind = REQUEST if raw_id else NOTIFICATION
            return Message(kind, data, raw_id, method, payload, routing=routing)
        odd = by_server and not is_readable(payload)
        if not by_server:
            _decode_raw(payload)
        return Message(RESPONSE, data, raw_id, b"", b"", payload, odd=odd) if raw_id else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _from_envelope(data: bytes, envelope: Envelope) -> Message:
    """Return the message that has these members, after all checks."""
    version, raw_id, method = bytes(envelope.jsonrpc), bytes(envelope.id), bytes(envelope.method)
    params, result, error = bytes(envelope.params), bytes(envelope.result), bytes(envelope.error)
    message = Message(NOTIFICATION, data, raw_id, method, params, result, error)
    if not _is_canonical(message, version):
        message.extra = _unknown_members(data)
    if b"\\" in method:
        message.method = _without_escapes(method)
    message.kind = _classify(message, version)
    return message


def _without_lone_surrogates(data: bytes) -> bytes:
    """Return ``data`` with U+FFFD for each escaped half of a surrogate pair that is alone.

    Raises:
        MalformedMessageError: there are more than :data:`MAX_LONE_HALVES`.
    """
    if (b"\\ud" not in data and b"\\uD" not in data) or b"\xff" in data:
        return data
    text = data.replace(_BACKSLASH, _NOT_UTF8)
    text, number = _LONE_HALF.subn(rb"\\ufffd", text, MAX_LONE_HALVES + 1)
    if number > MAX_LONE_HALVES:
        reason = f"not valid JSON: it has more than {MAX_LONE_HALVES} halves of surrogate pairs"
        raise MalformedMessageError(PARSE_ERROR, reason)
    return text.replace(_NOT_UTF8, _BACKSLASH) if number else data


def _is_canonical(message: Message, version: bytes) -> bool:
    """Return whether a message has each known member at most once, no other member, and no white space.

    Then its length is exactly the sum of its parts; a duplicate, an unknown member, an escaped key or a blank makes it
    longer. The common case costs a few additions instead of a second parse.
    """
    size = 1  # each member adds its name, quotes and colon, plus the comma or brace that follows
    if version:
        size += 11 + len(version)
    if message.id:
        size += 6 + len(message.id)
    if message.method:
        size += 10 + len(message.method)
    if message.params:
        size += 10 + len(message.params)
    if message.result:
        size += 10 + len(message.result)
    if message.error:
        size += 9 + len(message.error)
    return size == len(message.data)


def _unknown_members(data: bytes) -> bytes:
    """Check for duplicate members; return the unknown ones as ``,"name":value…``.

    Raises:
        MalformedMessageError: a member occurs twice. JSON parsers disagree on which one counts, so that a duplicate
            ``id`` or ``method`` could mean one thing here and another to the server. Or there are more members than
            :data:`MAX_MEMBERS`.
    """
    refuse_many(data)
    members = {name: bytes(raw) for name, raw in _decode_object(data).items()}
    _refuse_duplicates(data, members)
    return b"".join(
        b"," + _encode(name) + b":" + raw for name, raw in members.items() if name not in _MEMBERS
    )


def _refuse_duplicates(data: bytes, members: dict[str, bytes]) -> None:
    """Walk from member to member, and refuse duplicates.

    For a duplicate the decoder returns the last value: then either the first value differs, or the name comes again.
    """
    seen = set()
    at = data.index(b"{") + 1
    while (key := _MEMBER_NAME.match(data, at)) is not None:
        name = _decode_str(key[1])
        value = members[name]
        if name in seen or not data.startswith(value, key.end()):
            raise MalformedMessageError(INVALID_REQUEST, f"member {name!r} occurs twice")
        seen.add(name)
        end = _MEMBER_END.match(data, key.end() + len(value))
        if end is None:  # the value here only begins like the last one of this name
            raise MalformedMessageError(INVALID_REQUEST, f"member {name!r} occurs twice")
        if end[1] == b"}":
            return
        at = end.end()


def refuse_many(data: bytes) -> None:
    """Refuse an object with more than :data:`MAX_MEMBERS` members, before anything is made of each of them.

    Raises:
        MalformedMessageError: it has more.
    """
    if data.count(b'"') <= FEW_QUOTES:
        return
    view, at = memoryview(data), data.index(b"{") + 1
    for _ in range(MAX_MEMBERS):
        key = _MEMBER_NAME.match(data, at)
        if key is None:
            return
        try:
            _decode_raw(view[key.end() :])
        except msgspec.DecodeError as error:  # always: something follows the value, and the error says where
            trailing = offset_of(error)
            if trailing is None:  # the text ends within the value: no object at all
                return
            at = key.end() + trailing
    raise MalformedMessageError(INVALID_REQUEST, f"a message must have at most {MAX_MEMBERS} members")


def _not_an_object(data: bytes) -> str:
    if data.lstrip()[:1] == b"[":
        return "batches are not supported; send one JSON-RPC object per message"
    return "a message is one JSON object"


def _classify(message: Message, version: bytes) -> Kind:
    if version != _VERSION:
        raise MalformedMessageError(INVALID_REQUEST, WITHOUT_VERSION)
    if message.id:
        _check_id(message.id)
    if message.method:
        _check_call(message)
        return REQUEST if message.id else NOTIFICATION
    if bool(message.result) == bool(message.error):
        raise MalformedMessageError(
            INVALID_REQUEST, 'a message must have "method", or one of "result" and "error"'
        )
    if message.error and message.error[0] != ord("{"):
        raise MalformedMessageError(INVALID_REQUEST, 'member "error" must be an object')
    if not message.id:
        raise MalformedMessageError(INVALID_REQUEST, 'a response must have an "id"')
    return RESPONSE


_decode_error: Final = msgspec.json.Decoder(ErrorMembers).decode


def _check_answer(message: Message) -> None:
    """Refuse a response that SDKs do not read: its request would wait forever."""
    if message.result and message.result[0] != ord("{"):
        raise MalformedMessageError(INVALID_REQUEST, 'member "result" must be an object')
    try:
        if message.error:
            _decode_error(message.error)
    except (msgspec.ValidationError, RecursionError):
        raise MalformedMessageError(
            INVALID_REQUEST, 'member "error" must have a whole number as "code" and a string as "message"'
        ) from None


def _check_call(message: Message) -> None:
    if message.result or message.error:
        raise MalformedMessageError(
            INVALID_REQUEST, 'a message with "method" must not have "result" or "error"'
        )
    if message.method[0] != ord('"'):
        raise MalformedMessageError(INVALID_REQUEST, 'member "method" must be a string')
    if message.params and message.params[0] not in b"{[":
        raise MalformedMessageError(INVALID_REQUEST, 'member "params" must be an object')
    if message.id == b"null":
        raise MalformedMessageError(INVALID_REQUEST, "the id of a request must not be null")


def _check_id(raw: bytes) -> None:
    if raw[0] in b"tf{[":
        raise MalformedMessageError(INVALID_REQUEST, "an id must be a string or a number")
    if len(raw) > MAX_ID_BYTES:
        raise MalformedMessageError(INVALID_REQUEST, f"an id must have at most {MAX_ID_BYTES} bytes")
    decode_id(raw)


def _without_escapes(method: bytes) -> bytes:
    """Return a method without needless escapes: methods are compared as bytes."""
    return _encode(_decode_str(method)) if method[0] == ord('"') else method


def alike(raw_id: bytes, others: Iterable[bytes]) -> bytes:
    """Return the one of ``others`` that is the same id, else the one that differs in type alone (``"7"`` and ``7``).

    All are JSON; ``b""`` if there is none.
    """
    keys = {decode_id(other): other for other in others}
    try:
        key = decode_id(raw_id)
    except MalformedMessageError:
        return b""
    other = of_other_type(key)
    return keys.get(key) or (keys.get(other, b"") if other is not None else b"")


def whole_number(key: IdKey) -> int:
    """Return an id as a number that is not negative, also where a server turned that into a string; 0 for others."""
    if isinstance(key, str):
        return int(key) if key.isascii() and key.isdigit() and len(key) <= MAX_ID_BYTES else 0
    return int(key) if key == int(key) and key >= 0 else 0


def of_other_type(key: IdKey) -> IdKey | None:
    """Return an id as some servers would turn it into another type: ``7`` as ``"7"``, and ``"7"`` as ``7``."""
    if not isinstance(key, str):
        return str(key)
    digits = key.removeprefix("-")
    return int(key) if digits.isascii() and digits.isdigit() and len(key) <= MAX_ID_BYTES else None


def token_key(raw: bytes) -> IdKey | None:
    """Decode a progress token; None if it cannot name a request."""
    if not raw or len(raw) > MAX_ID_BYTES:
        return None
    try:
        key = decode_id(raw)
    except MalformedMessageError:
        return None
    return key if isinstance(key, str | int | float) and not isinstance(key, bool) else None


def params_of(message: Message) -> Params:
    """Return what routing needs of ``params``; defaults if they are absent or ill-typed."""
    if message.routing is not None:
        return message.routing
    return _read_params(message.params) if message.params else NO_PARAMS


def result_meta(message: Message) -> Meta:
    """Return what routing needs of ``result._meta``."""
    return _read_params(message.result).meta or NO_META if message.result else NO_META


def _read_params(raw: bytes) -> Params:
    try:
        return _decode_params(raw)
    except (msgspec.DecodeError, RecursionError):
        return NO_PARAMS


def is_text(data: bytes) -> bool:
    """Return whether ``data`` is valid UTF-8 (RFC 6455 section 8.1)."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def one_line(data: bytes) -> bytes:
    """Return ``data`` without raw line breaks, for newline framing (MCP transports, stdio).

    Valid JSON has a raw CR or LF only between tokens, where a blank is equivalent.
    """
    if _LF in data or _CR in data:
        return data.translate(_LINE_BREAKS)
    return data


def text_in(raw: bytes) -> str | None:
    """Return a JSON string, decoded; None for any other JSON."""
    try:
        value = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return None
    return value if isinstance(value, str) else None


# --- build ----------------------------------------------------------------------------------------


def request(raw_id: bytes, method: str, params: bytes) -> Message:
    """Build a request; ``raw_id`` and ``params`` are JSON."""
    name = _encode(method)
    parts = (b'{"jsonrpc":"2.0","id":', raw_id, b',"method":', name, b',"params":', params, b"}")
    return Message(REQUEST, b"".join(parts), raw_id, name, params)


def notification(method: str, params: bytes = b"") -> Message:
    """Build a notification; ``params`` is JSON, ``b""`` for none."""
    return _build(NOTIFICATION, b"", _encode(method), params=params)


def response(raw_id: bytes, result: bytes) -> Message:
    """Build a response; ``raw_id`` and ``result`` are JSON."""
    data = b"".join((b'{"jsonrpc":"2.0","id":', raw_id, b',"result":', result, b"}"))
    return Message(RESPONSE, data, raw_id, b"", b"", result)


def failure(raw_id: bytes, error: bytes) -> Message:
    """Build an error response from an error object (JSON-RPC 2.0 section 5.1); an empty ``raw_id`` becomes ``null``."""
    return _build(RESPONSE, raw_id or b"null", b"", error=error)


def error(raw_id: bytes, code: int, text: str, data: dict[str, Any] | None = None) -> Message:
    """Build an error response (JSON-RPC 2.0 section 5.1); an empty ``raw_id`` becomes ``null``."""
    members: dict[str, Any] = {"code": code, "message": text}
    if data is not None:
        members["data"] = data
    return failure(raw_id, _encode(members))


def error_response(raw_id: bytes, code: int, text: str, data: dict[str, Any] | None = None) -> bytes:
    """Return the bytes of :func:`error`, for callers that only write them."""
    return error(raw_id, code, text, data).data


def with_id(message: Message, raw_id: bytes) -> Message:
    """Return the message with another id; payload and unknown members stay as they came."""
    return rebuild(message, raw_id, params=message.params, result=message.result)


def rebuild(message: Message, raw_id: bytes, *, params: bytes = b"", result: bytes = b"") -> Message:
    """Return the message with another id and another payload; an error and unknown members stay as they came."""
    kind, method, error, extra, odd = message.kind, message.method, message.error, message.extra, message.odd
    if raw_id and not (error or extra):  # nearly all
        if result and not (method or params):
            data = b"".join((b'{"jsonrpc":"2.0","id":', raw_id, b',"result":', result, b"}"))
            return Message(kind, data, raw_id, b"", b"", result, odd=odd)
        if method and params and not result:
            parts = (b'{"jsonrpc":"2.0","id":', raw_id, b',"method":', method, b',"params":', params, b"}")
            return Message(kind, b"".join(parts), raw_id, method, params)
    return _build(kind, raw_id, method, params, result, error, extra, odd)


def _build(
    kind: Kind,
    raw_id: bytes,
    method: bytes,
    params: bytes = b"",
    result: bytes = b"",
    error: bytes = b"",
    extra: bytes = b"",
    odd: bool = False,
) -> Message:
    parts = [b'{"jsonrpc":"2.0"']
    if raw_id:
        parts += (b',"id":', raw_id)
    if method:
        parts += (b',"method":', method)
    if params:
        parts += (b',"params":', params)
    if result:
        parts += (b',"result":', result)
    if error:
        parts += (b',"error":', error)
    if extra:
        parts.append(extra)
    parts.append(b"}")
    return Message(kind, b"".join(parts), raw_id, method, params, result, error, extra, odd=odd)


# --- parts of a payload ---------------------------------------------------------------------------


def member(payload: bytes, name: str) -> bytes:
    """Return one member of the JSON object ``payload``; ``b""`` if it is absent."""
    try:
        return bytes(_decode_object(payload).get(name, b""))
    except (msgspec.DecodeError, RecursionError):
        return b""


def with_member(payload: bytes, name: str, value: bytes) -> bytes:
    """Return the JSON object ``payload`` with one member replaced (``b""`` removes it)."""
    members = _decode_object(payload)
    if value:
        members[name] = Raw(value)
    else:
        members.pop(name, None)
    return _encode(members)


def with_meta(payload: bytes, name: str, value: bytes) -> bytes:
    """Return the JSON object ``payload`` with one member of its ``_meta`` replaced (``b""`` removes it)."""
    members = _decode_object(payload)
    members["_meta"] = Raw(with_member(bytes(members.get("_meta", b"{}")), name, value))
    return _encode(members)


def offset_of(error: Exception) -> int | None:
    """Return the offset that an error of the JSON parser names, in bytes; None if it names none."""
    match = _OFFSET.search(str(error))
    return int(match[1]) if match is not None else None


def answered_id(head: bytes, tail: bytes) -> bytes:
    """Return the id, as JSON, of a response of which only both ends are known; ``b""`` if they do not show it.

    SDKs write the id before the payload or as the last member; an id anywhere else is not found.
    """
    match = _ID_FIRST.match(head)
    if match is None and _PAYLOAD_FIRST.match(head):
        match = _ID_LAST.search(tail)
    return match[1] if match is not None else b""

"""The plain way to parse and rewrite a message, to compare :mod:`mcp_ws_ide.core.messages` with.

It decodes the envelope, looks for duplicate and unknown members, checks every member, decodes the params once more for
routing, and builds a rewritten message from its parts. It knows no usual order of members, and no short way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec
from msgspec import Raw

from mcp_ws_ide.core.messages import Kind, Params
from mcp_ws_ide.errors import INVALID_REQUEST, PARSE_ERROR, MalformedMessageError

MEMBERS = ("jsonrpc", "id", "method", "params", "result", "error")
MAX_ID_BYTES = 1024
MAX_MEMBERS = 100

_MEMBER_NAME = re.compile(rb'[ \t\r\n]*("(?:[^"\\]|\\.)*")[ \t\r\n]*:[ \t\r\n]*')
_MEMBER_END = re.compile(rb"[ \t\r\n]*([,}])")
_OFFSET = re.compile(r"\(byte (\d+)\)")
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)


@dataclass
class Parsed:
    """One message; ``members`` has the raw JSON of those that JSON-RPC defines, ``b""`` if absent."""

    kind: Kind
    data: bytes
    members: dict[str, bytes]
    extra: bytes


def parse(data: bytes) -> Parsed:
    """Parse one message.

    Raises:
        MalformedMessageError: as :func:`mcp_ws_ide.core.messages.parse`.
    """
    try:
        decoded = msgspec.json.decode(data, type=dict[str, Raw])
        members = {name: bytes(raw) for name, raw in decoded.items()}
        known = {name: members.get(name, b"") for name in MEMBERS}
        extra = _unknown(data, members)
    except msgspec.ValidationError:
        batch = data.lstrip()[:1] == b"["
        text = "batches are not supported; send one JSON-RPC object per message"
        raise MalformedMessageError(
            INVALID_REQUEST, text if batch else "a message is one JSON object"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        repaired = _ESCAPE.sub(lambda match: match[0] if match[1] is None else b"\\ufffd", data)
        if repaired != data:
            return parse(repaired)
        reason = str(error).removeprefix("JSON is malformed: ")
        raise MalformedMessageError(PARSE_ERROR, f"not valid JSON: {reason}") from None
    except RecursionError:
        raise MalformedMessageError(PARSE_ERROR, "JSON is nested too deeply") from None
    if b"\\" in known["method"] and known["method"][:1] == b'"':
        known["method"] = msgspec.json.encode(msgspec.json.decode(known["method"]))
    return Parsed(_checked(known), data, known, extra)


def _unknown(data: bytes, members: dict[str, bytes]) -> bytes:
    """Walk from member to member; refuse duplicates, and more than :data:`MAX_MEMBERS`; return the unknown ones."""
    seen: set[str] = set()
    at = data.index(b"{") + 1
    while (key := _MEMBER_NAME.match(data, at)) is not None:
        if len(seen) == MAX_MEMBERS and data.count(b'"') > 4 * MAX_MEMBERS:
            raise MalformedMessageError(INVALID_REQUEST, f"a message must have at most {MAX_MEMBERS} members")
        name = msgspec.json.decode(key[1], type=str)
        value = members[name]
        end = _MEMBER_END.match(data, key.end() + len(value))
        if name in seen or not data.startswith(value, key.end()) or end is None:
            raise MalformedMessageError(INVALID_REQUEST, f"member {name!r} occurs twice")
        seen.add(name)
        at = end.end()
        if end[1] == b"}":
            break
    return b"".join(
        b"," + msgspec.json.encode(name) + b":" + raw for name, raw in members.items() if name not in MEMBERS
    )


def _checked(known: dict[str, bytes]) -> Kind:
    """Return the kind of a message, after every check of JSON-RPC 2.0 sections 4 and 5."""
    raw_id, method, result, error = (known[name] for name in ("id", "method", "result", "error"))
    if known["jsonrpc"] != b'"2.0"':
        raise MalformedMessageError(INVALID_REQUEST, 'member "jsonrpc" must be "2.0"')
    if raw_id:
        _check_id(raw_id)
    if method:
        if result or error:
            raise MalformedMessageError(
                INVALID_REQUEST, 'a message with "method" must not have "result" or "error"'
            )
        if method[:1] != b'"':
            raise MalformedMessageError(INVALID_REQUEST, 'member "method" must be a string')
        if known["params"] and known["params"][:1] not in (b"{", b"["):
            raise MalformedMessageError(INVALID_REQUEST, 'member "params" must be an object')
        if raw_id == b"null":
            raise MalformedMessageError(INVALID_REQUEST, "the id of a request must not be null")
        return Kind.REQUEST if raw_id else Kind.NOTIFICATION
    if bool(result) == bool(error):
        text = 'a message must have "method", or one of "result" and "error"'
        raise MalformedMessageError(INVALID_REQUEST, text)
    if error and error[:1] != b"{":
        raise MalformedMessageError(INVALID_REQUEST, 'member "error" must be an object')
    if not raw_id:
        raise MalformedMessageError(INVALID_REQUEST, 'a response must have an "id"')
    return Kind.RESPONSE


def _check_id(raw: bytes) -> None:
    if raw[:1] in (b"t", b"f", b"{", b"["):
        raise MalformedMessageError(INVALID_REQUEST, "an id must be a string or a number")
    if len(raw) > MAX_ID_BYTES:
        raise MalformedMessageError(INVALID_REQUEST, f"an id must have at most {MAX_ID_BYTES} bytes")
    try:
        msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedMessageError(INVALID_REQUEST, f"invalid id: {error}") from None


def rewritten(parsed: Parsed, raw_id: bytes, payload: bytes) -> bytes:
    """Return the message with another id and another payload (``params`` or ``result``), built from its parts."""
    members = {**parsed.members, "id": raw_id}
    if members["params"] or members["result"]:
        members["params" if members["params"] else "result"] = payload
    parts = b",".join(b'"%b":%b' % (name.encode(), members[name]) for name in MEMBERS if members[name])
    return b"{%b%b}" % (parts, parsed.extra)


def routing(params: bytes) -> Params | None:
    """Return what routing needs of ``params``, from a decoding of its own; None if they are absent or ill-typed."""
    try:
        return msgspec.json.decode(params, type=Params)
    except (msgspec.DecodeError, RecursionError):
        return None

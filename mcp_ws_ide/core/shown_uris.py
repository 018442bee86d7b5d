"""URIs of resources that clients refuse, and the form in which they see them instead. Pure.

mcp 1.x for Python reads URIs as browsers do (WHATWG URL): one without a scheme, such as ``notes.txt``, costs its user
the whole list, or what was read. Other SDKs take any string. A client of the handshake era may be either, so it sees
such a URI behind a scheme of our own, and what it asks for under that reaches the server as the server wrote it.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote

import msgspec
from msgspec import Raw

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.lenient_json import encode, items_of, members_of, text_of
from mcp_ws_ide.core.messages import Message
from mcp_ws_ide.core.usable_uris import is_usable

SCHEME: Final = "mcp-ws-ide:"
"""What precedes a URI that clients refuse; the rest of it is percent-encoded."""
READ: Final = "resources/read"
NAMES_RESOURCE: Final = frozenset({READ, "resources/subscribe", "resources/unsubscribe"})
"""Requests whose ``params.uri`` names a resource."""
UPDATED: Final = b'"notifications/resources/updated"'
"""The method, as JSON, of the notification that a resource was updated."""
FAULT: Final = "its URI is not absolute, clients see it behind the scheme mcp-ws-ide"


class _Named(msgspec.Struct, gc=False):
    uri: str


class _ReadResult(msgspec.Struct, gc=False):
    contents: list[_Named]


_decode_read: Final = msgspec.json.Decoder(_ReadResult).decode


def shown(uri: str) -> str:
    """Return a URI as clients see it: itself, if all can read it."""
    return uri if is_usable(uri) else f"{SCHEME}{quote(uri, safe='/')}"


def as_written(message: Message) -> Message:
    """Return a request that names a resource, with its URI as the server wrote it."""
    uri = text_of(messages.member(message.params, "uri"))
    if not uri.startswith(SCHEME):
        return message
    written = encode(unquote(uri.removeprefix(SCHEME)))
    return messages.rebuild(message, message.id, params=messages.with_member(message.params, "uri", written))


def as_shown(update: Message) -> Message:
    """Return the notification that a resource was updated, with its URI as clients see it."""
    uri = text_of(messages.member(update.params, "uri"))
    if not uri or is_usable(uri):
        return update
    params = messages.with_member(update.params, "uri", encode(shown(uri)))
    return messages.rebuild(update, update.id, params=params)


def shown_item(item: Raw) -> Raw:
    """Return a content item that clients can read, with its URI as they see it; itself, if all can read that."""
    members = members_of(bytes(item))
    kind = text_of(bytes(members.get("type", b"")))
    inner = members if kind == "resource_link" else members_of(bytes(members.get("resource", b"")))
    if kind not in ("resource", "resource_link") or is_usable(uri := text_of(bytes(inner["uri"]))):
        return item
    inner["uri"] = Raw(encode(shown(uri)))
    return Raw(encode(inner if kind == "resource_link" else {**members, "resource": inner}))


def shown_contents(result: bytes) -> tuple[bytes, dict[str, str]]:
    """Return the result of ``resources/read`` with URIs as clients see them, and a notice if any was changed."""
    try:
        odd = [item.uri for item in _decode_read(result).contents if not is_usable(item.uri)]
    except (msgspec.DecodeError, RecursionError):
        return result, {}
    if not odd:
        return result, {}
    members = members_of(result)
    items = [members_of(bytes(raw)) for raw in items_of(bytes(members["contents"]))]
    for item in items:
        item["uri"] = Raw(encode(shown(text_of(bytes(item["uri"])))))
    return encode({**members, "contents": items}), {"contents uri": f"{READ}: {odd[0][:100]!r}: {FAULT}"}

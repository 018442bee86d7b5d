"""Check the items of lists, and mend those that mean one thing. Pure.

The SDKs' clients validate a list as a whole: one tool without a usable ``inputSchema``, or with a number as its title,
costs them every tool. Items are JSON objects as servers wrote them; this module knows nothing of groups or pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from mcp_ws_ide.core.lenient_json import encode, items_of, members_of, text_of, value_of
from mcp_ws_ide.core.result_types import Annotations, Icon
from mcp_ws_ide.core.shown_uris import FAULT, shown
from mcp_ws_ide.core.usable_uris import is_usable

TOOLS: Final = "tools"
RESOURCES: Final = "resources"
OUTPUT: Final = "outputSchema"
_EMPTY: Final = Raw(b"{}")
_NOTHING: Final = (b"", b"null")
_NO_MEMBERS: Final = (*_NOTHING, b"[]")
"""What stands for an empty object; ``[]`` is how PHP writes one."""
_ENDS: Final = ("nextCursor", "_meta", "resultType", "ttlMs", "cacheScope")
"""Members of a list's result beside the items."""
NAMED_ITEMS: Final = 3
"""Items that a note names of those with one fault."""
UNAVAILABLE_KEY: Final = "mcp-ws-ide/unavailable"
"""Member of ``_meta`` with the servers whose part of a result is missing or was changed, and the reasons."""
MAX_NOTE: Final = 500
"""Longest reason for one server, in characters."""

_Object = dict[str, Raw]


class _Schema(msgspec.Struct, gc=False):
    type: Literal["object"]
    properties: dict[str, _Object] | UnsetType = UNSET
    required: list[str] | UnsetType = UNSET


class _Hints(msgspec.Struct, gc=False):
    title: str | UnsetType = UNSET
    readOnlyHint: bool | UnsetType = UNSET
    destructiveHint: bool | UnsetType = UNSET
    idempotentHint: bool | UnsetType = UNSET
    openWorldHint: bool | UnsetType = UNSET


class _Execution(msgspec.Struct, gc=False):
    taskSupport: Literal["required", "optional", "forbidden"] | UnsetType = UNSET


class _Argument(msgspec.Struct, gc=False):
    name: str
    description: str | UnsetType = UNSET
    required: bool | UnsetType = UNSET


class _Common(msgspec.Struct, gc=False, kw_only=True):
    """Members of every item. What is optional is declared with the type that clients insist on."""

    name: str
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    icons: list[Icon] | UnsetType = UNSET
    meta: _Object | UnsetType = msgspec.field(name="_meta", default=UNSET)


class _AnyTool(_Common, gc=False, kw_only=True):
    inputSchema: _Schema
    annotations: _Hints | UnsetType = UNSET
    execution: _Execution | UnsetType = UNSET


class _Tool(_AnyTool, gc=False, kw_only=True):
    outputSchema: _Object | UnsetType = UNSET


class _StrictTool(_AnyTool, gc=False, kw_only=True):
    """A tool of the handshake era, whose outputSchema is one of an object (MCP 2025-06-18, tools)."""

    outputSchema: _Schema | UnsetType = UNSET


class _Prompt(_Common, gc=False, kw_only=True):
    arguments: list[_Argument] | UnsetType = UNSET


class _Resource(_Common, gc=False, kw_only=True):
    uri: str
    mimeType: str | UnsetType = UNSET
    size: int | UnsetType = UNSET
    annotations: Annotations | UnsetType = UNSET


class _Template(_Common, gc=False, kw_only=True):
    template: str = msgspec.field(name="uriTemplate")
    mimeType: str | UnsetType = UNSET
    annotations: Annotations | UnsetType = UNSET


_ITEMS: Final[dict[str, type[_Common]]] = {
    TOOLS: _Tool,
    "prompts": _Prompt,
    RESOURCES: _Resource,
    "resourceTemplates": _Template,
}
IDENTITY: Final = {TOOLS: "name", "prompts": "name", "resources": "uri", "resourceTemplates": "uriTemplate"}
"""The member that identifies an item, by the key of its list (MCP, server features)."""

Decode = Callable[..., Any]


def _decoders(key: str, item: type[_Common]) -> tuple[Decode, Decode, dict[str, Decode]]:
    """Return the decoders of a whole list, of one item, and of each optional member of an item."""
    result = msgspec.defstruct(
        "Listed",
        [(key, list[item]), ("nextCursor", str | UnsetType, UNSET), ("_meta", _Object | UnsetType, UNSET)],  # type: ignore[valid-type]
        gc=False,
    )
    return msgspec.json.Decoder(result).decode, msgspec.json.Decoder(item).decode, optional_decoders(item)


def optional_decoders(item: type[msgspec.Struct]) -> dict[str, Decode]:
    """Return the decoder of each optional member of an item."""
    fields = [field for field in msgspec.structs.fields(item) if not field.required]
    return {field.encode_name: msgspec.json.Decoder(field.type).decode for field in fields}


_DECODERS: Final = {key: _decoders(key, item) for key, item in _ITEMS.items()}
_STRICT: Final = {**_DECODERS, TOOLS: _decoders(TOOLS, _StrictTool)}
"""For clients of the handshake era."""


class ListItem(msgspec.Struct, gc=False):
    """An item as clients can read it.

    Attributes:
        identity: its name, URI or URI template; ``""`` if it has none.
        data: the item, as JSON; ``b""`` if no client could read it.
        fault: what was wrong with it; ``""`` for nothing.
    """

    identity: str
    data: bytes
    fault: str = ""


def read_list(key: str, result: bytes, *, strict: bool) -> tuple[bytes, dict[str, str]]:
    """Return the result of a list request as clients can read it, and a notice of each kind of fault.

    Args:
        key: the member of the result that has the items.
        strict: whether the client is of the handshake era.

    Returns:
        ``result`` itself and no notices, unless something was wrong.
    """
    whole, _, _ = (_STRICT if strict else _DECODERS)[key]
    try:
        valid = whole(result)
    except (msgspec.DecodeError, RecursionError):
        pass
    else:
        if not strict or key != RESOURCES or all(is_usable(item.uri) for item in valid.resources):
            return result, {}
    mended, notices = _mended_list(key, members_of(result), strict)
    return (mended, notices) if notices else (result, {})


def _mended_list(key: str, members: dict[str, Raw], strict: bool) -> tuple[bytes, dict[str, str]]:
    notices = _mend_ends(key, members)
    given, complete = bytes(members.get(key, b"")), bytes(members.get("resultType", b'"complete"'))
    alone = members.keys() <= {key, *_ENDS}  # else it may answer another request
    if given in (*_NOTHING, b"{}") and alone and complete == b'"complete"':
        members[key] = Raw(b"[]")
        notices[key] = f"a result without a list of {key} was read as one without items"
    elif given[:1] == b"[":
        faults: dict[str, list[str]] = {}
        kept = []
        for number, raw in enumerate(items_of(given), 1):
            item = read_item(key, bytes(raw), strict=strict)
            note_fault(faults, item, number)
            if item.data:
                kept.append(Raw(item.data))
        members[key] = Raw(encode(kept))
        notices |= fault_texts(key, faults)
    return encode(members), notices


def _mend_ends(key: str, members: dict[str, Raw]) -> dict[str, str]:
    """Mend the members beside the items; return a notice of each change."""
    notices = {}
    cursor, meta = bytes(members.get("nextCursor", b'""')), bytes(members.get("_meta", _EMPTY))
    if cursor[:1] != b'"':
        del members["nextCursor"]
        notices[f"{key} nextCursor"] = f"a list of {key}: a nextCursor that is not a string was ignored"
        if cursor[:1] in b"-0123456789":
            members["nextCursor"] = Raw(encode(cursor.decode()))
            notices[f"{key} nextCursor"] = f"a list of {key}: a nextCursor that is a number became a string"
    if meta[:1] != b"{":
        del members["_meta"]
        notices[f"{key} _meta"] = f"a list of {key}: a _meta that is not an object was ignored"
    return notices


def note_fault(faults: dict[str, list[str]], item: ListItem, number: int) -> None:
    """Add an item, the ``number``-th of its page, to those with its fault, if it has one."""
    if item.fault:
        name = repr(item.identity[:100]) if item.identity else f"number {number}"
        faults.setdefault(item.fault, []).append(name)


def fault_texts(key: str, faults: dict[str, list[str]]) -> dict[str, str]:
    """Return a text for each fault, which names the first items that have it."""
    texts = {}
    for fault, names in faults.items():
        more = f" and {len(names) - NAMED_ITEMS} more" if len(names) > NAMED_ITEMS else ""
        texts[f"{key} {fault}"] = f"{key}: {', '.join(names[:NAMED_ITEMS])}{more}: {fault}"
    return texts


def with_note(result: bytes, server: str, notices: Iterable[str]) -> bytes:
    """Return the result of a list request with a note of what the gateway changed in it, for whoever reads it."""
    members = members_of(result)
    meta = members_of(bytes(members.get("_meta", _EMPTY)))
    meta[UNAVAILABLE_KEY] = Raw(encode({server: "; ".join(notices)[:MAX_NOTE]}))
    return encode({**members, "_meta": meta})


def read_item(key: str, item: bytes, *, strict: bool = False) -> ListItem:
    """Return an item of the list ``key``, mended where that has one meaning; ``strict`` as in :func:`read_list`."""
    _, decode, optional = (_STRICT if strict else _DECODERS)[key]
    try:
        valid = decode(item)
    except (msgspec.DecodeError, RecursionError):
        read = _mended(key, item, decode, optional)
    else:
        read = ListItem(_identity_of(valid), item)
    return _with_shown_uri(read) if strict and key == RESOURCES and not is_usable(read.identity) else read


def _with_shown_uri(item: ListItem) -> ListItem:
    """Return a resource with a URI that every client can read; one that is omitted stays so."""
    if not item.data:
        return item
    data = encode({**members_of(item.data), "uri": shown(item.identity)})
    return ListItem(item.identity, data, f"{item.fault}; {FAULT}" if item.fault else FAULT)


def _identity_of(valid: _Common) -> str:
    if isinstance(valid, _Resource):
        return valid.uri
    return valid.template if isinstance(valid, _Template) else valid.name


def _mended(key: str, item: bytes, decode: Decode, optional: dict[str, Decode]) -> ListItem:
    member = IDENTITY[key]
    members = members_of(item)
    identity = text_of(bytes(members.get(member, b"")))
    if not identity:
        return ListItem("", b"", f"omitted, because its {member} is not a string")
    had_nulls = _remove_nulls(members)
    faults = []
    if "name" not in members:
        members["name"] = members[member]
        faults.append(f"it has no name, its {member} is shown")
    if not text_of(bytes(members["name"])):
        return ListItem(identity, b"", "omitted, because its name is not a string")
    if key == TOOLS:
        schema, fault = _input_schema(bytes(members.get("inputSchema", b"")))
        if not schema:
            return ListItem(identity, b"", fault)
        members["inputSchema"] = Raw(schema)
        faults += [fault] if fault else []
    faults += mend_optional(members, optional)
    data = encode(members)
    try:
        decode(data)
    except (msgspec.DecodeError, RecursionError):
        return ListItem(identity, b"", "omitted, because its inputSchema cannot be read")
    if had_nulls and not faults:
        faults.append("members that are null were ignored")
    return ListItem(identity, data, "; ".join(faults))


def _input_schema(given: bytes) -> tuple[bytes, str]:
    """Return the schema of a tool's arguments, which are always an object (MCP, tools), and what was wrong with it."""
    if _is_valid(_decode_schema, given):
        return given, ""
    if given[:1] != b"{" and given not in _NO_MEMBERS:
        return b"", "omitted, because its inputSchema is not an object"
    return _usable_schema(given), "its inputSchema was completed to one of an object"


_decode_schema = msgspec.json.Decoder(_Schema).decode


def _usable_schema(given: bytes) -> bytes:
    schema = {} if given in _NO_MEMBERS else members_of(given)
    rest = {name: value for name, value in schema.items() if name != "type"}
    for name in ("properties", "required"):
        if bytes(rest.get(name, b"null")) == b"null":
            rest.pop(name, None)
    properties = bytes(rest.get("properties", b""))
    if properties == b"[]":
        rest["properties"] = _EMPTY
    elif properties[:1] == b"{":
        usable = {name: _usable_property(bytes(raw)) for name, raw in members_of(properties).items()}
        rest["properties"] = Raw(encode(usable))
    return encode({"type": "object", **rest})


def _usable_property(given: bytes) -> Raw:
    """Return the schema of one argument as an object: clients refuse the booleans of JSON Schema."""
    if given == b"false":
        return Raw(b'{"not":{}}')
    return _EMPTY if given in (b"true", b"null", b"[]") else Raw(given)


def mend_optional(members: dict[str, Raw], optional: dict[str, Decode]) -> list[str]:
    """Remove what clients refuse of the optional members; return what was removed."""
    faults = []
    for name in [name for name in members if name in optional]:
        given = bytes(members[name])
        if _is_valid(optional[name], given):
            continue
        usable = _usable_schema(given) if name == OUTPUT and _may_be_object(given) else _without_nulls(given)
        if usable not in (b"[]", b"{}") and _is_valid(optional[name], usable):
            members[name] = Raw(usable)
            faults.append(f"its {name} was completed")
            continue
        del members[name]
        faults.append(f"its {name} was ignored, because clients could not read it")
    return faults


def _may_be_object(schema: bytes) -> bool:
    """Return whether a schema without a usable type may be one of an object."""
    members = members_of(schema)
    return "properties" in members and bytes(members.get("type", b"null")) in (b"null", b'"object"')


def _without_nulls(value: bytes) -> bytes:
    """Return a value without the members of its objects that are null."""
    return encode(_pruned(value_of(value)))


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _pruned(member) for name, member in value.items() if member is not None}
    return [_pruned(item) for item in value] if isinstance(value, list) else value


def _is_valid(decode: Decode, data: bytes) -> bool:
    try:
        decode(data)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _remove_nulls(members: dict[str, Raw]) -> bool:
    """Remove members that are null, which some clients refuse; return whether there were any."""
    nulls = [name for name, value in members.items() if bytes(value) == b"null"]
    for name in nulls:
        del members[name]
    return bool(nulls)

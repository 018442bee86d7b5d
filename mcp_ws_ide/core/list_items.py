"""Check the items of lists, and mend those that mean one thing. Pure.

The SDKs' clients validate a list as a whole: one tool without a usable ``inputSchema`` costs them every tool. Items are
JSON objects as servers wrote them; this module knows nothing of groups or pages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from mcp_ws_ide.core.lenient_json import encode, members_of, text_of

TOOLS: Final = "tools"
_EMPTY: Final = Raw(b"{}")
_NOTHING: Final = (b"", b"null")
_NO_MEMBERS: Final = (*_NOTHING, b"[]")
"""What stands for an empty object; ``[]`` is how PHP writes one."""


class _Schema(msgspec.Struct, gc=False):
    type: Literal["object"]
    properties: dict[str, Raw] | UnsetType = UNSET
    required: list[str] | UnsetType = UNSET


class _Tool(msgspec.Struct, gc=False):
    name: str
    inputSchema: _Schema


class _Prompt(msgspec.Struct, gc=False):
    name: str


class _Resource(msgspec.Struct, gc=False):
    name: str
    uri: str


class _Template(msgspec.Struct, gc=False):
    name: str
    template: str = msgspec.field(name="uriTemplate")


_Item = _Tool | _Prompt | _Resource | _Template
_VALID: Final[dict[str, Callable[[bytes], _Item]]] = {
    TOOLS: msgspec.json.Decoder(_Tool).decode,
    "prompts": msgspec.json.Decoder(_Prompt).decode,
    "resources": msgspec.json.Decoder(_Resource).decode,
    "resourceTemplates": msgspec.json.Decoder(_Template).decode,
}
IDENTITY: Final = {TOOLS: "name", "prompts": "name", "resources": "uri", "resourceTemplates": "uriTemplate"}
"""The member that identifies an item, by the key of its list (MCP, server features)."""


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


def read_item(key: str, item: bytes) -> ListItem:
    """Return an item of the list ``key``, mended where that has one meaning."""
    try:
        valid = _VALID[key](item)
    except (msgspec.DecodeError, RecursionError):
        return _mended(key, item)
    if b"null" in item and (members := members_of(item)) and _remove_nulls(members):
        return ListItem(_identity_of(valid), encode(members), "members that are null were ignored")
    return ListItem(_identity_of(valid), item)


def _identity_of(valid: _Item) -> str:
    if isinstance(valid, _Resource):
        return valid.uri
    return valid.template if isinstance(valid, _Template) else valid.name


def _mended(key: str, item: bytes) -> ListItem:
    member = IDENTITY[key]
    members = members_of(item)
    identity = text_of(bytes(members.get(member, b"")))
    if not identity:
        return ListItem("", b"", f"omitted, because its {member} is not a string")
    _remove_nulls(members)
    faults = []
    if "name" not in members:
        members["name"] = members[member]
        faults.append(f"it has no name, its {member} is shown")
    if not text_of(bytes(members["name"])):
        return ListItem(identity, b"", "omitted, because its name is not a string")
    if key == TOOLS:
        given = bytes(members.get("inputSchema", b""))
        if given[:1] != b"{" and given not in _NO_MEMBERS:
            return ListItem(identity, b"", "omitted, because its inputSchema is not an object")
        members["inputSchema"] = Raw(_usable_schema(given))
        faults.append("its inputSchema was completed to one of an object")
    data = encode(members)
    if key == TOOLS and not _is_valid(key, data):
        return ListItem(identity, b"", "omitted, because its inputSchema cannot be read")
    return ListItem(identity, data, "; ".join(faults))


def _is_valid(key: str, item: bytes) -> bool:
    try:
        _VALID[key](item)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _usable_schema(given: bytes) -> bytes:
    """Return the schema of a tool's arguments, which are always an object (MCP, tools)."""
    schema = {} if given in _NO_MEMBERS else members_of(given)
    rest = {name: value for name, value in schema.items() if name != "type"}
    for name in ("properties", "required"):
        if bytes(rest.get(name, b"null")) == b"null":
            rest.pop(name, None)
    if bytes(rest.get("properties", b"")) == b"[]":
        rest["properties"] = _EMPTY
    return encode({"type": "object", **rest})


def _remove_nulls(members: dict[str, Raw]) -> bool:
    """Remove members that are null, which some clients refuse; return whether there were any."""
    nulls = [name for name, value in members.items() if bytes(value) == b"null"]
    for name in nulls:
        del members[name]
    return bool(nulls)

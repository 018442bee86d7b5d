"""Addresses of the apps of a group's members as clients see them: ``ui://member/…``. Pure.

An app (extension ``io.modelcontextprotocol/ui``, SEP-1865) is a resource with a ``ui://`` address that tools name. Each
server chooses the address, so those of two members may be equal; the member's name, percent-encoded, keeps them apart.
Other addresses name something that exists outside of the server, and stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from msgspec import Raw

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.lenient_json import encode, items_of, members_of, object_of, text_of
from mcp_ws_ide.core.messages import Message

SCHEME: Final = "ui://"
UI: Final = "ui"
"""The member of a tool's ``_meta`` that describes its app."""
FLAT: Final = "ui/resourceUri"
"""The member of a tool's ``_meta`` that names its app in an earlier form of the extension."""
_QUOTED: Final = b'"ui:'
"""How such an address begins in JSON."""


class AppUris:
    """The addresses of the apps of these members."""

    def __init__(self, members: Sequence[str]) -> None:
        self._members = {quote(member, safe=""): member for member in members}
        self._prefixes = {member: f"{SCHEME}{name}/" for name, member in self._members.items()}

    def shown(self, member: str, uri: str) -> str:
        """Return an address of a member as clients see it."""
        return self._prefixes[member] + uri.removeprefix(SCHEME) if uri.startswith(SCHEME) else uri

    def split(self, shown: str) -> tuple[str, str] | None:
        """Return the member that an address belongs to, and its own address; None if it names no member."""
        if not shown.startswith(SCHEME):
            return None
        name, _, rest = shown.removeprefix(SCHEME).partition("/")
        member = self._members.get(name)
        return None if member is None else (member, SCHEME + rest)

    def own(self, member: str, shown: str) -> str | None:
        """Return an address as this member knows it; None if it names another member."""
        target = self.split(shown)
        if target is None:
            return shown
        return target[1] if target[0] == member else None

    def tool(self, member: str, item: bytes) -> bytes:
        """Return a tool with the address of its app as clients see it."""
        if _QUOTED not in item:
            return item
        meta = members_of(messages.member(item, "_meta"))
        changed: dict[str, Any] = dict(meta)
        if uri := text_of(bytes(meta.get(FLAT, b""))):
            changed[FLAT] = self.shown(member, uri)
        ui = object_of(bytes(meta.get(UI, b"")))
        address = ui.get("resourceUri")
        if isinstance(address, str):
            changed[UI] = {**ui, "resourceUri": self.shown(member, address)}
        return item if changed == meta else messages.with_member(item, "_meta", encode(changed))

    def listed(self, member: str, item: bytes, uri: str) -> bytes:
        """Return a resource or template of a list, which has this address, as clients see it."""
        if not uri.startswith(SCHEME):
            return item
        name = "uri" if "uri" in members_of(item) else "uriTemplate"
        return messages.with_member(item, name, encode(self.shown(member, uri)))

    def result(self, member: str, message: Message) -> Message:
        """Return a response of a member with the addresses in its items as clients see them."""
        if _QUOTED not in message.result:
            return message
        result: dict[str, Any] = dict(members_of(message.result))
        for name in ("contents", "content"):
            if name in result:
                result[name] = [self._item(member, bytes(item)) for item in items_of(bytes(result[name]))]
        return messages.rebuild(message, message.id, result=encode(result))

    def _item(self, member: str, item: bytes) -> Any:
        """Return what was read, a link, or an embedded resource, as clients see it."""
        members: dict[str, Any] = dict(members_of(item))
        if not members:
            return Raw(item)
        for name, raw in members.items():
            if name == "uri":
                members[name] = self.shown(member, text_of(bytes(raw)))
            elif name == "resource":
                members[name] = self._item(member, bytes(raw))
        return members

    def updated(self, member: str, message: Message) -> Message:
        """Return the notification that a resource was updated, with its address as clients see it."""
        uri = text_of(messages.member(message.params, "uri"))
        if not uri.startswith(SCHEME):
            return message
        shown = encode(self.shown(member, uri))
        return messages.rebuild(message, b"", params=messages.with_member(message.params, "uri", shown))

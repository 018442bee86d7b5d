"""Merge the responses of a group's members to one request into one response. Pure.

Items are read and renamed as they come, page by page, and kept as bytes: nothing requires decoding everything at once.
:mod:`mcp_ws_ide.core.group` decides which members are asked, and when.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Raw

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.methods import LISTS
from mcp_ws_ide.core.era import MODERN_VERSION
from mcp_ws_ide.core.group_bare import is_for_apps
from mcp_ws_ide.core.group_uris import AppUris
from mcp_ws_ide.core.lenient_json import (
    encode,
    error_code,
    error_text,
    items_of,
    members_of,
    object_of,
    text_of,
    value_of,
)
from mcp_ws_ide.core.list_items import MAX_NOTE, UNAVAILABLE_KEY, fault_texts, note_fault, read_item
from mcp_ws_ide.core.messages import Message
from mcp_ws_ide.core.pages import Pages
from mcp_ws_ide.errors import METHOD_NOT_FOUND

SEPARATOR: Final = "__"
"""Separates the names of a member and of its tool; model providers allow only letters, digits, ``_`` and ``-``."""
DISCOVER: Final = "server/discover"
MAX_LIST_BYTES: Final = 8 << 20
"""Longest merged response, in bytes; items beyond it are omitted."""
LEAST_ITEM_BYTES: Final = 128
"""Bytes that an item counts as, if it is smaller; this bounds the number of items too."""
_ROOM: Final = f"a group's response is limited to {MAX_LIST_BYTES >> 20} MiB"

_NAME_FIRST: Final = re.compile(rb'\s*\{\s*"name"\s*:\s*"')
GATHER_TIME: Final = 30.0
"""Seconds without an answer after which the members that are silent are left out, if another one has answered: less
than the 60 s for which the SDKs' clients wait."""


class Names:
    """The names that clients see for tools and prompts of the members: ``member__name``.

    If a name begins with the names of several members, the longest one counts.
    """

    def __init__(self, members: Sequence[str]) -> None:
        self._prefixes = {member: member + SEPARATOR for member in sorted(members, key=len, reverse=True)}
        self._longer = {
            member: tuple(p for p in self._prefixes.values() if p != own and p.startswith(own))
            for member, own in self._prefixes.items()
        }
        self._raw = {member: encode(prefix)[1:-1] for member, prefix in self._prefixes.items()}

    def split(self, name: str) -> tuple[str, str] | None:
        """Return the member that a client's name belongs to, and the member's own name."""
        for member, prefix in self._prefixes.items():
            if name.startswith(prefix):
                return member, name[len(prefix) :]
        return None

    def misread(self, member: str, name: str) -> bool:
        """Return whether a name of a member, with its prefix, reads as a name of another member."""
        longer = self._longer[member]
        return bool(longer) and (self._prefixes[member] + name).startswith(longer)

    def prefixed(self, member: str, name: str, item: bytes) -> bytes:
        """Return the JSON object ``item``, which has this ``name``, with the prefix of its member."""
        head = _NAME_FIRST.match(item)
        if head is None or item.count(b'"name"') > 1 or b"\\u" in item:  # it may have a second, escaped one
            return messages.with_member(item, "name", encode(self._prefixes[member] + name))
        at = head.end()
        return b"%b%b%b" % (item[:at], self._raw[member], item[at:])


class Gathering:
    """A request that several members answer.

    Attributes:
        message: the request.
        missing: members that have not answered, or not with their last page.
        deadline: when those that are silent are not waited for any longer; 0 until :meth:`silent` is called.
        offers: the tools or prompts of a list by their own names.
    """

    def __init__(
        self, message: Message, members: Sequence[str], names: Names, apps: AppUris, bare: bool = False
    ) -> None:
        self.message = message
        self.missing = set(members)
        self.deadline = 0.0
        self.offers: dict[str, dict[str, bool]] = {}
        self._members, self._names, self._apps = members, names, apps
        self._key = LISTS.get(message.method_name, "")
        self._named = self._key in ("tools", "prompts")
        self._pages: dict[str, Pages] = {}
        self._items: dict[str, list[bytes]] = {}
        self._own: dict[str, list[str]] = {}
        """The own names of the items, where they are shown without a prefix."""
        self._bare = bare and self._named
        self._uris: dict[str, list[str]] = {}
        self._discovered: dict[str, dict[str, Raw]] = {}
        self._error = b""
        self._lifetimes: list[float] = []
        """``ttlMs`` of each page and description; 0 where there is none."""
        self._notes: dict[str, str] = {}
        self._size = 0

    def silent(self, now: float) -> list[str]:
        """Return the members that are not waited for any longer; called about once a second.

        Args:
            now: the caller's clock, in seconds.
        """
        self.deadline = self.deadline or now + GATHER_TIME
        late = now >= self.deadline and len(self.missing) < len(self._members)
        return [member for member in self._members if member in self.missing] if late else []

    def failed(self, member: str, error: bytes) -> None:
        """Handle the error from a member."""
        self.deadline = 0.0
        self._error = self._error or error
        if not offers_none(error):
            self._note(member, error_text(error))

    def add(self, member: str, result: bytes) -> bytes:
        """Take a member's result; return the cursor (JSON) of the page to fetch next, ``b""`` for none."""
        self.deadline = 0.0
        page, pages = members_of(result), self._pages.setdefault(member, Pages())
        self._lifetimes.append(_lifetime(bytes(page.get("ttlMs", b""))))
        if not self._key:
            self._add_discovered(member, page, len(result))
            return b""
        if bytes(page.get(self._key, b""))[:1] != b"[":
            self._note(member, f"its response has no list of {self._key}")
        cursor = bytes(page.get("nextCursor", b""))
        if not self._add_items(member, items_of(bytes(page.get(self._key, b""))), pages):
            return b""
        if pages.goes_on(cursor):
            return cursor
        if pages.note:
            self._note(member, pages.note)
        return b""

    def _add_discovered(self, member: str, result: dict[str, Raw], size: int) -> None:
        if self._size + size > MAX_LIST_BYTES:
            return self._note(member, f"its description is omitted: {_ROOM}")
        self._size += size
        self._discovered[member] = result

    def _add_items(self, member: str, items: list[Raw], pages: Pages) -> bool:
        """Keep the items of a page that were not listed before; return whether all of them fit."""
        kept = self._items.setdefault(member, [])
        faults: dict[str, list[str]] = {}
        left = 0
        for position, raw in enumerate(items):
            item = read_item(self._key, bytes(raw))
            if not pages.is_new(item.identity):
                continue
            note_fault(faults, item, position + 1)
            shown = self._shown(member, item.data, item.identity) if item.data else b""
            size = max(len(shown or raw) + 1, LEAST_ITEM_BYTES)
            if self._size + size > MAX_LIST_BYTES:
                left = len(items) - position
                break
            self._size += size
            if shown:
                kept.append(shown)
                self._own.setdefault(member, []).append(item.identity if self._bare else "")
        if left:
            self._note(member, f"at least {left} of its {self._key} are omitted: {_ROOM}")
        for text in fault_texts(self._key, faults).values():
            self._note(member, text)
        return not left

    def _shown(self, member: str, item: bytes, name: str) -> bytes:
        """Return an item of this name or address as the client sees it; ``b""`` for one that no client could call."""
        if not self._named:
            self._uris.setdefault(member, []).append(self._apps.shown(member, name))
            return self._apps.listed(member, item, name)
        if self._names.misread(member, name):
            self._note(
                member,
                f"{name[:100]!r} is omitted: with its prefix it would look like a name of another member",
            )
            return b""
        self.offers.setdefault(name, {})[member] = self._key == "tools" and is_for_apps(item)
        if self._key == "tools":
            item = self._apps.tool(member, item)
        return item if self._bare else self._names.prefixed(member, name, item)

    def _items_of(self, member: str) -> list[bytes]:
        """Return the items of a member as the client sees them."""
        items = self._items.get(member, [])
        if not self._bare:
            return items
        names = self._own.get(member, [])
        return [self._unlike(member, name, item) for name, item in zip(names, items, strict=True)]

    def _unlike(self, member: str, name: str, item: bytes) -> bytes:
        """Return an item with the prefix of its member if its name alone could be taken for another one."""
        others = [other for other in self._members if other != member and other in self.offers[name]]
        if not others and self._names.split(name) is None:
            return item
        if others:
            self._note(member, f"{name[:100]!r} has its prefix, because {others[0]!r} has the same name")
        return self._names.prefixed(member, name, item)

    def _note(self, member: str, reason: str) -> None:
        known = self._notes.get(member)
        self._notes[member] = (reason if known is None else f"{known}; {reason}")[:MAX_NOTE]

    @property
    def owners(self) -> dict[str, str]:
        """The member that listed a URI; the first one in the order of the members."""
        owners: dict[str, str] = {}
        for member in reversed(self._members):
            owners |= dict.fromkeys(self._uris.get(member, ()), member)
        return owners

    def answer(self, number: int, meta: dict[str, Any]) -> Message:
        """Return the response to the client.

        Args:
            number: id of the request.
            meta: members of ``_meta``, to which :data:`UNAVAILABLE_KEY` is added where members are missing.
        """
        if not self._pages:
            return messages.failure(b"%d" % number, self._error)
        items_of_all = [item for member in self._members for item in self._items_of(member)]
        lifetime = 0 if self._notes else min(self._lifetimes)
        result: dict[str, Any] = {"resultType": "complete", "ttlMs": lifetime, "cacheScope": "private"}
        if self._key:
            result[self._key] = Raw(b"[%b]" % b",".join(items_of_all))
        else:
            result |= self._all_discovered()
        if self._notes:
            meta = {**meta, UNAVAILABLE_KEY: self._notes}
        return messages.response(b"%d" % number, encode({**result, "_meta": meta}))

    def _all_discovered(self) -> dict[str, Any]:
        capabilities: dict[str, Any] = {}
        instructions = []
        for member in self._members:
            result = self._discovered.get(member, {})
            for name, value in members_of(bytes(result.get("capabilities", b""))).items():
                known = capabilities.setdefault(name, {})
                known |= {key: flag for key, flag in object_of(value).items() if flag or key not in known}
            if text := text_of(bytes(result.get("instructions", b""))):
                instructions.append(f"{member}: {text}")
        merged: dict[str, Any] = {"supportedVersions": [MODERN_VERSION], "capabilities": capabilities}
        if instructions:
            merged["instructions"] = "\n\n".join(instructions)
        return merged


def _lifetime(raw: bytes) -> float:
    """Return a ``ttlMs``; 0, which forbids keeping the result, for anything that is none."""
    value = value_of(raw)
    return value if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else 0


def offers_none(error: bytes) -> bool:
    """Return whether an error from a server means that it has no such list; a gateway's error has ``data``."""
    return error_code(error) == METHOD_NOT_FOUND and not messages.member(error, "data")

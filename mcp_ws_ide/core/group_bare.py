"""Calls of a group's tools by the names that their servers gave them, as apps make them. Pure.

An app (extension ``io.modelcontextprotocol/ui``, SEP-1865) was written for one server and knows nothing of groups: its
host passes its call of ``refresh`` on to the group. It goes to the member that has a tool of this name; if several do,
to the only one of them that shows the tool to apps. Knows nothing of requests to members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.lenient_json import object_of
from mcp_ws_ide.core.messages import Message

_UI: Final = b'"ui'
"""How the member of ``_meta`` that describes an app begins in JSON."""

Offers = Mapping[str, Mapping[str, bool]]
"""The members that have a tool, by its own name; for each, whether apps may call the tool."""


def is_for_apps(tool: bytes) -> bool:
    """Return whether a tool, as JSON, says that apps may call it."""
    if _UI not in tool:
        return False
    ui = object_of(messages.member(messages.member(tool, "_meta"), "ui"))
    visibility = ui.get("visibility", ["app"])
    return bool(ui) and isinstance(visibility, list) and "app" in visibility


class BareNames:
    """The tools of a group's members under their own names.

    Attributes:
        waiting: calls that wait until the tools are listed, by the number of the request.
    """

    def __init__(self, members: Sequence[str], separator: str) -> None:
        self.waiting: dict[int, Message] = {}
        self._members, self._separator = members, separator
        self._offers: Offers = {}

    def learn(self, offers: Offers) -> None:
        """Take the tools of a list."""
        self._offers = offers

    def knows(self, name: str) -> bool:
        """Return whether a member is known to have a tool of this name."""
        return name in self._offers

    def member_of(self, name: str) -> str | None:
        """Return the member to which a call of this name goes; None if none has it, or several."""
        offers = self._offers.get(name, {})
        candidates = [member for member, for_apps in offers.items() if for_apps or len(offers) == 1]
        return candidates[0] if len(candidates) == 1 else None

    def refusal(self, name: str) -> str:
        """Return the text of the error for a call of this name."""
        offers = self._offers.get(name, {})
        if not offers:
            prefixes = ", ".join(member + self._separator for member in self._members)
            return f"Unknown tool: names begin with one of {prefixes}"
        names = ", ".join(f"{member}{self._separator}{name}" for member in self._members if member in offers)
        return f"Unknown tool: several members have {name[:200]!r}; call one of {names}"

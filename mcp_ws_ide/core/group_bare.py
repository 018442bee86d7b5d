"""Calls of a group's tools and prompts by the names that their servers gave them. Pure.

Apps make them: an app (extension ``io.modelcontextprotocol/ui``, SEP-1865) was written for one server and knows nothing
of groups; its host passes its call of ``refresh`` on to the group. And in a group without prefixes all clients do. A
call goes to the member that has a tool of this name; if several do, to the only one of them that shows the tool to
apps. Knows nothing of requests to members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.lenient_json import object_of, text_of
from mcp_ws_ide.core.messages import Message

_UI: Final = b'"ui'
"""How the member of ``_meta`` that describes an app begins in JSON."""

LIST_OF: Final = {
    "tools/call": "tools/list",
    "prompts/get": "prompts/list",
    "completion/complete": "prompts/list",
}
"""The list that has the names of a call, by method."""
Offers = Mapping[str, Mapping[str, bool]]
"""The members that have a tool or prompt, by its own name; for each, whether apps may call it."""


def name_in(message: Message) -> str:
    """Return the name that a call has: of the tool, or of the prompt, also of one whose argument is to be completed."""
    params = message.params
    if message.method_name == "completion/complete":
        params = messages.member(params, "ref")
    return text_of(messages.member(params, "name"))


def is_for_apps(tool: bytes) -> bool:
    """Return whether a tool, as JSON, says that apps may call it."""
    if _UI not in tool:
        return False
    ui = object_of(messages.member(messages.member(tool, "_meta"), "ui"))
    visibility = ui.get("visibility", ["app"])
    return bool(ui) and isinstance(visibility, list) and "app" in visibility


class BareNames:
    """The tools and prompts of a group's members under their own names.

    Attributes:
        waiting: calls that wait until the names are listed, by the number of the request.
    """

    def __init__(self, members: Sequence[str], separator: str) -> None:
        self.waiting: dict[int, Message] = {}
        self._members, self._separator = members, separator
        self._offers: dict[str, Offers] = {}

    def learn(self, method: str, offers: Offers) -> None:
        """Take the names of a list, which this method returned."""
        self._offers[method] = offers

    def _of(self, method: str, name: str) -> Mapping[str, bool]:
        return self._offers.get(LIST_OF[method], {}).get(name, {})

    def knows(self, method: str, name: str) -> bool:
        """Return whether a member is known to have what this method calls by this name."""
        return bool(self._of(method, name))

    def member_of(self, method: str, name: str) -> str | None:
        """Return the member to which a call of this name goes; None if none has it, or several."""
        offers = self._of(method, name)
        candidates = [member for member, for_apps in offers.items() if for_apps or len(offers) == 1]
        return candidates[0] if len(candidates) == 1 else None

    def refusal(self, method: str, name: str) -> str:
        """Return the text of the error for a call of this name."""
        offers, kind = self._of(method, name), "tool" if method == "tools/call" else "prompt"
        if not offers:
            prefixes = ", ".join(member + self._separator for member in self._members)
            return f"Unknown {kind}: names begin with one of {prefixes}"
        names = ", ".join(f"{member}{self._separator}{name}" for member in self._members if member in offers)
        return f"Unknown {kind}: several members have {name[:200]!r}; call one of {names}"

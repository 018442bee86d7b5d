"""What a user can decide about a client, and what the form says that they have decided. Knows no HTTP."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.signin.answers import RefusedError

DAY: Final = 86400
LIFETIMES: Final = {
    3600: "1 hour",
    DAY: "1 day",
    7 * DAY: "7 days",
    30 * DAY: "30 days",
    90 * DAY: "90 days",
    365 * DAY: "1 year",
}
"""How long a user can approve a client for, in seconds."""
DEFAULT_LIFETIME: Final = 30 * DAY
MAX_FORM: Final = 256 << 10
"""Longest form, in bytes."""
MAX_TOOLS: Final = 500
"""Tools, or patterns of tools, that a user can choose from."""
MAX_PATTERN: Final = 200
"""Characters of one of them."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a request leaves to the user.

    Attributes:
        servers: the servers that the resource needs, or, if the client names no resource, those to choose from.
        resource: the resource, ``""`` if the client names none.
        tools: whether the approval can be limited to some tools.
    """

    servers: tuple[str, ...]
    resource: str
    tools: bool

    @property
    def selectable(self) -> bool:
        """Whether the user chooses the servers."""
        return not self.resource

    @property
    def listable(self) -> str:
        """The server whose tools can be listed, so that the user can tick them; ``""`` for none."""
        return self.servers[0] if self.resource and self.tools else ""


class Form:
    """A form as the browser sent it.

    Raises:
        RefusedError: it has too many fields.
    """

    def __init__(self, body: bytes) -> None:
        try:
            self._fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=2 * MAX_TOOLS + 100)
        except ValueError:
            raise RefusedError("the form has too many fields") from None

    def field(self, name: str) -> str:
        """Return the first value of a field; ``""`` if there is none."""
        return self.all(name)[0] if self.all(name) else ""

    def all(self, name: str) -> list[str]:
        """Return all values of a field."""
        return self._fields.get(name, [])

    @property
    def seconds(self) -> int:
        """How long the client may use the servers.

        Raises:
            RefusedError: the page does not offer this.
        """
        text = self.field("seconds")
        if not text.isdecimal() or int(text) not in LIFETIMES:
            raise RefusedError("the form names no lifetime of those on the page")
        return int(text)

    def servers(self, choice: Choice) -> tuple[str, ...]:
        """Return the servers that the client may use.

        Raises:
            RefusedError: there is none.
        """
        servers = choice.servers
        if choice.selectable:
            ticked = self.all("servers")
            servers = tuple(name for name in servers if name in ticked)
        if not servers:
            raise RefusedError("no server was chosen; go back, and tick at least one")
        return servers

    def rules(self, choice: Choice) -> ToolRules | None:
        """Return which tools the client may use; None for all.

        Raises:
            RefusedError: there is none, or there are too many.
        """
        if not choice.tools:
            return None
        listed = dict.fromkeys(self.all("listed"))
        if listed:
            return self._ticked(list(listed))
        patterns = tuple(dict.fromkeys(self.field("tools").split()))
        if len(patterns) > MAX_TOOLS or any(len(pattern) > MAX_PATTERN for pattern in patterns):
            raise RefusedError(f"at most {MAX_TOOLS} tools of {MAX_PATTERN} characters can be named")
        return ToolRules(allow=patterns) if patterns else None

    def _ticked(self, listed: list[str]) -> ToolRules | None:
        ticked = self.all("tool")
        if "later" in self.all("others"):
            denied = tuple(glob.escape(name) for name in listed if name not in ticked)
            return ToolRules(deny=denied) if denied else None
        allowed = tuple(glob.escape(name) for name in listed if name in ticked)
        if not allowed:
            raise RefusedError("no tool was chosen; go back, and tick at least one")
        return ToolRules(allow=allowed)

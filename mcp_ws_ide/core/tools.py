"""Allow and deny lists of a server and of a gateway token: the tools that a client may see and call. Pure.

Patterns are those of :mod:`fnmatch`; they match whole names, case-sensitively. A denied tool is neither listed nor
callable.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

import msgspec
from msgspec import Raw

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.lenient_json import members_of
from mcp_ws_ide.core.messages import Message
from mcp_ws_ide.errors import INVALID_PARAMS


class ToolRules(msgspec.Struct, frozen=True):
    """Allow and deny lists.

    Attributes:
        allow: patterns of which a name must match one; None allows every name.
        deny: patterns of which a name must match none.
    """

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()

    def permit(self, name: str) -> bool:
        """Return whether a tool of this name may be used."""
        allowed = self.allow is None or any(fnmatchcase(name, pattern) for pattern in self.allow)
        return allowed and not any(fnmatchcase(name, pattern) for pattern in self.deny)


class _Tool(msgspec.Struct):
    name: str = ""


class _List(msgspec.Struct):
    tools: list[Raw] = []


class _Call(msgspec.Struct):
    name: str = ""


def refusal(rules: tuple[ToolRules, ...], raw_id: bytes, params: bytes) -> Message | None:
    """Return the error for a ``tools/call`` that the rules forbid; None if they permit it.

    The error reads like the one for a tool that does not exist.
    """
    try:
        name = msgspec.json.decode(params, type=_Call).name
    except (msgspec.DecodeError, RecursionError):
        return messages.error(raw_id, INVALID_PARAMS, "params.name must be a string")
    alike = [member for member in members_of(params) if member.casefold() == "name" and member != "name"]
    if alike:  # some servers ignore the case of members, and would take this one
        text = (
            f"params has {alike[0]!r} beside 'name', which is refused where tools are restricted; remove it"
        )
        return messages.error(raw_id, INVALID_PARAMS, text)
    if all(rule.permit(name) for rule in rules):
        return None
    return messages.error(raw_id, INVALID_PARAMS, f"Unknown tool: {name[:200]}")


def visible(rules: tuple[ToolRules, ...], result: bytes) -> bytes:
    """Return a result of ``tools/list`` without forbidden tools; the others keep their bytes."""
    try:
        tools = msgspec.json.decode(result, type=_List).tools
        kept = [tool for tool in tools if all(rule.permit(_name(tool)) for rule in rules)]
    except (msgspec.DecodeError, RecursionError):
        kept = []
    return messages.with_member(result, "tools", msgspec.json.encode(kept))


def _name(tool: Raw) -> str:
    return msgspec.json.decode(tool, type=_Tool).name

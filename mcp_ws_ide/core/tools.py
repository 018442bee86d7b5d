"""Which tools of a server a client may see and call: allow and deny lists, of the server and of a gateway token. Pure.

Patterns are those of :mod:`fnmatch`, on whole names, case-sensitive. What is denied is neither listed nor callable.
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
        allow: patterns, one of which a name must match; None allows every name.
        deny: patterns, none of which it may match.
    """

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()

    def permit(self, name: str) -> bool:
        """Whether a tool of this name may be used."""
        allowed = self.allow is None or any(fnmatchcase(name, pattern) for pattern in self.allow)
        return allowed and not any(fnmatchcase(name, pattern) for pattern in self.deny)


class _Tool(msgspec.Struct):
    name: str = ""


class _List(msgspec.Struct):
    tools: list[Raw] = []


class _Call(msgspec.Struct):
    name: str = ""


def refusal(rules: tuple[ToolRules, ...], raw_id: bytes, params: bytes) -> Message | None:
    """The error for a ``tools/call`` that the rules forbid; None if they permit it.

    It reads like the error for a tool that does not exist.
    """
    try:
        name = msgspec.json.decode(params, type=_Call).name
    except (msgspec.DecodeError, RecursionError):
        return messages.error(raw_id, INVALID_PARAMS, "params.name must be a text")
    alike = [member for member in members_of(params) if member.casefold() == "name" and member != "name"]
    if alike:  # some servers match members without regard to case, and would take this one
        words = f"where tools are restricted, params must not hold {alike[0]!r} beside 'name'"
        return messages.error(raw_id, INVALID_PARAMS, words)
    if all(rule.permit(name) for rule in rules):
        return None
    return messages.error(raw_id, INVALID_PARAMS, f"Unknown tool: {name[:200]}")


def visible(rules: tuple[ToolRules, ...], result: bytes) -> bytes:
    """A result of ``tools/list`` without what the rules forbid; what stays keeps its bytes."""
    try:
        tools = msgspec.json.decode(result, type=_List).tools
        kept = [tool for tool in tools if all(rule.permit(_name(tool)) for rule in rules)]
    except (msgspec.DecodeError, RecursionError):
        kept = []
    return messages.with_member(result, "tools", msgspec.json.encode(kept))


def _name(tool: Raw) -> str:
    return msgspec.json.decode(tool, type=_Tool).name

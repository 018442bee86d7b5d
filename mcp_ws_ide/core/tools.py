"""Allow and deny lists of a server and of a gateway token: the tools that a client may see and call. Pure.

Patterns are those of :mod:`fnmatch`; they match whole names, case-sensitively. A denied tool is neither listed nor
callable, and neither is one whose name only looks different: in case, width, blanks around it or invisible characters.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.methods import TASK_LIST, TASK_METHODS, TASK_RESULT
from mcp_ws_ide.core.lenient_json import encode, items_of, members_of
from mcp_ws_ide.core.messages import REQUEST, Message
from mcp_ws_ide.errors import INVALID_PARAMS, INVALID_REQUEST


class ToolRules(msgspec.Struct, frozen=True):
    """Allow and deny lists.

    Attributes:
        allow: patterns of which a name must match one; None allows every name.
        deny: patterns of which a name must match none.
    """

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()

    def permit(self, name: str, others: tuple[str, ...] = ()) -> bool:
        """Return whether a tool of this name may be used; none of its other names may be denied either."""
        allowed = self.allow is None or any(fnmatchcase(name, pattern) for pattern in self.allow)
        return allowed and not any(
            _denies(pattern, each) for each in (name, *others) for pattern in self.deny
        )


def _denies(pattern: str, name: str) -> bool:
    """Return whether a pattern matches a name, or what a tolerant server may take it for."""
    return fnmatchcase(name, pattern) or fnmatchcase(_plain(name), _plain(pattern))


def _plain(name: str) -> str:
    """Return a name without what servers may ignore: compatibility forms, case, invisible characters, outer blanks."""
    if name.isascii() and name.isprintable():
        return name.strip().lower()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(c for c in folded if unicodedata.category(c) not in ("Cc", "Cf")).strip()


class GroupNames(NamedTuple):
    """How a group shows the names of its members' tools.

    Attributes:
        prefixes: what names with a prefix begin with; empty for a single server.
        bare: whether tools are shown without, unless two members have the same name.
    """

    prefixes: tuple[str, ...] = ()
    bare: bool = False

    def others(self, name: str) -> tuple[str, ...] | None:
        """Return the other names of the tools that a call of this name may reach; None if it must not pass.

        Rules are about the names that lists show, and a name without a prefix is none of those unless the group shows
        such.
        """
        if not self.prefixes:
            return ()
        own = tuple(name.removeprefix(prefix) for prefix in self.prefixes if name.startswith(prefix))
        if not self.bare:
            return () if own else None
        return own or tuple(prefix + name for prefix in self.prefixes)


NO_GROUP: Final = GroupNames()
"""Stands for a single server."""


class _Tool(msgspec.Struct):
    name: str = ""


class _Call(msgspec.Struct):
    name: str = ""


CALL: Final = "tools/call"
"""The method that runs a tool."""
LISTEN: Final = "subscriptions/listen"
NAMES_TASK: Final = frozenset({*TASK_METHODS, TASK_RESULT, LISTEN})
"""Methods whose params may name a task, and so the result of a tool."""


def problem(
    rules: tuple[ToolRules, ...], message: Message, group: GroupNames = NO_GROUP
) -> tuple[int, str] | None:
    """Return the code and text of the error for a message from a client that must not pass; None if it may.

    Besides calls of tools that a rule forbids, this refuses what a server could read as another message. JSON parsers
    differ: some ignore the case of member names (Go, and others if told to), take the first of two members of one name,
    or end a string at U+0000. The rules are checked against one reading, so there must be no other.

    A forbidden call gets the error of a tool that does not exist. Whose task a request may name is not decided here.

    Args:
        rules: all of them must permit the tool.
        group: how the server shows names, if it is a group.
        message: a message from the client; it must be forwarded as :func:`~mcp_ws_ide.core.messages.with_id` builds it.
    """
    text = _other_reading(message)
    if text is None and message.method_name == CALL and message.kind is not REQUEST:
        text = f"{CALL} needs an id where tools are restricted"
    if text is not None:
        return INVALID_REQUEST, text
    if message.method_name == CALL:
        text = _forbidden(rules, message.params, group)
    elif message.method_name in NAMES_TASK:
        text = _other_params(message.params, _TASK_PARAMS)
        if text is None and message.method_name == LISTEN:
            text = _other_params(messages.member(message.params, "notifications"), _FILTERS)
    return None if text is None else (INVALID_PARAMS, text)


def _forbidden(rules: tuple[ToolRules, ...], params: bytes, group: GroupNames) -> str | None:
    try:
        name = msgspec.json.decode(params, type=_Call).name
    except (msgspec.DecodeError, RecursionError):
        return "params.name must be a string"
    text = _other_call(params, name)
    others = group.others(name)
    if text is None and (others is None or not all(rule.permit(name, others) for rule in rules)):
        return f"Unknown tool: {name[:200]}"
    return text


def visible(rules: tuple[ToolRules, ...], message: Message, group: GroupNames = NO_GROUP) -> Message:
    """Return a result without forbidden tools; a message without a list of tools is returned as it came.

    The other tools keep their bytes.
    """
    members = members_of(message.result)
    lists = [name for name in members if name == "tools" or _folded(name) == "tools"]
    if not lists:
        return message
    for name in lists:
        if bytes(memoryview(members[name])[:1]) == b"[":
            members[name] = Raw(encode(_permitted(rules, members[name], group)))
    return messages.rebuild(message, message.id, result=encode(members))


def _permitted(rules: tuple[ToolRules, ...], tools: Raw, group: GroupNames) -> list[Raw]:
    return [tool for tool in items_of(bytes(tools)) if _permits(rules, tool, group)]


def _permits(rules: tuple[ToolRules, ...], tool: Raw, group: GroupNames) -> bool:
    """Return whether a tool may be seen; one whose name cannot be read may not, and hides no other."""
    try:
        name = msgspec.json.decode(tool, type=_Tool).name
    except (msgspec.DecodeError, RecursionError):
        return False
    return all(rule.permit(name, group.others(name) or ()) for rule in rules)


# --- other readings of a message ------------------------------------------------------------------

_REFUSED: Final = "refused where tools are restricted"


def _folded(name: str) -> str:
    """Return a name as the most tolerant parsers compare it.

    They ignore case by Unicode's rules (U+212A for ``k``, U+017F for ``s``, U+0131 for ``i``), compatibility forms and
    accents, dashes and underscores (Go's encoding/json/v2), white space and control characters, and whatever follows a
    U+0000 (parsers in C).
    """
    plain = unicodedata.normalize("NFKD", name.partition("\0")[0])
    return "".join(character for character in plain.upper().casefold() if character.isalnum())


_ENVELOPE: Final = {_folded(name): name for name in ("jsonrpc", "id", "method", "params", "result", "error")}
_PARAMS: Final = {
    _folded(name): name for name in ("name", "arguments", "_meta", "task", "inputResponses", "requestState")
}
_TASK_PARAMS: Final = {
    _folded(name): name for name in ("taskId", "inputResponses", "_meta", "notifications", "requestState")
}
_FILTERS: Final = {_folded("taskIds"): "taskIds"}
_METHODS: Final = {_folded(method): method for method in (CALL, TASK_LIST, *NAMES_TASK)}


def _other_reading(message: Message) -> str | None:
    """Return what is ambiguous about an envelope; None if nothing is."""
    method = message.method_name
    meant = _METHODS.get(_folded(method), method)
    if method != meant:
        return f"method {method[:200]!r} can be read as {meant!r}, {_REFUSED}"
    if not message.extra:
        return None
    return _alike("the message", members_of(b"{%b}" % message.extra[1:]), _ENVELOPE)


def _other_call(params: bytes, name: str) -> str | None:
    """Return what is ambiguous about the params of a call; None if nothing is."""
    if "\0" in name:
        return f"params.name contains U+0000, {_REFUSED}"
    return _other_params(params, _PARAMS)


def _other_params(params: bytes, known: dict[str, str]) -> str | None:
    """Return what is ambiguous about the members of params, of which these are known; None if nothing is."""
    members = members_of(params)
    if len(encode(members)) != len(params):  # white space, escapes or duplicates
        try:
            names = _names(params)
        except (ValueError, RecursionError) as error:
            return f"params cannot be searched for duplicate members: {error}"
        if len(names) > len(members):
            twice = next(member for member in members if names.count(member) > 1)
            return f"params has {twice[:200]!r} twice, {_REFUSED}; remove one"
    return _alike("params", members, known)


def _names(params: bytes) -> list[str]:
    """Return the names of all members of a JSON object, in order and with duplicates."""
    outermost: list[str] = json.loads(
        params, object_pairs_hook=lambda pairs: [pair[0] for pair in pairs], parse_int=str, parse_float=str
    )
    return outermost


def _alike(where: str, members: Iterable[str], known: dict[str, str]) -> str | None:
    for member in members:
        name = known.get(_folded(member), member)
        if name != member:
            return f"{where} has {member[:200]!r}, which some servers read as {name!r}, {_REFUSED}; remove it"
    return None

"""Mend the results of calls that clients cannot read. Pure.

A content item that means one thing is mended; any other is replaced by a text that shows it, so that it costs neither
the other items nor what it says. :mod:`mcp_ws_ide.core.readable_results` tells which results need this;
:mod:`mcp_ws_ide.core.content_items` mends the items.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from msgspec import Raw

from mcp_ws_ide.core.content_items import (
    as_text,
    read_contents,
    read_item,
    read_prompt_message,
    read_shown_item,
    read_shown_message,
    text_item,
)
from mcp_ws_ide.core.lenient_json import encode, items_of, members_of, text_of, value_of
from mcp_ws_ide.core.list_items import fault_texts
from mcp_ws_ide.core.readable_results import is_handshake, is_readable
from mcp_ws_ide.core.result_types import MAX_VALUES

_NOTHING: Final = (b"", b"null")
_FALSE: Final = ("", "false", "no", "0", "none", "null")
_NOT_OFFERED: Final = (b"null", b"false")
_FLAGS: Final = ("listChanged", "subscribe")
OLDEST: Final = "2024-11-05"
"""The protocol version of a server that names none: the one with the fewest features."""
_OTHERS: Final = frozenset({"inputRequests", "task"})
"""Members of the results that stand for one which comes later (MCP 2025-11-25, tasks; 2026-07-28, input_required)."""

_Faults = dict[str, list[str]]
"""The parts of a result that have a fault, by the fault."""
_ReadItem = Callable[[bytes], tuple[list[Raw], str]]
"""Returns what to show in place of an item, and what was wrong with it; ``""`` for nothing."""


def read_result(method: str, result: bytes, *, strict: bool) -> tuple[bytes, dict[str, str]]:
    """Return the result of a call as clients can read it, and a notice of each kind of fault.

    Args:
        method: the method that was called, one of :data:`CALLS`.
        result: a JSON object.
        strict: whether the client is of the handshake era, in which structured content is an object.

    Returns:
        ``result`` itself and no notices, unless something was wrong that can be mended.
    """
    members = members_of(result)
    complete = text_of(bytes(members.get("resultType", b'"complete"'))) == "complete"
    if not complete or not members.keys().isdisjoint(_OTHERS) or not (members or result.strip() == b"{}"):
        return result, {}
    faults: _Faults = {}
    call = CALLS[method]
    if call.key in members and call.is_readable(result, strict):
        return result, {}
    _mend_meta(members, faults)
    call.mend(members, faults, strict)
    mended = encode(members)
    if not faults or not call.is_readable(_looked_at(call, members, strict), strict):
        return result, {}
    return mended, fault_texts(method, faults)


def _looked_at(call: Call, members: dict[str, Raw], strict: bool) -> bytes:
    """Return the members that clients look at, and that must be of one type."""
    names = {call.key, *call.others, "_meta"} - (set() if strict else {"structuredContent"})
    return encode({name: raw for name, raw in members.items() if name in names})


def _mend_meta(members: dict[str, Raw], faults: _Faults) -> None:
    if bytes(members.get("_meta", b"{}"))[:1] != b"{":
        del members["_meta"]
        _note(faults, "_meta", "it was ignored, because it is not an object")


def _note(faults: _Faults, part: str, fault: str) -> None:
    faults.setdefault(fault, []).append(part)


def _mend_items(key: str, members: dict[str, Raw], faults: _Faults, read: _ReadItem) -> None:
    """Mend the items under ``key``; a lone one in place of an array is one item."""
    given = bytes(members.get(key, b"null"))
    if given in _NOTHING:
        members[key] = Raw(b"[]")
        return _note(faults, key, "it was read as an array without items, because there is none")
    if given[:1] != b"[":
        _note(faults, key, "it was read as the only item, because it is not an array")
    items: list[Raw] = []
    for number, raw in enumerate(items_of(given) if given[:1] == b"[" else [Raw(given)], 1):
        shown, fault = read(bytes(raw))
        items += shown
        if fault:
            _note(faults, f"item {number}", fault)
    members[key] = Raw(encode(items))
    return None


# --- each kind of call ----------------------------------------------------------------------------


def _mend_tool_result(members: dict[str, Raw], faults: _Faults, strict: bool) -> None:
    _mend_error_flag(members, faults)
    structured = bytes(members.get("structuredContent", b""))
    if strict and structured and structured[:1] != b"{":
        del members["structuredContent"]
        what = "it is null" if structured == b"null" else "it is not an object"
        _note(faults, "structuredContent", f"it was removed, because {what}")
    if bytes(members.get("content", b"null")) in _NOTHING:
        shown = _in_place_of_content(members, structured)
        members["content"] = Raw(encode(shown))
        return _note(faults, "content", "it is missing" + (", the result is shown as text" if shown else ""))
    if strict and structured not in _NOTHING and structured[:1] != b"{" and members["content"] == Raw(b"[]"):
        members["content"] = Raw(encode([text_item(structured.decode())]))
    return _mend_items("content", members, faults, read_shown_item if strict else read_item)


def _in_place_of_content(members: dict[str, Raw], structured: bytes) -> list[Raw]:
    """Return the items of a result without content: its structured content, or whatever else it has, as text."""
    if structured not in _NOTHING:
        return [text_item(structured.decode())]
    rest = {
        name: raw
        for name, raw in members.items()
        if name not in ("content", "isError", "_meta", "resultType")
    }
    if not rest:
        return []
    if rest.keys() <= {"type", "text", "data", "mimeType", "resource", "annotations"}:  # an item in its place
        return read_item(encode(rest))[0]
    return [as_text(encode(rest))]


def _mend_error_flag(members: dict[str, Raw], faults: _Faults) -> None:
    given = bytes(members.get("isError", b"false"))
    if given in (b"true", b"false"):
        return
    value = value_of(given)
    failed = value.strip().lower() not in _FALSE if isinstance(value, str) else bool(value)
    members["isError"] = Raw(b"true" if failed else b"false")
    _note(faults, "isError", f"it was read as {failed}".lower())


def _mend_prompt(members: dict[str, Raw], faults: _Faults, strict: bool) -> None:
    description = bytes(members.get("description", b'""'))
    if description[:1] != b'"':
        del members["description"]
        _note(faults, "description", "it was ignored, because it is not a string")
    _mend_items("messages", members, faults, read_shown_message if strict else read_prompt_message)


def _mend_contents(members: dict[str, Raw], faults: _Faults, strict: bool) -> None:
    if "contents" not in members and "content" in members:
        members["contents"] = members.pop("content")
        _note(faults, "content", "it was read as a list of content items")
    elif "contents" not in members and not members.keys().isdisjoint({"text", "blob"}):
        members["contents"] = Raw(encode(members))
        _note(faults, "contents", "it is missing, the result was read as the only item")
    _mend_items("contents", members, faults, read_contents)


def _mend_completion(members: dict[str, Raw], faults: _Faults, strict: bool) -> None:
    completion = members_of(bytes(members.get("completion", b"")))
    given = bytes(completion.get("values", b""))
    values = [raw for raw in items_of(given) if bytes(raw)[:1] not in (b"{", b"[", b"n")]
    texts = [Raw(raw if bytes(raw)[:1] == b'"' else encode(bytes(raw).decode())) for raw in values]
    kept: dict[str, Raw] = {"values": Raw(encode(texts[:MAX_VALUES]))}
    if isinstance(value_of(bytes(completion.get("total", b""))), int):
        kept["total"] = completion["total"]
    if bytes(completion.get("hasMore", b"")) in (b"true", b"false"):
        kept["hasMore"] = completion["hasMore"]
    if len(texts) > MAX_VALUES:
        kept["hasMore"] = Raw(b"true")
        _note(faults, "completion", f"values after the first {MAX_VALUES} were omitted")
    elif encode(kept) != encode(completion):
        _note(faults, "completion", "parts that clients could not read were omitted")
    members["completion"] = Raw(encode({**completion, **kept} if completion.keys() == kept.keys() else kept))


def _mend_handshake(members: dict[str, Raw], faults: _Faults, strict: bool) -> None:
    if bytes(members.get("protocolVersion", b""))[:1] != b'"':
        members["protocolVersion"] = Raw(encode(OLDEST))
        _note(faults, "protocolVersion", f"it was read as {OLDEST}, because it is not a string")
    offers = members_of(bytes(members.get("capabilities", b"")))
    offered = {name: _offer(bytes(raw)) for name, raw in offers.items() if bytes(raw) not in _NOT_OFFERED}
    if bytes(members.get("capabilities", b""))[:1] != b"{" or offered != offers:
        members["capabilities"] = Raw(encode(offered))
        _note(faults, "capabilities", "parts that clients could not read were completed or ignored")
    _mend_server_info(members, faults)
    if bytes(members.get("instructions", b'""'))[:1] != b'"':
        del members["instructions"]
        _note(faults, "instructions", "it was ignored, because it is not a string")


def _offer(given: bytes) -> Raw:
    """Return a capability: an object, whose members of the wrong type are left out."""
    kept = {
        name: raw
        for name, raw in members_of(given).items()
        if name not in _FLAGS or bytes(raw) in (b"true", b"false")
    }
    return Raw(given if given[:1] == b"{" and len(kept) == len(members_of(given)) else encode(kept))


def _mend_server_info(members: dict[str, Raw], faults: _Faults) -> None:
    given = bytes(members.get("serverInfo", b""))
    info = {"name": Raw(given)} if given[:1] == b'"' else members_of(given)
    usable = {name: raw for name, raw in info.items() if name != "title" or bytes(raw)[:1] == b'"'}
    for name in ("name", "version"):
        raw = bytes(usable.get(name, b"null"))
        if raw[:1] != b'"':
            usable[name] = Raw(encode("unknown" if raw == b"null" else raw.decode()))
    if usable != info or given[:1] != b"{":
        members["serverInfo"] = Raw(encode(usable))
        _note(faults, "serverInfo", "it was completed with a name and a version")


class Call(NamedTuple):
    """A kind of call.

    Attributes:
        key: the member that its result must have.
        others: members that clients look at beside it.
        mend: mends these members, and notes what was wrong; the last argument is ``strict`` of :func:`read_result`.
        is_readable: whether clients can read a result; the last argument is ``strict``, too.
    """

    key: str
    others: tuple[str, ...]
    mend: Callable[[dict[str, Raw], _Faults, bool], None]
    is_readable: Callable[[bytes, bool], bool] = is_readable


_TOOL: Final = Call("content", ("structuredContent", "isError"), _mend_tool_result)
CALLS: Final = {
    "tools/call": _TOOL,
    "tasks/result": _TOOL,
    "prompts/get": Call("messages", ("description",), _mend_prompt),
    "resources/read": Call("contents", (), _mend_contents),
    "completion/complete": Call("completion", (), _mend_completion),
    "initialize": Call(
        "protocolVersion", ("capabilities", "serverInfo", "instructions"), _mend_handshake, is_handshake
    ),
}
"""The calls whose results are mended."""

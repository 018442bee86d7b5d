"""Results of a modern server, for a client of the handshake era (docs/reference/eras.md). Pure."""

from __future__ import annotations

from msgspec import Raw

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.client_tasks import may_be_task
from mcp_ws_ide.core.bridges.methods import LISTS, SERVER_INFO_KEY
from mcp_ws_ide.core.call_results import CALLS, read_result
from mcp_ws_ide.core.lenient_json import encode, items_of, members_of
from mcp_ws_ide.core.list_items import read_list, with_note
from mcp_ws_ide.core.messages import Message
from mcp_ws_ide.core.shown_uris import READ, shown_contents


def legacy_result(method: str, message: Message, server_name: str, *, may_be_tasks: bool) -> bytes:
    """Return a result as clients of the handshake era read it: schemas and structured content are objects.

    Args:
        method: the method that was called.
        message: the response.
        server_name: names the server in notices of what had to be changed.
        may_be_tasks: whether tools of a list may be run as tasks, unless the server says otherwise.
    """
    result = without_modern_members(message.result)
    notices: dict[str, str] = {}
    if method in ("tools/list", "resources/list"):
        result, notices = read_list(LISTS[method], result, strict=True)
    elif message.odd and method in CALLS:
        result, notices = read_result(method, result, strict=True)
    if method == "tools/list" and may_be_tasks:
        tools = [Raw(may_be_task(bytes(tool))) for tool in items_of(messages.member(result, "tools"))]
        result = messages.with_member(result, "tools", encode(tools))
    if method == READ:
        result, more = shown_contents(result)
        notices = {**notices, **more}
    return with_note(result, server_name, notices.values()) if notices else result


def without_modern_members(result: bytes) -> bytes:
    """Return a result without the members of 2026-07-28: strict clients refuse unknown members in an empty result."""
    members = members_of(result)
    for name in ("resultType", "ttlMs", "cacheScope"):
        members.pop(name, None)
    meta = members_of(bytes(members.pop("_meta", b"{}")))
    meta.pop(SERVER_INFO_KEY, None)
    if meta:
        members["_meta"] = Raw(encode(meta))
    return encode(members)

"""MCP methods and ``_meta`` members as tables: those that differ between the eras, and what several parts
have to know about them. Pure."""

from __future__ import annotations

from typing import Any, Final

from mcp_ws_ide.core import messages

INTERACTIVE: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""Requests whose result may be ``input_required`` (2026-07-28)."""
LISTS: Final = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
"""Requests of lists, and the member of the result that has the items."""
READS: Final = frozenset({*LISTS, "server/discover", "ping"})
"""Methods of the requests that change nothing and get one response, so that they may run twice."""
CACHEABLE: Final = frozenset({*LISTS, "resources/read"})
"""Requests whose result carries ``ttlMs`` and ``cacheScope`` (2026-07-28)."""
TASKS: Final = "io.modelcontextprotocol/tasks"
"""The extension in which a server may answer a call with a task (SEP-2663)."""
TASK: Final = "task"
"""``resultType`` of a result that is a task."""
TASK_METHODS: Final = dict.fromkeys(("tasks/get", "tasks/update", "tasks/cancel"), "taskId")
"""Requests of that extension, and the member of ``params`` that names the task."""
TASK_RESULT: Final = "tasks/result"
"""The request for the result of a task of 2025-11-25."""
TASK_LIST: Final = "tasks/list"
"""The request for all tasks of a client of 2025-11-25."""
RELATED_TASK: Final = "io.modelcontextprotocol/related-task"
"""Member of ``_meta`` that names the task which a message belongs to (2025-11-25)."""
NAMED_BY: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri", **TASK_METHODS}
"""The member of ``params`` that the header ``Mcp-Name`` repeats, by method (MCP 2026-07-28, streamable-http, and
SEP-2663)."""
QUESTIONS: Final = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
    "roots/list": "roots",
}
"""What a server may ask its client, and the client capability that it needs."""
LIST_CHANGED: Final = {
    "notifications/tools/list_changed": ("toolsListChanged", "tools"),
    "notifications/prompts/list_changed": ("promptsListChanged", "prompts"),
    "notifications/resources/list_changed": ("resourcesListChanged", "resources"),
}
"""Notifications of the handshake era; for each the member of a subscription that asks for it, and the server capability
it needs."""
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
"""What a modern server sends before the notifications of a subscription."""

CLIENT_INFO_KEY: Final = "io.modelcontextprotocol/clientInfo"
CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
SERVER_INFO_KEY: Final = "io.modelcontextprotocol/serverInfo"
ENVELOPE: Final = (
    messages.PROTOCOL_VERSION_KEY,
    CLIENT_INFO_KEY,
    CAPABILITIES_KEY,
    messages.LOG_LEVEL_KEY,
)
"""Members of ``_meta`` that a server of the handshake era does not know."""

MAX_URIS: Final = 1024
"""Resources that may be followed on one connection; subscriptions beyond that are not acknowledged."""


def without_tasks(capabilities: dict[str, Any]) -> dict[str, Any]:
    """Return capabilities of a client or server, decoded, without tasks of either era: the bridges carry none."""
    kept = {name: value for name, value in capabilities.items() if name != "tasks"}
    extensions = kept.get("extensions")
    if isinstance(extensions, dict) and TASKS in extensions:
        kept["extensions"] = {name: value for name, value in extensions.items() if name != TASKS}
    return kept

"""MCP methods and ``_meta`` members that differ between the eras, as tables that both bridges read. Pure."""

from __future__ import annotations

from typing import Final

from mcp_ws_ide.core import messages

INTERACTIVE: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""Requests whose result may be ``input_required`` (2026-07-28)."""
CACHEABLE: Final = frozenset(
    {"tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"}
)
"""Requests whose result carries ``ttlMs`` and ``cacheScope`` (2026-07-28)."""
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

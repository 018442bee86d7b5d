"""Which requests failed, and why: JSON-RPC errors, results with ``isError``, and requests that got no response."""

from __future__ import annotations

from typing import Any, Final

from mcp_ws_ide.core.bridges.legacy_server import UNSUPPORTED_VERSION
from mcp_ws_ide.inspector.model.difference import content_of
from mcp_ws_ide.inspector.model.records import CLIENT_LEG, Kind, Status, part
from mcp_ws_ide.inspector.model.store import Store

FAILURES: Final = {Status.ERROR: "error", Status.FAILED: "failed", Status.LOST: "lost"}
"""The code of each status that is a failure."""
ENDLESS: Final = frozenset({"subscriptions/listen"})
"""Requests that stay open for as long as they are useful."""
PROBE: Final = "server/discover"
"""The request with which the gateway detects the era of a server."""
HANDSHAKE: Final = "initialize"
"""The request that follows when the response to the probe takes long."""
MAX_TEXT: Final = 2000
"""Characters kept of a reason."""


def failure_of(store: Store, row: int) -> str:
    """Return the code of a request that failed; ``""`` if it did not, or ended as it should.

    A subscription ends with its link, and a server may refuse what the gateway sends to detect its era.
    """
    status = store.status_of(row)
    if status not in FAILURES or is_probe(store, row):
        return ""
    return "" if status is Status.LOST and store.method_of(row) in ENDLESS else FAILURES[status]


def is_probe(store: Store, row: int) -> bool:
    """Return whether a request is the gateway's own, to detect the era of a server, which may refuse or ignore it.

    A server of the handshake era does so with the probe, and one of the modern era with the handshake that the gateway
    sends when the response to the probe takes long.
    """
    if store.lane_of(row) in CLIENT_LEG:
        return False
    return store.method_of(row) == PROBE or (store.method_of(row) == HANDSHAKE and _is_of_modern(store, row))


def _is_of_modern(store: Store, row: int) -> bool:
    """Return whether the response to this request is that of a server that serves the modern era only."""
    answer = store.linked(store.pair, row)
    if answer is None or store.kind_of(answer) is not Kind.ERROR:
        return False
    return bool(part(content_of(store.body(answer).text), "error", "code") == UNSUPPORTED_VERSION)


def reason_of(code: str, content: Any) -> str:
    """Return why a request failed, from its code (:data:`FAILURES`) and its response, if there is one."""
    if code == "lost":
        return "its link or server ended first"
    if not content:
        return "the response was truncated"
    if code == "error":
        return f"{part(content, 'error', 'code')}: {part(content, 'error', 'message')}"[:MAX_TEXT]
    texts = part(content, "result", "content")
    first = part(texts[0], "text") if isinstance(texts, list) and texts else None
    return first[:MAX_TEXT] if isinstance(first, str) else "isError"

"""The few MCP requests that the checks send, in both eras. Written from the specification alone."""

from __future__ import annotations

from typing import Any, Final, Literal

from mcp_ws_ide.version import __version__

Era = Literal["modern", "handshake"]
MODERN_VERSION: Final = "2026-07-28"
HANDSHAKE_VERSION: Final = "2025-11-25"
VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
SUBSCRIPTION_KEY: Final = "io.modelcontextprotocol/subscriptionId"
PROGRAM: Final = {"name": "mcp-ws-conformance", "version": __version__}


def request(
    era: Era, id: Any, method: str, params: dict[str, Any] | None = None, **meta: Any
) -> dict[str, Any]:
    """A request as a client of that era writes it; ``meta`` has further members of ``_meta``."""
    given = dict(params or {})
    if era == "modern":
        meta = {
            VERSION_KEY: MODERN_VERSION,
            "io.modelcontextprotocol/clientInfo": PROGRAM,
            "io.modelcontextprotocol/clientCapabilities": {},
            **meta,
        }
    if meta:
        given["_meta"] = meta
    message = {"jsonrpc": "2.0", "id": id, "method": method}
    return {**message, "params": given} if given else message


def initialize(id: Any) -> dict[str, Any]:
    """The handshake's request."""
    params = {"protocolVersion": HANDSHAKE_VERSION, "capabilities": {}, "clientInfo": PROGRAM}
    return {"jsonrpc": "2.0", "id": id, "method": "initialize", "params": params}


INITIALIZED: Final = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def small(era: Era, id: Any) -> dict[str, Any]:
    """A request that every server of that era answers with a result, at once."""
    return request(era, id, "server/discover" if era == "modern" else "ping")


def call(era: Era, id: Any, tool: str, arguments: dict[str, Any], **meta: Any) -> dict[str, Any]:
    """A call of a tool."""
    return request(era, id, "tools/call", {"name": tool, "arguments": arguments}, **meta)


def is_response(message: Any, id: Any) -> bool:
    """Return whether a message answers the request with that id: the same value of the same JSON type."""
    if not isinstance(message, dict) or "id" not in message or "method" in message:
        return False
    return type(message["id"]) is type(id) and message["id"] == id


def answers_any(message: Any) -> bool:
    """Return whether a message is a response, whatever its id."""
    has_outcome = isinstance(message, dict) and ("result" in message or "error" in message)
    return has_outcome and "method" not in message


def error_code(message: Any) -> int | None:
    """The code of an error response; None for anything else."""
    error = message.get("error") if isinstance(message, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) else None


def is_taken(response: Any) -> bool:
    """Return whether a response shows that its request was understood as a message, whatever came of it."""
    return error_code(response) not in (-32600, -32700)

"""JSON-RPC messages as the MCP SDK models them, in both of its major versions.

Importing the SDK takes three quarters of a second, so import this module only where messages are passed to the SDK, and
only when that happens.
"""

from __future__ import annotations

from typing import Any

from mcp.shared.message import SessionMessage

try:  # mcp 2.x
    from mcp_types import jsonrpc_message_adapter

    def parse_message(data: bytes) -> Any:
        """Return one JSON-RPC message as the SDK models it."""
        return jsonrpc_message_adapter.validate_json(data, by_name=False)

except ImportError:  # mcp 1.x
    from mcp.types import JSONRPCMessage

    def parse_message(data: bytes) -> Any:
        """Return one JSON-RPC message as the SDK models it."""
        return JSONRPCMessage.model_validate_json(data)


def as_message(data: bytes) -> SessionMessage | Exception:
    """Return a message for the SDK's streams; one that cannot be parsed is passed as an exception, as the SDK does."""
    try:
        return SessionMessage(parse_message(data))
    except ValueError as error:
        return error


def as_text(message: SessionMessage) -> bytes:
    """Return a message of the SDK as JSON."""
    text: str = message.message.model_dump_json(by_alias=True, exclude_unset=True)
    return text.encode()

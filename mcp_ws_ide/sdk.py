"""JSON-RPC messages as the SDK models them, for both of its majors.

The SDK takes three quarters of a second to import; so only what hands messages to it imports this, and late.
"""

from __future__ import annotations

from typing import Any

from mcp.shared.message import SessionMessage

try:  # mcp 2.x
    from mcp_types import jsonrpc_message_adapter

    def parse_message(data: bytes) -> Any:
        """One JSON-RPC message as the SDK models it."""
        return jsonrpc_message_adapter.validate_json(data, by_name=False)

except ImportError:  # mcp 1.x
    from mcp.types import JSONRPCMessage

    def parse_message(data: bytes) -> Any:
        """One JSON-RPC message as the SDK models it."""
        return JSONRPCMessage.model_validate_json(data)


def as_message(data: bytes) -> SessionMessage | Exception:
    """As the SDK's transports do: what cannot be parsed is handed over as an exception."""
    try:
        return SessionMessage(parse_message(data))
    except ValueError as error:
        return error


def as_text(message: SessionMessage) -> bytes:
    """A message of the SDK as JSON."""
    text: str = message.message.model_dump_json(by_alias=True, exclude_unset=True)
    return text.encode()

"""JSON-RPC messages as the MCP SDK models them, in both of its major versions.

Importing the SDK takes three quarters of a second, so import this module only where messages are passed to the SDK, and
only when that happens.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final

from mcp.shared.message import SessionMessage

from mcp_ws_ide.errors import INTERNAL_ERROR

MAX_DETAIL: Final = 300
"""Bytes that are shown of a response that the SDK cannot read."""

try:  # mcp 2.x
    from mcp_types import jsonrpc_message_adapter

    def parse_message(data: bytes) -> Any:
        """Return one JSON-RPC message as the SDK models it."""
        return jsonrpc_message_adapter.validate_json(data, by_name=False)

    def validate_message(value: Any) -> Any:
        """Return one decoded JSON-RPC message as the SDK models it."""
        return jsonrpc_message_adapter.validate_python(value, by_name=False)

except ImportError:  # mcp 1.x
    from mcp.types import JSONRPCMessage

    def parse_message(data: bytes) -> Any:
        """Return one JSON-RPC message as the SDK models it."""
        return JSONRPCMessage.model_validate_json(data)

    def validate_message(value: Any) -> Any:
        """Return one decoded JSON-RPC message as the SDK models it."""
        return JSONRPCMessage.model_validate(value)


def as_message(data: bytes) -> SessionMessage | Exception:
    """Return a message for the SDK's streams.

    A response that the SDK cannot read becomes an error with its id, since its request would wait forever. Any other
    message that cannot be read is passed as an exception, as the SDK does.
    """
    try:
        return SessionMessage(parse_message(data))
    except ValueError as error:
        return _otherwise(data, error)


def _otherwise(data: bytes, error: ValueError) -> SessionMessage | Exception:
    """Return a message that is nested more deeply than the SDK's parser allows, or the error in its place."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return error
    with suppress(ValueError):
        return SessionMessage(validate_message(value))
    if not isinstance(value, dict) or "method" in value or not isinstance(value.get("id"), int | str):
        return error
    text = f"the MCP SDK cannot read the server's response: {data[:MAX_DETAIL].decode(errors='replace')}"
    failure = {"code": INTERNAL_ERROR, "message": text, "data": {"outcome": "unknown"}}
    return SessionMessage(validate_message({"jsonrpc": "2.0", "id": value["id"], "error": failure}))


def as_text(message: SessionMessage) -> bytes:
    """Return a message of the SDK as JSON."""
    text: str = message.message.model_dump_json(by_alias=True, exclude_unset=True)
    return text.encode()


def as_written(message: Any) -> bytes:
    """Return what a server object wrote, as JSON: a message of the SDK, or a model or a value alone.

    Raises:
        Exception: it cannot be written as JSON.
    """
    inner = message.message if isinstance(message, SessionMessage) else message
    if hasattr(inner, "model_dump_json"):
        text: str = inner.model_dump_json(by_alias=True, exclude_unset=True)
        return text.encode()
    if not isinstance(inner, dict | list):
        raise TypeError(f"{type(inner).__name__} is not a message")
    return json.dumps(inner).encode()

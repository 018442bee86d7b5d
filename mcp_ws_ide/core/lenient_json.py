"""Lenient access to the parts of a payload: whatever is missing or ill-typed reads as empty. Pure.

For bridges and groups, which look deeper into messages than routing does.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from mcp_ws_ide.core import messages

_object = msgspec.json.Decoder(dict[str, Raw]).decode
_list = msgspec.json.Decoder(list[Raw]).decode
_texts = msgspec.json.Decoder(list[str]).decode
encode = msgspec.json.Encoder().encode


def members_of(payload: bytes) -> dict[str, Raw]:
    """Return the members of a JSON object, each as raw JSON."""
    try:
        return _object(payload) if payload else {}
    except (msgspec.DecodeError, RecursionError):
        return {}


def items_of(payload: bytes) -> list[Raw]:
    """Return the items of a JSON array, each as raw JSON."""
    try:
        return _list(payload) if payload else []
    except (msgspec.DecodeError, RecursionError):
        return []


def value_of(raw: bytes) -> Any:
    """Decode any JSON value; None if it is not valid JSON."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


def object_of(raw: bytes) -> dict[str, Any]:
    """Decode a JSON object completely."""
    value = value_of(raw)
    return value if isinstance(value, dict) else {}


def text_of(raw: bytes) -> str:
    """Decode a JSON string."""
    value = value_of(raw)
    return value if isinstance(value, str) else ""


def texts_of(raw: bytes) -> list[str]:
    """Decode a JSON array of strings."""
    try:
        return _texts(raw)
    except (msgspec.DecodeError, RecursionError):
        return []


def error_code(error: bytes) -> int:
    """Return the code of a JSON-RPC error object; 0 if it has none."""
    code = value_of(messages.member(error, "code"))
    return code if isinstance(code, int) else 0


def error_text(error: bytes) -> str:
    """Return the message of a JSON-RPC error object, cut to 300 characters."""
    return text_of(messages.member(error, "message"))[:300] or "no reason was given"

"""Parts of a payload, read forgivingly: whatever is not of the shape that is asked for reads as empty. Pure.

For the bridge and for groups, which look deeper into messages than routing does.
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
    """The members of a JSON object, each as raw JSON."""
    try:
        return _object(payload) if payload else {}
    except (msgspec.DecodeError, RecursionError):
        return {}


def items_of(payload: bytes) -> list[Raw]:
    """The items of a JSON array, each as raw JSON."""
    try:
        return _list(payload) if payload else []
    except (msgspec.DecodeError, RecursionError):
        return []


def value_of(raw: bytes) -> Any:
    """A JSON value; None if it is none."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


def object_of(raw: bytes) -> dict[str, Any]:
    """A JSON object, decoded to the bottom."""
    found = value_of(raw)
    return found if isinstance(found, dict) else {}


def text_of(raw: bytes) -> str:
    """A JSON string."""
    found = value_of(raw)
    return found if isinstance(found, str) else ""


def texts_of(raw: bytes) -> list[str]:
    """A JSON array of strings."""
    try:
        return _texts(raw)
    except (msgspec.DecodeError, RecursionError):
        return []


def error_code(error: bytes) -> int:
    """The code of a JSON-RPC error object; 0 if it has none."""
    found = value_of(messages.member(error, "code"))
    return found if isinstance(found, int) else 0


def error_text(error: bytes) -> str:
    """The message of a JSON-RPC error object, at most 300 characters of it."""
    return text_of(messages.member(error, "message"))[:300] or "no reason was given"

"""Tap records as the inspector reads them, and the codes its columns hold.

Knows the wire form of docs/inspector.md and nothing of where records come from or how they are shown.
Members that a newer gateway adds are ignored, those an older one lacks have their default.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import msgspec

from mcp_ws_ide.core import messages
from mcp_ws_ide.errors import MalformedMessage
from mcp_ws_ide.observe.tap_record import TapRecord


class Kind(IntEnum):
    """What a row is."""

    REQUEST = 0
    RESPONSE = 1
    ERROR = 2
    NOTIFICATION = 3
    MALFORMED = 4
    NOISE = 5
    EVENT = 6
    GAP = 7


class Lane(IntEnum):
    """On which leg a message went, and where to; ``NONE`` for events."""

    NONE = 0
    CLIENT_IN = 1
    UPSTREAM_OUT = 2
    UPSTREAM_IN = 3
    CLIENT_OUT = 4


class Status(IntEnum):
    """What became of a request; its answer carries the same."""

    NONE = 0
    PENDING = 1
    OK = 2
    FAILED = 3
    """A result that says ``isError``."""
    ERROR = 4
    """A JSON-RPC error."""
    CANCELLED = 5
    LOST = 6
    """Its link or server ended first."""
    INPUT = 7
    """``input_required``: the client is to come back with answers (MCP 2026-07-28)."""
    UNKNOWN = 8
    """The inspector did not watch when the answer may have passed."""


KINDS: Final = {kind.name.lower(): kind for kind in Kind}
LANES: Final = {
    ("client", "in"): Lane.CLIENT_IN,
    ("upstream", "out"): Lane.UPSTREAM_OUT,
    ("upstream", "in"): Lane.UPSTREAM_IN,
    ("client", "out"): Lane.CLIENT_OUT,
}
TO_SERVER: Final = frozenset({Lane.CLIENT_IN, Lane.UPSTREAM_OUT})
CLIENT_LEG: Final = frozenset({Lane.CLIENT_IN, Lane.CLIENT_OUT})

_decode = msgspec.json.Decoder(TapRecord).decode
_read = msgspec.json.Decoder().decode


def decode(line: str) -> TapRecord:
    """One record.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _decode(line)


def lane_of(record: TapRecord) -> Lane:
    """The lane of a message; ``NONE`` for anything else."""
    return LANES.get((record.leg or "", record.direction or ""), Lane.NONE)


def content_of(record: TapRecord) -> dict[str, Any]:
    """The message of a record; ``{}`` when it was cut, withheld or is no JSON object."""
    if record.raw is None or record.truncated or record.kind in ("noise", "event"):
        return {}
    try:
        content = _read(record.raw)
    except (msgspec.DecodeError, RecursionError, UnicodeError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def part(content: Any, *path: str) -> Any:
    """The member below ``path``; None when it is absent or something on the way is no object."""
    for name in path:
        if not isinstance(content, dict):
            return None
        content = content.get(name)
    return content


def id_text(raw: msgspec.Raw) -> bytes:
    """An id as JSON; ``b""`` when there is none."""
    text = bytes(raw)
    return b"" if text == b"null" else text


def id_key(raw: msgspec.Raw) -> messages.IdKey | None:
    """An id as pairing compares it: ``7`` and ``7.0`` are one, ``"7"`` is another; None when there is none."""
    text = id_text(raw)
    try:
        return messages.decode_id(text) if text else None
    except MalformedMessage:
        return None


def value_key(value: Any) -> messages.IdKey | None:
    """As :func:`id_key`, of a value that is decoded already."""
    return value if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None

"""Decode tap records, and the codes in the columns of the store.

Knows the wire form (:mod:`mcp_ws_ide.observe.tap_record`), but not where records come from or how they are shown.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import msgspec

from mcp_ws_ide.core import messages
from mcp_ws_ide.errors import MalformedMessageError
from mcp_ws_ide.observe.tap_record import TapRecord


class Kind(IntEnum):
    """The kind of a row."""

    REQUEST = 0
    RESPONSE = 1
    ERROR = 2
    NOTIFICATION = 3
    MALFORMED = 4
    NOISE = 5
    EVENT = 6
    GAP = 7


class Lane(IntEnum):
    """The leg and direction of a message; ``NONE`` for events."""

    NONE = 0
    CLIENT_IN = 1
    UPSTREAM_OUT = 2
    UPSTREAM_IN = 3
    CLIENT_OUT = 4


class Status(IntEnum):
    """The status of a request; its response has the same."""

    NONE = 0
    PENDING = 1
    OK = 2
    FAILED = 3
    """A result with ``isError``."""
    ERROR = 4
    """A JSON-RPC error."""
    CANCELLED = 5
    LOST = 6
    """Its link or server ended first."""
    INPUT = 7
    """``input_required``: the client must send answers (MCP 2026-07-28)."""
    UNKNOWN = 8
    """The inspector was not watching when the response may have passed."""


LATEST: Final = 253_402_300_799.0
"""The latest time of a record: the end of the year 9999, in seconds since the epoch."""
MOST: Final = 1 << 53
"""The greatest number, count or size of a record: JSON's greatest exact integer."""
TARGETS: Final = ("name", "uri", "taskId")
"""Members of ``params`` that name the target of a request."""
KINDS: Final = {kind.name.lower(): kind for kind in Kind}
LANES: Final = {
    ("client", "in"): Lane.CLIENT_IN,
    ("upstream", "out"): Lane.UPSTREAM_OUT,
    ("upstream", "in"): Lane.UPSTREAM_IN,
    ("client", "out"): Lane.CLIENT_OUT,
}
TO_SERVER: Final = frozenset({Lane.CLIENT_IN, Lane.UPSTREAM_OUT})
CLIENT_LEG: Final = frozenset({Lane.CLIENT_IN, Lane.CLIENT_OUT})
UPSTREAM_LEG: Final = frozenset({Lane.UPSTREAM_IN, Lane.UPSTREAM_OUT})

MAX_COMMENT: Final = 500
"""Characters kept of a comment."""


class KeptRecord(TapRecord):
    """A record as recordings have it: with what the user noted at its row.

    Of the kind :data:`MARK`, it has only this, for the record with the same ``seq`` and ``time``.
    """

    marked: bool = False
    comment: str | None = None


MARK: Final = "mark"
"""The kind of a record that was written because the user marked an earlier one, or commented on it."""
_decode = msgspec.json.Decoder(KeptRecord).decode
_read = msgspec.json.Decoder().decode


def decode(line: str) -> KeptRecord:
    """Decode one record; invalid times and counts, as in a damaged or forged file, become 0.

    Raises:
        msgspec.DecodeError: the line is not a record.
    """
    record = _decode(line)
    if not (0 <= record.time <= LATEST and abs(record.mono) <= LATEST):  # true for NaN as well
        record.time = record.time if 0 <= record.time <= LATEST else 0.0
        record.mono = record.mono if abs(record.mono) <= LATEST else 0.0
    if not (abs(record.seq) <= MOST and abs(record.size) <= MOST and abs(record.drops) <= MOST):
        record.seq = record.size = record.drops = 0
    return record


def lane_of(record: TapRecord) -> Lane:
    """Return the lane of a message; ``NONE`` for anything else."""
    return LANES.get((record.leg or "", record.direction or ""), Lane.NONE)


def content_of(record: TapRecord) -> dict[str, Any]:
    """Return the message of a record; ``{}`` if it was truncated, withheld or is not a JSON object."""
    if record.raw is None or record.truncated or record.kind in ("noise", "event"):
        return {}
    try:
        content = _read(record.raw)
    except (msgspec.DecodeError, RecursionError, UnicodeError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def part(content: Any, *path: str) -> Any:
    """Return the member at ``path``; None if it is absent or a parent is not an object."""
    for name in path:
        if not isinstance(content, dict):
            return None
        content = content.get(name)
    return content


def target_in(content: Any) -> str:
    """Return what a request or notification is about: a tool, prompt, resource or task; ``""`` if nothing."""
    params = part(content, "params")
    for name in TARGETS:
        if isinstance(value := part(params, name), str):
            return value
    return ""


def id_text(raw: msgspec.Raw) -> bytes:
    """Return an id as JSON; ``b""`` if there is none."""
    text = bytes(raw)
    return b"" if text == b"null" else text


def id_key(raw: msgspec.Raw) -> messages.IdKey | None:
    """Return an id as pairing compares it: ``7`` and ``7.0`` are equal, ``"7"`` differs; None if there is none."""
    text = id_text(raw)
    try:
        return value_key(messages.decode_id(text)) if text else None
    except MalformedMessageError:
        return None


def value_key(value: Any) -> messages.IdKey | None:
    """As :func:`id_key`, for a decoded value."""
    return value if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None

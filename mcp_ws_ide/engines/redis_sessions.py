"""Stored sessions, as the scripts of the Redis engine take and return them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from mcp_ws_ide.engines.base import Batch, Frame, InFlight, StoredSession, StoredSummary

MAX_BATCHES: Final = 65_535
"""Most batches of one list: the length of MessagePack's "array 16"."""

_encode = msgspec.msgpack.Encoder().encode
_Raw = msgspec.Raw


def encode_batches(batches: Sequence[bytes]) -> bytes:
    """Encode a list of encoded batches, at most :data:`MAX_BATCHES`."""
    return b"\xdc%b%b" % (len(batches).to_bytes(2), b"".join(batches))


def encode_batch(batch: Batch) -> bytes:
    """Encode one batch of a list: an array of its attributes."""
    state, facts = batch.state, batch.facts
    frames, removed, added, transmitted = batch.frames, batch.removed, batch.added, batch.transmitted
    return _encode(
        (
            batch.session,
            batch.epoch,
            batch.number,
            batch.expected_received,
            batch.expected_sent,
            batch.received,
            batch.sent,
            batch.acknowledged,
            [_frame(frame) for frame in frames] if frames else frames,
            batch.dropped,
            [_raw(key) for key in removed] if removed else removed,
            [_request(entry) for entry in added] if added else added,
            [_raw(key) for key in transmitted] if transmitted else transmitted,
            None if state is None else _raw(state),
            None if facts is None else _raw(facts),
            batch.expires_at,
        )
    )


def encode_session(stored: StoredSession) -> bytes:
    """Encode a whole session: an array of its attributes."""
    values = msgspec.structs.asdict(stored)
    values["facts"], values["state"] = _raw(stored.facts), _raw(stored.state)
    values["frames"] = [_frame(frame) for frame in stored.frames]
    values["in_flight"] = [_request(entry) for entry in stored.in_flight]
    return _encode(list(values.values()))


def _frame(frame: Frame) -> tuple[int, msgspec.Raw, int, bool, str, msgspec.Raw]:
    return frame.position, _raw(frame.data), frame.weight, frame.droppable, frame.outcome, _raw(frame.key)


def _request(entry: InFlight) -> tuple[msgspec.Raw, msgspec.Raw, bool]:
    return _raw(entry.key), _raw(entry.detail), entry.transmitted


def _raw(data: bytes) -> msgspec.Raw:
    """Encode bytes as a string of MessagePack: Lua has no other, and that of Redis knows no type "bin"."""
    length = len(data)
    if length < 0x100:
        return _Raw(b"\xd9%c%b" % (length, data))
    if length < 0x10000:
        return _Raw(b"\xda%b%b" % (length.to_bytes(2), data))
    return _Raw(b"\xdb%b%b" % (length.to_bytes(4), data))


class Head(msgspec.Struct):
    """What each batch checks and changes; the attributes are those of :class:`StoredSession`, and the owner."""

    epoch: int
    number: int
    received: int
    sent: int
    base: int
    expires_at: float
    owner: str

    @classmethod
    def of(cls, text: bytes) -> Head:
        """Decode a head.

        Raises:
            ValueError: it is malformed.
        """
        epoch, number, received, sent, base, expires_at, owner = text.decode("ascii").split(" ")
        return cls(int(epoch), int(number), int(received), int(sent), int(base), float(expires_at), owner)


def read_session(session_id: str, principal: str, reply: Sequence[Any]) -> StoredSession:
    """Return the session that the script ``take`` returned.

    Raises:
        ValueError: it is damaged.
    """
    fixed, rows = reply
    if any(value is None for value in fixed):
        raise ValueError("a field is missing")
    head_text, server, begun, facts, state = fixed
    head = Head.of(head_text)
    created, window_frames, window_bytes = begun.split(b" ")
    return StoredSession(
        session_id,
        principal,
        server.decode(),
        float(created),
        int(window_frames),
        int(window_bytes),
        facts,
        state,
        head.epoch,
        head.number,
        head.received,
        head.base,
        head.sent,
        read_frames(head, rows),
        [],
        head.expires_at,
    )


def read_frames(head: Head, rows: Sequence[Any]) -> list[Frame]:
    """Return the frames of a session, with a gap for positions that have none.

    Raises:
        ValueError: they are damaged.
    """
    frames: list[Frame] = []
    next_position = head.base + 1
    for place, fields in rows:
        position = int(place.partition(b"-")[0])
        values: dict[bytes, bytes] = dict(zip(fields[::2], fields[1::2], strict=True))
        if position < next_position:
            raise ValueError(f"frame {position} is out of place")
        if position > next_position:
            frames.append(Frame(next_position, b"", position - next_position))
        outcome, key = values.get(b"o", b""), values.get(b"k", b"")
        frames.append(Frame(position, values[b"d"], 1, b"p" in values, outcome.decode(), key))
        next_position = position + 1
    if next_position <= head.sent:
        frames.append(Frame(next_position, b"", head.sent + 1 - next_position))
    return frames


def read_summary(row: Sequence[bytes]) -> StoredSummary:
    """Return one row of the script ``list``.

    Raises:
        ValueError: it is damaged.
    """
    session_id, principal, server, begun, head_text = row
    head = Head.of(head_text)
    created = float(begun.partition(b" ")[0])
    return StoredSummary(
        session_id.decode(), principal.decode(), server.decode(), created, head.epoch, head.expires_at
    )

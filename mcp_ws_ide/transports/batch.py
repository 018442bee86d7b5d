"""Batches of JSON-RPC messages, which only MCP 2025-03-26 allows. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

MAX_ITEMS: Final = 1000
"""Maximum number of messages of one batch; the rest is dropped and reported."""

_items_of = msgspec.json.Decoder(list[msgspec.Raw]).decode


def items(data: bytes) -> Iterator[bytes]:
    """Yield the messages of a batch.

    Raises:
        ValueError: the batch is not valid JSON; or, at the message concerned, it is nested or too long.
    """
    try:
        raw_items = _items_of(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not valid JSON: {error}") from None
    except RecursionError:
        raise ValueError("a message in it is nested too deeply") from None
    for number, item in enumerate(raw_items):
        message = bytes(item)
        if number == MAX_ITEMS:
            raise ValueError(f"it has more than {MAX_ITEMS} messages")
        if message[:1] == b"[":
            raise ValueError("it contains a batch")
        yield message

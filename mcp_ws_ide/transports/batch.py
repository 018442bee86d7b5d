"""Batches of JSON-RPC messages, which MCP had in 2025-03-26 alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

MAX_ITEMS: Final = 1000
"""Messages of one batch; what follows is dropped, in words."""

_items_of = msgspec.json.Decoder(list[msgspec.Raw]).decode


def items(data: bytes) -> Iterator[bytes]:
    """The messages of a batch, one after the other.

    Raises:
        ValueError: it is broken, or nested or too long from some message on, in words.
    """
    try:
        found = _items_of(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"a broken batch: {error}") from None
    except RecursionError:
        raise ValueError("a batch with a message that is nested too deeply") from None
    for number, item in enumerate(found):
        message = bytes(item)
        if number == MAX_ITEMS:
            raise ValueError(f"a batch of more than {MAX_ITEMS} messages")
        if message[:1] == b"[":
            raise ValueError("a batch in a batch")
        yield message

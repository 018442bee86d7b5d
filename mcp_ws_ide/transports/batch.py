"""Batches of JSON-RPC messages, which MCP had in 2025-03-26 alone. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

MAX_ITEMS: Final = 1000
"""Messages of one batch; what follows is dropped, in words."""

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_NEXT: Final = re.compile(r"[ \t\r\n]*([,\]])[ \t\r\n]*")


def _unread(_: Any) -> None:
    """Numbers and objects are only skipped here: of any length, whatever they hold."""


_decoder = json.JSONDecoder(object_pairs_hook=_unread, parse_int=_unread, parse_float=_unread)


def items(data: bytes) -> Iterator[bytes]:
    """The messages of a batch, one after the other, in time proportional to its length and never all at once.

    Raises:
        ValueError: it is broken, nested or too long, in words; the messages before that were given.
    """
    text = data.decode()
    at = _SPACE.match(text, 1).end()  # type: ignore[union-attr]
    if text[at:].strip() == "]":
        return
    for _ in range(MAX_ITEMS):
        if text[at : at + 1] == "[":
            raise ValueError("a batch in a batch")
        end = _skip(text, at)
        yield text[at:end].encode()
        follows = _NEXT.match(text, end)
        if follows is None:
            raise ValueError(f"a broken batch, at character {end}")
        if follows[1] == "]":
            return
        at = follows.end()
    raise ValueError(f"a batch of more than {MAX_ITEMS} messages")


def _skip(text: str, at: int) -> int:
    """Where the JSON value that begins at ``at`` ends."""
    try:
        return _decoder.raw_decode(text, at)[1]
    except RecursionError:
        raise ValueError("a batch with a message that is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"a broken batch, at character {error.pos}") from None

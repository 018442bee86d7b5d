"""What texts cost a model, estimated: its tokenizer is not known here; four characters a token is usual for JSON."""

from __future__ import annotations

import json
from typing import Any, Final

CHARACTERS: Final = 4
"""Characters of a token, on average."""


def tokens(size: int) -> int:
    """Return the estimated tokens of a text of so many characters."""
    return -(-size // CHARACTERS)


def size_of(definition: Any) -> int:
    """Return the characters of a definition as compact JSON; 0 if it is too deep to write."""
    try:
        return len(json.dumps(definition, ensure_ascii=False, separators=(",", ":")))
    except (ValueError, RecursionError):
        return 0

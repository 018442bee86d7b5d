"""Mutations of JSON and of bytes, from a seed."""

from __future__ import annotations

import json
import random
from typing import Any

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 2**63, 10**30, -(2**70), 1e308, float("nan"), float("inf")),
    *("", "x", "\0", "\x1b[2J", "\u202e", "é", "\ud800", "a" * 70_000, "2.0", "../x", "${X}", "*"),
    *([], [[]], {}, {"": {}}, [None], {"a": [1]}, ["x", 1], [{}] * 50),
)
"""Values that are rarely expected where they are put."""
TOKENS = (
    *(b"\0", b"\xff", b"\xc3", b"\n", b"\r\n", b"{", b"}", b"[", b"]", b'"', b"\\", b"\\u0000", b"\\ud800"),
    *(b"null", b"1e999", b"9" * 5000, b"[" * 2000, b'{"a":' * 1200, b"NaN", b"\xef\xbb\xbf", b",", b":"),
)
"""Bytes that parsers stumble over."""


class Mutator:
    """One stream of mutations."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, value: Any) -> Any:
        """Replace, remove, add or repeat one node of a JSON value."""
        if self.random.random() < 0.15 or not isinstance(value, (dict, list)) or not value:
            return self.random.choice(ODD)
        if isinstance(value, list):
            changed = list(value)
            at = self.random.randrange(len(changed))
            changed[at : at + 1] = self.random.choice([[self.value(changed[at])], [], [changed[at]] * 2])
            return changed
        members = dict(value)
        name = self.random.choice(list(members))
        choice = self.random.random()
        if choice < 0.7:
            members[name] = self.value(members[name])
        elif choice < 0.85:
            del members[name]
        else:
            members[str(self.random.choice((name.upper(), name + "\0", "", *members)))] = self.random.choice(
                ODD
            )
        return members

    def encoded(self, value: Any, rounds: int = 3) -> bytes:
        """Return a mutated JSON value as bytes, which may be mutated too."""
        for _ in range(self.random.randrange(1, rounds + 1)):
            value = self.value(value)
        data = json.dumps(value, ensure_ascii=self.random.random() < 0.5).encode(errors="surrogatepass")
        return self.bytes(data) if self.random.random() < 0.4 else data

    def bytes(self, data: bytes) -> bytes:
        """Change some places of ``data``."""
        changed = bytearray(data)
        for _ in range(self.random.randrange(1, 5)):
            at = self.random.randrange(len(changed) + 1)
            end = min(len(changed), at + self.random.randrange(1, 30))
            match self.random.randrange(5):
                case 0:
                    changed[at:at] = self.random.choice(TOKENS)
                case 1:
                    del changed[at:end]
                case 2:
                    changed[at:at] = changed[at:end]
                case 3 if at < len(changed):
                    changed[at] = self.random.randrange(256)
                case _:
                    changed[at:end] = self.random.choice(TOKENS)
        return bytes(changed)

    def pieces(self, data: bytes) -> list[bytes]:
        """Return ``data`` in pieces, as a socket gives it."""
        cuts = sorted(self.random.randrange(len(data) + 1) for _ in range(self.random.randrange(4)))
        return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]

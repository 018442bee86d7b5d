"""Finds any of many literals in one pass: with Aho-Corasick, or regular expressions where that is not installed.

``ahocorasick_rs`` is required where it has wheels (pyproject.toml). On other machines the results are the same, and the
search takes about twenty times as long.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, AnyStr, TypeAlias

try:
    import ahocorasick_rs
except ImportError:
    ahocorasick_rs = None

if TYPE_CHECKING:
    Found: TypeAlias = list[tuple[int, int, int]]
    """Number of a literal, where it starts and where it ends; ordered by the end."""


def finder_of_first(literals: Sequence[bytes]) -> Callable[[bytes], Found]:
    """Return a function that finds literals from left to right; those found do not overlap.

    Of several at one place, the first of ``literals`` is found.
    """
    if ahocorasick_rs is None:
        return _finder(b"|".join(map(re.escape, literals)), literals)
    automaton = ahocorasick_rs.BytesAhoCorasick(literals, ahocorasick_rs.MatchKind.LeftmostFirst)
    find: Callable[[bytes], Found] = automaton.find_matches_as_indexes
    return find


def finder_of_all(literals: Sequence[str]) -> Callable[[str], Found]:
    """Return a function that finds every place of every literal. None of ``literals`` contains another."""
    if ahocorasick_rs is None:
        return _finder(f"(?=({'|'.join(map(re.escape, literals))}))", literals)
    find = ahocorasick_rs.AhoCorasick(literals).find_matches_as_indexes
    return lambda text: find(text, overlapping=True)


def _finder(pattern: AnyStr, literals: Sequence[AnyStr]) -> Callable[[AnyStr], Found]:
    compiled, numbers = re.compile(pattern), {literal: number for number, literal in enumerate(literals)}
    group = compiled.groups
    return lambda text: [
        (numbers[match[group]], match.start(), match.end(group)) for match in compiled.finditer(text)
    ]

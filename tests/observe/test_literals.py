"""Literals are found alike with Aho-Corasick and, where that is not installed, with regular expressions."""

from __future__ import annotations

import random

import pytest

from mcp_ws_ide.observe import literals
from mcp_ws_ide.observe.secret_rules import NEEDLES
from mcp_ws_ide.observe.suspicion import CONDITIONS


def test_both_ways_find_the_same(monkeypatch):
    pytest.importorskip("ahocorasick_rs")
    first, every = literals.finder_of_first(list(CONDITIONS)), literals.finder_of_all(NEEDLES)
    monkeypatch.setattr(literals, "ahocorasick_rs", None)
    first_again, every_again = literals.finder_of_first(list(CONDITIONS)), literals.finder_of_all(NEEDLES)
    chance = random.Random(1)
    for _ in range(2000):
        text = "".join(chance.choices([*NEEDLES, *NEEDLES, "s", "é", "k", " ", "\\u006", "xo"], k=9))
        text = text[chance.randrange(4) : len(text) - chance.randrange(4)]
        assert first(text.encode()) == first_again(text.encode())
        assert every(text) == every_again(text)


def test_overlapping_literals_are_all_found():
    assert literals.finder_of_all(["abc", "bcd", "cx"])("abcdabcx") == [
        (0, 0, 3),
        (1, 1, 4),
        (0, 4, 7),
        (2, 6, 8),
    ]


def test_the_first_of_several_literals_wins():
    assert literals.finder_of_first([b"abcd", b"ab", b"bcx"])(b"abcdabcx") == [(0, 0, 4), (1, 4, 6)]

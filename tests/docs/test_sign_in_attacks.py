"""The table of attacks and their tests name each other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_attack_has_its_tests_and_every_test_is_in_the_table():
    table = (ROOT / "docs/operate/sign-in-attacks.md").read_text(encoding="utf-8")
    tests = (ROOT / "tests/handlers/test_sign_in_attacks.py").read_text(encoding="utf-8")
    assert set(re.findall(r"`(test_\w+)`", table)) == set(re.findall(r"^def (test_\w+)", tests, re.M))

"""Comments and messages that name a page of the documentation, or a section of the wire contract, name one that exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = ("mcp_ws_ide", "frontend_static/src", "frontend_static/page/src", "tests", "benchmarks")
SUFFIXES: Final = frozenset({".py", ".ts", ".tsx", ".mjs", ".json"})
CONTRACT: Final = "docs/reference/binding.md"
PAGE: Final = re.compile(r"\bdocs/[\w/-]+\.(?:md|conf)\b")
SECTION: Final = re.compile(re.escape(CONTRACT) + r",? (?:sections? )?(\d+(?:\.\d+)?)")


def sources() -> Iterator[tuple[Path, str]]:
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES and path.is_file() and "node_modules" not in path.parts:
                yield path, path.read_text(encoding="utf-8")


def test_every_page_that_a_source_names_exists():
    missing = {
        f"{path.relative_to(ROOT)}: {page}"
        for path, text in sources()
        for page in PAGE.findall(text)
        if not (ROOT / page).exists()
    }
    assert missing == set()


def test_every_section_of_the_wire_contract_that_a_source_names_exists():
    contract = (ROOT / CONTRACT).read_text(encoding="utf-8")
    sections = set(re.findall(r"^##+ (\d+(?:\.\d+)?)", contract, re.MULTILINE))
    named = {number for _, text in sources() for number in SECTION.findall(text)}
    assert len(named) > 5
    assert named <= sections


def test_security_txt_has_what_the_standard_requires():
    """RFC 9116, section 2.5."""
    fields = dict(line.split(": ", 1) for line in (ROOT / "docs" / "security.txt").read_text().splitlines())
    assert fields["Contact"].startswith("https://")
    assert datetime.fromisoformat(fields["Expires"]).tzinfo is not None

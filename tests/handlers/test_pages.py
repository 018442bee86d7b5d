"""A list with odd cursors, through a group and in a trial: few requests, each tool once, and words for what is odd."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import TESTS, Jupyter, Peer

KINDS = {"empty": (3, "repeated"), "same": (3, "repeated"), "new": (3, "nothing new"), "two": (6, "")}
"""For each kind of server: the number of tools that it has, and a word of the notice about its list."""
CASES = [(era, kind) for era in ("handshake", "modern") for kind in KINDS]


def entry(folder: Path, era: str, kind: str, use: str) -> dict[str, object]:
    return {
        "command": sys.executable,
        "args": [
            "-I",
            "-S",
            str(TESTS / "servers" / "pages.py"),
            era,
            kind,
            str(folder / f"{use}-{era}-{kind}"),
        ],
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notes")


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Jupyter]:
    servers = {f"{era}-{kind}": entry(folder, era, kind, "group") for era, kind in CASES}
    server = Jupyter(tmp_path_factory.mktemp("jupyter"), servers)
    yield server
    server.stop()


@pytest.mark.parametrize(("era", "kind"), CASES)
async def test_a_group_shows_each_tool_of_a_member_once_and_says_what_is_odd(jupyter, folder, era, kind):
    number, word = KINDS[kind]
    async with jupyter.connect(f"+{era}-{kind}") as link:
        result = (await Peer(link).call(1, "tools/list"))["result"]
    assert [tool["name"] for tool in result["tools"]] == [
        f"{era}-{kind}__{name}" for name in "abcdef"[:number]
    ]
    notes = result.get("_meta", {}).get("mcp-ws-ide/unavailable", {})
    assert word in str(notes)
    assert bool(notes) == bool(word)
    assert (folder / f"group-{era}-{kind}").read_text().count("list") <= 3


@pytest.mark.parametrize(("era", "kind"), CASES)
def test_a_trial_counts_each_tool_once_and_says_what_is_odd(jupyter, folder, era, kind):
    number, word = KINDS[kind]
    tried = entry(folder, era, kind, "trial")
    digest = jupyter.rest("POST", "servers/new/preview", {"entry": tried})[1]["digest"]
    report = jupyter.rest("POST", "servers/new/try", {"entry": tried, "consent": digest})[1]
    assert (report["ok"], report["tools"]) == (True, number), report
    assert word in report["note"]
    assert bool(report["note"]) == bool(word)
    assert (folder / f"trial-{era}-{kind}").read_text().count("list") <= 3

"""The clauses of the wire contract, the list of them in the code, and the checks are in step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_ws_ide.conformance.clauses import CLAUSES, SECTIONS
from mcp_ws_ide.conformance.client.run import CLIENT
from mcp_ws_ide.conformance.server.run import SERVER
from mcp_ws_ide.conformance.verdicts import selected, unmatched

CONTRACT = (Path(__file__).parents[2] / "docs" / "reference" / "binding.md").read_text(encoding="utf-8")
ANCHOR = re.compile(r'<a id="([a-z0-9-]+)"></a>')
CHECKS = [*SERVER.in_order(), *CLIENT.in_order()]


def sections() -> Iterator[tuple[str, str]]:
    """Number and text of each section of the contract that has no further sections."""
    yield from re.findall(r"^##+ (\d+(?:\.\d+)?)\.? .*\n((?:(?!##).*\n)*)", CONTRACT, re.MULTILINE)


def normative(text: str) -> Iterator[str]:
    """Each row of a table, each item of a list, and each paragraph with a key word in capitals."""
    for block in text.split("\n\n"):
        if block.lstrip().startswith("|"):
            yield from block.strip().splitlines()[2:]
        elif re.match(r"(- |\d+\. )", block.lstrip()):
            yield from re.split(r"\n(?=- |\d+\. )", block.strip())
        elif re.search(r"\b(MUST|SHOULD|MAY)\b", block):
            yield block


def test_the_list_has_the_anchors_of_the_page_in_their_order():
    assert ANCHOR.findall(CONTRACT) == list(CLAUSES)


def test_each_clause_is_in_the_section_that_the_list_names():
    found = {name: number for number, text in sections() for name in ANCHOR.findall(text)}
    assert found == {clause.id: clause.section for clause in CLAUSES.values()}
    assert {clause.section for clause in CLAUSES.values()} == set(SECTIONS)


def test_every_normative_statement_about_websocket_has_an_anchor():
    """Sections 10 to 12 are about HTTP and have one each."""
    statements = [
        item
        for number, text in sections()
        if float(number.partition(".")[0]) < 10
        for item in normative(text)
    ]
    assert len(statements) > 70
    assert [item for item in statements if not ANCHOR.search(item)] == []


def test_a_clause_has_a_check_or_a_reason_why_not():
    checked = {check.clause.id for check in CHECKS}
    reasoned = {clause.id for clause in CLAUSES.values() if clause.unchecked}
    assert checked & reasoned == set()
    assert checked | reasoned == set(CLAUSES)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("frames-message", {"frames-message/batch", "frames-message/version", "frames-message/twice"}),
        ("frames-message/batch", {"frames-message/batch"}),
        ("6.3", {"ack-often/frames", "ack-often/second", "ack-count"}),
        ("ack", {"ack-often/frames", "ack-often/second", "ack-count"}),
        ("liveness-ping", {"liveness-ping"}),
    ],
)
def test_a_selector_names_a_check_a_clause_a_beginning_or_a_section(selector, expected):
    assert {check.id for check in selected(SERVER.in_order(), [selector], False)} == expected
    assert unmatched(SERVER.in_order(), [selector, "no-such"]) == ["no-such"]


def test_a_section_has_those_below_it_and_no_other():
    chosen = {check.clause.section for check in selected(SERVER.in_order(), ["6"], True)}
    assert chosen == {"6.1", "6.2", "6.3", "6.5", "6.6"}
    assert {check.clause.section for check in selected(SERVER.in_order(), ["1"], True)} == {"1"}

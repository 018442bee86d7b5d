"""How two sessions differ, beyond what the command ``diff`` shows in ``test_commands.py``."""

from __future__ import annotations

import pytest

from mcp_ws_ide.inspector.model.session_difference import (
    MAX_OPERATIONS,
    Operation,
    TooManyOperationsError,
    operations,
    session_differences,
)
from tests.inspector.records import Transcript, call


def asked(*names: str) -> list[Operation]:
    return [Operation(row, row, name, {}, {"result": name}) for row, name in enumerate(names)]


@pytest.mark.parametrize("equal", [0, 1, MAX_OPERATIONS + 1])
def test_what_both_sessions_begin_and_end_with_counts_for_no_limit(equal):
    before, after = ["same"] * equal + ["b"] + ["end"] * equal, ["same"] * equal + ["c", "b"] + ["end"] * equal
    found = list(session_differences(asked(*before), asked(*after)))
    assert [(one.sign, one.operation.what) for one in found] == [("+", "c")]
    assert list(session_differences(asked(*before), asked(*before))) == []


def test_one_session_may_be_the_beginning_of_the_other():
    found = list(session_differences(asked("a", "a"), asked("a", "a", "a")))
    assert [(one.sign, one.operation.row) for one in found] == [("+", 2)]


def test_sessions_that_are_too_long_to_be_paired_are_refused():
    long = ["a", *map(str, range(MAX_OPERATIONS)), "z"]
    with pytest.raises(TooManyOperationsError, match="more than 5000 requests between the first and the last"):
        list(session_differences(asked(*long), asked("b", "c")))


def test_requests_are_found_in_slices_of_the_journal():
    talk = Transcript()
    rows = [talk.send("c>", call(number), session="s1") for number in range(4)]
    found = [operations(talk.journal, "s1", range(at, at + 2)) for at in (0, 2)]
    assert [[one.row for one in part] for part in found] == [rows[:2], rows[2:]]
    assert [one.row for one in operations(talk.journal, "s1")] == rows
    talk.journal.close()

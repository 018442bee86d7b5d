"""How two sessions differ, beyond what the command ``diff`` shows in ``test_commands.py``."""

from __future__ import annotations

from math import isqrt

import pytest

from mcp_ws_ide.inspector.model.session_difference import (
    MAX_PAIRS,
    Operation,
    TooManyOperationsError,
    operations,
    session_differences,
)
from tests.inspector.records import Transcript, call


def asked(*names: str) -> list[Operation]:
    return [Operation(row, row, name, {}, {"result": name}) for row, name in enumerate(names)]


@pytest.mark.parametrize("equal", [0, 1, isqrt(MAX_PAIRS) + 1])
def test_what_both_sessions_begin_and_end_with_counts_for_no_limit(equal):
    begin, end = ["same"] * equal, ["end"] * equal
    before, after = [*begin, "b", *end], [*begin, "c", "b", *end]
    found = list(session_differences(asked(*before), asked(*after)))
    assert [(one.sign, one.operation.what) for one in found] == [("+", "c")]
    assert list(session_differences(asked(*before), asked(*before))) == []


def test_one_session_may_be_the_beginning_of_the_other():
    found = list(session_differences(asked("a", "a"), asked("a", "a", "a")))
    assert [(one.sign, one.operation.row) for one in found] == [("+", 2)]


def test_sessions_that_repeat_a_request_too_often_are_refused_and_long_ones_are_not():
    same = ["same"] * (isqrt(MAX_PAIRS) + 1)
    with pytest.raises(TooManyOperationsError, match="repeat the same requests too often"):
        list(session_differences(asked("a", *same, "b"), asked("c", *same, "d")))
    different = [str(number) for number in range(len(same))]
    found = session_differences(asked("a", *different, "b"), asked("c", *different, "d"))
    assert [(one.sign, one.operation.what) for one in found] == [
        ("-", "a"),
        ("+", "c"),
        ("-", "b"),
        ("+", "d"),
    ]


def test_requests_are_found_in_slices_of_the_journal():
    talk = Transcript()
    rows = [talk.send("c>", call(number), session="s1") for number in range(4)]
    found = [operations(talk.journal, "s1", range(at, at + 2)) for at in (0, 2)]
    assert [[one.row for one in part] for part in found] == [rows[:2], rows[2:]]
    assert [one.row for one in operations(talk.journal, "s1")] == rows
    talk.journal.close()

"""The rules that messages can violate, and their limits."""

from __future__ import annotations

import pytest

from mcp_ws_ide.inspector.report import findings
from tests.inspector.records import CAPABILITIES, VERSION, Transcript, call, done

META = {VERSION: "2026-07-28", CAPABILITIES: {}}


@pytest.fixture
def talk():
    transcript = Transcript()
    yield transcript
    transcript.journal.close()


def test_ordinary_traffic_of_both_eras_breaks_no_rule(talk):
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    welcome = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "serverInfo": {"name": "s", "version": "1"},
    }
    tool = {"name": "run", "inputSchema": {"type": "object"}}
    talk.send("c>", {"id": 0, "method": "initialize", "params": hello})
    talk.send("c<", {"id": 0, "result": welcome})
    talk.send("c>", {"id": 1, "method": "tools/list"})
    talk.send("c<", {"id": 1, "result": {"tools": [tool]}})
    talk.send("c>", call(2, **META), session="m")
    talk.send("c<", done(2, resultType="complete"), session="m")
    talk.send("c>", {"id": 3, "method": "tools/list", "params": {"_meta": META}}, session="m")
    listed = {"tools": [tool], "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
    talk.send("c<", {"id": 3, "result": listed}, session="m")
    assert not talk.journal.problem_counts


def test_an_id_in_flight_must_not_be_used_again(talk):
    talk.send("c>", call(1))
    assert talk.codes(talk.send("c>", call(1))) == ["dup-id"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"id": 1.5, "method": "tools/list"}, "id-type"),
        ({"id": 1, "method": "tools/call", "params": {}}, "params-shape"),
        ({"id": 1, "method": "x", "params": [1]}, "params-shape"),
        (
            {"id": 1, "method": "initialize", "params": {"protocolVersion": "x", "capabilities": {}}},
            "params-shape",
        ),
        ("[]", "malformed"),
        ("{", "malformed"),
    ],
)
def test_a_request_of_the_wrong_shape_is_a_violation(talk, message, code):
    assert talk.codes(talk.send("c>", message)) == [code]


@pytest.mark.parametrize(
    ("method", "answer", "code"),
    [
        ("tools/call", {"result": {}}, "result-shape"),
        ("tools/call", {"result": []}, "result-shape"),
        ("tools/list", {"result": {"tools": {}}}, "result-shape"),
        ("tools/list", {"result": {"tools": [{"name": "a"}]}}, "tool-shape"),
        ("x", {"error": {"code": "1", "message": "m"}}, "error-shape"),
        ("x", {"error": {"code": 1}}, "error-shape"),
    ],
)
def test_a_response_of_the_wrong_shape_is_a_violation(talk, method, answer, code):
    talk.send("c>", {"id": 1, "method": method, "params": {"name": "x"}})
    assert talk.codes(talk.send("c<", {"id": 1, **answer})) == [code]


def test_the_modern_era_has_its_own_rules(talk):
    talk.send("c>", {"id": 1, "method": "tools/list", "params": {"_meta": META}})
    assert talk.codes(talk.send("c<", {"id": 1, "result": {"tools": []}})) == [
        "result-type",
        "cache-missing",
        "cache-missing",
    ]
    assert talk.codes(talk.send("c>", {"id": 2, "method": "ping"})) == ["gone"]
    assert talk.codes(talk.send("c<", {"id": 3, "method": "roots/list"})) == ["server-request"]
    assert talk.codes(talk.send("c>", {"id": 4, "method": "tools/list"})) == ["meta-missing", "meta-missing"]


def test_progress_must_increase_until_its_request_is_answered(talk):
    def progress(value):
        params = {"progressToken": "t", "progress": value}
        return talk.codes(talk.send("c<", {"method": "notifications/progress", "params": params}))

    talk.send("c>", call(1, progressToken="t"))
    assert [progress(1), progress(2), progress(2)] == [[], [], ["progress-order"]]
    talk.send("c<", done(1))
    talk.send("c>", call(2, progressToken="t"))
    assert progress(1) == []
    assert progress("much") == ["progress-shape"]


def test_truncated_messages_are_not_checked(talk):
    assert talk.codes(talk.send("c>", {"id": 1, "method": "tools/call"}, truncated=True)) == []


def test_each_violation_names_its_section(talk):
    talk.send("c>", "nonsense")
    talk.send("c>", {"id": 1, "method": "tools/call"})
    sections = [problem.violation.section for problem in talk.journal.problems]
    assert all(section.startswith(("JSON-RPC 2.0", "MCP 20")) for section in sections)


HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}


def test_a_violation_on_both_legs_is_one_problem_shown_at_both_rows(talk):
    talk.event("link_opened", "x")
    orphan = {"id": 99, "result": {}}
    rows = [talk.send("<s", orphan), talk.send("c<", orphan)]
    request = talk.send("c>", call(1))
    talk.send(">s", call(1), origin_session="s1", origin_id=1)
    rows += [talk.send("<s", {"id": 1, "result": {}}), talk.send("c<", {"id": 1, "result": {}})]
    assert talk.journal.problem_counts == {"orphan": 1, "result-shape": 1}
    assert [talk.codes(row) for row in rows] == [["orphan"], ["orphan"], ["result-shape"], ["result-shape"]]
    assert talk.codes(request) == []
    found = [(finding.code, finding.seq) for finding in findings(talk.journal)]
    assert found == [("orphan", rows[1] + 1), ("result-shape", rows[3] + 1)]


def test_an_answer_to_nothing_that_the_gateway_drops_is_one_problem(talk):
    talk.event("link_opened", "x")
    talk.send("c>", {"id": 99, "result": {}})
    talk.event("dropped", "response that matches no request of the server")
    assert talk.journal.problem_counts == {"orphan": 1}
    talk.event("dropped", "something else")
    assert talk.journal.problem_counts == {"orphan": 1, "dropped": 1}


def test_a_lost_link_is_a_problem_but_a_client_that_goes_away_is_none(talk):
    talk.event("link_opened", "x")
    talk.event("link_lost", "1001 ")
    talk.event("resumed", "0 replayed")
    assert not talk.journal.problem_counts
    talk.event("link_lost", "1006 ")
    talk.event("link_lost", "10010 ")
    assert talk.journal.problem_counts == {"link_lost": 2}


def test_the_same_answer_to_nothing_twice_is_two_problems(talk):
    talk.event("link_opened", "x")
    for _ in range(2):
        talk.send("<s", {"id": 99, "result": {}})
        talk.send("c<", {"id": 99, "result": {}})
    assert talk.journal.problem_counts == {"orphan": 2}


def test_a_session_is_checked_against_its_own_revision(talk):
    talk.send("c>", {"id": 0, "method": "initialize", "params": {**HELLO, "protocolVersion": "2025-11-25"}})
    welcome = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "serverInfo": {"name": "s", "version": "1"},
    }
    talk.send("c<", {"id": 0, "result": welcome})
    row = talk.send("c>", {"id": 1, "method": "tools/call", "params": {}})
    assert [v.section for v in talk.journal.problems_of(row)] == ["MCP 2025-06-18, schema: CallToolRequest"]
    modern = talk.send("c>", {"id": 1, "method": "tools/call", "params": {"_meta": META}}, session="m")
    assert [v.section for v in talk.journal.problems_of(modern)] == [
        "MCP 2026-07-28, schema: CallToolRequest"
    ]
    claimed = {**HELLO, "protocolVersion": "9999-99-99"}
    talk.send("c>", {"id": 0, "method": "initialize", "params": claimed}, session="x")
    row = talk.send("c>", {"id": 1, "method": "tools/call", "params": {}}, session="x")
    assert [v.section for v in talk.journal.problems_of(row)] == ["MCP 2025-11-25, schema: CallToolRequest"]


def test_each_leg_is_checked_against_its_own_era(talk):
    """A bridge uses one era toward the client and the other toward the server."""
    talk.send("c>", {"id": 0, "method": "initialize", "params": HELLO})
    talk.send(">s", {"id": 7, "method": "server/discover", "params": {"_meta": META}})
    talk.send("c>", {"id": 1, "method": "tools/list"})
    talk.send(">s", {"id": 8, "method": "tools/list", "params": {"_meta": META}})
    listed = {"tools": [], "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
    talk.send("<s", {"id": 8, "result": listed})
    talk.send("c<", {"id": 1, "result": {"tools": []}})
    assert not talk.journal.problem_counts


def test_the_era_of_a_session_is_known_from_its_first_request(talk):
    talk.send("c>", {"id": 0, "method": "initialize", "params": HELLO})
    talk.event("link_closed", "1000 bye")
    talk.send("c>", call(1, **META), session="m")
    talk.send("c>", {"id": 1, "method": "ping"}, session="u")
    known = {name: (party.era, party.revision) for name, party in talk.journal.sessions.items()}
    assert known == {"s1": ("legacy", "2025-06-18"), "m": ("modern", "2026-07-28"), "u": ("", "")}

"""Which rows of the traffic belong together."""

from __future__ import annotations

import pytest

from mcp_ws_ide.inspector.model.records import Status
from tests.inspector.records import Transcript, call, done


@pytest.fixture
def talk():
    transcript = Transcript()
    yield transcript
    transcript.journal.close()


def test_a_response_is_paired_by_leg_sender_and_typed_id(talk):
    store = talk.journal.store
    number, text = talk.send("c>", call(7)), talk.send("c>", call("7"))
    question = talk.send("c<", {"id": 7, "method": "roots/list"})
    other = talk.send("c>", call(7), session="s2")
    answer_to_question = talk.send("c>", {"id": 7, "result": {"roots": []}})
    answer_to_text, answer_to_other = talk.send("c<", done("7")), talk.send("c<", done(7), session="s2")
    pairs = [(text, answer_to_text), (question, answer_to_question), (other, answer_to_other)]
    for request, answer in pairs:
        assert store.linked(store.pair, request) == answer
        assert store.linked(store.pair, answer) == request
        assert store.status_of(request) is Status.OK
    assert store.status_of(number) is Status.PENDING
    assert store.linked(store.pair, number) is None


def test_7_and_7_point_0_are_one_id(talk):
    request, answer = talk.send("c>", call(7)), talk.send("c<", done(7.0))
    assert talk.journal.store.linked(talk.journal.store.pair, request) == answer


def test_both_legs_are_linked_and_the_gateways_share_is_known(talk):
    store = talk.journal.store
    request = talk.send("c>", call("a"))
    upstream = talk.send(">s", call(41), session=None, origin_session="s1", origin_id="a")
    talk.send("<s", done(41), session=None)
    answer = talk.send("c<", done("a"))
    assert store.linked(store.twin, request) == upstream
    assert store.linked(store.twin, upstream) == request
    assert store.linked(store.twin, answer) == answer - 1
    assert store.latency_of(request) == pytest.approx(30, abs=0.1)
    assert store.latency_of(upstream) == pytest.approx(10, abs=0.1)
    line = next(iter(talk.journal.statistics.lines.values()))
    assert (line.count, line.overhead) == (1, pytest.approx(20, abs=0.1))


def test_without_an_origin_legs_are_not_guessed(talk):
    request = talk.send("c>", call(1))
    talk.send(">s", call(1), session=None)
    assert talk.journal.store.linked(talk.journal.store.twin, request) is None


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (done(1), Status.OK),
        (done(1, isError=True), Status.FAILED),
        (done(1, resultType="input_required", requestState="x"), Status.INPUT),
        ({"id": 1, "error": {"code": -32601, "message": "no"}}, Status.ERROR),
    ],
)
def test_the_response_determines_the_status_of_the_request(talk, answer, status):
    request = talk.send("c>", call(1))
    row = talk.send("c<", answer)
    assert talk.journal.store.status_of(request) is talk.journal.store.status_of(row) is status


def test_progress_belongs_to_the_request_of_its_token_until_that_is_answered(talk):
    store = talk.journal.store
    request = talk.send("c>", call(1, progressToken="t"))
    note = {"method": "notifications/progress", "params": {"progressToken": "t", "progress": 1}}
    during = talk.send("c<", note)
    wrong_way = talk.send("c>", note)
    talk.send("c<", done(1))
    late = talk.send("c<", note)
    assert store.linked(store.parent, during) == request
    assert store.linked(store.parent, wrong_way) is None
    assert store.linked(store.parent, late) is None


def test_a_cancel_marks_the_senders_own_request(talk):
    store = talk.journal.store
    question = talk.send("c<", {"id": 1, "method": "roots/list"})
    request = talk.send("c>", call(1))
    cancel = talk.send("c>", {"method": "notifications/cancelled", "params": {"requestId": 1}})
    assert store.linked(store.parent, cancel) == request
    assert (store.status_of(request), store.status_of(question)) == (Status.CANCELLED, Status.PENDING)


def test_notifications_of_a_subscription_belong_to_the_listen_request(talk):
    store = talk.journal.store
    listen = talk.send("c>", {"id": 5, "method": "subscriptions/listen", "params": {}})
    tag = {"_meta": {"io.modelcontextprotocol/subscriptionId": 5}}
    changed = talk.send("c<", {"method": "notifications/tools/list_changed", "params": tag})
    assert store.linked(store.parent, changed) == listen


def test_a_changed_resource_is_named_by_its_notification(talk):
    listen = talk.send("c>", {"id": 5, "method": "subscriptions/listen", "params": {"_meta": {}}})
    meta = {"io.modelcontextprotocol/subscriptionId": 5}
    about = {"uri": "demo://counter", "_meta": meta}
    row = talk.send("c<", {"method": "notifications/resources/updated", "params": about})
    store = talk.journal.store
    assert (store.linked(store.parent, row), store.target_of(row)) == (listen, "demo://counter")
    alone = talk.send(
        "c<", {"method": "notifications/resources/updated", "params": {"uri": "x://y"}}, session="s9"
    )
    assert store.target_of(alone) == "x://y"


def test_rounds_are_linked_by_their_request_state_and_by_nothing_else(talk):
    store = talk.journal.store
    first = talk.send("c>", call(1))
    talk.send("c<", done(1, resultType="input_required", requestState="st4te"))
    again = {**call(2), "params": {"name": "run", "requestState": "st4te", "inputResponses": {}}}
    second, unrelated = talk.send("c>", again), talk.send("c>", call(3))
    assert store.linked(store.parent, second) == first
    assert store.linked(store.parent, unrelated) is None


def test_requests_that_are_open_when_a_session_ends_are_lost(talk):
    store = talk.journal.store
    mine, other = talk.send("c>", call(1)), talk.send("c>", call(1), session="s2")
    changes = talk.event("link_closed", "1006")
    assert changes.changed == [mine]
    assert (store.status_of(mine), store.status_of(other)) == (Status.LOST, Status.PENDING)


def test_a_server_that_exits_loses_its_own_requests_but_not_the_clients(talk):
    store = talk.journal.store
    request = talk.send("c>", call(1))
    upstream = talk.send(">s", call(1), origin_session="s1", origin_id=1)
    talk.event("upstream_closed", "exit code 3")
    assert (store.status_of(request), store.status_of(upstream)) == (Status.PENDING, Status.LOST)
    assert talk.journal.problem_counts["upstream_closed"] == 1


def test_after_a_gap_the_outcome_of_open_requests_is_unknown(talk):
    request = talk.send("c>", call(1))
    talk.journal.gap(talk.mono, talk.mono, "reconnected")
    assert talk.journal.store.status_of(request) is Status.UNKNOWN
    assert talk.codes(talk.send("c<", done(1))) == []
    assert talk.journal.store.status_of(request) is Status.OK, "until its answer comes after all"


def test_an_id_that_is_used_again_after_a_gap_is_no_duplicate(talk):
    talk.send("c>", call(1))
    talk.journal.gap(talk.mono, talk.mono, "reconnected")
    assert talk.codes(talk.send("c>", call(1))) == []


def test_an_error_without_an_id_has_a_status(talk):
    row = talk.send("c<", {"id": None, "error": {"code": -32700, "message": "no"}})
    assert talk.journal.store.status_of(row) is Status.ERROR


def test_an_answer_to_nothing_is_a_violation_only_when_the_session_was_seen_from_its_start(talk):
    assert talk.codes(talk.send("c<", done(1))) == []
    talk.event("link_opened", "x", session="s9")
    assert talk.codes(talk.send("c<", done(1), session="s9")) == ["orphan"]


def test_requests_and_notifications_of_a_task_belong_to_the_call_that_it_answered(talk):
    store = talk.journal.store
    created = talk.send("c>", call(1))
    talk.send("c<", done(1, resultType="task", taskId="t1", status="working"))
    other = talk.send("c>", call(2))
    talk.send("c<", done(2, resultType="task", taskId="t2", status="working"))
    get = talk.send("c>", {"id": 3, "method": "tasks/get", "params": {"taskId": "t1"}})
    talk.send("c<", done(3, taskId="t1", status="completed"))
    listen = talk.send("c>", {"id": 5, "method": "subscriptions/listen", "params": {}})
    tag = {"io.modelcontextprotocol/subscriptionId": 5}
    told = [
        talk.send("c<", {"method": "notifications/tasks", "params": {"_meta": tag, "taskId": task}})
        for task in ("t2", "unknown")
    ]
    elsewhere = talk.send(">s", {"id": 9, "method": "tasks/get", "params": {"taskId": "t1"}})
    assert store.linked(store.parent, get) == created
    assert [store.linked(store.parent, row) for row in told] == [other, listen]
    assert store.linked(store.parent, elsewhere) is None, "a group changes the ids between the legs"
    assert [store.target_of(row) for row in (get, *told)] == ["t1", "t2", "unknown"]


def test_a_session_is_named_by_its_id_or_by_how_that_begins(talk):
    for session in ("s1", "s10", "t2"):
        talk.send("c>", call(1), session=session)
    named = {text: talk.journal.sessions_named(text) for text in ("s1", "s", "t", "x")}
    assert named == {"s1": ["s1"], "s": ["s1", "s10"], "t": ["t2"], "x": []}

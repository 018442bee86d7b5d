"""How the core of a session routes messages."""

from __future__ import annotations

import json

import pytest

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.effects import Deliver, Drop, Forward, Ping, Reply, Unnamed
from mcp_ws_ide.core.era import Era, probe, read_probe, refuse_modern, refuse_stateless, refused_probe
from mcp_ws_ide.core.session import SessionCore, Throttled
from mcp_ws_ide.errors import INVALID_REQUEST, LIMIT_EXCEEDED, METHOD_NOT_FOUND, UPSTREAM_LOST


def parse(**message: object) -> messages.Message:
    return messages.parse(json.dumps({"jsonrpc": "2.0", **message}).encode())


def error_of(effect: object) -> dict:
    assert isinstance(effect, Deliver)
    return json.loads(effect.message.data)


MODERN = {"_meta": {messages.PROTOCOL_VERSION_KEY: "2026-07-28"}}


def test_the_era_is_decided_per_message():
    core = SessionCore(10)
    assert core.from_client(parse(id=1, method="server/discover", params=MODERN), 0.0).modern
    assert not core.from_client(parse(id=2, method="initialize", params={}), 0.0).modern
    assert core.used_modern
    assert core.used_legacy


def test_a_modern_initialize_reaches_no_server():
    core = SessionCore(10)
    refusal = error_of(core.from_client(parse(id=1, method="initialize", params=MODERN), 0.0))
    assert (refusal["id"], refusal["error"]["code"]) == (1, METHOD_NOT_FOUND)
    assert core.pending == {}


def test_an_id_in_flight_is_refused_without_answering_the_first():
    core = SessionCore(10)
    core.from_client(parse(id=7, method="a"), 0.0)
    refusal = error_of(core.from_client(parse(id=7, method="b"), 0.0))
    assert refusal["id"] is None
    assert refusal["error"]["code"] == INVALID_REQUEST
    assert isinstance(core.from_client(parse(id="7", method="c"), 0.0), Forward)


def test_an_id_may_be_used_again_once_it_is_answered():
    core = SessionCore(10)
    for _ in range(2):
        assert isinstance(core.from_client(parse(id=7, method="a"), 0.0), Forward)
        effect = core.from_legacy_server(parse(id=7, result={}))
        assert effect.answered.method == "a"


def test_requests_above_the_limit_are_refused_with_its_name():
    core = SessionCore(2)
    for number in range(2):
        assert isinstance(core.from_client(parse(id=number, method="a"), 0.0), Forward)
    refusal = error_of(core.from_client(parse(id="third", method="a"), 0.0))
    assert refusal["id"] == "third"
    assert refusal["error"]["code"] == LIMIT_EXCEEDED
    assert refusal["error"]["data"] == {"limit": "max_in_flight", "outcome": "not_sent"}


def test_a_question_of_a_legacy_server_is_answered_exactly_once():
    core = SessionCore(10)
    question = parse(id="q", method="roots/list")
    assert core.from_legacy_server(question).message is question
    assert isinstance(core.from_legacy_server(question), Reply)
    assert isinstance(core.from_client(parse(id="q", result={}), 0.0), Forward)
    assert isinstance(core.from_client(parse(id="q", result={}), 0.0), Drop)


def test_a_cancellation_follows_its_request():
    core = SessionCore(10)
    core.from_client(parse(id=7, method="a"), 0.0)
    effect = core.from_client(parse(method="notifications/cancelled", params={"requestId": 7}), 0.0)
    assert isinstance(effect, Forward)
    assert not effect.modern
    assert effect.pending.key == 7
    assert not core.pending
    for params in ({"requestId": 7}, {"requestId": "7"}, {"requestId": []}, {}):
        assert isinstance(core.from_client(parse(method="notifications/cancelled", params=params), 0.0), Drop)


def test_the_error_of_a_lost_request_has_its_outcome():
    core = SessionCore(10)
    first = core.from_client(parse(id=1, method="a"), 0.0).pending
    second = core.from_client(parse(id="2", method="a"), 0.0).pending
    first.sent = 1.0
    lost = json.loads(core.fail(first, UPSTREAM_LOST, "gone").data)
    assert lost == {
        "jsonrpc": "2.0",
        "id": 1,
        "error": {"code": UPSTREAM_LOST, "message": "gone", "data": {"outcome": "unknown"}},
    }
    assert json.loads(core.fail(second, UPSTREAM_LOST, "gone").data)["error"]["data"] == {
        "outcome": "not_sent"
    }
    assert core.fail(second, UPSTREAM_LOST, "gone") is None


def test_notifications_follow_the_era_of_the_session():
    core = SessionCore(10)
    assert not core.from_client(parse(method="notifications/x"), 0.0).modern
    core.from_client(parse(id=1, method="tools/list", params=MODERN), 0.0)
    assert core.from_client(parse(method="notifications/x"), 0.0).modern


def test_the_answer_to_the_probe_determines_the_era():
    request = probe("1.0")
    assert request.method_name == "server/discover"
    assert read_probe(parse(id=0, result={"supportedVersions": ["2025-11-25", "2026-07-28"]})) is Era.MODERN
    assert read_probe(parse(id=0, result={"supportedVersions": ["2025-11-25"]})) is Era.LEGACY
    assert read_probe(parse(id=0, result={})) is Era.LEGACY
    assert read_probe(parse(id=0, result=[])) is Era.LEGACY
    assert read_probe(parse(id=0, error={"code": -32022, "message": ""})) is Era.MODERN
    assert read_probe(parse(id=0, error={"code": -32601, "message": ""})) is Era.LEGACY


def test_a_legacy_server_refuses_modern_requests_so_that_clients_fall_back():
    refusal = json.loads(refuse_modern(b'"x"', "files").data)
    assert refusal["id"] == "x"
    assert refusal["error"]["code"] == METHOD_NOT_FOUND
    assert "files" in refusal["error"]["message"]


def test_a_cancellation_reaches_a_request_that_was_not_yet_sent():
    core = SessionCore(10)
    core.from_client(parse(id=1, method="tools/list", params=MODERN), 0.0)
    cancel = core.from_client(parse(method="notifications/cancelled", params={"requestId": 1}), 0.0)
    assert isinstance(cancel, Forward)
    assert cancel.modern


def test_a_legacy_server_cannot_answer_a_request_sent_to_another():
    core = SessionCore(10)
    core.from_client(parse(id=1, method="tools/list", params=MODERN), 0.0)
    assert isinstance(core.from_legacy_server(parse(id=1, result={"forged": True})), Drop)
    assert 1 in core.pending


def test_a_late_answer_does_not_affect_the_next_request_with_the_same_id():
    core = SessionCore(10)
    first = core.from_client(parse(id=7, method="a", params=MODERN), 0.0)
    core.from_client(parse(method="notifications/cancelled", params={"requestId": 7}), 0.0)
    second = core.from_client(parse(id=7, method="b", params=MODERN), 0.0)
    core.answered(first.pending)
    assert core.fail(first.pending, UPSTREAM_LOST, "late") is None
    assert core.pending == {7: second.pending}


def test_a_gateways_refusal_is_distinguished_from_the_servers():
    assert refused_probe(parse(id=0, result={})) == ""
    assert refused_probe(parse(id=0, error={"code": -32601, "message": "no"})) == ""
    assert refused_probe(parse(id=0, error={"code": "x"})) == ""
    assert refused_probe(parse(id=0, error={"code": UPSTREAM_LOST, "message": "down"})) == "down"
    assert refused_probe(parse(id=0, error={"code": UPSTREAM_LOST})) == "no reason was given"


def test_a_modern_exchange_over_http_is_refused_where_no_process_is_shared():
    refusal = json.loads(refuse_stateless(b'"x"', "files").data)
    assert (refusal["id"], refusal["error"]["code"]) == ("x", METHOD_NOT_FOUND)
    assert refusal["error"]["data"] == {"outcome": "not_sent"}


@pytest.mark.parametrize("request_id", ["x" * 2000, [1], {"a": 1}, True])
def test_a_cancellation_of_an_impossible_id_is_dropped(request_id):
    core = SessionCore(10)
    core.from_client(parse(id=1, method="a"), 0.0)
    note = parse(method="notifications/cancelled", params={"requestId": request_id})
    assert (1 in core.pending, isinstance(core.from_client(note, 0.0), Drop | Forward)) == (True, True)
    assert isinstance(core.from_client(parse(method="notifications/cancelled", params={}), 0.0), Drop)


def test_an_unexpected_answer_of_a_private_server_reaches_the_client():
    answer = parse(id=99, result={})
    assert SessionCore(10).from_legacy_server(answer).message is answer


def test_a_server_that_uses_an_id_twice_is_refused():
    core = SessionCore(10)
    core.from_legacy_server(parse(id=1, method="ping"))
    effect = core.from_legacy_server(parse(id=1, method="ping"))
    assert isinstance(effect, Reply)
    assert json.loads(effect.message.data)["error"]["code"] == INVALID_REQUEST


def test_notifications_of_a_server_pass_and_progress_may_be_dropped():
    core = SessionCore(10)
    assert core.from_legacy_server(parse(method="notifications/progress", params={})).droppable
    assert not core.from_legacy_server(parse(method="notifications/x")).droppable


def test_an_answer_whose_id_changed_its_type_gets_back_its_own():
    core = SessionCore(10)
    for own, written in ((7, "7"), ("8", 8), (9, 9.0)):
        core.from_client(parse(id=own, method="a"), 0.0)
        effect = core.from_legacy_server(parse(id=written, result={}))
        assert effect.answered.key == own
        assert json.loads(effect.message.data)["id"] == own
        assert type(json.loads(effect.message.data)["id"]) is type(own)
    assert isinstance(core.from_legacy_server(parse(id=None, result={})), Unnamed)
    assert isinstance(core.from_legacy_server(parse(id="x", result={})), Unnamed)


def test_only_what_the_private_server_was_sent_is_open_there():
    core = SessionCore(10)
    sent = core.from_client(parse(id=1, method="a"), 0.0).pending
    core.from_client(parse(id=2, method="a"), 0.0)
    sent.sent = 1.0
    assert core.open_at_private() == [b"1"]
    assert not core.has_cancelled
    core.from_client(parse(method="notifications/cancelled", params={"requestId": 1}), 0.0)
    assert core.has_cancelled


def test_a_ping_is_answered_once_by_the_client_or_in_its_place():
    core = SessionCore(10)
    first, second = (core.from_legacy_server(parse(id=n, method="ping")) for n in (1, 2))
    assert isinstance(first, Ping)
    assert json.loads(core.answer_ping(first.message).data) == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert isinstance(core.from_client(parse(id=1, result={}), 0.0), Drop), (
        "the client's answer comes too late"
    )
    assert isinstance(core.from_client(parse(id=2, result={}), 0.0), Forward)
    assert core.answer_ping(second.message) is None
    again = core.from_legacy_server(parse(id=2, method="sampling/createMessage"))
    assert isinstance(again, Deliver)
    assert core.answer_ping(second.message) is None, "the id names another request by now"


def test_a_throttled_user_is_told_when_to_send_again():
    core = SessionCore(10)
    core.throttle(Throttled(50, 100.0))
    refused = core.from_client(messages.parse(b'{"jsonrpc":"2.0","id":1,"method":"m"}'), 97.5)
    error = json.loads(refused.message.data)["error"]
    assert error["code"] == -31003
    assert error["data"] == {"limit": "max_messages_per_second", "outcome": "not_sent", "retry_after": 3}
    assert "more than 50 messages a second" in error["message"]
    core.throttle(None)
    assert type(core.from_client(messages.parse(b'{"jsonrpc":"2.0","id":1,"method":"m"}'), 98.0)) is Forward

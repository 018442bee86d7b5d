"""Many sessions on one server: transcripts of input and output."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.effects import Deliver, Drop, Forward, Pending, Reply, Unnamed
from mcp_ws_ide.core.multiplexer import Multiplexer
from mcp_ws_ide.core.session import SessionCore

SUB = messages.SUBSCRIPTION_ID_KEY


class Client:
    """A session's core, and what its client would see."""

    def __init__(self, mux: Multiplexer[Client]) -> None:
        self.mux = mux
        self.core = SessionCore(max_in_flight=100)

    def send(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Returns what reaches the server."""
        effect = self.core.from_client(messages.parse(json.dumps(message).encode()), 0.0)
        if not isinstance(effect, Forward):
            return None
        return json.loads(self.mux.outbound(self, effect.message, effect.params, effect.pending).data)

    def call(self, request_id: Any, method: str = "tools/call", **meta: Any) -> dict[str, Any]:
        sent = self.send(
            {"jsonrpc": "2.0", "id": request_id, "method": method, "params": {"_meta": modern(**meta)}}
        )
        assert sent is not None
        return sent


def modern(**more: Any) -> dict[str, Any]:
    return {messages.PROTOCOL_VERSION_KEY: "2026-07-28", **more}


def inbound(mux: Multiplexer[Client], message: dict[str, Any]) -> tuple[Client | None, Any]:
    owner, effect = mux.inbound(messages.parse(json.dumps(message).encode()))
    if isinstance(effect, Deliver):
        if effect.answered is not None:
            owner.core.answered(effect.answered)
        return owner, json.loads(effect.message.data)
    return owner, effect


@pytest.fixture
def mux() -> Multiplexer[Client]:
    return Multiplexer()


def test_ids_of_different_type_or_client_are_never_confused(mux):
    a, b = Client(mux), Client(mux)
    ids = [(a, 7), (a, "7"), (b, 7), (b, "7"), (a, 2**63), (b, 7.5)]
    sent = [(client, own, client.call(own)["id"]) for client, own in ids]
    assert len({upstream for _, _, upstream in sent}) == len(ids)
    assert all(type(upstream) is int for _, _, upstream in sent)
    for client, own, upstream in reversed(sent):
        owner, answer = inbound(mux, {"jsonrpc": "2.0", "id": upstream, "result": {"for": repr(own)}})
        assert owner is client
        assert answer["id"] == own
        assert type(answer["id"]) is type(own)
        assert answer["result"] == {"for": repr(own)}
    assert not len(mux)
    assert not a.core.pending
    assert not b.core.pending


def test_progress_carries_the_clients_own_token(mux):
    a, b = Client(mux), Client(mux)
    first, second = a.call(1, progressToken="p"), b.call(1, progressToken="p")
    assert first["params"]["_meta"]["progressToken"] != second["params"]["_meta"]["progressToken"]
    params = {"progressToken": second["params"]["_meta"]["progressToken"], "progress": 0.5}
    owner, note = inbound(mux, {"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
    assert owner is b
    assert note["params"] == {"progressToken": "p", "progress": 0.5}


def test_unrequested_progress_is_dropped(mux):
    a = Client(mux)
    upstream = a.call(1)["id"]
    for token in (upstream, 99, "x", None):
        owner, effect = inbound(
            mux, {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token}}
        )
        assert owner is None
        assert isinstance(effect, Drop)


def test_subscriptions_are_tagged_with_the_clients_own_id(mux):
    a, b = Client(mux), Client(mux)
    mine, _ = a.call("sub", "subscriptions/listen"), b.call("sub", "subscriptions/listen")
    for tag in (mine["id"], str(mine["id"])):
        owner, note = inbound(
            mux,
            {"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {"_meta": {SUB: tag}}},
        )
        assert owner is a
        assert note["params"]["_meta"][SUB] == "sub"
    owner, end = inbound(mux, {"jsonrpc": "2.0", "id": mine["id"], "result": {"_meta": {SUB: mine["id"]}}})
    assert owner is a
    assert end["id"] == end["result"]["_meta"][SUB] == "sub"


def test_a_cancellation_names_the_servers_id_and_retires_it(mux):
    a = Client(mux)
    upstream = a.call("7")["id"]
    assert a.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}) is None
    cancel = a.send(
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "7", "reason": "r"}}
    )
    assert cancel["params"] == {"requestId": upstream, "reason": "r"}
    assert "id" not in cancel
    owner, effect = inbound(mux, {"jsonrpc": "2.0", "id": upstream, "result": {}})
    assert owner is None
    assert isinstance(effect, Drop)
    assert not len(mux)
    assert not a.core.pending


def test_a_cancellation_by_the_server_names_the_clients_id(mux):
    a = Client(mux)
    upstream = a.call("x", "subscriptions/listen")["id"]
    owner, note = inbound(
        mux, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": upstream}}
    )
    assert owner is a
    assert note["params"]["requestId"] == "x"


def test_untagged_notifications_are_never_broadcast(mux):
    Client(mux).call(1)
    for method in ("notifications/message", "notifications/tools/list_changed", "notifications/x"):
        owner, effect = inbound(mux, {"jsonrpc": "2.0", "method": method, "params": {}})
        assert owner is None
        assert isinstance(effect, Drop)


def test_a_sole_owner_receives_messages_that_name_no_request():
    mux: Multiplexer[Any] = Multiplexer(sole_owner="me")
    owner, effect = mux.inbound(
        messages.parse(b'{"jsonrpc":"2.0","method":"notifications/message","params":{}}')
    )
    assert owner == "me"
    assert isinstance(effect, Deliver)


def log_message(level: str) -> messages.Message:
    return messages.notification("notifications/message", b'{"level":"%b","data":1}' % level.encode())


def test_a_log_message_goes_to_the_clients_whose_requests_asked_for_its_level(mux):
    verbose, brief, silent = Client(mux), Client(mux), Client(mux)
    sent = verbose.call(1, **{messages.LOG_LEVEL_KEY: "debug"})
    assert sent["params"]["_meta"][messages.LOG_LEVEL_KEY] == "debug"
    verbose.call(2, **{messages.LOG_LEVEL_KEY: "info"})
    brief.call(1, **{messages.LOG_LEVEL_KEY: "error"})
    silent.call(1)
    silent.call(2, **{messages.LOG_LEVEL_KEY: "no level"})
    assert mux.log_readers(log_message("info")) == [verbose]
    assert mux.log_readers(log_message("alert")) == [verbose, brief]
    assert mux.log_readers(log_message("no level")) == [verbose, brief]
    mux.drop(verbose.core.pending.values())
    assert mux.log_readers(log_message("info")) == []


def test_a_subscription_gets_the_log_messages_that_no_call_asked_for(mux):
    listener, caller = Client(mux), Client(mux)
    listener.call(1, "subscriptions/listen", **{messages.LOG_LEVEL_KEY: "debug"})
    assert mux.log_readers(log_message("info")) == [listener]
    caller.call(1, **{messages.LOG_LEVEL_KEY: "info"})
    assert mux.log_readers(log_message("info")) == [caller]
    assert mux.log_readers(log_message("debug")) == [listener]


def test_a_request_of_the_server_is_answered_with_an_error(mux):
    owner, effect = inbound(mux, {"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage"})
    assert owner is None
    assert isinstance(effect, Reply)
    assert json.loads(effect.message.data)["error"]["code"] == -32601


def test_a_client_that_leaves_has_its_requests_cancelled_and_no_others(mux):
    a, b = Client(mux), Client(mux)
    mine, kept = {a.call(1)["id"], a.call(2)["id"]}, b.call(1)["id"]
    cancels = [json.loads(cancel.data) for cancel in mux.drop(a.core.pending.values())]
    assert {cancel["params"]["requestId"] for cancel in cancels} == mine
    assert inbound(mux, {"jsonrpc": "2.0", "id": kept, "result": {}})[0] is b


def test_the_end_of_the_server_returns_everything_in_flight(mux):
    a, b = Client(mux), Client(mux)
    a.call(1), b.call("1")
    entries = mux.fail_all()
    assert [(owner, pending.raw_id) for owner, pending in entries] == [(a, b"1"), (b, b'"1"')]
    assert not len(mux)


def test_payload_bytes_pass_untouched(mux):
    params = b'{"name":"t","arguments":{"x": 1.0e5 ,"\\u00e9":[1,  2]},"_meta":{"%b":"2026-07-28"}}'
    params %= messages.PROTOCOL_VERSION_KEY.encode()
    message = messages.parse(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%b}' % params)
    effect = SessionCore(9).from_client(message, 0.0)
    assert isinstance(effect, Forward)
    assert params in mux.outbound("owner", effect.message, effect.params, effect.pending).data


@pytest.mark.parametrize("seed", range(50))
def test_random_schedules_misroute_nothing(seed: int):
    """Calls, answers in any order, cancellations and departures of eight clients with colliding ids."""
    rng = random.Random(seed)
    mux: Multiplexer[Client] = Multiplexer()
    clients = [Client(mux) for _ in range(8)]
    open_calls: list[tuple[Client, Any, int]] = []
    for _ in range(400):
        client, action = rng.choice(clients), rng.random()
        if action < 0.5:
            own = rng.choice([rng.randrange(20), str(rng.randrange(20))])
            if own not in client.core.pending:
                open_calls.append((client, own, client.call(own, progressToken=own)["id"]))
        elif open_calls and action < 0.9:
            client, own, upstream = open_calls.pop(rng.randrange(len(open_calls)))
            owner, answer = inbound(mux, {"jsonrpc": "2.0", "id": upstream, "result": {}})
            assert (owner, answer["id"], type(answer["id"])) == (client, own, type(own)), f"seed {seed}"
        elif open_calls and action < 0.97:
            client, own, upstream = open_calls.pop()
            sent = client.send(
                {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": own}}
            )
            assert sent["params"]["requestId"] == upstream, f"seed {seed}"
        else:
            mux.drop(list(client.core.pending.values()))
            client.core.pending.clear()
            open_calls = [call for call in open_calls if call[0] is not client]
    assert len(mux) == len(open_calls) == sum(len(client.core.pending) for client in clients), f"seed {seed}"


def test_a_pending_entry_shows_where_it_is_in_flight(mux):
    a = Client(mux)
    a.call(1)
    (pending,) = a.core.pending.values()
    assert mux.owns(pending)
    assert not mux.owns(Pending(1, b"1", "x", 0.0, upstream_id=pending.upstream_id))


@pytest.mark.parametrize(
    "tag", ["{}", "[1]", "true", "1.5", "1e999", "9" * 5000, '"' + "9" * 5000 + '"', "null"]
)
@pytest.mark.parametrize("member", ["progressToken", "requestId"])
def test_malformed_tags_of_a_server_are_ignored(tag, member):
    method = "progress" if member == "progressToken" else "cancelled"
    line = f'{{"jsonrpc":"2.0","method":"notifications/{method}","params":{{"{member}":{tag}}}}}'
    owner, effect = Multiplexer().inbound(messages.parse(line.encode()))
    assert owner is None
    assert isinstance(effect, Drop)


def test_a_subscription_that_its_server_cancels_has_ended(mux):
    a = Client(mux)
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled"}
    inbound(mux, {**cancelled, "params": {"requestId": a.call("x", "subscriptions/listen")["id"]}})
    assert not len(mux)
    assert not a.core.pending
    inbound(mux, {**cancelled, "params": {"requestId": a.call("y", "tools/call")["id"]}})
    assert len(mux) == len(a.core.pending) == 1, "a call still gets its answer"


def test_the_addressee_of_a_message_is_known_before_it_is_delivered(mux):
    a, b = Client(mux), Client(mux)
    call, listen = a.call(1, progressToken="p")["id"], b.call(2, "subscriptions/listen")["id"]

    def addressee(**members: Any) -> Client | None:
        return mux.addressee(messages.parse(json.dumps({"jsonrpc": "2.0", **members}).encode()))

    assert addressee(id=call, result={}) is a
    assert addressee(id="x", result={}) is None
    assert addressee(id=9, method="ping") is None
    assert addressee(method="notifications/progress", params={"progressToken": call}) is a
    assert addressee(method="notifications/cancelled", params={"requestId": listen}) is b
    assert addressee(method="notifications/x", params={"_meta": {SUB: listen}}) is b
    assert addressee(method="notifications/x") is None
    assert len(mux) == 2, "nothing is taken"


def test_a_message_without_a_request_passes_unchanged(mux):
    note = messages.parse(b'{"jsonrpc":"2.0","method":"notifications/x"}')
    assert mux.outbound("owner", note, messages.NO_PARAMS, None) is note


@pytest.mark.parametrize("written", ['"1"', "1.0", "1"])
def test_an_answer_is_paired_though_its_id_changed_its_type(mux, written):
    client = Client(mux)
    client.call("own")
    owner, effect = mux.inbound(messages.parse(b'{"jsonrpc":"2.0","id":%b,"result":{}}' % written.encode()))
    assert owner is client
    assert json.loads(effect.message.data)["id"] == "own"


def test_an_answer_that_names_nothing_ever_asked_is_unnamed_and_a_late_one_dropped(mux):
    client = Client(mux)
    client.call(1)
    assert mux.open_ids() == [b"1"]
    for strange in (None, 0, 2, "x", 1.5):
        assert isinstance(inbound(mux, {"jsonrpc": "2.0", "id": strange, "result": {}})[1], Unnamed)
    inbound(mux, {"jsonrpc": "2.0", "id": 1, "result": {}})
    assert mux.was_used(b"1")
    assert isinstance(inbound(mux, {"jsonrpc": "2.0", "id": 1, "result": {}})[1], Drop)


def test_subscriptions_are_open_only_where_nothing_else_is(mux):
    client = Client(mux)
    client.call(1, "subscriptions/listen")
    assert mux.open_ids() == [b"1"]
    client.call(2)
    assert mux.open_ids() == [b"2"]
    assert not mux.has_cancelled
    mux.drop(client.core.pending.values())
    assert mux.has_cancelled


def test_the_requests_in_flight_after_another_one_are_told():
    mux: Multiplexer[Client] = Multiplexer()
    client = Client(mux)
    for own in range(3):
        client.call(own)
    assert (mux.sent, mux.open_after(1), mux.ended_after(1)) == (3, [b"2", b"3"], 0)

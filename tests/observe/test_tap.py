"""The tap: bounded, drop-oldest and counted, without secrets."""

from __future__ import annotations

import json
import time
import tracemalloc

import pytest

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.observe import feed as feed_module
from mcp_ws_ide.observe import tap as tap_module
from mcp_ws_ide.observe.feed import BATCH_BYTES, HISTORY_RECORDS, Watcher
from mcp_ws_ide.observe.redaction import RAW_LIMIT, REDACT_LIMIT, Redactor
from mcp_ws_ide.observe.scope import Scope, read_place, read_scope
from mcp_ws_ide.observe.tap import Tap

CANARY = "c4n4ryc4n4ryc4n4ry"


def taken(watcher: Watcher) -> list[dict]:
    """Everything that waits, with what concerns the link: ``attached`` and gaps."""
    found = []
    while data := watcher.take():
        found += [json.loads(line) for line in data.splitlines()]
    return found


def records(watcher: Watcher) -> list[dict]:
    return [record for record in taken(watcher) if record["event"] not in ("attached", "gap")]


def watched(tap: Tap, wakes: list[int] | None = None, owner: str = "me", **options) -> Watcher:
    woken = wakes if wakes is not None else []
    place = {key: options.pop(key) for key in ("after", "instance") if key in options}
    watcher = Watcher(lambda: woken.append(1), **options)
    tap.subscribe(owner, watcher, **place)
    return watcher


def report(tap: Tap, data: bytes, owner: str = "me", **options) -> None:
    tap.message(owner, "s", "id", "client", "in", data, **options)


def call(number: int) -> bytes:
    return b'{"jsonrpc":"2.0","id":%d,"method":"m"}' % number


def test_a_record_has_session_message_and_time():
    tap, message = Tap(), b'{"jsonrpc":"2.0","id":7,"method":"tools/list"}'
    watcher = watched(tap)
    report(tap, message)
    tap.event("me", "s", None, "link_opened", "from here")
    first, second = records(watcher)
    assert (first["kind"], first["method"], first["id"], first["size"]) == ("request", "tools/list", 7, 46)
    assert (first["leg"], first["direction"], first["raw"]) == ("client", "in", message.decode())
    assert (second["event"], second["detail"], second["session"]) == ("link_opened", "from here", None)
    assert second["seq"] == first["seq"] + 1


def test_a_request_to_a_server_names_the_clients_request_it_carries():
    tap = Tap()
    watcher = watched(tap)
    request, note = call(1), b'{"jsonrpc":"2.0","method":"n"}'
    tap.message("me", "s", None, "upstream", "out", request, origin=("9f3a", b'"x"'))
    tap.message("me", "s", None, "upstream", "out", note, origin=("9f3a", b'"x"'))
    request, notification = records(watcher)
    assert (request["id"], request["origin_session"], request["origin_id"]) == (1, "9f3a", "x")
    assert (notification["origin_session"], notification["origin_id"]) == (None, None)


def test_a_slow_watcher_loses_the_oldest_records_and_gets_their_number_and_range():
    tap = Tap()
    watcher, other = watched(tap), watched(tap)
    assert [taken(w)[0]["event"] for w in (watcher, other)] == ["attached", "attached"]
    for number in range(HISTORY_RECORDS + 5):
        report(tap, call(number))
        if number % 1000 == 0:
            records(other)
    gap, *slow = taken(watcher)
    assert (gap["kind"], gap["from"], gap["to"], gap["count"], gap["drops"]) == ("gap", 1, 5, 5, 5)
    assert [slow[0]["seq"], slow[0]["id"], slow[-1]["id"], len(slow)] == [
        *(6, 5, HISTORY_RECORDS + 4, HISTORY_RECORDS)
    ]
    assert all(record["kind"] != "gap" for record in taken(other))
    assert (watcher.drops, other.drops, tap.drops) == (5, 0, 5)


def test_records_that_a_filtered_watcher_missed_are_counted_exactly():
    tap = Tap()
    narrow = watched(tap, scope=read_scope({"kind": ["notification"]}))
    taken(narrow)
    for number in range(HISTORY_RECORDS + 10):
        report(tap, call(number) if number % 2 else b'{"jsonrpc":"2.0","method":"n"}')
    gap, *rest = taken(narrow)
    assert (gap["from"], gap["to"], gap["count"]) == (1, 9, 5)
    assert len(rest) == HISTORY_RECORDS / 2


def test_memory_for_unread_records_is_bounded():
    tap, message = Tap(), b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"%s"}}' % (b"x" * 1000)
    watched(tap)
    for _ in range(HISTORY_RECORDS):
        report(tap, message + b" ")
    tracemalloc.start()
    for _ in range(HISTORY_RECORDS):
        report(tap, message + b" ")
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 1.5 * HISTORY_RECORDS * 2000, "one history's worth replaced, none added"


def test_large_records_are_bounded_in_bytes_too():
    tap, big = Tap(), b'{"jsonrpc":"2.0","method":"m","params":{"a":"%s"}}' % (b"x" * RAW_LIMIT)
    watcher = watched(tap)
    taken(watcher)
    for _ in range(2000):
        report(tap, big)
    assert len(watcher.take()) < BATCH_BYTES * 2, "a gap comes alone"
    assert len(watcher.take()) < BATCH_BYTES + 2 * RAW_LIMIT, "a batch is bounded"
    held = len(records(watcher)) * RAW_LIMIT * 2
    assert held < feed_module.HISTORY_BYTES


def test_watchers_get_the_same_records_wherever_they_are():
    tap = Tap()
    watchers = [watched(tap) for _ in range(3)]
    taken(watchers[0])
    for number in range(2 * feed_module.BATCH_RECORDS + 7):
        report(tap, call(number))
        if number == 5:
            assert len(records(watchers[1])) == 6
    first, second, third = (records(watcher) for watcher in watchers)
    assert first == third
    assert second == first[6:]
    assert [record["id"] for record in first] == list(range(2 * feed_module.BATCH_RECORDS + 7))


def test_a_new_secret_is_hidden_from_the_next_message_on():
    tap = Tap()
    watcher, data = (
        watched(tap),
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"%s"}}' % CANARY.encode(),
    )
    message = messages.parse(data)
    report(tap, data, message=message)
    tap.redactor = Redactor(values=[CANARY])
    for again in (message, messages.with_id(message, b"2")):
        report(tap, again.data, message=again)
    assert [CANARY in record["raw"] for record in records(watcher)] == [True, False, False]


def test_a_watcher_is_woken_once_per_batch_and_sees_only_its_owners_records():
    tap, wakes = Tap(), []
    watcher = watched(tap, wakes)
    taken(watcher)
    for owner in ("me", "you", "me"):
        report(tap, b'{"jsonrpc":"2.0","method":"m"}', owner)
    assert (len(wakes), len(records(watcher))) == (1, 2)
    report(tap, b'{"jsonrpc":"2.0","method":"m"}')
    assert len(wakes) == 2


# --- coming back --------------------------------------------------------------------------------


def test_a_returning_watcher_gets_the_records_in_between_once():
    tap = Tap()
    first = watched(tap)
    attached = taken(first)[0]
    report(tap, call(1))
    (seen,) = taken(first)
    tap.unsubscribe(first)
    report(tap, call(2))
    report(tap, call(3))
    again = watched(tap, after=seen["seq"], instance=attached["instance"])
    report(tap, call(4))
    hello, *rest = taken(again)
    assert (hello["event"], hello["instance"], hello["seq"]) == ("attached", attached["instance"], 1)
    assert [(record["seq"], record["id"]) for record in rest] == [(2, 2), (3, 3), (4, 4)]


def test_a_watcher_that_was_away_too_long_gets_the_exact_gap():
    tap = Tap()
    first = watched(tap)
    instance = taken(first)[0]["instance"]
    report(tap, call(0))
    tap.unsubscribe(first)
    for number in range(1, HISTORY_RECORDS + 8):
        report(tap, call(number))
    _, gap, *rest = taken(watched(tap, after=1, instance=instance))
    assert (gap["kind"], gap["from"], gap["to"], gap["count"], gap["seq"]) == ("gap", 2, 8, 7, 8)
    assert [rest[0]["seq"], rest[-1]["seq"]] == [9, HISTORY_RECORDS + 8]


def test_a_number_of_another_instance_is_recognised():
    old, new = Tap(), Tap()
    instance = taken(watched(old))[0]["instance"]
    watched(new)
    for number in range(5):
        report(new, call(number))
    hello, gap, *rest = taken(watched(new, after=3, instance=instance))
    assert hello["instance"] != instance
    assert (gap["kind"], gap["from"], gap["to"], gap["count"]) == ("gap", None, None, None)
    assert [record["id"] for record in rest] == [0, 1, 2, 3, 4], "all that the new one holds is new"


def test_a_number_that_was_never_assigned_is_refused():
    tap = Tap()
    instance = taken(watched(tap))[0]["instance"]
    with pytest.raises(ValueError, match="newest record has the number 0"):
        tap.check_place("me", 5, instance)
    tap.check_place("me", 5, "another")


def test_records_are_kept_no_longer_than_the_grace_period():
    tap = Tap(grace=10)
    watcher = watched(tap)
    instance = taken(watcher)[0]["instance"]
    tap.unsubscribe(watcher)
    tap.tick(time.monotonic() + 9)
    assert tap.active
    tap.tick(time.monotonic() + 11)
    assert not tap.active
    report(tap, call(1))
    _, gap = taken(watched(tap, after=0, instance=instance))
    assert (gap["kind"], gap["count"]) == ("gap", None)


def test_no_record_is_built_without_a_watcher(monkeypatch):
    def built(*args):
        raise AssertionError("a record was built")

    monkeypatch.setattr(tap_module, "TapRecord", built)
    tap = Tap()
    watched(tap, owner="you")
    report(tap, call(1))
    tap.event("me", "s", None, "link_opened")
    tap.noise("me", "s", None, "stderr", "text")
    with pytest.raises(AssertionError):
        report(tap, call(1), "you")


# --- filters ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "abcdefgh"),
        ({"server": ["git"]}, "h"),
        ({"server": ["git,demo"]}, "abcdefgh"),
        ({"session": ["9f"]}, "abcdef"),
        ({"kind": ["request", "error"]}, "abe"),
        ({"kind": ["event"]}, "gh"),
        ({"direction": ["in"]}, "abcf"),
        ({"leg": ["client"]}, "abcdef"),
        ({"method": ["tools/*"]}, "abde"),
        ({"method": ["tools/list"]}, "bd"),
        ({"method": ["notifications/*"], "kind": ["notification"]}, "c"),
        ({"errors": ["1"]}, "efh"),
    ],
)
def test_filters_select_the_matching_records(query, expected):
    tap = Tap()
    watcher = watched(tap, scope=read_scope(query))
    sent = [
        ("in", b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}'),
        ("in", b'{"jsonrpc":"2.0","id":"1","method":"tools/list"}'),
        ("in", b'{"jsonrpc":"2.0","method":"notifications/x"}'),
        ("out", b'{"jsonrpc":"2.0","id":"1","result":{}}'),
        ("out", b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}'),
        ("in", b"{"),
    ]
    for direction, data in sent:
        tap.message("me", "demo", "9f3a", "client", direction, data)
    tap.event("me", "demo", None, "link_opened")
    tap.event("me", "git", None, "dropped")
    assert "".join("abcdefgh"[record["seq"] - 1] for record in records(watcher)) == expected


def test_a_failed_result_is_an_error_too():
    tap = Tap()
    watcher = watched(tap, scope=Scope(errors=True))
    report(tap, b'{"jsonrpc":"2.0","id":1,"result":{"content":[], "isError": true}}')
    report(tap, b'{"jsonrpc":"2.0","id":2,"result":{"content":[],"isError":false}}')
    assert [record["id"] for record in records(watcher)] == [1]


def test_a_lost_link_is_a_failure_but_a_client_that_goes_away_is_none():
    tap = Tap()
    watcher = watched(tap, scope=Scope(errors=True))
    for detail in ("1001 ", "1001 the page is closed", "1006 ", "10010 "):
        tap.event("me", "demo", "9f3a", "link_lost", detail)
    assert [record["detail"] for record in records(watcher)] == ["1006 ", "10010 "]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"sever": ["x"]}, "no parameter 'sever'"),
        ({"kind": ["requests"]}, "must be one of request"),
        ({"direction": ["up"]}, "must be one of in, out"),
        ({"leg": ["client", "upstream"]}, "one value"),
        ({"errors": ["yes"]}, "0, 1"),
        ({"method": ["*" * 9]}, "at most"),
        ({"server": [f"s{n}" for n in range(40)]}, "at most"),
    ],
)
def test_an_impossible_filter_is_refused_with_a_reason(query, words):
    with pytest.raises(ValueError, match=words):
        read_scope(query)


@pytest.mark.parametrize(
    "query", [{"after": ["1"]}, {"instance": ["x"]}, {"after": ["-1"], "instance": ["x"]}]
)
def test_a_position_needs_an_instance_and_a_number(query):
    with pytest.raises(ValueError, match="after"):
        read_place(query)


# --- gateway tokens -----------------------------------------------------------------------------


def test_a_watcher_with_a_gateway_token_sees_only_the_tokens_records():
    tap, ended = Tap(), []
    theirs = watched(tap, token="t1", close=lambda code, reason: ended.append((code, reason)))
    owner = watched(tap)
    report(tap, call(1), token="t1")
    report(tap, call(2), token="t2")
    report(tap, call(3))
    tap.event("me", "s", "id", "resumed", token="t1")
    tap.event("me", "s", None, "upstream_started")
    tap.noise("me", "s", "id", "stderr", "text")
    assert [record["seq"] for record in records(theirs)] == [1, 4]
    assert len(records(owner)) == 6
    assert (tap.tokens, tap.for_tokens) == ({"t1"}, True)
    tap.end_token("t1", CloseCode.REVOKED, "revoked")
    assert ended == [(CloseCode.REVOKED, "revoked")]


# --- what a message is ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}',
        b'{"jsonrpc":"2.0","id":"a","method":"tools/call"}',
        b'{"jsonrpc":"2.0","method":"tools/call","id":1}',
        b'{"jsonrpc":"2.0","method":"notifications/progress","params":{}}',
        b'{"jsonrpc":"2.0","id":1,"result":{}}',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}',
        b'{"result":{"error":1},"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc": "2.0", "id": 1, "result": {}}',
    ],
)
def test_a_message_is_described_alike_whether_it_was_parsed_before_or_not(data):
    tap = Tap()
    watcher = watched(tap)
    report(tap, data)
    report(tap, bytes(bytearray(data)), message=messages.parse(data))
    first, second = records(watcher)
    assert [first[key] for key in ("kind", "method", "id", "raw")] == [
        second[key] for key in ("kind", "method", "id", "raw")
    ]


def test_only_the_same_bytes_on_the_next_leg_are_the_same_message():
    tap, data = Tap(), call(1)
    watcher = watched(tap)
    report(tap, data)
    tap.message("me", "s", "id", "upstream", "out", data)
    report(tap, call(2))
    assert [(r["id"], r["leg"]) for r in records(watcher)] == [(1, "client"), (1, "upstream"), (2, "client")]


@pytest.mark.parametrize(
    ("payload", "hidden"),
    [
        ('{"arguments":{"text":"hello"}}', False),
        ('{"arguments":{"text":"an author"}}', False),
        ('{"arguments":{"text":"héllo"}}', False),
        (f'{{"arguments":{{"password":"{CANARY}"}}}}', True),
        (f'{{"arguments":{{"p\\u0061ssword":"{CANARY}"}}}}', True),
    ],
)
def test_a_message_with_another_id_is_redacted_like_the_first(payload, hidden):
    tap = Tap()
    watcher = watched(tap)
    data = f'{{"jsonrpc":"2.0","id":1,"method":"m","params":{payload}}}'.encode()
    message = messages.parse(data)
    report(tap, data, message=message)
    for raw_id in (b"2", b'"sk-%s"' % CANARY.encode()):
        again = messages.with_id(message, raw_id)
        tap.message("me", "s", None, "upstream", "out", again.data, again)
    first, second, third = records(watcher)
    assert [(r["id"], r["size"]) for r in (first, second)] == [(1, len(data)), (2, len(data))]
    assert json.loads(first["raw"])["params"] == json.loads(second["raw"])["params"]
    assert (CANARY in first["raw"] or CANARY in second["raw"]) is False
    assert ("••••" in second["raw"]) is hidden
    assert CANARY not in third["raw"]


# --- secrets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        {"params": {"arguments": {"password": CANARY}}},
        {"params": {"arguments": {"apiKey": CANARY}}},
        {"params": {"arguments": {"api_key": CANARY, "deep": [{"client_secret": CANARY}]}}},
        {"params": {"arguments": {"headers": {"Authorization": f"Bearer {CANARY}"}}}},
        {"params": {"arguments": {"text": f"curl -H 'Authorization: Bearer {CANARY}'"}}},
        {"params": {"arguments": {"access_token": [CANARY], "cookie": {"a": CANARY}}}},
        {"result": {"content": [{"type": "text", "text": f"token {CANARY}"}]}},
    ],
)
def test_secrets_do_not_reach_a_watcher(payload):
    tap = Tap()
    watcher = watched(tap)
    report(tap, json.dumps({"jsonrpc": "2.0", "id": 1, **payload}).encode())
    (record,) = records(watcher)
    assert CANARY not in json.dumps(record)


def test_an_escaped_name_hides_no_secret():
    tap = Tap()
    watcher = watched(tap)
    report(tap, b'{"jsonrpc":"2.0","method":"m","params":{"pass\\u0077ord":"%s"}}' % CANARY.encode())
    assert CANARY not in json.dumps(records(watcher))


def test_what_is_no_secret_is_not_redacted():
    tap = Tap()
    watcher = watched(tap)
    schema = {"properties": {"password": {"type": "string"}}, "nextPageToken": "page2"}
    report(tap, json.dumps({"jsonrpc": "2.0", "id": 1, "result": schema}).encode())
    report(tap, b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p1"}}')
    schema_record, progress = records(watcher)
    assert json.loads(schema_record["raw"])["result"] == schema
    assert "p1" in progress["raw"]


def test_long_messages_are_cut_and_huge_suspects_withheld():
    tap = Tap()
    watcher = watched(tap)
    report(tap, b'{"jsonrpc":"2.0","method":"m","params":{"a":"%s"}}' % (b"x" * RAW_LIMIT))
    report(tap, b'{"jsonrpc":"2.0","method":"m","params":{"token":"%s"}}' % (b"x" * REDACT_LIMIT))
    tap.noise("me", "s", None, "stderr", f"Bearer {CANARY}")
    cut, withheld, noise = records(watcher)
    assert cut["truncated"]
    assert len(cut["raw"]) == RAW_LIMIT
    assert "withheld" in withheld["raw"]
    assert CANARY not in noise["raw"]

"""The tap: bounded, drop-oldest and counted, without secrets."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from mcp_ws_ide.tap import RAW_LIMIT, REDACT_LIMIT, WATCHER_LIMIT, Tap, Watcher

CANARY = "c4n4ryc4n4ryc4n4ry"


def records(watcher: Watcher) -> list[dict]:
    taken = []
    while data := watcher.take():
        taken += [json.loads(line) for line in data.splitlines()]
    return taken


def watched(tap: Tap, wakes: list[int] | None = None) -> Watcher:
    woken = wakes if wakes is not None else []
    watcher = Watcher(lambda: woken.append(1), lambda owner, record: owner == "me")
    tap.subscribe(watcher)
    return watcher


def report(tap: Tap, data: bytes, owner: str = "me") -> None:
    tap.message(owner, "s", "id", "client", "in", data)


def test_a_record_says_who_what_and_when():
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
    call, note = b'{"jsonrpc":"2.0","id":1,"method":"m"}', b'{"jsonrpc":"2.0","method":"n"}'
    tap.message("me", "s", None, "upstream", "out", call, ("9f3a", b'"x"'))
    tap.message("me", "s", None, "upstream", "out", note, ("9f3a", b'"x"'))
    request, notification = records(watcher)
    assert (request["id"], request["origin_session"], request["origin_id"]) == (1, "9f3a", "x")
    assert (notification["origin_session"], notification["origin_id"]) == (None, None)


def test_a_slow_watcher_loses_the_oldest_and_is_told_how_many():
    tap = Tap()
    watcher, other = watched(tap), watched(tap)
    for number in range(WATCHER_LIMIT + 5):
        report(tap, b'{"jsonrpc":"2.0","id":%d,"method":"m"}' % number)
        if number % 1000 == 0:
            records(other)
    slow = records(watcher)
    assert [slow[0]["id"], slow[-1]["id"], len(slow)] == [5, WATCHER_LIMIT + 4, WATCHER_LIMIT]
    assert slow[0]["drops"] == 5
    assert records(other)[-1]["drops"] == 0
    assert tap.drops == 5


def test_memory_does_not_grow_with_what_a_watcher_leaves_unread():
    tap, message = Tap(), b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"%s"}}' % (b"x" * 1000)
    watched(tap)
    for _ in range(WATCHER_LIMIT):
        report(tap, message)
    tracemalloc.start()
    for _ in range(WATCHER_LIMIT * 3):
        report(tap, message)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 2.5 * WATCHER_LIMIT * 2000, "one queue's worth replaced, none added"


def test_a_watcher_is_woken_once_per_batch_and_sees_only_what_it_accepts():
    tap, wakes = Tap(), []
    watcher = watched(tap, wakes)
    for owner in ("me", "you", "me"):
        report(tap, b'{"jsonrpc":"2.0","method":"m"}', owner)
    assert (len(wakes), len(records(watcher))) == (1, 2)
    report(tap, b'{"jsonrpc":"2.0","method":"m"}')
    assert len(wakes) == 2
    tap.unsubscribe(watcher)
    assert not tap.active


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


def test_what_is_no_secret_stays():
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

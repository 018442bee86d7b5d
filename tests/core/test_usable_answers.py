"""Responses of servers that are no gateway reach the users of the clients in a form that they can read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.list_items import UNAVAILABLE_KEY
from mcp_ws_ide.core.usable_answers import OpenCalls, usable

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "results.json").read_text())

CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}'
ODD = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"text":"a"}]}}'


def test_the_result_of_a_call_is_mended():
    calls = OpenCalls("there")
    calls.sent(CALL)
    assert json.loads(calls.received(ODD))["result"]["content"] == [{"type": "text", "text": "a"}]


def test_a_resource_without_a_scheme_is_read_as_the_server_wrote_it():
    calls = OpenCalls("there")
    for message in (
        b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}',
        b'{"jsonrpc":"2.0","id":2,"method":"resources/list"}',
    ):
        assert calls.sent(message) == message
    listed = b'{"jsonrpc":"2.0","id":2,"result":{"resources":[{"uri":"my notes.txt","name":"n"}]}}'
    (resource,) = json.loads(calls.received(listed))["result"]["resources"]
    asked = json.dumps(
        {"jsonrpc": "2.0", "id": 3, "method": "resources/read", "params": {"uri": resource["uri"]}}
    )
    assert json.loads(calls.sent(asked.encode()))["params"] == {"uri": "my notes.txt"}
    read = b'{"jsonrpc":"2.0","id":3,"result":{"contents":[{"uri":"my notes.txt","text":"t"}]}}'
    result = json.loads(calls.received(read))["result"]
    assert result["contents"] == [{"uri": resource["uri"], "text": "t"}]
    assert "my notes.txt" in str(result["_meta"])
    for written, seen in (("my notes.txt", resource["uri"]), ("x:1", "x:1")):
        update = {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": written}}
        assert json.loads(calls.received(json.dumps(update).encode()))["params"] == {"uri": seen}


def test_what_answers_no_open_call_stays_as_it_is():
    calls = OpenCalls("there")
    calls.sent(b"{")
    calls.sent(CALL)
    calls.sent(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}')
    calls.sent(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":[]}}')
    note = b'{"jsonrpc":"2.0","method":"notifications/message","params":{}}'
    for message in (ODD, b"{", note):
        assert calls.received(message) == message


@pytest.mark.parametrize(
    "vector", VECTORS["cases"], ids=lambda vector: f"{vector['method']}, {vector['name']}"
)
def test_one_bad_item_costs_neither_client_the_good_ones(vector):
    """The TypeScript client runs the same vectors (``frontend_static/test/usable.test.mjs``)."""
    written = json.dumps({"jsonrpc": "2.0", "id": 1, "result": vector["result"]}, separators=(",", ":"))
    answer = messages.parse_server(written.encode())
    read, notices = usable(vector["method"], answer, "there", strict=vector.get("strict", True))
    if "shown" not in vector:
        assert read is answer
        return
    result = json.loads(read.data)["result"]
    assert result["_meta"].pop(UNAVAILABLE_KEY)["there"]
    if not result["_meta"]:
        del result["_meta"]
    assert result == vector["shown"]
    assert notices

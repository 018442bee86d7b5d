"""Responses of servers that are no gateway reach the users of the clients in a form that they can read."""

from __future__ import annotations

import json

from mcp_ws_ide.core.usable_answers import OpenCalls

CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}'
ODD = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"text":"a"}]}}'


def test_the_result_of_a_call_is_mended():
    calls = OpenCalls("there")
    calls.sent(CALL)
    assert json.loads(calls.received(ODD))["result"]["content"] == [{"type": "text", "text": "a"}]


def test_what_answers_no_open_call_stays_as_it_is():
    calls = OpenCalls("there")
    calls.sent(b"{")
    calls.sent(CALL)
    calls.sent(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}')
    calls.sent(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":[]}}')
    note = b'{"jsonrpc":"2.0","method":"notifications/message","params":{}}'
    for message in (ODD, b"{", note):
        assert calls.received(message) == message

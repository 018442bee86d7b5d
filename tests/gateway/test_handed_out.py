"""Which gateway can continue a call: what was handed out is compared with what comes back."""

from __future__ import annotations

import json

import pytest

from mcp_ws_ide.gateway.handed_out import MAX_KEPT, HandedOut, continued_call


def request(method: str, **params: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


STATE = (b'{"resultType":"input_required","requestState":"A/1"}', request("tools/call", requestState="A/1"))
TASK = (b'{"resultType":"task","taskId":"t1"}', request("tasks/get", taskId="t1"))


@pytest.mark.parametrize(("result", "body"), [STATE, TASK], ids=["state", "task"])
def test_a_call_is_known_to_its_owner_at_its_server_alone(result, body):
    handed_out = HandedOut()
    handed_out.note("me", "fast", result)
    assert continued_call(body, "me", "fast") in handed_out
    assert continued_call(body, "you", "fast") not in handed_out
    assert continued_call(body, "me", "slow") not in handed_out


def test_two_spellings_of_a_state_are_one():
    handed_out = HandedOut()
    handed_out.note("me", "fast", STATE[0])
    assert continued_call(STATE[1].replace(b"A/1", rb"\u0041\/1"), "me", "fast") in handed_out


@pytest.mark.parametrize(
    "body", [request("tools/call", name="echo"), request("tools/call", taskId="t1"), b'{"requestState"']
)
def test_other_messages_continue_nothing(body):
    assert continued_call(body, "me", "fast") is None


def test_the_oldest_calls_are_forgotten():
    handed_out = HandedOut()
    for number in range(MAX_KEPT + 1):
        handed_out.note("me", "fast", b'{"requestState":"%d"}' % number)
    known = [
        continued_call(request("tools/call", requestState=str(number)), "me", "fast") in handed_out
        for number in (0, 1, MAX_KEPT)
    ]
    assert known == [False, True, True]

"""What other bridges got wrong, each as a test that this one passes.

Tested elsewhere: any Origin accepted, subprotocol ignored, unknown server accepted (handlers/test_security,
test_endpoint); idle links cut for want of a heartbeat (handlers/test_link); zombies, orphans, grandchildren,
a stubborn server that ignores the end of its input (transports/test_stdio, test_lifecycle).
"""

from __future__ import annotations

import json
import time

import pytest
from websockets.exceptions import ConnectionClosed

from tests.conftest import FAST_SERVER, MODERN, Peer, until


def modern_call(tool: str, arguments: dict | None = None, **meta) -> dict:
    return {"name": tool, "arguments": arguments or {}, "_meta": {**MODERN, **meta}}


async def test_string_ids_do_not_become_null_nor_digits_numbers(peer):
    for request_id in ("a", "12", 12, 12.5, "", "null", 2**53 + 1, -1):
        answer = await peer.call(request_id, "tools/list")
        assert answer["id"] == request_id
        assert type(answer["id"]) is type(request_id)


async def test_equal_ids_of_two_clients_get_their_own_responses(jupyter):
    async with jupyter.connect() as one, jupyter.connect() as two:
        for number in range(200):
            for link, who in ((one, "one"), (two, "two")):
                text = f"{who} {number}"
                await Peer(link).send(
                    id=number, method="tools/call", params=modern_call("echo", {"text": text})
                )
        for link, who in ((one, "one"), (two, "two")):
            for _ in range(200):
                answer = await Peer(link).receive()
                assert answer["result"]["content"][0]["text"] == f"{who} {answer['id']}"


async def test_progress_goes_to_the_client_that_requested_it(jupyter):
    async with jupyter.connect() as one, jupyter.connect() as two:
        slow = modern_call("slow", {"steps": 3, "delay": 0}, progressToken="t")
        await Peer(one).send(id=1, method="tools/call", params=slow)
        seen = [await Peer(one).receive() for _ in range(5)]
        assert [m["params"]["progressToken"] for m in seen[:4]] == ["t"] * 4
        assert (await Peer(two).call(1, "tools/list"))["id"] == 1, "and nothing else came before"


async def test_a_servers_question_reaches_its_own_client_and_the_answer_its_server(jupyter):
    async with jupyter.connect() as one, jupyter.connect() as two:
        await Peer(one).initialize()
        await Peer(two).initialize()
        # The client's request and the server's question share an id: a pairing by id alone confuses them.
        await Peer(one).send(id="q", method="tools/call", params={"name": "question"})
        question = await Peer(one).receive()
        assert (question["id"], question["method"]) == ("q", "roots/list")
        await Peer(two).send(id="q", result={"roots": ["forged"]})
        await Peer(one).send(id="q", result={"roots": []})
        answer = await Peer(one).receive()
        assert answer["id"] == "q"
        assert json.loads(answer["result"]["content"][0]["text"]) == {"roots": []}


@pytest.mark.usefixtures("mortal")
async def test_a_dead_server_does_not_end_the_gateway_and_is_started_again(jupyter):
    async with jupyter.connect() as link, jupyter.connect("time") as neighbour:
        await Peer(neighbour).initialize()
        dead = await Peer(link).call(1, "tools/call", {"name": "crash"})
        assert dead["error"]["data"]["outcome"] == "unknown"
        alive = await Peer(link).call(2, "tools/call", {"name": "echo", "arguments": {"text": "again"}})
        assert alive["result"]["content"][0]["text"] == "again"
        await Peer(neighbour).send(id=9, method="tools/list")
        assert (await Peer(neighbour).receive())["id"] == 9


async def test_a_cancellation_reaches_the_server(jupyter):
    async with jupyter.connect() as link:
        await Peer(link).initialize()
        slow = {"name": "slow", "arguments": {"steps": 1000, "delay": 0.01}, "_meta": {"progressToken": 1}}
        await Peer(link).send(id=1, method="tools/call", params=slow)
        await Peer(link).receive()
        await Peer(link).send(method="notifications/cancelled", params={"requestId": 1})
        await Peer(link).send(id=2, method="tools/list")
        last = {}
        while last.get("id") != 2:
            last = await Peer(link).receive()
            assert last.get("id") != 1, "the call was not cancelled"
        await Peer(link).send(id=3, method="tools/list")
        assert (await Peer(link).receive())["id"] == 3, "no progress follows"


@pytest.mark.parametrize("legacy", [True, False])
async def test_a_call_of_1_mib_works(jupyter, legacy):
    text = "m" * (1 << 20)
    async with jupyter.connect() as link:
        arguments = {"name": "echo", "arguments": {"text": text}}
        if legacy:
            await Peer(link).initialize()
            await Peer(link).send(id=1, method="tools/call", params=arguments)
            answer = await Peer(link).receive()
        else:
            answer = await Peer(link).call(1, "tools/call", arguments)
        assert answer["result"]["content"][0]["text"] == text


async def test_a_message_that_is_too_big_is_refused_with_1009_and_the_limit(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.max_message_bytes=2000")
    async with jupyter.connect() as link:
        await link.send(json.dumps({"jsonrpc": "2.0", "method": "x", "params": {"a": "x" * 3000}}))
        with pytest.raises(ConnectionClosed) as closed:
            await link.recv()
        assert closed.value.rcvd.code == 1009
        assert "2000" in closed.value.rcvd.reason


async def test_clients_that_vanish_leave_nothing_behind(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.idle_timeout=0")
    links = [await jupyter.connect() for _ in range(8)]
    for number, link in enumerate(links):
        if number % 2:
            await Peer(link).initialize()
        else:
            await Peer(link).call(1, "tools/list")
    for link in links:
        link.transport.abort()
    await until(lambda: jupyter.rest("GET", "health")[1]["sessions"] == 0)
    await until(lambda: jupyter.rest("GET", "health")[1]["processes"] == 0)


async def test_an_answer_does_not_wait_for_a_poll(peer):
    """jupyter-lsp's polling reader takes 71 ms for every echo; the quickest of ours, for none to disturb, is at once."""
    await peer.call(0, "tools/list")
    taken = []
    for number in range(100):
        started = time.monotonic()
        await peer.call(number, "tools/call", {"name": "echo", "arguments": {"text": "x"}})
        taken.append(time.monotonic() - started)
    assert min(taken) < 0.04

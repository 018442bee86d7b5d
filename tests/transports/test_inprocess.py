"""Python objects as servers: real ones of the SDK, callables, and what cannot be one."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from mcp_ws_ide.errors import TransportError
from mcp_ws_ide.transports.inprocess import InProcessTransport
from tests.conftest import MODERN, until
from tests.transports.peers import Recorder

OBJECTS = "tests.servers.objects"
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "t", "version": "1"},
}


async def ask(transport, receiver, method, params, number=1):
    transport.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode())

    def answer():
        found = [json.loads(message) for message in receiver.messages]
        return next((m for m in found if m.get("id") == number), None)

    return await until(answer)


@pytest.mark.parametrize("name", ["server", "factory", "coroutine"])
async def test_an_object_of_the_sdk_serves_both_eras(name):
    modern, handshake = InProcessTransport(f"{OBJECTS}:{name}"), InProcessTransport(f"{OBJECTS}:{name}")
    one, other = Recorder(), Recorder()
    await modern.connect(one)
    await handshake.connect(other)
    call = {"name": "echo", "arguments": {"text": "ä"}}
    answer = await ask(modern, one, "tools/call", {**call, "_meta": MODERN})
    assert answer["result"]["content"][0]["text"] == "ä"
    assert answer["result"]["resultType"] == "complete"
    assert (await ask(handshake, other, "initialize", INITIALIZE))["result"][
        "protocolVersion"
    ] == "2025-11-25"
    handshake.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
    assert (await ask(handshake, other, "tools/call", call, 2))["result"]["content"][0]["text"] == "ä"
    failed = await ask(handshake, other, "tools/call", {"name": "fail", "arguments": {}}, 3)
    assert failed["result"]["isError"] is True
    slow = {"name": "slow", "arguments": {"steps": 3}, "_meta": {"progressToken": "p"}}
    await ask(handshake, other, "tools/call", slow, 4)
    assert sum(b"notifications/progress" in message for message in other.messages) == 3
    await modern.close()
    await handshake.close()
    assert one.reasons == other.reasons == ["the gateway closed it"]


async def test_a_function_may_ask_for_the_user():
    transport, receiver = InProcessTransport(f"{OBJECTS}:for_user", principal="alice"), Recorder()
    await transport.connect(receiver)
    answer = await ask(transport, receiver, "initialize", INITIALIZE)
    assert answer["result"]["serverInfo"]["name"] == "objects of alice"
    await transport.close()


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no_such_module:server", "No module named"),
        (f"{OBJECTS}:nothing", "has no attribute 'nothing'"),
        (f"{OBJECTS}:not_a_server", "is not a server"),
        (f"{OBJECTS}:broken", "RuntimeError: no database"),
    ],
)
async def test_an_object_that_cannot_be_loaded_is_reported(target, words):
    receiver = Recorder()
    with pytest.raises(TransportError, match=words):
        await InProcessTransport(target).connect(receiver)
    assert receiver.reasons == []


async def test_an_object_that_fails_is_reported_with_its_error():
    transport, receiver = InProcessTransport(f"{OBJECTS}:Dying"), Recorder()
    await transport.connect(receiver)
    transport.send(b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
    await until(lambda: receiver.reasons)
    assert receiver.reasons == ["the server object failed: RuntimeError: out of order"]
    assert transport.pid is None


async def test_a_response_over_the_limit_is_replaced_by_an_error():
    transport, receiver = InProcessTransport(f"{OBJECTS}:server", max_message_bytes=5000), Recorder()
    await transport.connect(receiver)
    call = {"name": "echo", "arguments": {"text": "x" * 6000}, "_meta": MODERN}
    answer = await ask(transport, receiver, "tools/call", call, 9)
    assert answer["error"]["code"] == -31004
    assert "max_message_bytes" in answer["error"]["message"]
    await transport.close()


@pytest.mark.parametrize("turns", [0, 1, 5, 50])
@pytest.mark.parametrize("tool", ["echo", "slow"])
async def test_closing_while_messages_pass_leaves_no_error_behind(turns, tool, caplog):
    transport, receiver = InProcessTransport(f"{OBJECTS}:server"), Recorder()
    await transport.connect(receiver)
    arguments = {"text": "x"} if tool == "echo" else {"steps": 10_000}
    for number in range(3):
        params = {"name": tool, "arguments": arguments, "_meta": {**MODERN, "progressToken": number}}
        request = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        transport.send(json.dumps(request).encode())
    for _ in range(turns):
        await asyncio.sleep(0)
    await transport.close()
    assert receiver.reasons == ["the gateway closed it"]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []

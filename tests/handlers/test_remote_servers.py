"""Every kind of server through a real gateway, and a gateway behind the gateway that is cut off, killed, restarted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import serve

from tests.chaos import ChaosLink
from tests.conftest import BOUND, FAST_SERVER, MODERN, SHADOWED, Jupyter, Peer, until
from tests.transports import peers
from tests.transports.raw_http import Request, Server
from tests.transports.test_http import REFUSALS, Forgetful

ROOT = Path(__file__).parents[2]
CALL: dict[str, Any] = {"name": "echo", "arguments": {"text": "hello"}}


async def started(make_jupyter, *arguments: Any, **options: Any) -> Jupyter:
    """As ``make_jupyter``, while servers of the test go on on this loop."""
    return await asyncio.to_thread(make_jupyter, *arguments, **options)


def remote(jupyter: Jupyter, scheme: str, port: int | None = None, **extras: float) -> dict[str, Any]:
    """The configuration of another gateway's server."""
    return {
        "url": f"{scheme}://127.0.0.1:{port or jupyter.port}/mcp-ws/servers/fast",
        "headers": {"Authorization": "Bearer ${INNER_TOKEN}"},
        "mcp_ws": extras,
    }


def environment(inner: Jupyter) -> dict[str, Any]:
    return {"environment": {"INNER_TOKEN": inner.token}}


def kill(jupyter: Jupyter) -> None:
    os.kill(jupyter.process.pid, signal.SIGKILL)
    jupyter.process.wait(BOUND)


async def revive(make_jupyter, jupyter: Jupyter) -> Jupyter:
    return await started(make_jupyter, {"fast": FAST_SERVER}, port=jupyter.port)


async def answer(peer: Peer, number: Any) -> dict[str, Any]:
    while True:
        message = await peer.receive()
        if message.get("id") == number and "method" not in message:
            return message


@pytest.mark.heavy
async def test_every_kind_of_server_serves_both_eras_through_a_real_gateway(make_jupyter, tmp_path):
    kinds = {"unix": peers.Unix(), "sse": peers.Sse(), "ws": peers.PlainWebSocket()}
    async with AsyncExitStack() as stack:
        for peer in kinds.values():
            await peer.start(tmp_path)
            stack.push_async_callback(peer.stop)
        servers = {
            name: {"url": peer.spec["url"], **({"type": "sse"} if name == "sse" else {})}
            for name, peer in kinds.items()
        }
        servers["python"] = {"python": "tests.servers.objects:server"}
        servers["fast"] = FAST_SERVER
        limits = ("--MCPWebSocketApp.max_processes=1",)  # none of the others may count
        jupyter = await started(
            make_jupyter, servers, *limits, environment={"PYTHONPATH": f"{SHADOWED}:{ROOT}"}
        )
        for name in servers:
            async with jupyter.connect(name) as one, jupyter.connect(name) as other:
                called = await Peer(one).call(1, "tools/call", CALL)
                assert called["result"]["content"][0]["text"] == "hello", name
                if name == "fast":
                    continue
                peer = Peer(other)
                assert (await peer.initialize())["result"]["protocolVersion"] == "2025-11-25", name
                await peer.send(id=2, method="tools/call", params=CALL)
                assert (await answer(peer, 2))["result"]["content"][0]["text"] == "hello", name
        status, listed = await asyncio.to_thread(jupyter.rest, "GET", "servers")
        assert status == 200
        assert {server["name"] for server in listed["servers"]} >= set(servers)


@pytest.mark.heavy
async def test_a_lost_link_between_two_gateways_is_bridged(make_jupyter):
    inner = await started(make_jupyter, {"fast": FAST_SERVER})
    async with ChaosLink(inner.port, seed=7) as chaos:
        servers = {"through": remote(inner, "ws", chaos.port)}
        outer = await started(make_jupyter, servers, **environment(inner))
        async with outer.connect("through") as one, outer.connect("through") as other:
            modern, handshake = Peer(one), Peer(other)
            await handshake.initialize()
            await modern.call(
                "first", "tools/call", CALL
            )  # what is opening is not bridged, but refused in words
            for number in range(60):
                for peer, meta in ((modern, MODERN), (handshake, {})):
                    params = {"name": "work", "arguments": {"key": f"{number}", "steps": 3}}
                    params["_meta"] = {**meta, "progressToken": number}
                    await peer.send(id=number, method="tools/call", params=params)
                if number % 6 == 5:
                    await until(lambda: sum(not pair.hurt for pair in chaos._open) == 2)
                    chaos.cut("reset")
            for peer, meta in ((modern, MODERN), (handshake, {})):
                seen, progress = set(), 0
                while len(seen) < 60:
                    message = await peer.receive()
                    progress += message.get("method") == "notifications/progress"
                    if "result" in message:
                        assert message["id"] not in seen
                        seen.add(message["id"])
                assert progress == 180
                await peer.send(
                    id="t",
                    method="tools/call",
                    params={"name": "tally", "arguments": {}, "_meta": dict(meta)},
                )
                tally = json.loads((await answer(peer, "t"))["result"]["content"][0]["text"])
                assert tally == {"runs": 60, "twice": []}
        assert sum(chaos.cuts.values()) == 10
        assert chaos.accepted >= 12


@pytest.mark.heavy
@pytest.mark.parametrize("scheme", ["ws", "http"])
async def test_a_restart_of_the_inner_gateway_is_reported_and_the_next_request_works(make_jupyter, scheme):
    inner = await started(make_jupyter, {"fast": FAST_SERVER})
    servers = {"through": remote(inner, scheme, reconnect_timeout=30)}
    outer = await started(make_jupyter, servers, **environment(inner))
    async with outer.connect("through") as one, outer.connect("through") as other:
        modern, handshake = Peer(one), Peer(other)
        await handshake.initialize()
        slow = {"name": "slow", "arguments": {"steps": 1000, "delay": 0.1}}
        await modern.send(id=1, method="tools/call", params={**slow, "_meta": {**MODERN, "progressToken": 1}})
        await handshake.send(id=2, method="tools/call", params={**slow, "_meta": {"progressToken": 2}})
        for peer in (modern, handshake):
            assert (await peer.receive())["method"] == "notifications/progress"
        kill(inner)
        if scheme == "http":  # a POST that finds nobody is said at once, and safe to send again
            assert (await answer(modern, 1))["error"]["data"]["outcome"] == "unknown"
            await modern.send(id=3, method="tools/call", params={**CALL, "_meta": MODERN})
            assert (await answer(modern, 3))["error"]["data"]["outcome"] == "not_sent"
        await revive(make_jupyter, inner)
        if scheme == "ws":
            error = (await answer(modern, 1))["error"]
            assert error["data"]["outcome"] == "unknown"
            assert "session" in error["message"]
        await modern.send(id=4, method="tools/call", params={**CALL, "_meta": MODERN})
        assert (await answer(modern, 4))["result"]["content"][0]["text"] == "hello"
        error = (await answer(handshake, 2))["error"]
        assert error["data"]["outcome"] == "unknown"
        await handshake.send(id=5, method="tools/call", params=CALL)  # the inner session is replaced
        assert (await answer(handshake, 5))["result"]["content"][0]["text"] == "hello"
    async with outer.connect("through") as again:
        assert "result" in await Peer(again).initialize()


@pytest.mark.heavy
async def test_one_dead_remote_server_does_not_affect_the_others(make_jupyter, tmp_path):
    dead = peers.Unix()
    await dead.start(tmp_path)
    await dead.stop()
    servers = {
        "refused": {"url": "http://127.0.0.1:1/mcp"},
        "closed": {"url": "ws://127.0.0.1:1/mcp"},
        "gone": {"url": dead.spec["url"]},
        "absent": {"python": "no_such_module:server"},
        "fast": FAST_SERVER,
    }
    jupyter = await started(make_jupyter, servers)
    async with jupyter.connect("fast") as link:
        alive = Peer(link)
        for name in ("refused", "closed", "gone", "absent"):
            async with jupyter.connect(name) as one, jupyter.connect(name) as other:
                for peer in (Peer(one), Peer(other)):
                    error = (await peer.call(1, "tools/call", CALL))["error"]
                    assert error["code"] == -31002, (name, error)
                    assert error["data"]["outcome"] == "not_sent"
                    assert "cannot be" in error["message"], error
                    assert "refused the handshake" not in error["message"], error
            called = await alive.call(name, "tools/call", CALL)
            assert called["result"]["content"][0]["text"] == "hello"
    status, shown = await asyncio.to_thread(jupyter.rest, "GET", "servers/refused")
    assert status == 200
    assert "cannot be reached" in json.dumps(shown)


@pytest.mark.parametrize("scheme", ["ws", "http"])
async def test_a_server_that_an_inner_gateway_cannot_start_leaves_its_era_open(
    make_jupyter, scheme, tmp_path
):
    program = tmp_path / "late"
    inner = await started(make_jupyter, {"fast": {"command": str(program)}})
    outer = await started(make_jupyter, {"far": remote(inner, scheme)}, **environment(inner))
    async with outer.connect("far") as link:
        peer = Peer(link)
        refused = await peer.call(1, "tools/list")
        assert refused["error"]["code"] == -31002
        assert str(program) in refused["error"]["message"]
        assert outer.rest("GET", "servers/far")[1]["era"] == "unknown"
        program.write_text(f"#!/bin/sh\nexec {' '.join([FAST_SERVER['command'], *FAST_SERVER['args']])}\n")
        program.chmod(0o755)
        inner.rest("POST", "servers/fast/restart")
        outer.rest("POST", "servers/far/restart")
        assert "result" in await peer.call(2, "tools/list")


async def test_a_server_that_refuses_the_probe_in_plain_text_is_bridged_and_an_empty_address_reported(
    make_jupyter,
):
    async def older(request: Request) -> None:
        if request.method == "POST" and request.message["method"] == "initialize":
            return await request.result(
                {"protocolVersion": "2025-06-18", "capabilities": {}}, Mcp_Session_Id="s"
            )
        if "mcp-session-id" not in request.headers:
            return await request.answer(422, b"expected an initialize request", "text/plain")
        if request.method != "POST" or "id" not in request.message:
            return await request.answer(202 if request.method == "POST" else 405)
        await request.result({"tools": [{"name": "old"}]})

    async def nothing(request: Request) -> None:
        await request.answer(404, b"<html>not here</html>", "text/html")

    async with Server(older) as old, Server(nothing) as empty:
        servers = {"old": {"url": old.url}, "empty": {"url": empty.url}}
        jupyter = await started(make_jupyter, servers)
        async with jupyter.connect("old") as link:
            (tool,) = (await Peer(link).call(1, "tools/list"))["result"]["tools"]
            assert tool["name"] == "old"
        async with jupyter.connect("empty") as link:
            error = (await Peer(link).call(1, "tools/list"))["error"]
            assert "nothing at this address" in error["message"]
    assert jupyter.rest("GET", "servers/old")[1]["era"] == "legacy"


@pytest.mark.parametrize("code", [None, 1000, 4000])
async def test_a_websocket_server_that_closes_on_anything_before_initialize_is_bridged(make_jupyter, code):
    shaken: set[int] = set()

    async def old(link) -> None:
        async for text in link:
            message = json.loads(text)
            result = {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}
            if message.get("method") == "initialize":
                shaken.add(id(link))
                info = {"name": "old", "version": "1"}
                result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
            elif id(link) not in shaken:
                return await link.close(code, "initialize first") if code else link.transport.abort()
            if "id" in message:
                await link.send(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}))

    async with serve(old, "127.0.0.1", 0, subprotocols=["mcp"]) as server:
        port = server.sockets[0].getsockname()[1]
        jupyter = await started(make_jupyter, {"old": {"url": f"ws://127.0.0.1:{port}/"}})
        async with jupyter.connect("old") as link:
            answer = await Peer(link).call(1, "tools/list")
            assert answer["result"]["tools"][0]["name"] == "t"
        assert jupyter.rest("GET", "servers/old")[1]["era"] == "legacy"


class ForgetfulTools(Forgetful):
    """A forgetful server whose tool answers with the session that it ran in."""

    async def __call__(self, request: Request) -> None:
        if request.method == "POST" and request.message["method"] == "server/discover":
            return await request.answer(
                400, b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}'
            )
        await super().__call__(request)


@pytest.mark.parametrize("era", ["handshake", "modern"])
async def test_a_remote_server_that_forgets_sessions_costs_no_session_of_the_gateway(make_jupyter, era):
    async with Server(forgetful := ForgetfulTools(REFUSALS[0])) as server:
        own = await started(make_jupyter, {"far": {"url": server.url}})
        async with own.connect("far") as link:
            peer = Peer(link)
            if era == "handshake":
                await peer.initialize()
            for number in range(8):  # more often than the breaker forgives crashes
                forgetful.sessions.clear()
                if era == "handshake":
                    await peer.send(id=number, method="tools/call", params=CALL)
                    answered = await answer(peer, number)
                else:
                    answered = await peer.call(number, "tools/call", CALL)
                assert "result" in answered, answered
        assert forgetful.ran.count("tools/call") == 8
        state = own.rest("GET", "servers/far")[1]
        assert state["state"] in ("running", "idle")

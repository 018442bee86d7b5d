"""The Python client when links are lost: states, outcomes, queueing, giving up."""

from __future__ import annotations

import asyncio
import json

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from websockets.asyncio.server import serve

from mcp_ws_ide.client import (
    Connected,
    ConnectionLostError,
    Lost,
    Reconnect,
    Reconnecting,
    Resumed,
    connect,
    negotiating_transport,
    websocket_transport,
)
from mcp_ws_ide.sdk import as_message
from tests.chaos import ChaosLink
from tests.conftest import BOUND, DEMO, FAST_SERVER, MODERN, Jupyter, until

FAST = Reconnect(first_delay=0.01, max_delay=0.05, give_up_after=20)


def through(jupyter: Jupyter, link: ChaosLink, name: str = "demo") -> str:
    return jupyter.endpoint(name).replace(str(jupyter.port), str(link.port))


def names(states: list) -> list[str]:
    return [type(state).__name__ for state in states]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_call_survives_the_loss_of_its_link(jupyter, mode):
    states: list = []
    async with ChaosLink(jupyter.port, 1) as link:
        transport = websocket_transport(
            through(jupyter, link), token=jupyter.token, reconnect=FAST, on_state=states.append
        )
        async with Client(transport, mode=mode) as client:
            seen: list[float] = []
            cuts: list[str | None] = []

            async def progress(done, total, message):
                seen.append(done)
                if len(seen) in (2, 4):
                    cuts.append(link.cut("reset"))  # None: what was read ahead of the first one came after it

            result = await client.call_tool("slow", {"steps": 6, "delay": 0.05}, progress_callback=progress)
            assert result.content[0].text == "6 steps done"
            assert seen == [1, 2, 3, 4, 5, 6]
    assert isinstance(states[0], Connected)
    assert states[0].resumable
    assert names(states).count("Resumed") == cuts.count("reset") >= 1
    assert "Lost" not in names(states)


@pytest.mark.parametrize("transports", [None, ["poll"]])
async def test_a_message_above_the_gateways_limit_fails_alone(make_jupyter, transports):
    jupyter = make_jupyter({"demo": DEMO}, "--MCPWebSocketApp.max_message_bytes=100000")
    url = f"{jupyter.url}mcp-ws/servers/demo"
    async with connect(url, token=jupyter.token, transports=transports or ["websocket"]) as client:
        with pytest.raises(MCPError, match="max_message_bytes") as refused:
            await client.call_tool("echo", {"text": "x" * 200_000})
        assert refused.value.error.data["outcome"] == "not_sent"
        assert (await client.call_tool("echo", {"text": "short"})).content[0].text == "short"
        assert len(jupyter.rest("GET", "sessions")[1]["sessions"]) == 1


async def test_states_are_available_as_an_iterator_too(jupyter):
    async with ChaosLink(jupyter.port, 1) as link:
        transport = websocket_transport(through(jupyter, link), token=jupyter.token, reconnect=FAST)
        async with transport:
            told: list = []

            async def listen():
                async for state in transport.states():
                    told.append(state)

            async with asyncio.TaskGroup() as group:
                listener = group.create_task(listen())
                await until(lambda: told)
                link.cut("reset")
                await until(lambda: names(told)[-1] == "Resumed")
                listener.cancel()
            assert names(told)[:2] == ["Connected", "Reconnecting"]
            assert told[1].attempt == 1
            assert 0 <= told[1].delay <= 0.01


async def test_messages_sent_while_disconnected_are_queued(jupyter):
    states: list = []
    async with ChaosLink(jupyter.port, 1) as link:
        transport = websocket_transport(
            through(jupyter, link), token=jupyter.token, reconnect=FAST, on_state=states.append
        )
        async with Client(transport, mode="2026-07-28") as client:
            await client.list_tools()
            link.refusing = True
            link.cut_all()
            await until(lambda: names(states).count("Reconnecting") > 2)
            async with asyncio.TaskGroup() as group:
                calls = [group.create_task(client.call_tool("echo", {"text": str(n)})) for n in range(20)]
                await until(lambda: transport._end.channel.unacked >= 20)
                assert not any(call.done() for call in calls)
                link.refusing = False
            assert [call.result().content[0].text for call in calls] == [str(n) for n in range(20)]
    assert isinstance(next(s for s in states if isinstance(s, Resumed)), Resumed)


async def test_giving_up_ends_every_request_with_its_outcome_and_one_error(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    states: list = []
    policy = Reconnect(first_delay=0.01, max_delay=0.05, give_up_after=0.5)
    transport = websocket_transport(
        jupyter.endpoint("fast"), token=jupyter.token, reconnect=policy, on_state=states.append
    )
    async with asyncio.timeout(BOUND), Client(transport, mode="2026-07-28") as client:
        running = asyncio.create_task(client.call_tool("slow", {"steps": 1, "delay": 60}))
        await until(lambda: jupyter.rest("GET", "sessions")[1]["sessions"][0]["in_flight"] == 1)
        jupyter.process.kill()
        await until(lambda: "Reconnecting" in names(states))
        queued = asyncio.create_task(client.call_tool("echo", {"text": "x"}))
        with pytest.raises(MCPError) as sent:
            await running
        with pytest.raises(MCPError) as unsent:
            await queued
        assert sent.value.error.data == {"outcome": "unknown"}
        assert unsent.value.error.data == {"outcome": "not_sent"}
        with pytest.raises((MCPError, anyio.ClosedResourceError, anyio.BrokenResourceError)):
            await client.list_tools()
    assert isinstance(transport.error, ConnectionLostError)
    assert "0.5 s" in str(transport.error)
    assert isinstance(states[-1], Lost)
    assert names(states).count("Lost") == 1


async def test_modern_clients_reconnect_after_a_restart_of_the_gateway(make_jupyter, tmp_path):
    first = make_jupyter({"demo": DEMO})
    states: list = []
    policy = Reconnect(first_delay=0.05, max_delay=0.3, give_up_after=60)
    transport = websocket_transport(
        first.endpoint("demo"), token=first.token, reconnect=policy, on_state=states.append
    )
    async with asyncio.timeout(BOUND), Client(transport, mode="2026-07-28") as client:
        running = asyncio.create_task(client.call_tool("slow", {"steps": 100, "delay": 1}))
        await until(lambda: first.rest("GET", "sessions")[1]["sessions"][0]["in_flight"] == 1)
        first.process.kill()
        first.process.wait()
        again = await asyncio.to_thread(Jupyter, tmp_path / "jupyter0", {"demo": DEMO}, port=first.port)
        try:
            with pytest.raises(MCPError) as lost:
                await running
            assert lost.value.error.data == {"outcome": "unknown"}
            assert (await client.call_tool("echo", {"text": "back"})).content[0].text == "back"
        finally:
            again.stop()
    assert names(states).count("Connected") == 2


async def test_a_legacy_session_that_is_gone_ends_with_a_reason(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.grace=0")
    async with ChaosLink(jupyter.port, 1) as link:
        transport = websocket_transport(through(jupyter, link, "fast"), token=jupyter.token, reconnect=FAST)
        async with asyncio.timeout(BOUND), Client(transport, mode="legacy") as client:
            running = asyncio.create_task(client.call_tool("slow", {"steps": 1, "delay": 60}))
            await until(lambda: jupyter.rest("GET", "sessions")[1]["sessions"][0]["in_flight"] == 1)
            link.refusing = True
            link.cut_all()
            await until(lambda: jupyter.rest("GET", "sessions")[1]["sessions"] == [])
            link.refusing = False
            with pytest.raises(MCPError) as lost:
                await running
            assert lost.value.error.data == {"outcome": "unknown"}
            assert "did not reconnect within 0 s" in str(transport.error)


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_permanent_refusals_do_not_cause_a_loop(jupyter, status):
    attempts = []

    async def once(link):
        await link.recv()
        await link.send(
            '{"mcp.ws":"opened","session":"s","token":"t","grace":60,"window":{"frames":64,"bytes":9999}}'
        )
        await link.close(1012)

    def answer(connection, request):
        attempts.append(1)
        return None if len(attempts) == 1 else connection.respond(status, "no")

    server = await serve(once, "127.0.0.1", 0, process_request=answer, subprotocols=["mcp.resume.v1"])
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    transport = websocket_transport(url, reconnect=FAST)
    async with transport as (read, _):
        async with asyncio.timeout(BOUND):
            with pytest.raises(anyio.EndOfStream):
                await read.receive()
        assert str(status) in str(transport.error)
    assert len(attempts) == 2
    server.close()


@pytest.mark.parametrize("code", [1000, 1002, 1009, 4403, 4409])
async def test_close_codes_that_would_repeat_themselves_do_not_cause_a_loop(code):
    attempts = []

    async def once(link):
        attempts.append(1)
        await link.recv()
        await link.send(
            '{"mcp.ws":"opened","session":"s","token":"t","grace":60,"window":{"frames":64,"bytes":9999}}'
        )
        await link.close(code, "because")

    server = await serve(once, "127.0.0.1", 0, subprotocols=["mcp.resume.v1"])
    transport = websocket_transport(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", reconnect=FAST)
    async with transport as (read, _), asyncio.timeout(BOUND):
        with pytest.raises(anyio.EndOfStream):
            await read.receive()
        assert f"{code} because" in str(transport.error)
    assert attempts == [1]
    server.close()


async def test_a_plain_server_works_visibly_without_resume():
    """It answers ``work``, and cuts the first link after the request it must not repeat."""
    requests: list[dict] = []

    async def plain(link):
        async for text in link:
            message = json.loads(text)
            requests.append(message)
            if len(requests) == 1:
                link.transport.abort()
                return
            result = {
                "resultType": "complete",
                "content": [],
                "tools": [],
                "ttlMs": 0,
                "cacheScope": "private",
            }
            await link.send(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}))

    server = await serve(plain, "127.0.0.1", 0, subprotocols=["mcp"])
    states: list = []
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    transport = websocket_transport(url, reconnect=FAST, on_state=states.append)
    async with asyncio.timeout(BOUND), Client(transport, mode="2026-07-28") as client:
        with pytest.raises(MCPError) as lost:
            await client.call_tool("once", {})
        assert lost.value.error.data == {"outcome": "unknown"}
        await client.call_tool("twice", {})
    assert [state.resumable for state in states if isinstance(state, Connected)] == [False, False]
    called = [m["params"]["name"] for m in requests if m["method"] == "tools/call"]
    assert called == ["once", "twice"], "tools/call is never sent again"
    server.close()


@pytest.mark.parametrize("knows", ["mcp", None])
async def test_servers_that_refuse_the_offer_get_a_smaller_one(knows):
    offers: list[str] = []

    def picky(connection, request):
        offer = request.headers.get("Sec-WebSocket-Protocol", "")
        offers.append(offer)
        return None if offer == (knows or "") else connection.respond(400, "unknown subprotocol")

    server = await serve(
        lambda link: link.wait_closed(),
        "127.0.0.1",
        0,
        process_request=picky,
        subprotocols=[knows] if knows else None,
    )
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    for _ in range(2):
        async with websocket_transport(url):
            pass
    assert offers[:2] == ["mcp.resume.v1, mcp", "mcp"]
    assert "mcp.resume.v1, mcp" not in offers[1:], "the verdict is remembered"
    server.close()


@pytest.mark.parametrize("scheme", ["ws", "http"])
async def test_leaving_is_prompt_and_orderly_while_received_messages_are_not_read(jupyter, scheme):
    """Far more has arrived than the queues of session and socket hold."""
    options = {"token": jupyter.token, "reconnect": FAST}
    if scheme == "ws":
        entered = websocket_transport(jupyter.endpoint("fast"), **options)
    else:
        entered = negotiating_transport(f"{jupyter.url}mcp-ws/servers/fast", transports=("poll",), **options)
    calls = [
        {"name": "slow", "arguments": {"steps": 300, "delay": 0.001}, "_meta": {**MODERN, "progressToken": n}}
        for n in range(3)
    ]
    async with entered as (_, write):
        transport = getattr(entered, "active", entered)
        for n, params in enumerate(calls):
            request = {"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": params}
            await write.send(as_message(json.dumps(request).encode()))

        def out() -> int:
            sessions = [s for s in jupyter.rest("GET", "sessions")[1]["sessions"] if s["server"] == "fast"]
            return sessions[-1]["messages"]["out"]

        await until(lambda: out() >= 600, what="more than anybody takes")
    assert transport.close_code == 1000, "1006 would say that the close frame was waited for in vain, for 5 s"


async def test_leaving_while_disconnected_does_not_hang(jupyter):
    states: list = []
    async with ChaosLink(jupyter.port, 1) as link:
        async with asyncio.timeout(BOUND):
            async with websocket_transport(
                through(jupyter, link),
                token=jupyter.token,
                reconnect=Reconnect(first_delay=30),
                on_state=states.append,
            ):
                link.refusing = True
                link.cut_all()
                await until(lambda: isinstance(states[-1], Reconnecting))


async def test_a_fresh_token_may_be_fetched_for_each_link(jupyter):
    given: list[str] = []

    def fresh() -> str:
        given.append(jupyter.token)
        return jupyter.token

    async with ChaosLink(jupyter.port, 1) as link:
        states: list = []
        async with websocket_transport(
            through(jupyter, link), token=fresh, reconnect=FAST, on_state=states.append
        ):
            link.cut("reset")
            await until(lambda: "Resumed" in names(states))
    assert len(given) == 2


async def test_connect_passes_the_reconnect_policy_on(jupyter):
    states: list = []
    async with (
        ChaosLink(jupyter.port, 1) as link,
        connect(
            through(jupyter, link), token=jupyter.token, reconnect=None, on_state=states.append
        ) as client,
    ):
        await client.list_tools()
    assert states == [Connected(resumable=False)]


def test_delays_grow_with_full_jitter_up_to_the_cap():
    policy = Reconnect(first_delay=0.5, max_delay=30)
    assert [policy.delay(attempt, lambda: 1.0) for attempt in (1, 2, 3, 7, 8, 1000)] == [
        0.5,
        1,
        2,
        30,
        30,
        30,
    ]
    assert policy.delay(5, lambda: 0.0) == 0


async def test_a_failure_to_fetch_a_token_is_a_failed_attempt(jupyter):
    given: list[int] = []

    def token() -> str:
        given.append(1)
        if len(given) == 2:
            raise OSError("the token service is out of reach")
        return jupyter.token

    states: list = []
    async with ChaosLink(jupyter.port, 1) as link:
        transport = websocket_transport(
            through(jupyter, link), token=token, reconnect=FAST, on_state=states.append
        )
        async with transport:
            link.cut("reset")
            await until(lambda: "Resumed" in names(states))
    assert any("out of reach" in s.reason for s in states if isinstance(s, Reconnecting))


async def test_an_attempt_that_takes_too_long_leaves_the_session_alone():
    """The gateway has attached the link already when the client loses patience."""
    codes: list[int | None] = []
    opened = '{"mcp.ws":"opened","session":"s","token":"t","grace":60,"window":{"frames":64,"bytes":9999}}'

    async def slow(link):
        await link.recv()
        if not codes:
            codes.append(0)
            await link.send(opened)
            link.transport.abort()
        elif len(codes) == 1:
            await link.wait_closed()
            codes.append(link.close_code)
        else:
            await link.send('{"mcp.ws":"resumed","recv":0,"token":"u"}')
            await link.wait_closed()

    server = await serve(slow, "127.0.0.1", 0, subprotocols=["mcp.resume.v1"])
    states: list = []
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with websocket_transport(url, open_timeout=0.5, reconnect=FAST, on_state=states.append):
        await until(lambda: "Resumed" in names(states))
    assert codes[1] == 1001, "1000 would have ended the session"
    server.close()


async def test_giving_up_is_punctual_and_fails_sends_that_wait_for_the_queue():
    opened = '{"mcp.ws":"opened","session":"s","token":"t","grace":60,"window":{"frames":16,"bytes":2000}}'
    links = 0

    async def once(link):
        nonlocal links
        links += 1
        await link.recv()
        if links == 1:
            await link.send(opened)
            link.transport.abort()
        else:
            await link.wait_closed()

    server = await serve(once, "127.0.0.1", 0, subprotocols=["mcp.resume.v1"])
    states: list = []
    transport = websocket_transport(
        f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/",
        open_timeout=30,
        reconnect=Reconnect(first_delay=0.01, max_delay=0.02, give_up_after=0.5),
        on_state=states.append,
    )
    async with asyncio.timeout(BOUND), Client(transport, mode="2026-07-28") as client:
        await until(lambda: "Reconnecting" in names(states))
        calls = [client.call_tool("x", {"text": "z" * 1000}) for _ in range(6)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert [getattr(r, "error", None) and r.error.data for r in results] == [{"outcome": "not_sent"}] * 6
    server.close()


async def test_a_plain_server_that_comes_back_gets_sends_that_waited_for_the_queue(jupyter):
    requests: list[str] = []
    refuse = False

    async def plain(link):
        async for text in link:
            message = json.loads(text)
            requests.append(message["method"])
            result = {
                "resultType": "complete",
                "content": [],
                "tools": [],
                "ttlMs": 0,
                "cacheScope": "private",
            }
            await link.send(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}))

    def answer(connection, request):
        return connection.respond(503, "later") if refuse else None

    server = await serve(plain, "127.0.0.1", 0, subprotocols=["mcp"], process_request=answer, max_size=None)
    states: list = []
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    transport = websocket_transport(url, reconnect=FAST, on_state=states.append)
    async with asyncio.timeout(BOUND), Client(transport, mode="2026-07-28") as client:
        await client.list_tools()
        refuse = True
        for link in list(server.connections):
            link.transport.abort()
        await until(lambda: "Reconnecting" in names(states))
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(client.call_tool("x", {"text": "z" * 1_000_000}))
            await until(lambda: transport._end.channel.full)
            refuse = False
    assert requests.count("tools/call") == 8
    server.close()

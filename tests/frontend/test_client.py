"""The TypeScript client under Node and in Chromium, with both SDK majors, against a real gateway."""

from __future__ import annotations

import asyncio

import pytest

from tests.chaos import ChaosLink
from tests.conftest import until
from tests.frontend.conftest import (
    ONE_LOOP,
    QUICK,
    RUNTIMES,
    RefusedError,
    endpoint,
    frontend_jupyter,
    session_of,
)

pytestmark = ONE_LOOP
CHROMIUM = [pytest.mark.node, pytest.mark.chromium]
CLIENTS = [
    *(
        pytest.param("node", kind, sdk, mode, marks=pytest.mark.node)
        for kind in ("websocket", "poll")
        for sdk, mode in ((1, "legacy"), (2, "legacy"), (2, "auto"), (2, "2026-07-28"))
    ),
    pytest.param("node22", "websocket", 1, "legacy", marks=pytest.mark.node),
    pytest.param("node22", "websocket", 2, "auto", marks=pytest.mark.node),
    pytest.param("chromium", "websocket", 1, "legacy", marks=CHROMIUM),
    pytest.param("chromium", "websocket", 2, "auto", marks=CHROMIUM),
    pytest.param("chromium", "poll", 2, "auto", marks=CHROMIUM),
]


@pytest.mark.parametrize(("runtime", "kind", "sdk", "mode"), CLIENTS)
async def test_calls_progress_and_cancellation(own, drivers, runtime, kind, sdk, mode):
    driver = await drivers(runtime, own)
    await driver.connect(endpoint(own, "demo"), kind=kind, sdk=sdk, mode=mode, options={"token": own.token})
    assert "echo" in await driver.do("list")
    assert await driver.do("call", tool="echo", args={"text": "häßlich ✓"}) == "häßlich ✓"
    assert await driver.do("call", tool="slow", args={"steps": 2, "delay": 0.01}) == "2 steps done"
    slow = driver.start("call", tool="slow", args={"steps": 600, "delay": 0.1})
    number = driver.last
    await until(lambda: any(event["of"] == number for event in driver.named("progress")))
    await driver.do("cancel", of=number)
    with pytest.raises(RefusedError, match="enough"):
        await slow
    assert await driver.do("call", tool="echo", args={"text": "still here"}) == "still here"
    await driver.do("close")
    assert driver.states == ["connecting", "open", "closed"]
    assert len(driver.named("closed")) == 1
    assert driver.named("state")[1]["resumable"]
    await until(lambda: session_of(own, driver) is None)
    if runtime == "chromium":
        assert driver.page.complaints == []


@pytest.mark.parametrize(("runtime", "kind", "sdk", "mode"), CLIENTS[:8])  # a page gets one message at a time
async def test_an_answer_does_not_overtake_the_progress_before_it(own, drivers, runtime, kind, sdk, mode):
    """The server writes both at once, so they arrive together."""
    driver = await drivers(runtime, own)
    await driver.connect(endpoint(own), kind=kind, sdk=sdk, mode=mode, options={"token": own.token})
    key = f"{runtime}{kind}{sdk}{mode}"
    for number in range(5):
        del driver.events[:]
        assert await driver.do("call", tool="work", args={"key": f"{key}{number}", "steps": 4})
        assert [event["progress"] for event in driver.named("progress")] == [0, 1, 2, 3]


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_a_call_survives_the_loss_of_its_link(own, drivers, runtime):
    async with ChaosLink(own.port, 1) as link:
        driver = await drivers(runtime, own, link)
        await driver.connect(endpoint(own, "demo", link), options={"token": own.token})
        call = driver.start("call", tool="slow", args={"steps": 6, "delay": 0.1})
        for seen in (2, 4):
            await until(lambda seen=seen: len(driver.named("progress")) >= seen)
            before = driver.states.count("resumed")
            link.cut_all()
            await until(lambda before=before: driver.states.count("resumed") > before)
        assert await call == "6 steps done"
        assert [event["progress"] for event in driver.named("progress")] == [1, 2, 3, 4, 5, 6]
        reconnecting = [state for state in driver.named("state") if state["kind"] == "reconnecting"]
        assert reconnecting[0]["attempt"] == 1
        assert 0 <= reconnecting[0]["delay"] <= QUICK["firstDelay"]
        assert reconnecting[0]["reason"].startswith("1006")
        await driver.do("close")


@pytest.mark.node
@pytest.mark.parametrize(("runtime", "kind"), [("node22", "websocket"), ("node", "poll")])
async def test_no_answer_is_lost_or_doubled_when_a_session_is_suspended_among_them(
    own, drivers, runtime, kind
):
    driver = await drivers(runtime, own)
    given = {"kind": kind, "url": endpoint(own, "demo"), "options": {"token": own.token}}
    rounds = await driver.do("leave", calls=30, rounds=10, **given)
    assert rounds == [{"answered": 30, "doubled": 0, "state": "closed"}] * 10


@pytest.mark.node
async def test_messages_sent_while_there_is_no_link_are_queued_and_beyond_the_window_sending_waits(
    make_jupyter, drivers
):
    jupyter = frontend_jupyter(make_jupyter, "--MCPWebSocketApp.window_frames=64")
    async with ChaosLink(jupyter.port, 1) as link:
        driver = await drivers("node", jupyter)
        await driver.connect(endpoint(jupyter, "fast", link), options={"token": jupyter.token})
        link.refusing = True
        link.cut_all()
        await until(lambda: driver.states.count("reconnecting") > 2)
        calls = [{"tool": "echo", "args": {"text": str(n)}} for n in range(100)]
        answers = driver.start("burst", calls=calls)
        while await driver.do("pending") < 100:  # the SDK writes a little later
            await asyncio.sleep(0.01)
        assert not answers.done()
        link.refusing = False
        assert await answers == [str(n) for n in range(100)]
        assert driver.states.count("resumed") == 1


@pytest.mark.node
async def test_giving_up_ends_every_request_with_its_outcome(make_jupyter, drivers):
    jupyter = frontend_jupyter(make_jupyter)
    driver = await drivers("node", jupyter)
    policy = {**QUICK, "giveUpAfter": 500}
    await driver.connect(endpoint(jupyter), options={"token": jupyter.token, "reconnect": policy})
    written = driver.start("call", tool="slow", args={"steps": 1, "delay": 60})
    await until(lambda: jupyter.rest("GET", "sessions")[1]["sessions"][0]["in_flight"] == 1)
    jupyter.process.kill()
    await until(lambda: "reconnecting" in driver.states)
    queued = driver.start("call", tool="echo", args={"text": "x"})
    for call, outcome in ((written, "unknown"), (queued, "not_sent")):
        with pytest.raises(RefusedError, match=r"within 0\.5 s") as refused:
            await call
        assert refused.value.error["code"] == -31006
        assert refused.value.error["data"] == {"outcome": outcome}
    assert driver.states[-1] == "closed"
    assert len(driver.named("closed")) == 1
    assert driver.named("state")[-1]["error"]["name"] == "ConnectionLost"
    with pytest.raises(RefusedError):
        await driver.do("list")


@pytest.mark.node
@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_a_session_that_is_gone_starts_over_or_fails_with_a_reason(make_jupyter, drivers, mode):
    jupyter = frontend_jupyter(make_jupyter, "--MCPWebSocketApp.grace=0")
    async with ChaosLink(jupyter.port, 1) as link:
        driver = await drivers("node", jupyter)
        await driver.connect(endpoint(jupyter, "fast", link), mode=mode, options={"token": jupyter.token})
        running = driver.start("call", tool="slow", args={"steps": 1, "delay": 60})
        await until(lambda: jupyter.rest("GET", "sessions")[1]["sessions"][0]["in_flight"] == 1)
        link.refusing = True
        link.cut_all()
        await until(lambda: jupyter.rest("GET", "sessions")[1]["sessions"] == [])
        link.refusing = False
        with pytest.raises(RefusedError, match="the session is gone") as refused:
            await running
        assert refused.value.error["data"] == {"outcome": "unknown"}
        if mode == "legacy":
            assert driver.states[-1] == "closed"
            assert "did not reconnect within 0 s" in driver.named("state")[-1]["reason"]
        else:
            assert await driver.do("call", tool="echo", args={"text": "back"}) == "back"
            opened = [state for state in driver.named("state") if state["kind"] == "open"]
            assert [state["resumed"] for state in opened] == [False, False]
            assert opened[0]["session"] != opened[1]["session"]


@pytest.mark.node
@pytest.mark.parametrize("code", [1000, 1002, 1009, 4403, 4409, 4502])
async def test_close_codes_that_would_repeat_themselves_do_not_cause_a_loop(drivers, own, code):
    from websockets.asyncio.server import serve

    attempts = []

    async def once(link):
        attempts.append(1)
        await link.recv()
        await link.send(
            '{"mcp.ws":"opened","session":"s","token":"t","grace":60,"window":{"frames":64,"bytes":9999}}'
        )
        await link.recv()  # initialize, which is never answered
        await link.close(code, "because")

    server = await serve(once, "127.0.0.1", 0, subprotocols=["mcp.resume.v1"])
    driver = await drivers("node", own)
    with pytest.raises(RefusedError, match=f"{code} because") as refused:
        await driver.connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", mode="legacy")
    assert refused.value.error["data"] == {"outcome": "unknown"}
    assert attempts == [1]
    server.close()

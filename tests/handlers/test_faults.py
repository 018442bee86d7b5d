"""Faults on purpose over REST, and the Python client that survives each of them on a real gateway."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from mcp_ws_ide.client import Connected, Reconnect, Resumed, links, websocket_transport
from mcp_ws_ide.discovery import RunningGateway
from mcp_ws_ide.errors import ConnectError
from mcp_ws_ide.rest_client import GatewayClient
from tests.conftest import BOUND, FAST_SERVER, SHADOWED, Jupyter, Peer, until
from tests.handlers.test_tap import tapped

ROOT = Path(__file__).parents[2]
FAST = Reconnect(first_delay=0.01, max_delay=0.05, give_up_after=30)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory):
    """A gateway that lets links be broken."""
    running = Jupyter(
        tmp_path_factory.mktemp("faulty"),
        {"fast": FAST_SERVER},
        "--MCPWebSocketApp.allow_faults=True",
    )
    yield running
    running.stop()


class Victim:
    """A real client, and the faults that break its link."""

    def __init__(self, jupyter: Jupyter, client: Client, states: list[Any]) -> None:
        self.jupyter, self.client, self.states = jupyter, client, states
        self.session = next(state.session for state in states if isinstance(state, Connected))

    async def hurt(self, fault: str, **parameters: Any) -> str:
        gateway = GatewayClient(RunningGateway(self.jupyter.url, self.jupyter.token))
        return await asyncio.to_thread(gateway.inject_fault, self.session, fault, **parameters)

    def count(self, kind: type) -> int:
        return sum(isinstance(state, kind) for state in self.states)

    async def resumed(self, times: int = 1) -> None:
        await until(lambda: self.count(Resumed) >= times, what="the resume")

    async def echo(self, text: str) -> str:
        return (await self.client.call_tool("echo", {"text": text})).content[0].text

    async def runs(self) -> dict[str, Any]:
        return json.loads((await self.client.call_tool("tally", {})).content[0].text)


@asynccontextmanager
async def victim(jupyter: Jupyter) -> AsyncIterator[Victim]:
    states: list[Any] = []
    transport = websocket_transport(
        jupyter.endpoint("fast"), token=jupyter.token, reconnect=FAST, on_state=states.append
    )
    async with asyncio.timeout(BOUND), Client(transport, mode="2026-07-28") as client:
        await client.list_tools()
        yield Victim(jupyter, client, states)


async def test_a_cut_link_is_resumed_and_each_call_runs_once(faulty):
    async with victim(faulty) as one:
        before = (await one.runs())["runs"]
        seen: list[float] = []

        async def progress(done, total, message):
            seen.append(done)
            if done == 2:
                assert await one.hurt("cut") == "cut"

        calls = [
            asyncio.create_task(one.client.call_tool("work", {"key": f"cut{n}", "steps": 0}))
            for n in range(9)
        ]
        slow = one.client.call_tool("slow", {"steps": 5, "delay": 0.05}, progress_callback=progress)
        assert (await slow).content[0].text == "5 steps"
        assert [(await call).content[0].text for call in calls] == [f"cut{n}" for n in range(9)]
        assert seen == [0, 1, 2, 3, 4, 5]
        assert one.count(Resumed) == 1
        assert await one.runs() == {"runs": before + 9, "twice": []}


async def test_a_client_that_pings_leaves_a_half_open_link(faulty, monkeypatch):
    monkeypatch.setattr(links, "PING_INTERVAL", 1.0)
    async with victim(faulty) as one:
        before = (await one.runs())["runs"]
        await one.hurt("half_open", seconds=600)
        call = asyncio.create_task(one.client.call_tool("work", {"key": "half", "steps": 0}))
        assert (await call).content[0].text == "half"
        assert one.count(Resumed) == 1, (
            "it noticed by itself: the gateway would have let go after ten minutes"
        )
        assert await one.runs() == {"runs": before + 1, "twice": []}


async def test_a_half_open_link_is_closed_when_its_time_is_over(faulty):
    async with victim(faulty) as one:
        assert await one.hurt("half_open", seconds=1) == "half_open for 1 s"
        assert await one.echo("later") == "later"
        assert one.count(Resumed) == 1


async def test_a_delayed_link_is_slow_and_keeps_the_order(faulty):
    async with victim(faulty) as one:
        await one.hurt("delay", ms=300, seconds=600)
        start = time.monotonic()
        seen: list[float] = []

        async def progress(done, total, message):
            seen.append(done)

        result = await one.client.call_tool("slow", {"steps": 20, "delay": 0.01}, progress_callback=progress)
        assert result.content[0].text == "20 steps"
        assert time.monotonic() - start >= 0.3
        assert seen == list(range(21))
        faulty.rest("DELETE", f"sessions/{one.session}/faults")
        assert faulty.rest("GET", f"sessions/{one.session}/faults")[1]["delay"] is False
        assert await one.echo("quick") == "quick"
        assert one.count(Resumed) == 0


async def test_a_repeated_response_is_delivered_once(faulty):
    async with victim(faulty) as one:
        before = (await one.runs())["runs"]
        await one.hurt("duplicate", count=3)
        for number in range(5):
            assert await one.echo(str(number)) == str(number)
        assert faulty.rest("GET", f"sessions/{one.session}/faults")[1]["duplicate"] == 0
        await one.hurt("duplicate")
        await one.client.call_tool("work", {"key": "dup", "steps": 0})
        await one.hurt("cut")
        await one.resumed()
        assert await one.echo("after") == "after"
        assert await one.runs() == {"runs": before + 1, "twice": []}


async def test_a_duplicate_reaches_the_wire(faulty):
    async with faulty.connect("fast") as link:
        peer = Peer(link)
        await peer.call(1, "tools/list")
        (session,) = faulty.rest("GET", "sessions")[1]["sessions"]
        assert faulty.rest("POST", f"sessions/{session['id']}/faults", {"fault": "duplicate"})[0] == 202
        first = await peer.call(2, "tools/list")
        assert await peer.receive() == first
        assert (await peer.call(3, "tools/list"))["id"] == 3


async def test_a_deferred_resume_is_retried(faulty):
    async with victim(faulty) as one:
        running = asyncio.create_task(one.client.call_tool("slow", {"steps": 1, "delay": 1}))
        await one.hurt("refuse_resume", how="later", count=2)
        await one.hurt("cut")
        assert (await running).content[0].text == "1 steps"
        assert one.count(Resumed) == 1
        assert one.count(Connected) == 1


async def test_a_permanently_refused_resume_fails_calls_with_their_outcome_and_starts_a_new_session(
    faulty,
):
    async with victim(faulty) as one:
        running = asyncio.create_task(one.client.call_tool("slow", {"steps": 9, "delay": 60}))
        await until(lambda: faulty.rest("GET", "sessions")[1]["sessions"][0]["in_flight"] == 1)
        await one.hurt("refuse_resume")
        await one.hurt("cut")
        with pytest.raises(MCPError) as lost:
            await running
        assert lost.value.error.data == {"outcome": "unknown"}
        assert await one.echo("anew") == "anew"
        assert (one.count(Connected), one.count(Resumed)) == (2, 0)


async def test_faults_show_on_the_tap(faulty):
    async with tapped(faulty, kind="event") as tap, victim(faulty) as one:
        await one.hurt("cut")
        await one.resumed()
        record = await tap.until(lambda r: r["event"] == "fault")
        assert (record["detail"], record["session"]) == ("cut", one.session)


async def test_impossible_faults_are_refused_with_a_reason(faulty):
    async with faulty.connect("fast") as link:
        await Peer(link).call(1, "tools/list")
        (session,) = faulty.rest("GET", "sessions")[1]["sessions"]
        path = f"sessions/{session['id']}/faults"
        for body, status, words in (
            ({}, 400, "cut, half_open, delay"),
            ({"fault": "explode"}, 400, "must be one of"),
            ({"fault": "cut", "ms": 1}, 400, "has no parameter 'ms'"),
            ({"fault": "delay", "ms": 1e9}, 400, "from 1 to 10000"),
            ({"fault": "delay", "ms": True}, 400, "number"),
            ({"fault": "half_open", "seconds": 0}, 400, "from 1 to 600"),
            ({"fault": "duplicate", "count": 100000}, 400, "from 1 to 1000"),
            ({"fault": "refuse_resume", "how": "never"}, 400, "gone or later"),
            ({"fault": "refuse_resume"}, 409, "cannot be resumed"),
        ):
            answer = faulty.rest("POST", path, body)
            assert answer[0] == status, body
            assert words in answer[1]["message"]
        assert faulty.rest("POST", "sessions/abc/faults", {"fault": "cut"})[0] == 404
        assert faulty.rest("GET", path)[1] == {
            **dict.fromkeys(("duplicate", "refuse_resume"), 0),
            **dict.fromkeys(("delay", "half_open"), False),
        }
        assert (await Peer(link).call(2, "tools/list"))["id"] == 2


async def test_faults_are_off_unless_they_are_allowed(jupyter, peer):
    await peer.call(1, "tools/list")
    session = jupyter.rest("GET", "sessions")[1]["sessions"][0]["id"]
    for method in ("GET", "POST", "DELETE"):
        status, answer = jupyter.rest(
            method, f"sessions/{session}/faults", {"fault": "cut"} if method == "POST" else None
        )
        assert status == 403
        assert "allow_faults" in answer["message"]
    with pytest.raises(ConnectError, match="allow_faults"):
        GatewayClient(RunningGateway(jupyter.url, jupyter.token)).inject_fault(session, "cut")
    assert (await peer.call(2, "tools/list"))["id"] == 2


async def test_only_authorized_users_break_links_and_only_their_own(make_jupyter, tmp_path):
    users = {"alice-token": "alice", "careful-token": "careful", "test-token-0123456789": "root"}
    (tmp_path / "users.json").write_text(json.dumps(users))
    shared = make_jupyter(
        {"fast": FAST_SERVER},
        "--ServerApp.identity_provider_class=tests.servers.identity.NamedUsers",
        "--ServerApp.authorizer_class=tests.servers.identity.NoGuests",
        "--MCPWebSocketApp.allow_faults=True",
        environment={"USERS_FILE": str(tmp_path / "users.json"), "PYTHONPATH": f"{SHADOWED}:{ROOT}"},
    )
    gateway_token = shared.rest("POST", "tokens", {"servers": ["fast"]}, token="alice-token")[1]["token"]
    headers = {"Authorization": "Bearer alice-token"}
    async with shared.connect("fast", additional_headers=headers) as link:
        await Peer(link).call(1, "tools/list")
        path = (
            f"sessions/{shared.rest('GET', 'sessions', token='alice-token')[1]['sessions'][0]['id']}/faults"
        )
        cut = {"fault": "cut"}
        assert shared.rest("POST", path, cut, token="careful-token")[0] == 403
        assert shared.rest("POST", path, cut, token=gateway_token)[0] in (401, 403)
        assert shared.rest("POST", path, cut)[0] == 404, "another user's reads as unknown"
        assert (await Peer(link).call(2, "tools/list"))["id"] == 2
        assert shared.rest("POST", path, cut, token="alice-token")[0] == 202
        async with asyncio.timeout(BOUND):
            await link.wait_closed()
        assert link.close_code == 1006

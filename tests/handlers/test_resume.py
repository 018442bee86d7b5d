"""``mcp.resume.v1`` at the endpoint of a real server, frame by frame (docs/reference/binding.md, section 6)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.conftest import BOUND, FAST_SERVER, MODERN, SHADOWED, Jupyter, Peer, until

ROOT = Path(__file__).parents[2]


class Resumer:
    """A client of the binding without any of our client code."""

    def __init__(self, jupyter: Jupyter, name: str = "fast", **options) -> None:
        self.jupyter, self.name, self.options = jupyter, name, options
        self.token, self.recv = "", 0

    async def open(self) -> dict:
        self.link = await self.connect()
        await self.link.send('{"mcp.ws":"open"}')
        opened = await self.frame()
        self.token, self.session, self.recv = opened["token"], opened["session"], 0
        return opened

    async def connect(self):
        return await self.jupyter.connect(self.name, subprotocols=["mcp.resume.v1", "mcp"], **self.options)

    async def resume(self, token: str | None = None, recv: int | None = None) -> dict:
        self.link = await self.connect()
        hello = {
            "mcp.ws": "resume",
            "token": token or self.token,
            "recv": self.recv if recv is None else recv,
        }
        await self.link.send(json.dumps(hello))
        answer = await self.frame()
        if answer["mcp.ws"] == "resumed":
            self.token = answer["token"]
        return answer

    async def frame(self) -> dict:
        async with asyncio.timeout(BOUND):
            return json.loads(await self.link.recv())

    async def data(self) -> dict:
        """The next data frame; control frames on the way are passed over."""
        while "mcp.ws" in (frame := await self.frame()):
            pass
        self.recv += 1
        return frame

    async def send(self, **message) -> None:
        await self.link.send(json.dumps({"jsonrpc": "2.0", **message}))

    async def call(
        self, own, tool: str, arguments: dict | None = None, *, legacy: bool = False, **meta
    ) -> None:
        params = {"name": tool, "arguments": arguments or {}, "_meta": {**({} if legacy else MODERN), **meta}}
        await self.send(id=own, method="tools/call", params=params)

    async def initialize(self) -> None:
        info = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        }
        await self.send(id="init", method="initialize", params=info)
        await self.data()

    def vanish(self) -> None:
        """Break the link without a close frame."""
        self.link.transport.abort()

    async def closed(self) -> tuple[int, str]:
        async with asyncio.timeout(BOUND):
            try:
                while True:
                    await self.link.recv()
            except ConnectionClosed as error:
                assert error.rcvd is not None, "closed without a word"
                return error.rcvd.code, error.rcvd.reason


def attached(jupyter: Jupyter, session: str) -> bool | None:
    for entry in jupyter.rest("GET", "sessions")[1]["sessions"]:
        if entry["id"] == session:
            return entry["attached"]
    return None


async def test_a_response_to_a_detached_client_waits_for_it(jupyter):
    client = Resumer(jupyter)
    opened = await client.open()
    assert opened["grace"] == 900
    assert opened["window"] == {"frames": 4096, "bytes": 4 << 20}
    await client.call(7, "slow", {"steps": 3, "delay": 0.05}, progressToken="p")
    assert (await client.data())["method"] == "notifications/progress"
    client.vanish()
    await until(lambda: attached(jupyter, client.session) is False)
    await until(
        lambda: (
            next(s for s in jupyter.rest("GET", "sessions")[1]["sessions"] if s["id"] == client.session)[
                "in_flight"
            ]
            == 0
        )
    )
    resumed = await client.resume()
    assert resumed == {"mcp.ws": "resumed", "recv": 1, "token": client.token}
    rest = [await client.data() for _ in range(4)]
    assert [m["params"]["progress"] for m in rest[:3]] == [1, 2, 3]
    assert (rest[3]["id"], rest[3]["result"]["content"][0]["text"]) == (7, "3 steps")
    await client.link.close()


async def test_close_1000_ends_the_session_and_every_other_close_keeps_it(jupyter):
    client = Resumer(jupyter)
    await client.open()
    await client.link.close(1001)
    await until(lambda: attached(jupyter, client.session) is False)
    assert (await client.resume())["mcp.ws"] == "resumed"
    await client.link.close(1000)
    await until(lambda: attached(jupyter, client.session) is None)
    gone = await client.resume()
    assert gone["mcp.ws"] == "gone"
    assert (await client.closed())[0] == 4404


@pytest.mark.parametrize(
    ("frame", "code"), [(b"\x00", 1003), ("x" * (11 << 20), 1009), ('{"mcp.ws":"ack"}', 1002)]
)
async def test_an_unacceptable_message_ends_the_session(jupyter, frame, code):
    client = Resumer(jupyter)
    await client.open()
    await client.initialize()
    with contextlib.suppress(ConnectionClosed):  # the gateway need not read all of it
        await client.link.send(frame)
    assert (await client.closed())[0] == code
    await until(lambda: attached(jupyter, client.session) is None)
    assert (await client.resume())["mcp.ws"] == "gone"


async def test_a_client_that_left_may_resume_within_the_time_it_announced(jupyter):
    client, other = Resumer(jupyter), Resumer(jupyter)
    for one in (client, other):
        await one.open()
        assert jupyter.rest("DELETE", f"sessions/{one.session}?after=0.5") == (204, None)
        assert attached(jupyter, one.session) is True, "as long as its link is there nothing ends"
        await one.link.close(1001)
        if one is client:
            assert (await client.resume())["mcp.ws"] == "resumed"
    await until(lambda: attached(jupyter, other.session) is None)
    assert "within 0.5 s" in (await other.resume())["reason"]
    await client.link.close(1001)
    await until(lambda: attached(jupyter, client.session) is False)
    assert (await client.resume())["mcp.ws"] == "resumed"
    assert jupyter.rest("DELETE", f"sessions/{client.session}?after=soon")[0] == 400
    await client.link.close(1000)


async def test_the_newest_link_wins_and_the_old_one_is_closed(jupyter):
    client = Resumer(jupyter)
    await client.open()
    await client.call(1, "echo", {"text": "a"})
    await client.data()
    old = client.link
    await client.resume()
    forged = {"jsonrpc": "2.0", "id": 66, "method": "tools/list", "params": {"_meta": MODERN}}
    with contextlib.suppress(ConnectionClosed):
        await old.send('{"mcp.ws":"ack","recv":1}')
        await old.send(json.dumps(forged))
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            await old.recv()
    assert closed.value.rcvd.code == 4409
    await client.call(2, "echo", {"text": "b"})
    assert (await client.data())["id"] == 2, "the old link's request was not taken"
    await client.link.close()


async def test_tokens_rotate_and_strangers_learn_nothing(jupyter):
    client = Resumer(jupyter)
    await client.open()
    first = client.token
    client.vanish()
    await client.resume()
    client.vanish()  # `resumed` may never have arrived: the token before it is still good
    assert (await client.resume(token=first))["mcp.ws"] == "resumed"
    await client.call(1, "echo", {"text": "a"})
    await client.data()
    good = client.link
    answers = []
    for token in (first, client.token[:-1] + "x", client.session + ".guess", "no-such-session.x"):
        stranger = Resumer(jupyter)
        answers.append(await stranger.resume(token=token, recv=0))
        assert (await stranger.closed())[0] == 4404
    assert len({answer["reason"] for answer in answers}) == 1
    other_server = Resumer(jupyter, "time")
    assert await other_server.resume(token=client.token, recv=0) == answers[0]
    client.link = good
    await client.call(2, "echo", {"text": "still here"})
    assert (await client.data())["id"] == 2
    await client.link.close()


async def test_a_token_of_another_user_reads_as_unknown(make_jupyter, tmp_path):
    users = tmp_path / "users.json"
    users.write_text(json.dumps({"a-token": "a", "b-token": "b", "test-token-0123456789": "root"}))
    shared = make_jupyter(
        {"fast": FAST_SERVER},
        "--ServerApp.identity_provider_class=tests.servers.identity.NamedUsers",
        environment={"USERS_FILE": str(users), "PYTHONPATH": f"{SHADOWED}:{ROOT}"},
    )
    mine = Resumer(shared, additional_headers={"Authorization": "Bearer a-token"})
    await mine.open()
    thief = Resumer(shared, additional_headers={"Authorization": "Bearer b-token"})
    unknown = await thief.resume(token="nobody.x", recv=0)
    assert await thief.resume(token=mine.token, recv=0) == unknown
    await mine.call(1, "echo", {"text": "a"})
    assert (await mine.data())["id"] == 1, "and the owner's link is untouched"
    await mine.link.close()


@pytest.mark.parametrize(
    "first",
    ['{"jsonrpc":"2.0","id":1,"method":"ping"}', '{"mcp.ws":"ack","recv":0}', "x", '{"mcp.ws":"resume"}'],
)
async def test_the_first_frame_must_open_or_resume(jupyter, first):
    client = Resumer(jupyter)
    client.link = await client.connect()
    await client.link.send(first)
    assert (await client.closed())[0] == 4400


async def test_a_silent_link_is_closed(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.hello_timeout=0.2")
    client = Resumer(jupyter)
    client.link = await client.connect()
    code, reason = await client.closed()
    assert code == 4400
    assert "0.2 s" in reason


async def test_impossible_counts_are_refused(jupyter):
    client = Resumer(jupyter)
    await client.open()
    await client.link.send('{"mcp.ws":"ack","recv":5}')
    code, reason = await client.closed()
    assert (code, reason) == (1002, "the peer acknowledged 5 frames, but only 0 were sent")
    assert (await client.resume())["mcp.ws"] == "gone"
    await client.open()
    client.vanish()
    assert (await client.resume(recv=9))["mcp.ws"] == "gone"
    assert (await client.resume())["mcp.ws"] == "resumed", "one failed attempt does not lose the session"
    await client.link.close()


async def test_an_expired_session_is_gone_with_a_reason_and_its_work_cancelled(make_jupyter):
    jupyter = make_jupyter(
        {"fast": FAST_SERVER}, "--MCPWebSocketApp.grace=0.5", "--MCPWebSocketApp.idle_timeout=0"
    )
    client = Resumer(jupyter)
    await client.open()
    await client.call(1, "slow", {"steps": 1000, "delay": 1})
    await until(lambda: jupyter.rest("GET", "health")[1]["processes"] == 1)
    client.vanish()
    await until(
        lambda: (
            jupyter.rest("GET", "health")[1] | {"version": ""}
            == {"status": "ok", "version": "", "sessions": 0, "links": 0, "processes": 0, "engine": None}
        )
    )
    gone = await client.resume()
    assert "within 0.5 s" in gone["reason"]


async def test_progress_is_dropped_before_a_response(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.window_frames=64")
    client = Resumer(jupyter)
    await client.open()
    await client.call(1, "slow", {"steps": 300, "delay": 0.002}, progressToken=1)
    client.vanish()
    await until(lambda: jupyter.rest("GET", "sessions")[1]["sessions"][0]["in_flight"] == 0)
    await client.resume()
    progress, dropped = [], 0
    while True:
        frame = await client.frame()
        if frame.get("mcp.ws") == "gap":
            assert not dropped, "the oldest give way, in one gap"
            dropped = frame["dropped"]
        elif "id" in frame:
            break
        elif "method" in frame:
            progress.append(frame["params"]["progress"])
    assert frame["result"]["content"][0]["text"] == "300 steps"
    assert len(progress) + dropped == 301
    assert progress == sorted(progress)
    assert progress[-1] == 300
    await client.link.close()


async def test_responses_beyond_the_window_end_the_session_with_4413_and_a_reason(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.window_frames=16")
    client = Resumer(jupyter)
    await client.open()
    await client.call("warm", "echo", {"text": "x"})
    await client.data()
    for number in range(40):
        await client.call(number, "slow", {"steps": 1, "delay": 0.5})
    await until(lambda: jupyter.rest("GET", "sessions")[1]["sessions"][0]["in_flight"] == 40)
    client.vanish()
    await until(lambda: jupyter.rest("GET", "sessions")[1]["sessions"] == [])
    gone = await client.resume()
    assert "window_frames" in gone["reason"]
    _, _, metrics = jupyter.request("GET", "metrics", None, {"Authorization": f"token {jupyter.token}"})
    assert 'mcp_ws_refusals_total{reason="window"} 1.0' in metrics.decode()


async def test_received_messages_are_acknowledged_at_once_or_within_a_second(jupyter):
    client = Resumer(jupyter)
    await client.open()
    await client.call("warm", "echo", {"text": "x"})
    first = [await client.frame(), await client.frame()]
    assert {"mcp.ws": "ack", "recv": 1} in first, "before the answer, where that takes a second"
    for number in range(8):
        await client.send(method="notifications/nothing", params={"n": number})
    acknowledged = [1]
    while acknowledged[-1] < 9:
        frame = await client.frame()
        assert frame["mcp.ws"] == "ack"
        assert frame["recv"] > acknowledged[-1]
        acknowledged.append(frame["recv"])
    assert acknowledged[-1] == 9
    await client.link.send('{"mcp.ws":"ping"}')
    assert await client.frame() == {"mcp.ws": "pong"}
    await client.link.close()


@pytest.mark.usefixtures("mortal")
async def test_the_death_of_a_private_server_reaches_a_detached_client(jupyter):
    client = Resumer(jupyter)
    await client.open()
    await client.initialize()
    await client.call(1, "pid", legacy=True)
    pid = int((await client.data())["result"]["content"][0]["text"])
    await client.call(2, "slow", {"steps": 1, "delay": 60}, legacy=True)
    await client.call(3, "echo", {"text": "sync"}, legacy=True)
    await client.data()
    client.vanish()
    await until(lambda: attached(jupyter, client.session) is False)
    psutil.Process(pid).kill()
    await until(lambda: not psutil.pid_exists(pid))
    await client.resume()
    answer = await client.data()
    assert (answer["id"], answer["error"]["data"]["outcome"]) == (2, "unknown")
    assert (await client.closed())[0] == 4502


async def test_legacy_sessions_keep_their_process_and_a_slow_reader_holds_only_that(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.window_frames=32")
    client, other = Resumer(jupyter), Resumer(jupyter)
    await client.open()
    await other.open()
    await client.initialize()
    await client.call(1, "flood", {"count": 2000, "size": 10}, legacy=True, progressToken=1)
    await other.call(1, "echo", {"text": "quick"})
    assert (await other.data())["id"] == 1
    # No acknowledgement: after a window's worth the server is not read any more, and nothing is dropped.
    for number in range(32):
        assert (await client.data())["params"]["progress"] == number
    client.vanish()
    assert (await client.resume())["mcp.ws"] == "resumed"
    seen = []
    while "id" not in (frame := await client.frame()):
        if "method" in frame:
            client.recv += 1
            seen.append(frame["params"]["progress"])
            if len(seen) % 8 == 0:
                await client.link.send(json.dumps({"mcp.ws": "ack", "recv": client.recv}))
        elif frame["mcp.ws"] == "gap":
            client.recv += frame["dropped"]
    assert frame["result"]["content"][0]["text"] == "flooded"
    assert seen == sorted(set(seen))
    await client.link.close()
    await other.link.close()


async def test_a_session_continues_after_its_server_left_the_configuration(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER, "other": FAST_SERVER})
    client, late = Resumer(jupyter), Resumer(jupyter)
    await client.open()
    await client.call(1, "echo", {"text": "x"})
    await client.data()
    client.vanish()
    jupyter.configuration.write_text(json.dumps({"mcpServers": {"other": FAST_SERVER}}))
    await until(lambda: jupyter.rest("GET", "servers/fast")[0] == 404)
    assert (await client.resume())["mcp.ws"] == "resumed"
    await client.call(2, "echo", {"text": "still here"})
    assert (await client.data())["id"] == 2
    late.link = await late.connect()
    await late.link.send('{"mcp.ws":"open"}')
    assert await late.closed() == (4502, "server 'fast': it was removed from the configuration")
    await client.link.close()
    await until(lambda: jupyter.rest("GET", "health")[1]["sessions"] == 0)
    with pytest.raises(InvalidStatus) as refused:
        await late.connect()
    assert refused.value.response.status_code == 404


async def test_a_revoked_token_ends_the_session_and_an_expired_one_lets_it_resume(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    minted = jupyter.rest("POST", "tokens", {"servers": ["fast"], "expires_in": 2})[1]
    client = Resumer(jupyter, additional_headers={"Authorization": f"Bearer {minted['token']}"})
    await client.open()
    assert (await client.closed())[0] == 4401
    with pytest.raises(InvalidStatus):
        await client.resume()
    fresh = jupyter.rest("POST", "tokens", {"servers": ["fast"]})[1]
    client.options = {"additional_headers": {"Authorization": f"Bearer {fresh['token']}"}}
    assert (await client.resume())["mcp.ws"] == "resumed"
    assert jupyter.rest("DELETE", f"tokens/{fresh['id']}")[0] == 204
    assert (await client.closed())[0] == 4403
    client.options = {}
    assert (await client.resume())["mcp.ws"] == "gone"


async def test_a_full_gateway_closes_with_1013(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.max_sessions=1")
    first, second = Resumer(jupyter), Resumer(jupyter)
    await first.open()
    second.link = await second.connect()
    await second.link.send('{"mcp.ws":"open"}')
    code, reason = await second.closed()
    assert code == 1013
    assert "max_sessions" in reason
    first.vanish()
    assert (await first.resume())["mcp.ws"] == "resumed", "a full house keeps nobody from coming back"
    await first.link.close()


async def test_too_many_links_in_a_second_are_429(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.max_links_per_second=3")
    results = await asyncio.gather(
        *(jupyter.connect().__aenter__() for _ in range(12)), return_exceptions=True
    )
    refused = [r for r in results if isinstance(r, InvalidStatus)]
    assert refused
    assert {r.response.status_code for r in refused} == {429}
    assert "max_links_per_second" in json.loads(refused[0].response.body)["message"]
    for link in results:
        if not isinstance(link, Exception):
            await link.close()


async def test_shutdown_lets_requests_finish_and_reports_the_outcome_of_the_others(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.drain_timeout=6")
    short, long, idle = Resumer(jupyter), Resumer(jupyter), Resumer(jupyter)
    for client in (short, long, idle):
        await client.open()
    plain = await jupyter.connect()
    await short.call(1, "slow", {"steps": 1, "delay": 0.5})
    await long.call(1, "slow", {"steps": 1, "delay": 600})
    await until(lambda: sum(s["in_flight"] for s in jupyter.rest("GET", "sessions")[1]["sessions"]) == 2)
    jupyter.process.terminate()
    assert (await idle.closed())[0] == 1012
    assert (await short.data())["result"]["content"][0]["text"] == "1 steps"
    assert (await short.closed())[0] == 1012
    cut = await long.data()
    assert (cut["error"]["code"], cut["error"]["data"]["outcome"]) == (-31005, "unknown")
    assert (await long.closed())[0] == 1012
    with pytest.raises(ConnectionClosed) as closed:
        await plain.recv()
    assert closed.value.rcvd.code == 1001
    await until(lambda: jupyter.process.poll() is not None)


async def test_cancelling_while_the_server_starts_starts_no_other(make_jupyter):
    jupyter = make_jupyter(
        {"late": {"command": "sh", "args": ["-c", f"sleep 1; exec {' '.join(fast_command())}"]}}
    )
    client = Resumer(jupyter, "late")
    await client.open()
    await client.call(1, "echo", {"text": "a"})
    await client.send(method="notifications/cancelled", params={"requestId": 1})
    await client.call(1, "echo", {"text": "b"})
    answer = await client.data()
    assert answer["result"]["content"][0]["text"] == "b", "the cancelled one was never sent"
    assert [p["era"] for p in jupyter.processes("late")] == ["modern"]
    assert jupyter.rest("GET", "sessions")[1]["sessions"][0]["era"] == "modern"
    await client.link.close()


def fast_command() -> list[str]:
    return [FAST_SERVER["command"], *FAST_SERVER["args"]]


@pytest.mark.parametrize("away", [True, False])
async def test_a_restart_reports_the_outcome_of_its_requests_to_a_legacy_client(make_jupyter, away):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    client = Resumer(jupyter)
    await client.open()
    await client.initialize()
    await client.call(1, "slow", {"steps": 1, "delay": 60}, legacy=True)
    await client.call(2, "echo", {"text": "sync"}, legacy=True)
    await client.data()
    if away:
        client.vanish()
        await until(lambda: attached(jupyter, client.session) is False)
    assert jupyter.rest("POST", "servers/fast/restart")[0] == 202
    if away:
        await client.resume()
    answer = await client.data()
    assert (answer["id"], answer["error"]["data"]["outcome"]) == (1, "unknown")
    assert (await client.closed())[0] == 4502
    await until(lambda: jupyter.rest("GET", "health")[1]["sessions"] == 0)


@pytest.mark.usefixtures("mortal")
async def test_a_response_sent_over_a_dead_link_survives_the_servers_death(jupyter):
    client = Resumer(jupyter)
    await client.open()
    await client.initialize()
    await client.call(1, "pid", legacy=True)
    pid = int((await client.data())["result"]["content"][0]["text"])
    client.link.transport.pause_reading()
    await client.call(2, "echo", {"text": "precious"}, legacy=True)
    await until(
        lambda: (
            next(s for s in jupyter.rest("GET", "sessions")[1]["sessions"] if s["id"] == client.session)[
                "messages"
            ]["in"]
            == 3
        )
    )
    psutil.Process(pid).kill()
    await until(lambda: not psutil.pid_exists(pid))
    client.vanish()
    await client.resume()
    assert (await client.data())["id"] == 2
    assert (await client.closed())[0] == 4502


async def test_a_restart_wakes_requests_that_wait_for_a_crashed_server(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    async with jupyter.connect() as link:
        peer = Peer(link)
        for number in range(4):
            await peer.call(number, "tools/call", {"name": "crash"})
        await peer.send(id="w", method="tools/list", params={"_meta": MODERN})
        await until(lambda: jupyter.rest("GET", "sessions")[1]["sessions"][0]["in_flight"] == 1)
        assert jupyter.rest("POST", "servers/fast/restart")[0] == 202
        answer = await peer.receive()
        assert answer["id"] == "w"
        assert answer["error"]["data"]["outcome"] == "not_sent", "later it would have been tried"
        assert (await peer.call("again", "tools/list"))["id"] == "again"


async def test_many_responses_at_once_end_no_attached_session(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.window_frames=16")
    client = Resumer(jupyter)
    await client.open()
    for number in range(50):
        await client.call(number, "echo", {"text": "x"})
    assert sorted([(await client.data())["id"] for _ in range(50)]) == list(range(50))
    await client.link.close()

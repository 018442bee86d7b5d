"""The poll link on the wire: bodies and answers as lines of JSON (docs/reference/binding.md, section 11)."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from tests.conftest import BOUND, FAST_SERVER, MODERN, Jupyter, until

NDJSON = "application/x-ndjson"


class Poller:
    """A client by hand."""

    def __init__(
        self, jupyter: Jupyter, client: httpx.AsyncClient, name: str = "fast", token: str = ""
    ) -> None:
        self.client = client
        self.url = f"{jupyter.url}mcp-ws/servers/{name}/poll"
        self.headers = {"Authorization": f"Bearer {token or jupyter.token}", "Content-Type": NDJSON}
        self.link = ""
        self.sent = 1

    async def post(self, *lines: Any, **headers: str) -> httpx.Response:
        body = "\n".join(json.dumps(line, separators=(",", ":")) for line in lines)
        self.client.cookies.clear()  # Jupyter gives a cookie to whoever shows its token
        return await self.client.post(
            self.url, content=body, headers={**self.headers, **headers}, timeout=BOUND
        )

    async def hello(self, **hello: Any) -> list[dict[str, Any]]:
        response = await self.post(hello or {"mcp.ws": "open"})
        assert response.status_code == 200, response.text
        lines = lines_of(response)
        self.link = lines[0]["link"]
        return lines

    def head(self) -> dict[str, Any]:
        return {"mcp.ws": "poll", "link": self.link, "sent": self.sent, "recv": 0}

    async def send(self, *frames: dict[str, Any]) -> list[dict[str, Any]]:
        response = await self.post(self.head(), *frames)
        assert response.status_code == 200, response.text
        self.sent += len(frames)
        return lines_of(response)

    async def poll(self) -> list[dict[str, Any]]:
        return await self.send()

    async def answer(self, own: Any, *frames: dict[str, Any]) -> dict[str, Any]:
        """The response to a request, among these frames or those of further polls: an ack may come alone before it."""
        while not (found := [frame for frame in frames if frame.get("id") == own]):
            frames = tuple(await self.poll())
        return found[0]


def lines_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.headers["Content-Type"] == NDJSON
    assert response.headers["Cache-Control"] == "no-store"
    return [json.loads(line) for line in response.text.splitlines()]


def call(request_id: Any, name: str, **arguments: Any) -> dict[str, Any]:
    params = {"name": name, "arguments": arguments, "_meta": MODERN}
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}


@pytest.fixture
async def client():
    async with httpx.AsyncClient(timeout=BOUND) as opened:
        yield opened


@pytest.fixture
def poller(jupyter, client) -> Poller:
    return Poller(jupyter, client)


def session_of(jupyter: Jupyter, session_id: str) -> dict[str, Any] | None:
    sessions = jupyter.rest("GET", "sessions")[1]["sessions"]
    return next((session for session in sessions if session["id"] == session_id), None)


async def test_a_session_over_posts(jupyter, poller):
    head, opened = await poller.hello()
    assert (head["mcp.ws"], head["sent"], head["recv"]) == ("poll", 0, 1)
    assert opened["mcp.ws"] == "opened"
    assert session_of(jupyter, opened["session"])["link"] == "poll"
    (accepted,) = await poller.send(call(7, "echo", text="a\nb"), call("7", "echo", text="c"))
    assert accepted["recv"] == 3, "a body with frames is answered at once, and says how many have come"
    answers: dict[Any, str] = {}
    while len(answers) < 2:
        head, *frames = await poller.poll()
        answers |= {f["id"]: f["result"]["content"][0]["text"] for f in frames if "id" in f}
    assert answers == {7: "a\nb", "7": "c"}


async def test_an_empty_body_is_held_until_a_message_arrives(jupyter, poller):
    await poller.hello()
    waiting = asyncio.ensure_future(poller.poll())
    await until(lambda: jupyter.rest("GET", "health")[0] == 200)
    assert not waiting.done()
    await poller.send(call(1, "echo", text="now"))
    head, *frames = await waiting
    assert head["sent"] == 1
    assert frames, "it is held until then"
    assert (await poller.answer(1, *frames))["result"]["content"][0]["text"] == "now"


async def test_a_long_body_leaves_the_others_their_turn(jupyter, poller, client):
    """Neither blank lines, nor lines of next to nothing, nor many messages stop the event loop."""
    await poller.hello()
    head = json.dumps(poller.head()).encode() + b"\n"
    message = b'{"jsonrpc":"2.0","method":"notifications/x"}\n'
    for body, status in ((b"\n" * (11 << 20), 413), (b"{}\n" * 3_000_000, 413), (message * 60_000, 200)):
        client.cookies.clear()
        answer = asyncio.ensure_future(
            client.post(poller.url, content=head + body, headers=poller.headers, timeout=BOUND)
        )
        slowest = 0.0
        while not answer.done():
            started = time.perf_counter()
            await asyncio.to_thread(jupyter.rest, "GET", "health")
            slowest = max(slowest, time.perf_counter() - started)
        assert (await answer).status_code == status
        assert slowest < 1, status
        if status == 200:
            poller.sent += 60_000


async def test_a_newer_empty_body_releases_the_older_one(poller):
    await poller.hello()
    older = asyncio.ensure_future(poller.poll())
    await asyncio.sleep(0)
    newer = asyncio.ensure_future(poller.poll())
    done, _ = await asyncio.wait([older, newer], timeout=BOUND, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1, "one of them is answered, with nothing"
    assert len(done.pop().result()) == 1
    await poller.send(call(1, "echo", text="x"))
    await asyncio.wait([older, newer], timeout=BOUND)
    assert sum(len(task.result()) - 1 for task in (older, newer)) == 1


async def test_a_body_delivered_twice_counts_once_and_a_missing_one_ends_the_link(poller):
    await poller.hello()
    body = poller.head(), call(1, "work", key="poll-twice", steps=0)
    for _ in range(2):
        assert lines_of(await poller.post(*body))[0]["recv"] == 2
    poller.sent = 2
    await poller.answer(1)
    await poller.send(call(2, "tally"))
    tally = await poller.answer(2)
    assert "poll-twice" not in json.loads(tally["result"]["content"][0]["text"])["twice"]
    poller.sent += 5
    assert (await poller.post(poller.head(), call(3, "echo", text="x"))).status_code == 409
    assert (await poller.post(poller.head())).status_code == 410


async def test_a_session_resumes_on_another_poll_link_and_on_no_other_kind(jupyter, poller, client):
    _, opened = await poller.hello()
    await poller.send(call(1, "slow", steps=1, delay=0.3))
    second = Poller(jupyter, client)
    resume = {"mcp.ws": "resume", "token": opened["token"], "recv": 0}
    _, resumed, *frames = await second.hello(**resume)
    assert (resumed["mcp.ws"], resumed["recv"]) == ("resumed", 1)
    await second.answer(1, *frames)
    assert lines_of(await poller.post(poller.head()))[-1] == {
        "mcp.ws": "close",
        "code": 4409,
        "reason": "another link of this client took over",
    }
    async with jupyter.connect("fast", subprotocols=["mcp.resume.v1"]) as link:
        await link.send(json.dumps({**resume, "token": resumed["token"]}))
        gone = json.loads(await link.recv())
        assert gone["mcp.ws"] == "gone"
        assert "resume it over the same kind" in gone["reason"]


async def test_a_goodbye_ends_the_session_and_any_other_close_keeps_it(jupyter, client):
    for code, ends in ((1000, True), (1001, False)):
        poller = Poller(jupyter, client)
        _, opened = await poller.hello()
        gone = await poller.post(poller.head(), {"mcp.ws": "close", "code": code, "reason": ""})
        assert gone.status_code == 204
        assert (session_of(jupyter, opened["session"]) is None) is ends
        assert (await poller.post(poller.head())).status_code == 410


async def test_a_link_belongs_to_its_user_and_server(jupyter, poller, client):
    await poller.hello()
    other = Poller(jupyter, client, "demo")
    other.link = poller.link
    assert (await other.post(other.head())).status_code == 410
    token = jupyter.rest("POST", "tokens", {"servers": ["demo"], "expires_in": 60})[1]["token"]
    assert (await poller.post(poller.head(), Authorization=f"Bearer {token}")).status_code == 403
    assert (await poller.post(poller.head(), Authorization="Bearer wrong")).status_code == 401
    assert (await poller.post(poller.head(), Origin="https://evil.example")).status_code == 403


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}], 400),
        ([{"mcp.ws": "open"}, {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}], 400),
        ([{"mcp.ws": "poll"}], 400),
        ([{"mcp.ws": "poll", "link": "x", "sent": -1}], 400),
        ([{"mcp.ws": "poll", "link": "never", "sent": 1}], 410),
        ([], 400),
    ],
)
async def test_a_malformed_body_is_refused_with_a_reason(poller, lines, status):
    response = await poller.post(*lines)
    assert response.status_code == status
    assert response.json()["message"]


async def test_other_media_and_unknown_servers_are_refused(jupyter, poller, client):
    assert (await poller.post({"mcp.ws": "open"}, **{"Content-Type": "application/json"})).status_code == 415
    assert (await Poller(jupyter, client, "nope").post({"mcp.ws": "open"})).status_code == 404
    assert (await Poller(jupyter, client, "unset").post({"mcp.ws": "open"})).status_code == 502


async def test_a_wrong_hello_and_a_full_gateway_are_reported_by_a_closing_line(make_jupyter, client):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.max_sessions=1")
    first = Poller(jupyter, client)
    await first.hello()
    end = (await Poller(jupyter, client).hello())[-1]
    assert (end["mcp.ws"], end["code"]) == ("close", 1013)
    assert "max_sessions" in end["reason"]
    _, gone, end = await Poller(jupyter, client).hello(**{"mcp.ws": "resume", "token": "x.y", "recv": 0})
    assert gone["mcp.ws"] == "gone"
    assert end["code"] == 4404


async def test_a_message_over_the_limit_closes_the_link_with_1009(make_jupyter, client):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.max_message_bytes=100000")
    poller = Poller(jupyter, client)
    await poller.hello()
    await poller.send(call(1, "echo", text="x" * 100_001))
    assert (await poller.poll())[-1]["code"] == 1009
    poller = Poller(jupyter, client)
    await poller.hello()
    response = await poller.post(poller.head(), call(1, "echo", text="x" * (3 << 20)))
    assert response.status_code == 413


async def test_a_client_that_fetches_nothing_is_closed_with_a_reason(make_jupyter, client):
    arguments = ("--MCPWebSocketApp.max_queued_bytes=200000", "--MCPWebSocketApp.window_bytes=100000000")
    jupyter = make_jupyter({"fast": FAST_SERVER}, *arguments)
    poller = Poller(jupyter, client)
    await poller.hello()
    flood = call(1, "flood", count=1000, size=1000)
    flood["params"]["_meta"] = {**MODERN, "progressToken": 1}
    await poller.send(flood)
    received: list[dict[str, Any]] = []
    while not received or received[-1].get("mcp.ws") != "close":
        received += await poller.poll()
    assert received[-1]["code"] == 1008
    assert "max_queued_bytes" in received[-1]["reason"]


async def test_a_probe_names_the_transports_at_once_and_stays_open(make_jupyter, client):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.websocket=False")
    headers = {"Authorization": f"Bearer {jupyter.token}"}
    async with client.stream("GET", f"{jupyter.url}mcp-ws/servers/fast/probe", headers=headers) as response:
        lines = response.aiter_lines()
        assert await anext(lines) == "event: transports"
        assert json.loads((await anext(lines)).removeprefix("data: ")) == {"transports": ["http", "poll"]}
    assert (await client.get(f"{jupyter.url}mcp-ws/servers/nope/probe", headers=headers)).status_code == 404
    client.cookies.clear()
    assert (await client.get(f"{jupyter.url}mcp-ws/servers/fast/probe")).status_code == 401

"""HTTP requests of one session reach any gateway: polls, and Streamable HTTP of the handshake era."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from tests.conftest import BOUND, Jupyter, response_in, until
from tests.fleet.house import Fleet, remote_port, sockets_of
from tests.handlers.test_poll import Poller
from tests.handlers.test_poll import call as poll_call
from tests.handlers.test_streamable_http import Http, events, lines


@pytest.fixture
async def client():
    async with httpx.AsyncClient(timeout=BOUND) as opened:
        yield opened


@pytest.fixture(autouse=True)
def sessions_end(fleet):
    """Ends what a test leaves: HTTP clients that only go away keep their sessions."""
    yield
    for session in fleet.jupyters[0].rest("GET", "sessions")[1]["sessions"]:
        fleet.jupyters[0].rest("DELETE", f"sessions/{session['id']}")


def go_to(one: Http | Poller, jupyter: Jupyter) -> None:
    """Send further requests to this gateway."""
    one.url = one.url.replace(one.url.partition("mcp-ws")[0], jupyter.url)


async def http_session(fleet: Fleet, client: httpx.AsyncClient, place: int = 0) -> Http:
    one = Http(fleet.jupyters[place], client)
    await one.initialize()
    return one


@pytest.mark.parametrize("repeated", [False, True], ids=["by Tornado", "repeated heads"])
async def test_posts_of_one_session_alternate_between_gateways(fleet, client, repeated):
    one = await http_session(fleet, client)
    for own in range(1, 9):
        go_to(one, fleet.jupyters[own % 2])
        unlike = None if repeated else f"test/{own}"
        answer = await one.legacy(own, "echo", {"text": f"call {own}"}, User_Agent=unlike)
        assert response_in(answer)["result"]["content"][0]["text"] == f"call {own}"
    assert len(fleet.sessions(0)) == 1
    assert fleet.sessions(1) == []
    assert (await client.delete(one.url, headers=one.headers)).status_code == 204
    await until(lambda: fleet.sessions(0) == [], what="the end of the session")


async def test_requests_for_another_gateway_go_there_over_connections_that_exist(fleet, client):
    one = await http_session(fleet, client)
    go_to(one, fleet.jupyters[1])
    (peer,) = [instance["peer"] for instance in fleet.instances(0) if instance["self"]]
    ports = set()
    for own in range(1, 21):
        assert (await one.legacy(own, "echo", {"text": "x"})).status_code == 200
        for connection in sockets_of(fleet.jupyters[1].process.pid):
            with connection:
                if remote_port(connection) == int(peer.rpartition(":")[2]):
                    ports.add(connection.getsockname()[1])
    assert 1 <= len(ports) <= 10, "a look whether the gateway answers uses one up every two seconds"
    assert (await client.delete(one.url, headers=one.headers)).status_code == 204


async def test_an_event_stream_comes_from_another_gateway_as_it_grows(fleet, client):
    one = await http_session(fleet, client)
    go_to(one, fleet.jupyters[1])
    answer = await one.legacy(1, "slow", {"steps": 8, "delay": 0.1})
    received = events(answer)
    assert [m["method"] for _, m in received[:-1]] == ["notifications/progress"] * (len(received) - 1)
    assert received[-1][1]["result"]["content"][0]["text"] == "8 steps"
    resumed = await client.get(one.url, headers={**one.headers, "Last-Event-ID": received[0][0]})
    assert events(resumed) == received[1:]


async def test_a_get_stream_at_one_gateway_carries_what_a_post_at_another_causes(fleet, client):
    one = await http_session(fleet, client)
    headers = {**one.headers, "Accept": "text/event-stream"}
    async with client.stream("GET", f"{fleet.jupyters[1].url}mcp-ws/servers/fast", headers=headers) as stream:
        assert stream.status_code == 200
        subscribe = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "resources/subscribe",
            "params": {"uri": "demo://x"},
        }
        assert (await one.post(subscribe)).status_code == 200
    # the session goes on although its stream at the other gateway was cut
    assert response_in(await one.legacy(2, "echo", {"text": "on"}))["id"] == 2


async def test_a_client_that_leaves_a_response_at_another_gateway_can_fetch_it_there(fleet, client):
    one = await http_session(fleet, client)
    go_to(one, fleet.jupyters[1])
    message = {"name": "slow", "arguments": {"steps": 10, "delay": 0.1}, "_meta": {"progressToken": 1}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": message})
    headers = {**one.headers, "Content-Type": "application/json"}
    async with client.stream("POST", one.url, content=body, headers=headers) as response:
        last, _ = await anext(lines(response))
    resumed = await client.get(one.url, headers={**one.headers, "Last-Event-ID": last})
    assert events(resumed)[-1][1]["result"]["content"][0]["text"] == "10 steps"


async def test_polls_of_one_link_alternate_between_gateways(fleet, client):
    one = Poller(fleet.jupyters[0], client)
    await one.hello()
    for own in range(1, 7):
        go_to(one, fleet.jupyters[own % 2])
        await one.send(poll_call(own, "echo", text=f"call {own}"))
        go_to(one, fleet.jupyters[(own + 1) % 2])
        await one.answer(own)
    assert len(fleet.sessions(0)) == 1
    assert fleet.sessions(1) == []
    closing = await one.post(one.head(), {"mcp.ws": "close", "code": 1000, "reason": ""})
    assert (closing.status_code, closing.content) == (204, b"")
    await until(lambda: fleet.sessions(0) == [], what="the end of the session")


async def test_a_held_poll_ends_with_the_message_that_comes_over_another_gateway(fleet, client):
    one = Poller(fleet.jupyters[0], client)
    await one.hello()
    go_to(one, fleet.jupyters[1])
    held = asyncio.create_task(one.poll())
    other = Poller(fleet.jupyters[0], client)
    other.link = one.link
    await other.send(poll_call(1, "echo", text="here"))
    _, *frames = await held
    assert frames, "it is held until then"
    await other.answer(1, *frames)


async def test_a_link_of_another_gateway_is_its_owners_alone(fleet, client):
    one = await http_session(fleet, client)
    minted = fleet.jupyters[0].rest("POST", "tokens", {"servers": ["fast"], "tools": {"allow": ["echo"]}})[1]
    stranger = {**one.headers, "Authorization": f"Bearer {minted['token']}"}
    for jupyter in fleet.jupyters:
        url = f"{jupyter.url}mcp-ws/servers/fast"
        assert (await client.delete(url, headers=stranger)).status_code == 404
        assert (await client.delete(url.replace("fast", "always"), headers=one.headers)).status_code == 404
        unknown = {**one.headers, "Mcp-Session-Id": one.headers["Mcp-Session-Id"][:-1] + "x"}
        assert (await client.delete(url, headers=unknown)).status_code == 404
    poller = Poller(fleet.jupyters[0], client)
    await poller.hello()
    poller.headers["Authorization"] = stranger["Authorization"]
    for jupyter in fleet.jupyters:
        go_to(poller, jupyter)
        assert (await poller.post(poller.head())).status_code == 410


async def test_the_credential_is_checked_where_the_client_is(fleet, client):
    one = await http_session(fleet, client)
    go_to(one, fleet.jupyters[1])
    one.headers["Authorization"] = "Bearer wrong"
    assert (await one.legacy(1, "echo", {"text": "no"})).status_code == 401


async def test_a_revoked_token_ends_a_response_that_comes_from_another_gateway(fleet, client):
    minted = fleet.jupyters[0].rest("POST", "tokens", {"servers": ["fast"]})[1]
    one = Http(fleet.jupyters[0], client)
    one.headers["Authorization"] = f"Bearer {minted['token']}"
    await one.initialize()
    go_to(one, fleet.jupyters[1])
    headers = {**one.headers, "Accept": "text/event-stream"}
    async with client.stream("GET", one.url, headers=headers) as stream:
        assert stream.status_code == 200
        assert fleet.jupyters[1].rest("DELETE", f"tokens/{minted['id']}")[0] == 204
        async for _ in stream.aiter_raw():
            pass
    assert (await one.legacy(1, "echo", {"text": "no"})).status_code == 401


async def test_a_link_of_a_gateway_that_was_killed_is_known_to_have_ended(fleet, client):
    http = await http_session(fleet, client)
    poller = Poller(fleet.jupyters[0], client)
    await poller.hello()
    await fleet.killed(0)
    try:
        go_to(http, fleet.jupyters[1])
        go_to(poller, fleet.jupyters[1])
        assert (await http.legacy(1, "echo", {"text": "no"})).status_code == 404
        assert (await poller.post(poller.head())).status_code == 410
    finally:
        await fleet.started(0)


async def test_a_gateway_that_does_not_answer_is_not_taken_for_one_that_has_ended(fleet, client):
    http = await http_session(fleet, client)
    go_to(http, fleet.jupyters[1])
    with fleet.silenced(0):
        answer = await http.legacy(1, "echo", {"text": "later"})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")

    async def answered() -> bool:
        return (await http.legacy(1, "echo", {"text": "now"})).status_code == 200

    async with asyncio.timeout(BOUND):
        while not await answered():  # 503 for as long as the lease of the suspended gateway is not renewed
            pass


# --- calls that wait for answers --------------------------------------------------------------------

ASKING = {"_meta": {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}}}
ELICIT = {"name": "elicit", "arguments": {}, **ASKING}


def answered(result: dict, name: str) -> dict:
    """The parameters that continue a call with an answer to its question."""
    (question,) = result["inputRequests"]
    answers = {question: {"action": "accept", "content": {"name": name, "agree": True}}}
    return {**ELICIT, "requestState": result["requestState"], "inputResponses": answers}


@pytest.mark.parametrize("repeated", [False, True], ids=["by Tornado", "repeated heads"])
async def test_a_call_that_waits_for_answers_continues_over_any_gateway(fleet, client, repeated):
    """Each gateway has a process of the server, which seals the state with a key of its own."""
    one = Http(fleet.jupyters[0], client, "demo")
    asked = response_in(await one.modern(1, "tools/call", ELICIT))["result"]
    go_to(one, fleet.jupyters[1])
    if repeated:
        for own in (2, 3):
            await one.modern(own, "tools/call", {"name": "elicit", "arguments": {}, **ASKING})
    done = response_in(await one.modern(4, "tools/call", answered(asked, "Ada")))
    assert done["result"]["content"][0]["text"] == "hello Ada"


async def test_a_narrow_token_continues_its_own_calls_over_any_gateway_and_no_others(fleet, client):
    tools = {"allow": ["elicit"]}
    minted = [
        fleet.jupyters[0].rest("POST", "tokens", {"servers": ["demo"], "tools": tools})[1] for _ in "ab"
    ]
    own, wide = (Http(fleet.jupyters[0], client, "demo") for _ in "ab")
    own.headers["Authorization"] = f"Bearer {minted[0]['token']}"
    asked = response_in(await own.modern(1, "tools/call", ELICIT))["result"]
    foreign = response_in(await wide.modern(1, "tools/call", ELICIT))["result"]
    go_to(own, fleet.jupyters[1])
    assert "result" in response_in(await own.modern(2, "tools/call", answered(asked, "Ada")))
    refused = response_in(await own.modern(3, "tools/call", answered(foreign, "Eve")))["error"]
    assert "given to another credential" in refused["message"]


async def test_a_call_whose_gateway_does_not_answer_may_be_continued_later(fleet, client):
    one = Http(fleet.jupyters[0], client, "demo")
    asked = response_in(await one.modern(1, "tools/call", ELICIT))["result"]
    go_to(one, fleet.jupyters[1])
    with fleet.silenced(0):
        later = await one.modern(2, "tools/call", answered(asked, "Ada"))
        assert (later.status_code, later.headers["Retry-After"]) == (503, "1")


async def test_a_call_whose_gateway_has_ended_is_left_to_the_server(fleet, client):
    one = Http(fleet.jupyters[0], client, "demo")
    asked = response_in(await one.modern(1, "tools/call", ELICIT))["result"]
    go_to(one, fleet.jupyters[1])
    await fleet.killed(0)
    try:
        assert "error" in response_in(await one.modern(2, "tools/call", answered(asked, "Ada")))
    finally:
        await fleet.started(0)

"""Streamable HTTP at the endpoint, request by request (docs/reference/binding.md, section 10)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from mcp_ws_ide.errors import CANCELLED
from tests.conftest import BOUND, FAST_SERVER, MODERN, Jupyter, Peer, response_in, until
from tests.handlers.test_resume import Resumer
from tests.handlers.test_security import cookie_of

BOTH = "application/json, text/event-stream"
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "t", "version": "1"},
}


class Http:
    """A client of the endpoint that decides every header itself."""

    def __init__(self, jupyter: Jupyter, client: httpx.AsyncClient, name: str = "fast") -> None:
        self.url = f"{jupyter.url}mcp-ws/servers/{name}"
        self.client = client
        self.headers = {"Authorization": f"Bearer {jupyter.token}", "Accept": BOTH}

    async def post(self, message: object, **headers: str | None) -> httpx.Response:
        body = message if isinstance(message, (str, bytes)) else json.dumps(message)
        sent = {**self.headers, "Content-Type": "application/json", **named(headers)}
        return await self.client.post(
            self.url, content=body, headers={k: v for k, v in sent.items() if v is not None}
        )

    async def modern(
        self, own: object, method: str, params: dict | None = None, **headers: str | None
    ) -> httpx.Response:
        sent = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
        if params and "name" in params:
            sent["Mcp-Name"] = params["name"]
        meta = {**MODERN, **(params or {}).get("_meta", {})}
        message = {"jsonrpc": "2.0", "id": own, "method": method, "params": {**(params or {}), "_meta": meta}}
        return await self.post(message, **{**sent, **named(headers)})

    async def initialize(self) -> None:
        answer = await self.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE})
        assert answer.status_code == 200
        self.headers["Mcp-Session-Id"] = answer.headers["Mcp-Session-Id"]
        self.headers["MCP-Protocol-Version"] = "2025-11-25"
        done = await self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert (done.status_code, done.content) == (202, b"")

    async def legacy(
        self, own: object, tool: str, arguments: dict | None = None, **headers: str | None
    ) -> httpx.Response:
        params = {"name": tool, "arguments": arguments or {}, "_meta": {"progressToken": own}}
        return await self.post(
            {"jsonrpc": "2.0", "id": own, "method": "tools/call", "params": params}, **headers
        )


def named(headers: dict[str, str | None]) -> dict[str, str | None]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def events(response: httpx.Response) -> list[tuple[str, dict]]:
    """Event ids and messages of a finished event stream."""
    assert response.headers["Content-Type"] == "text/event-stream"
    found = []
    for block in response.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields.get("data"):
            found.append((fields.get("id", ""), json.loads(fields["data"])))
    return found


async def lines(response: httpx.Response) -> AsyncIterator[tuple[str, dict]]:
    """The same, live."""
    event_id = ""
    async for line in response.aiter_lines():
        if line.startswith("id: "):
            event_id = line[4:]
        elif len(line) > len("data: ") and line.startswith("data: "):
            yield event_id, json.loads(line[6:])


@pytest.fixture
async def http(jupyter) -> AsyncIterator[Http]:
    async with httpx.AsyncClient(timeout=BOUND) as client:
        http = Http(jupyter, client)
        yield http
        if "Mcp-Session-Id" in http.headers:
            await client.delete(http.url, headers=http.headers)


# --- modern -----------------------------------------------------------------------------------------


async def test_a_lone_answer_is_json_and_the_id_keeps_its_type(http):
    for own in (7, "7", "ü"):
        for _ in range(20):  # an answer that takes half a second, on a busy machine, is an event stream
            answer = await http.modern(own, "tools/call", {"name": "echo", "arguments": {"text": "x"}})
            if answer.headers["Content-Type"] == "application/json":
                break
        assert answer.headers["Content-Type"] == "application/json"
        assert "Mcp-Session-Id" not in answer.headers
        assert answer.json()["id"] == own
        assert answer.json()["result"]["content"][0]["text"] == "x"


async def test_progress_makes_it_an_event_stream(http):
    arguments = {"name": "slow", "arguments": {"steps": 2, "delay": 0.01}, "_meta": {"progressToken": "p"}}
    answer = await http.modern(1, "tools/call", arguments)
    assert answer.headers["X-Accel-Buffering"] == "no"
    seen = [message for _, message in events(answer)]
    assert [m.get("params", {}).get("progress") for m in seen] == [0, 1, 2, None]
    assert {m["params"]["progressToken"] for m in seen[:3]} == {"p"}
    assert seen[3]["id"] == 1


async def test_log_messages_come_on_the_stream_of_the_call_that_asked_for_them_and_cost_no_process(
    http, jupyter
):
    before = len(jupyter.processes("fast"))
    line = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}'
    meta = {"io.modelcontextprotocol/logLevel": "info"}
    call = {"name": "raw", "arguments": {"line": line}, "_meta": meta}
    for number in range(10):
        answer = await http.modern(number, "tools/call", call)
        assert [message.get("id", "log") for _, message in events(answer)] == ["log", number]
    assert len(jupyter.processes("fast")) <= max(before, 1)


async def test_a_silent_call_becomes_a_stream_after_a_while(http):
    answer = await http.modern(1, "tools/call", {"name": "slow", "arguments": {"steps": 1, "delay": 1}})
    assert [message["id"] for _, message in events(answer)] == [1]


async def test_a_client_that_accepts_only_json_gets_the_response_alone(http):
    arguments = {"name": "slow", "arguments": {"steps": 2, "delay": 0.4}, "_meta": {"progressToken": "p"}}
    answer = await http.modern(1, "tools/call", arguments, Accept="application/json")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["id"] == 1
    listen = await http.modern(1, "subscriptions/listen", {"notifications": {}}, Accept="application/json")
    assert listen.status_code == 406


@pytest.mark.parametrize(
    ("headers", "word"),
    [
        ({"MCP_Protocol_Version": "2025-11-25"}, "MCP-Protocol-Version"),
        ({"MCP_Protocol_Version": None}, "MCP-Protocol-Version"),
        ({"Mcp_Method": "tools/list"}, "Mcp-Method"),
        ({"Mcp_Method": None}, "Mcp-Method"),
        ({"Mcp_Name": "other"}, "Mcp-Name"),
        ({"Mcp_Name": None}, "Mcp-Name"),
        ({"Mcp_Name": "=?base64?!!?="}, "Mcp-Name"),
    ],
)
async def test_headers_must_match_the_body(http, headers, word):
    answer = await http.modern(5, "tools/call", {"name": "echo", "arguments": {"text": "x"}}, **headers)
    assert answer.status_code == 400
    assert (answer.json()["id"], answer.json()["error"]["code"]) == (5, -32020)
    assert word in answer.json()["error"]["message"]


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
@pytest.mark.parametrize("name", ["another", None])
async def test_the_name_header_must_repeat_the_id_of_a_task(http, method, name):
    answer = await http.modern(5, method, {"taskId": "t1"}, Mcp_Name=name)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)
    assert "params.taskId" in answer.json()["error"]["message"]
    passed = await http.modern(6, method, {"taskId": "t1"}, Mcp_Name="t1")
    assert passed.json()["error"]["code"] == -32601, "the server, which has no tasks"


async def test_an_encoded_name_header_equals_its_plain_form(http):
    answer = await http.modern(
        5, "tools/call", {"name": "echo", "arguments": {"text": "x"}}, Mcp_Name="=?base64?ZWNobw==?="
    )
    assert answer.status_code == 200


@pytest.mark.usefixtures("mortal")
async def test_errors_have_their_status(http):
    unknown = await http.modern(1, "no/such/method")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, -32601)
    wrong = await http.modern(1, "tools/call", {"name": "nope"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, -32602)
    crash = await http.modern(1, "tools/call", {"name": "crash"})
    assert (crash.status_code, response_in(crash)["error"]["data"]["outcome"]) == (200, "unknown")


@pytest.mark.parametrize(
    ("body", "code", "own"),
    [
        ("{", -32700, None),
        (b"\xff", -32700, None),
        ("[]", -32600, None),
        ('{"jsonrpc":"2.0","id":"%s","method":"x"}' % ("i" * 2000), -32600, None),
        ('{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}', -32600, None),
        ('{"jsonrpc":"1.0","id":1,"method":"x"}', -32600, 1),
        ('{"jsonrpc":"2.0","id":"a","method":"x","params":{"n":NaN}}', -32700, "a"),
    ],
)
async def test_a_malformed_message_is_400_with_its_own_id_if_that_is_known(http, body, code, own):
    answer = await http.post(body)
    assert (answer.status_code, answer.json()["error"]["code"], answer.json()["id"]) == (400, code, own)


async def test_a_body_that_has_one_meaning_is_read(http):
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN}}
    text = json.dumps({**request, "result": None})
    for body in (b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16")):
        answer = await http.post(body, MCP_Protocol_Version="2026-07-28", Mcp_Method="tools/list")
        assert "result" in response_in(answer), answer.text


async def test_media_types_and_sizes_are_checked(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.max_message_bytes=2000")
    async with httpx.AsyncClient(timeout=BOUND) as client:
        http = Http(jupyter, client)
        assert (await http.post("{}", Content_Type="text/plain")).status_code == 415
        assert (await http.post("{}", Accept="image/png")).status_code == 406
        large = await http.modern(1, "tools/call", {"name": "echo", "arguments": {"text": "x" * 3000}})
        assert large.status_code == 413
        assert "max_message_bytes" in large.json()["message"]


async def test_closing_the_response_cancels(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    async with httpx.AsyncClient(timeout=BOUND) as client:
        http = Http(jupyter, client)
        arguments = {
            "name": "slow",
            "arguments": {"steps": 9999, "delay": 0.05},
            "_meta": {"progressToken": 1},
        }
        call = asyncio.create_task(http.modern(1, "tools/call", arguments))
        await until(lambda: any(s["in_flight"] for s in jupyter.rest("GET", "sessions")[1]["sessions"]))
        session = jupyter.rest("GET", "sessions")[1]["sessions"][0]
        assert (session["link"], session["era"]) == ("http", "modern")
        call.cancel()
        await until(lambda: jupyter.rest("GET", "sessions")[1]["sessions"] == [])
        again = await http.modern(2, "tools/call", {"name": "echo", "arguments": {"text": "x"}})
        assert response_in(again)["id"] == 2


async def test_notifications_are_accepted_and_answers_are_not(http):
    version = {"MCP_Protocol_Version": "2026-07-28"}
    note = await http.post(
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}, **version
    )
    assert note.status_code == 202
    answer = await http.post({"jsonrpc": "2.0", "id": 1, "result": {}}, **version)
    assert answer.status_code == 400


async def test_modern_exchanges_and_websockets_share_a_process(http, peer):
    over_socket = await peer.call(1, "tools/call", {"name": "pid"})
    over_http = await http.modern(1, "tools/call", {"name": "pid"})
    assert response_in(over_http)["result"] == over_socket["result"]


# --- handshake era ----------------------------------------------------------------------------------


async def test_a_session_from_initialize_to_delete(http, jupyter):
    await http.initialize()
    answer = response_in(await http.legacy(1, "pid"))
    assert answer["id"] == 1
    pid = answer["result"]
    assert response_in(await http.legacy(2, "pid"))["result"] == pid, "a session has a process of its own"
    ended = await http.client.delete(http.url, headers=http.headers)
    assert ended.status_code == 204
    gone = await http.legacy(3, "pid")
    assert gone.status_code == 404
    assert "initialize" in gone.json()["message"]


@pytest.mark.parametrize("token", [1.5, True, None, [1], {"a": 1}, 10**400, "x" * 2000])
async def test_a_progress_token_of_an_odd_shape_breaks_nothing(http, token):
    await http.initialize()
    raw = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": {}}})
    answer = await http.post(raw.replace('"_meta": {}', f'"_meta": {{"progressToken": {json.dumps(token)}}}'))
    assert answer.status_code == 200
    assert response_in(answer)["id"] == 1


async def test_an_initialize_with_an_odd_progress_token_leaves_no_session(http, jupyter):
    def sessions() -> set[str]:
        return {session["id"] for session in jupyter.rest("GET", "sessions")[1]["sessions"]}

    before = sessions()
    params = {**INITIALIZE, "_meta": {"progressToken": [1]}}
    answer = await http.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
    assert answer.status_code == 200
    session = {"Mcp-Session-Id": answer.headers["Mcp-Session-Id"]}
    assert (await http.client.delete(http.url, headers={**http.headers, **session})).status_code < 300
    assert sessions() <= before  # those that other tests left may end meanwhile


async def test_a_session_must_be_given_known_and_owned(http, jupyter):
    missing = await http.legacy(1, "pid")
    assert missing.status_code == 400
    await http.initialize()
    other = Http(jupyter, http.client, "time")
    other.headers["Mcp-Session-Id"] = http.headers["Mcp-Session-Id"]
    assert (await other.legacy(1, "x")).status_code == 404, "of another server"


async def test_http_and_websocket_never_mix_on_one_session(http, jupyter):
    await http.initialize()
    headers = {"Authorization": f"Bearer {jupyter.token}", "Mcp-Session-Id": http.headers["Mcp-Session-Id"]}
    with pytest.raises(InvalidStatus) as refused:
        await jupyter.connect(additional_headers=headers)
    assert refused.value.response.status_code == 409
    socket = Resumer(jupyter)
    await socket.open()
    mixed = await http.legacy(1, "pid", Mcp_Session_Id=socket.session)
    assert mixed.status_code == 409
    assert "WebSocket" in mixed.json()["message"]
    await socket.link.close()


async def test_a_servers_question_reaches_its_call(http):
    await http.initialize()
    question = {"name": "question", "arguments": {}}
    message = {"jsonrpc": "2.0", "id": "q", "method": "tools/call", "params": question}
    headers = {**http.headers, "Content-Type": "application/json"}
    async with http.client.stream("POST", http.url, content=json.dumps(message), headers=headers) as response:
        stream = lines(response)
        _, asked = await anext(stream)
        assert (asked["id"], asked["method"]) == ("q", "roots/list")
        told = await http.post({"jsonrpc": "2.0", "id": "q", "result": {"roots": []}})
        assert told.status_code == 202
        _, answer = await anext(stream)
        assert json.loads(answer["result"]["content"][0]["text"]) == {"roots": []}


async def test_messages_without_a_request_arrive_over_get(http, jupyter):
    await http.initialize()
    line = json.dumps({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
    async with http.client.stream(
        "GET", http.url, headers={**http.headers, "Accept": "text/event-stream"}
    ) as response:
        assert response.status_code == 200
        # Two requests are open, so that the message cannot be told to belong to one of them.
        calls = [asyncio.ensure_future(http.legacy(n, "slow", {"steps": 1, "delay": 2})) for n in (1, 2)]
        await until(
            lambda: (
                [
                    s["in_flight"]
                    for s in jupyter.rest("GET", "sessions")[1]["sessions"]
                    if s["link"] == "http"
                ]
                == [2]
            )
        )
        await http.legacy(3, "raw", {"line": line})
        async with asyncio.timeout(BOUND):
            _, changed = await anext(lines(response))
        assert changed["method"] == "notifications/tools/list_changed"
        await asyncio.gather(*calls)


async def test_a_cancelled_call_ends_its_response_at_once(http):
    await http.initialize()
    call = asyncio.create_task(http.legacy(1, "slow", {"steps": 1, "delay": 3600}))
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    async with asyncio.timeout(BOUND):
        while not call.done():  # one that comes before the call cancels nothing
            assert (await http.post(cancel)).status_code == 202
        answer = await call
    said = events(answer) if "event-stream" in answer.headers["Content-Type"] else [("", answer.json())]
    assert (said[-1][1]["id"], said[-1][1]["error"]["code"]) == (1, CANCELLED)
    assert response_in(await http.legacy(2, "echo", {"text": "x"}))["id"] == 2


async def test_a_broken_stream_is_replayed_after_the_last_event_id(http):
    await http.initialize()
    call = {"name": "slow", "arguments": {"steps": 4, "delay": 0.1}, "_meta": {"progressToken": 1}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    headers = {**http.headers, "Content-Type": "application/json"}
    async with http.client.stream("POST", http.url, content=json.dumps(message), headers=headers) as response:
        stream = lines(response)
        await anext(stream)
        last, second = await anext(stream)
        assert second["params"]["progress"] == 1
    async with http.client.stream(
        "GET", http.url, headers={**http.headers, "Accept": "text/event-stream", "Last-Event-ID": last}
    ) as response:
        rest = [message async for _, message in lines(response)]
    assert [m.get("params", {}).get("progress") for m in rest] == [2, 3, 4, None]
    assert rest[-1]["id"] == 1


@pytest.mark.parametrize("event", ["p99.1", "p1.99", "g.99", "g.-1", "x", ""])
async def test_an_unknown_event_id_is_refused_with_a_reason(http, event):
    await http.initialize()
    await http.legacy(1, "slow", {"steps": 1, "delay": 0})
    asked = {**http.headers, "Accept": "text/event-stream", "Last-Event-ID": event}
    answer = await http.client.get(http.url, headers=asked)
    assert (answer.status_code, "no longer kept" in answer.json()["message"]) == (400, True)


async def test_a_replay_has_no_hole(make_jupyter):
    """The first events of a finished stream have left the window; its last ones are still in it."""
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.window_frames=16")
    async with httpx.AsyncClient(timeout=BOUND) as client:
        http = Http(jupyter, client)
        await http.initialize()
        await http.legacy(1, "slow", {"steps": 30, "delay": 0})
        asked = {**http.headers, "Accept": "text/event-stream"}
        assert (await client.get(http.url, headers={**asked, "Last-Event-ID": "p2.1"})).status_code == 400
        rest = events(await client.get(http.url, headers={**asked, "Last-Event-ID": "p2.30"}))
        assert [name for name, _ in rest] == ["p2.31", "p2.32"]


async def test_a_stream_lost_before_its_first_message_is_replayed(http):
    """It begins with an id and no data, for clients of the revision that knows this."""
    await http.initialize()
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "slow", "arguments": {"steps": 1, "delay": 1.2}},
    }
    headers = {**http.headers, "Content-Type": "application/json"}
    async with http.client.stream("POST", http.url, json=message, headers=headers) as response:
        received = response.aiter_lines()
        first = [await anext(received) for _ in range(3)]
    assert first[1:] == ["retry: 500", "data: "]
    resumed = {**http.headers, "Accept": "text/event-stream", "Last-Event-ID": first[0].removeprefix("id: ")}
    async with http.client.stream("GET", http.url, headers=resumed) as response:
        assert [message["id"] async for _, message in lines(response)] == [1]
    earlier = await http.legacy(2, "slow", {"steps": 1, "delay": 0.8}, MCP_Protocol_Version="2025-06-18")
    assert "retry" not in earlier.text


async def test_an_error_of_a_server_that_starts_slowly_has_its_status(make_jupyter):
    """The response does not become a stream before the server has the request.

    It does half a second later, which a server on a busy machine may take: then another server is tried.
    """
    script = f"import time; time.sleep(1.5); exec(open({FAST_SERVER['args'][-1]!r}).read())"
    slow = {"command": sys.executable, "args": ["-I", "-S", "-c", script]}
    jupyter = make_jupyter({"first": slow, "second": slow, "third": slow})
    async with httpx.AsyncClient(timeout=BOUND) as client:
        for name in ("first", "second", "third"):
            answer = await Http(jupyter, client, name).modern(1, "no/such")
            if answer.status_code == 404:
                break
    assert answer.status_code == 404
    assert response_in(answer)["error"]["code"] == -32601


async def test_a_failed_initialize_leaves_no_session_and_names_none(make_jupyter):
    """Else the SDKs would try to end it, and log the 404."""
    refuses = (
        "import json; m = json.loads(input());"
        'print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "error": {"code": -32000, "message": "no"}})); input()'
    )
    jupyter = make_jupyter(
        {
            name: {"command": sys.executable, "args": ["-I", "-S", "-c", script], "mcp_ws": {"bridge": False}}
            for name, script in (("dead", "exit(3)"), ("refuses", refuses))
        }
    )
    async with httpx.AsyncClient(timeout=BOUND) as client:
        for name in ("dead", "refuses") * 2:  # a repeated head is answered in another way
            http = Http(jupyter, client, name)
            message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE}
            # JSON alone: an event stream, which begins after half a second, names the session before it has failed
            answer = await http.post(message, Accept="application/json")
            assert "error" in response_in(answer), name
            assert "Mcp-Session-Id" not in answer.headers, name
        await until(lambda: jupyter.rest("GET", "health")[1]["sessions"] == 0)


async def test_an_unused_session_ends_after_the_grace_time(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.grace=0.5")
    async with httpx.AsyncClient(timeout=BOUND) as client:
        http = Http(jupyter, client)
        await http.initialize()
        await http.legacy(1, "slow", {"steps": 1, "delay": 2})
        assert (await http.legacy(2, "pid")).status_code == 200, "a running call is use"
        await until(lambda: jupyter.rest("GET", "health")[1]["sessions"] == 0)
        await until(lambda: jupyter.rest("GET", "health")[1]["processes"] == 0)
        assert (await http.legacy(3, "pid")).status_code == 404


@pytest.mark.usefixtures("mortal")
async def test_the_death_of_the_server_ends_the_session_with_a_reason(http):
    await http.initialize()
    crash = await http.legacy(1, "crash")
    assert response_in(crash)["error"]["data"]["outcome"] == "unknown"
    assert (await http.legacy(2, "pid")).status_code == 404


# --- who may ------------------------------------------------------------------------------------------


async def test_credentials_and_origins(http, jupyter):
    call = ("tools/call", {"name": "echo", "arguments": {"text": "x"}})
    assert (await http.modern(1, *call, Authorization=None)).status_code == 401
    assert (await http.modern(1, *call, Authorization="Bearer wrong")).status_code == 401
    assert (await http.modern(1, *call, Origin="https://evil.example")).status_code == 403
    token = jupyter.rest("POST", "tokens", {"servers": ["fast"]})[1]["token"]
    assert (await http.modern(1, *call, Authorization=f"Bearer {token}")).status_code == 200
    other = jupyter.rest("POST", "tokens", {"servers": ["time"]})[1]["token"]
    assert (await http.modern(1, *call, Authorization=f"Bearer {other}")).status_code == 403
    cookie = {
        "Authorization": None,
        "Cookie": cookie_of(jupyter),
        "Origin": jupyter.url.partition("/user")[0],
    }
    without = await http.modern(1, *call, **cookie)
    assert without.status_code == 403, "a cookie needs the XSRF token as well"
    assert "_xsrf" in without.json()["message"]


async def test_pages_of_an_allowed_origin_may_read_the_answers(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--ServerApp.allow_origin=https://ide.example")
    async with httpx.AsyncClient(timeout=BOUND) as client:
        http = Http(jupyter, client)
        ask = {"Origin": "https://ide.example", "Access-Control-Request-Method": "POST"}
        preflight = await client.options(http.url, headers=ask)
        assert preflight.status_code == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == "https://ide.example"
        assert "Mcp-Method" in preflight.headers["Access-Control-Allow-Headers"]
        asked = "authorization,mcp-param-region,mcp-param-x_1,mcp-param-,mcp-param-a b,x-other"
        preflight = await client.options(http.url, headers={**ask, "Access-Control-Request-Headers": asked})
        allowed = [name.strip() for name in preflight.headers["Access-Control-Allow-Headers"].split(",")]
        assert allowed[-2:] == ["mcp-param-region", "mcp-param-x_1"], (
            "the names that tools give, and no others"
        )
        assert "Authorization" in allowed
        evil = await client.options(http.url, headers={**ask, "Origin": "https://evil.example"})
        assert evil.status_code == 403
        assert "Access-Control-Allow-Origin" not in evil.headers
        for answer in (
            await http.modern(1, "tools/list", Origin="https://ide.example"),
            await http.modern(1, "tools/list", Origin="https://ide.example", Authorization=None),
        ):
            assert answer.headers["Access-Control-Allow-Origin"] == "https://ide.example"
            assert "Mcp-Session-Id" in answer.headers["Access-Control-Expose-Headers"]


async def test_a_refused_request_without_a_body_keeps_its_connection(jupyter):
    """The server closed it without a word, and lost what a client sent next."""
    path = f"{jupyter.url}mcp-ws/servers/fast".split(str(jupyter.port), 1)[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", jupyter.port)
    for _ in range(3):
        for method, origin in (("OPTIONS", "Origin: https://evil.example\r\n"), ("GET", ""), ("DELETE", "")):
            writer.write(
                f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{jupyter.port}\r\n{origin}\r\n".encode()
            )
            async with asyncio.timeout(BOUND):
                head = await reader.readuntil(b"\r\n\r\n")
                [length] = [
                    line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
                ]
                await reader.readexactly(int(length.split(b":")[1]))
            assert head.split()[1] in (b"401", b"403")
    writer.close()


async def test_a_full_gateway_answers_503_with_retry_after(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.max_sessions=1")
    async with httpx.AsyncClient(timeout=BOUND) as client, jupyter.connect() as link:
        http = Http(jupyter, client)
        await Peer(link).call(1, "tools/list")
        refused = await http.modern(1, "tools/list")
        assert refused.status_code == 503
        assert refused.headers["Retry-After"] == "5"
        assert "max_sessions" in refused.json()["message"]


async def test_an_operator_may_switch_websocket_off(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.websocket=False")
    with pytest.raises(InvalidStatus) as refused:
        await jupyter.connect()
    assert refused.value.response.status_code == 405
    assert "Upgrade" not in refused.value.response.headers
    async with httpx.AsyncClient(timeout=BOUND) as client:
        assert response_in(await Http(jupyter, client).modern(1, "tools/list"))["id"] == 1

"""The MCP endpoint on the wire: handshake, frames, eras, ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import Iterator
from urllib.parse import unquote

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CONT, TEXT, Frame

from mcp_ws_ide.errors import (
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    UPSTREAM_LOST,
    UPSTREAM_UNAVAILABLE,
)
from mcp_ws_ide.gateway.crash_loop import CRASH_LIMIT
from tests.conftest import BOUND, FAST_SERVER, MODERN, Jupyter, Peer, until

SDK_1_AGENT = "Python/3.11 websockets/15.0.1"


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Iterator[Jupyter]:
    """A server for tests that count processes, listeners or sessions: what others leave behind is not on it."""
    running = Jupyter(tmp_path_factory.mktemp("jupyter"), {"fast": FAST_SERVER})
    yield running
    running.stop()


async def refused(jupyter: Jupyter, name: str = "fast", **options) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as caught:
        async with jupyter.connect(name, **options):
            pass
    return caught.value


async def closed(link) -> tuple[int, str]:
    async with asyncio.timeout(BOUND):
        with pytest.raises(ConnectionClosed):
            while True:
                await link.recv()
    return link.close_code, link.close_reason


async def test_an_unknown_server_is_404_before_any_upgrade(jupyter):
    response = (await refused(jupyter, "nope")).response
    assert response.status_code == 404
    assert "fast" in json.loads(response.body)["message"]


@pytest.fixture(scope="module")
def named(tmp_path_factory) -> Iterator[Jupyter]:
    servers = {
        "fast": FAST_SERVER,
        "other": FAST_SERVER,
        "a b @ c": FAST_SERVER,
        "größe": FAST_SERVER,
        "x/y": FAST_SERVER,
    }
    running = Jupyter(tmp_path_factory.mktemp("jupyter"), servers)
    yield running
    running.stop()


def got(jupyter: Jupyter, path: str, token: str = "") -> tuple[int, str]:
    """Send a GET, which a server's endpoint answers with 405; return the status and the reason."""
    headers = {"Authorization": f"token {token or jupyter.token}"}
    status, _, text = jupyter.request("GET", f"mcp-ws/servers{path}", None, headers)
    return status, json.loads(text)["error"]["message"]


@pytest.mark.parametrize("spelling", ["f%61st", "%66%61%73%74", "+fast+%6fther", "%2Bfast%2Bother", "fast/"])
def test_an_address_may_be_written_with_percent_escapes(named, spelling):
    assert got(named, f"/{spelling}")[0] == 405


@pytest.mark.parametrize("spelling", ["a%20b%20@%20c", "a%20b%20%40%20c", "a-b-c"])
def test_a_server_is_found_by_the_name_that_its_address_was_made_from(named, spelling):
    assert got(named, f"/{spelling}")[0] == 405
    for covered, status in ({"a-b-c": 405, "fast": 403}).items():
        token = named.rest("POST", "tokens", {"servers": [covered]})[1]["token"]
        assert got(named, f"/{spelling}", token)[0] == status


SPELLINGS = {
    "f%61st": "fast",
    "%66%61%73%74": "fast",
    "a%20b%20@%20c": "a-b-c",
    "a%20b%20%40%20c": "a-b-c",
    "gr%C3%B6%C3%9Fe": "größe",
    "gr%c3%b6%c3%9fe": "größe",
    "gro%CC%88%C3%9Fe": "größe",
    "x%2Fy": "x-y",
    "x%2fy": "x-y",
}
"""Names in URLs, and the name or address of the server."""


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_rest_finds_a_server_in_each_spelling_that_endpoints_accept(named, spelling):
    assert got(named, f"/{spelling}")[0] == 405
    for method, below in (("GET", ""), ("GET", "/stderr"), ("POST", "/stop")):
        status, model = named.rest(method, f"servers/{spelling}{below}")
        assert status < 300, (below, model)
    shown = named.rest("GET", f"servers/{spelling}")[1]
    assert SPELLINGS[spelling] in (shown["name"], shown["title"])
    status, ticket = named.rest("POST", "tickets", {"server": unquote(spelling)})
    assert status < 300, ticket


@pytest.mark.parametrize("path", ["n%C3%B6pe", "%6eope", "fa%00st", "..", "%2e%2e", "+fast"])
def test_rest_refuses_an_unknown_name_with_its_reason(named, path):
    status, answer = named.rest("GET", f"servers/{path}/stderr")
    assert status == 404
    assert "is not configured" in answer["message"] or path == ".."
    assert named.rest("PUT", f"servers/{path}/definition", {"entry": {"command": "x"}})[0] >= 400


@pytest.mark.parametrize(
    "path", ["/n%C3%B6pe", "/%6eope", "/a/b", "/a%2Fb", "/fast/nope", "/", "", "/fa%00st"]
)
def test_an_address_of_no_server_is_refused_with_a_json_rpc_error(named, path):
    status, message = got(named, path)
    assert status == 404
    assert "is not configured; configured servers: " in message


async def test_a_server_that_cannot_start_is_502_with_the_reason(jupyter):
    response = (await refused(jupyter, "unset")).response
    assert response.status_code == 502
    assert "NO_SUCH_VARIABLE" in json.loads(response.body)["message"]


def test_a_request_that_is_neither_message_nor_upgrade_is_405_with_a_reason(jupyter):
    headers = {"Authorization": f"token {jupyter.token}"}
    for method in ("GET", "DELETE"):
        status, answer, _ = jupyter.request(method, "mcp-ws/servers/fast", None, headers)
        assert (status, answer["Upgrade"]) == (405, "websocket")


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        (["mcp"], "mcp"),
        (["mcp.resume.v1", "mcp"], "mcp.resume.v1"),
        (["mcp.version.2025-11-25"], "mcp.version.2025-11-25"),
        (None, None),
    ],
)
async def test_the_subprotocol_is_selected_as_documented(jupyter, offered, selected):
    async with jupyter.connect("fast", subprotocols=offered) as link:
        assert link.subprotocol == selected


async def test_only_unknown_subprotocols_are_400(jupyter):
    assert (await refused(jupyter, subprotocols=["graphql-ws"])).response.status_code == 400


async def test_ids_are_returned_verbatim_with_their_type(peer):
    for own in (7, "7", 2**63, -1, 7.5, 'ü"\\', ""):
        answer = await peer.call(own, "tools/call", {"name": "echo", "arguments": {"text": "x"}})
        assert answer["id"] == own
        assert type(answer["id"]) is type(own)


async def test_pretty_printed_json_and_line_breaks_work(peer):
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    request["params"] = {
        "name": "echo",
        "arguments": {"text": "a\r\nb"},
        "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"},
    }
    await peer.link.send(json.dumps(request, indent=4).replace("\n", "\r\n"))
    assert (await peer.receive())["result"]["content"][0]["text"] == "a\r\nb"
    await peer.initialize()
    request["id"], request["params"] = 2, {"name": "echo", "arguments": {"text": "legacy"}}
    await peer.link.send(json.dumps(request, indent=4))
    assert (await peer.receive())["result"]["content"][0]["text"] == "legacy"


@pytest.mark.parametrize("legacy", [False, True])
async def test_large_messages_pass_both_ways(peer, legacy):
    text = "x" * (5 << 20)
    if legacy:
        await peer.initialize()
        await peer.send(id=1, method="tools/call", params={"name": "echo", "arguments": {"text": text}})
        answer = await peer.receive()
    else:
        answer = await peer.call(1, "tools/call", {"name": "echo", "arguments": {"text": text}})
    assert answer["result"]["content"][0]["text"] == text


async def test_a_malformed_message_gets_an_error_and_then_1002(peer):
    await peer.link.send("{nonsense")
    assert (await peer.receive())["error"]["code"] == PARSE_ERROR
    await peer.link.send("[]")
    answer = await peer.receive()
    assert (answer["id"], answer["error"]["code"]) == (None, INVALID_REQUEST)
    for _ in range(3):
        await peer.link.send("[" * 100_000)
    assert (await closed(peer.link))[0] == 1002


@pytest.mark.parametrize(
    ("frame", "code"), [(b"\x00\x01", 1003), (Frame(TEXT, b"\xff\xfe"), 1007), ("x" * (11 << 20), 1009)]
)
async def test_illegal_frames_close_with_their_code(jupyter, frame, code):
    async with jupyter.connect("fast") as link:
        if isinstance(frame, Frame):
            link.transport.write(frame.serialize(mask=True))
        else:
            with contextlib.suppress(ConnectionClosed):  # the gateway need not read all of it
                await link.send(frame)
        assert (await closed(link))[0] == code


async def test_a_fragile_peer_gets_1001_and_a_reason_for_too_large_responses(jupyter):
    async with jupyter.connect("fast", user_agent_header=SDK_1_AGENT, max_size=1 << 20) as link:
        answer = await Peer(link).call(
            1, "tools/call", {"name": "echo", "arguments": {"text": "x" * (1 << 20)}}
        )
        assert answer["id"] == 1
        assert "1048576" in answer["error"]["message"]
        await link.send(b"binary")
        assert (await closed(link))[0] == 1001


@pytest.mark.parametrize("frame", [Frame(TEXT, b"\xff"), Frame(CONT, b"x")])
async def test_a_fragile_peer_gets_1001_for_its_own_violations(jupyter, frame):
    async with jupyter.connect("fast", user_agent_header=SDK_1_AGENT) as link:
        link.transport.write(frame.serialize(mask=True))
        assert (await closed(link))[0] == 1001


async def test_an_id_in_flight_is_refused_and_the_first_still_answered(peer):
    params = {"name": "slow", "arguments": {"steps": 1, "delay": 0.1}}
    await peer.send(
        id=7,
        method="tools/call",
        params={**params, "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}},
    )
    refusal = await peer.call(7, "tools/call", params)
    assert (refusal["id"], refusal["error"]["code"]) == (None, INVALID_REQUEST)
    assert (await peer.receive())["id"] == 7


async def test_duplicate_envelope_members_are_refused(peer):
    await peer.link.send('{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}')
    assert "twice" in (await peer.receive())["error"]["message"]


async def test_unknown_envelope_members_reach_the_server_and_payload_is_untouched(jupyter):
    async with jupyter.connect("fast") as link:
        legacy = Peer(link)
        await legacy.initialize()
        await link.send(
            '{"jsonrpc":"2.0","x":1,"id":5,"method":"tools/call","params":{"name":"echo","arguments":{"text":"\\u00e9"}}}'
        )
        assert (await legacy.receive())["result"]["content"][0]["text"] == "é"


async def test_modern_sessions_share_a_process_and_legacy_ones_do_not(alone):
    async def pid(peer: Peer, modern: bool) -> str:
        params = {"name": "pid", "arguments": {}}
        if modern:
            return (await peer.call(1, "tools/call", params))["result"]["content"][0]["text"]
        await peer.initialize()
        await peer.send(id=1, method="tools/call", params=params)
        return (await peer.receive())["result"]["content"][0]["text"]

    async with alone.connect() as a, alone.connect() as b, alone.connect() as c, alone.connect() as d:
        shared = {await pid(Peer(a), True), await pid(Peer(b), True)}
        own = {await pid(Peer(c), False), await pid(Peer(d), False)}
    assert len(shared) == 1
    assert len(own) == 2
    assert not shared & own
    await until(
        lambda: not any(p["era"] == "legacy" for p in alone.processes("fast")),
        what="the end of legacy servers",
    )


async def test_a_handshake_with_a_modern_server_is_not_checked_as_that_servers_own(make_jupyter):
    jupyter = make_jupyter({"shared": {**FAST_SERVER, "mcp_ws": {"sharing": "always"}}})
    async with jupyter.connect("shared") as link:
        peer = Peer(link)
        await peer.initialize()
        assert "error" not in await peer.call(
            "a", "tools/call", {"name": "echo", "arguments": {"text": "hi"}}
        )
    assert "it was read as" not in jupyter.log.read_text()


async def test_a_legacy_servers_question_reaches_its_client(peer):
    await peer.initialize()
    await peer.send(id=1, method="tools/call", params={"name": "question"})
    question = await peer.receive()
    assert question["method"] == "roots/list"
    await peer.send(id=question["id"], result={"roots": []})
    assert (await peer.receive())["result"]["content"][0]["text"] == '{"roots": []}'


@pytest.mark.usefixtures("mortal")
async def test_a_legacy_server_that_dies_is_reported_with_the_outcome_and_4502(peer):
    await peer.initialize()
    await peer.send(id=1, method="tools/call", params={"name": "crash"})
    answer = await peer.receive()
    assert answer["error"]["code"] == UPSTREAM_LOST
    assert answer["error"]["data"] == {"outcome": "unknown"}
    code, reason = await closed(peer.link)
    assert code == 4502
    assert "code 3" in reason


async def test_a_shared_server_that_dies_fails_its_requests_and_the_next_one_starts_it(make_jupyter):
    own = make_jupyter({"fast": FAST_SERVER})
    async with own.connect("fast") as link, own.connect("fast") as other:
        peer, bystander = Peer(link), Peer(other)
        slow = {
            "name": "slow",
            "arguments": {"steps": 1, "delay": 60},
            "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"},
        }
        await bystander.send(id="s", method="tools/call", params=slow)
        answer = await peer.call(1, "tools/call", {"name": "crash"})
        assert answer["error"]["data"] == {"outcome": "unknown"}
        lost = await bystander.receive()
        assert (lost["id"], lost["error"]["code"]) == ("s", UPSTREAM_LOST)
        again = await peer.call(2, "tools/call", {"name": "echo", "arguments": {"text": "back"}})
        assert again["result"]["content"][0]["text"] == "back"


async def test_a_command_that_does_not_exist_is_reported(jupyter):
    async with jupyter.connect("absent") as link:
        answer = await Peer(link).call(1, "tools/list")
    assert answer["error"]["code"] == UPSTREAM_UNAVAILABLE
    assert answer["error"]["data"] == {"outcome": "not_sent"}
    assert "no-such-command" in answer["error"]["message"]


async def test_the_reason_of_a_failing_server_is_given_even_while_it_is_not_retried(make_jupyter):
    jupyter = make_jupyter({"absent": {"command": "no-such-command"}})
    async with jupyter.connect("absent") as link:
        peer = Peer(link)
        for number in range(CRASH_LIMIT + 2):
            message = (await peer.call(number, "tools/list"))["error"]["message"]
            assert "'no-such-command'" in message
        assert f"failed {CRASH_LIMIT} times" in message
    entry = jupyter.rest("GET", "servers/absent")[1]
    assert entry["state"] == "failed"
    assert "times within" in entry["reason"] and "'no-such-command'" in entry["reason"]
    assert "times within" not in entry["last_exit"]["reason"], (
        "the breaker's words are no failure of the server"
    )
    with pytest.raises(InvalidStatus) as refused:
        await jupyter.connect("absent")
    assert refused.value.response.status_code == 502
    assert b"'no-such-command'" in refused.value.response.body


async def test_clients_that_leave_while_they_are_admitted_cause_no_error(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    request = (
        f"GET /mcp-ws/servers/fast HTTP/1.1\r\nHost: 127.0.0.1:{jupyter.port}\r\nAuthorization: Bearer {jupyter.token}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mcp\r\n"
        "Sec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==\r\n\r\n"
    ).encode()
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", jupyter.port)) as left:
            left.sendall(request)
    await until(
        lambda: jupyter.log.read_text().count(" 101 ") + jupyter.log.read_text().count("opened") >= 50
    )
    await until(lambda: jupyter.rest("GET", "health")[1]["sessions"] == 0)
    assert "Traceback" not in jupyter.log.read_text()


async def test_a_client_that_leaves_has_its_work_cancelled(alone):
    async with alone.connect("fast") as link:
        leaver = Peer(link)
        await leaver.send(
            id=1,
            method="subscriptions/listen",
            params={"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}},
        )
        assert (await leaver.receive())["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == 1
    async with alone.connect("fast") as link:
        left = await Peer(link).call(1, "tools/call", {"name": "change"})
        assert left["result"]["content"][0]["text"] == "0"


async def test_without_the_bridge_a_legacy_only_server_answers_modern_requests_with_method_not_found(
    make_jupyter, tmp_path
):
    script = tmp_path / "legacy.py"
    script.write_text(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    m = json.loads(line)\n"
        "    if 'id' in m: print(json.dumps({'jsonrpc': '2.0', 'id': m['id'], 'error': {'code': -32601, 'message': 'x'}}), flush=True)\n"
    )
    own = make_jupyter(
        {"old": {"command": sys.executable, "args": [str(script)], "mcp_ws": {"bridge": False}}}
    )
    async with own.connect("old") as link:
        for request_id in (1, "2"):
            answer = await Peer(link).call(request_id, "tools/list")
            assert (answer["id"], answer["error"]["code"]) == (request_id, METHOD_NOT_FOUND)
    assert own.rest("GET", "servers/old")[1]["era"] == "legacy"


async def test_noise_on_stdout_is_visible_and_harmless(jupyter, peer):
    answer = await peer.call(1, "tools/call", {"name": "raw", "arguments": {"line": "not a message"}})
    assert answer["result"]["content"][0]["text"] == "written"


@pytest.mark.parametrize("legacy", [True, False])
async def test_an_answer_over_the_limit_is_replaced_by_an_error(make_jupyter, legacy):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.max_message_bytes=5000")
    async with jupyter.connect() as link:
        peer = Peer(link)
        # Characters that the server writes as six-byte escapes make its answer six times as long.
        arguments = {"name": "echo", "arguments": {"text": "€" * 1000}}
        if legacy:
            await peer.initialize()
        params = arguments if legacy else {**arguments, "_meta": MODERN}
        await link.send(
            json.dumps(
                {"jsonrpc": "2.0", "id": "big", "method": "tools/call", "params": params}, ensure_ascii=False
            )
        )
        answer = await peer.receive()
        assert (answer["id"], answer["error"]["code"]) == ("big", -31004)
        assert "max_message_bytes" in answer["error"]["message"]
        await peer.send(id=2, method="tools/list", params={} if legacy else {"_meta": MODERN})
        assert (await peer.receive())["id"] == 2


@pytest.mark.parametrize("legacy", [True, False])
async def test_a_response_with_half_an_emoji_arrives(peer, legacy):
    text = await _raw_answer(peer, legacy, r'"result":{"resultType":"complete","text":"\ud83d!"}')
    assert text["result"]["text"] == "\ufffd!"


@pytest.mark.parametrize("legacy", [True, False])
async def test_a_response_that_is_no_message_fails_its_request_with_a_reason(peer, legacy):
    answer = await _raw_answer(peer, legacy, r'"result":{"resultType":"complete","text":"\x"}')
    assert answer["error"]["code"] == -32603
    assert "not a JSON-RPC message" in answer["error"]["message"]
    assert answer["error"]["data"] == {"outcome": "unknown"}


@pytest.mark.parametrize("legacy", [True, False])
async def test_bytes_of_an_answer_that_are_not_utf_8_become_replacement_characters(peer, legacy):
    answer = await _raw_answer(peer, legacy, '"result":{"text":"\xff"}')
    assert answer["result"]["text"] == "\ufffd"


async def _raw_answer(peer, legacy: bool, payload: str) -> dict:
    """What arrives when the server answers a call of its tool ``answer`` with this payload."""
    meta = {}
    if legacy:
        await peer.initialize()
    else:
        meta = {"_meta": MODERN}
    arguments = {"line": '{"jsonrpc":"2.0","id":ID,' + payload + "}"}
    await peer.send(id="raw", method="tools/call", params={"name": "answer", "arguments": arguments, **meta})
    while (answer := await peer.receive()).get("id") != "raw":
        pass
    return answer


async def test_a_cancelled_subscription_ends_and_its_client_is_told(alone):
    async with alone.connect(user_agent_header="taken back") as link:
        peer = Peer(link)
        await peer.call("sub", "subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        note = await peer.call(2, "tools/call", {"name": "take back"})
        assert note["method"] == "notifications/cancelled"
        assert note["params"] == {"requestId": "sub"}
        await peer.receive()
        sessions = alone.rest("GET", "sessions")[1]["sessions"]
        assert [s["in_flight"] for s in sessions if s["user_agent"] == "taken back"] == [0]


async def test_a_silent_server_is_not_used_for_the_next_request(make_jupyter, tmp_path):
    """Without an answer to probe and handshake the process is ended; the session's next request starts another."""
    quiet = tmp_path / "quiet.py"
    marker = tmp_path / "seen"
    quiet.write_text(
        f"import os, sys, pathlib\nseen = pathlib.Path({str(marker)!r})\n"
        "if not seen.exists():\n    seen.touch()\n    sys.stdin.read()\n    sys.exit()\n"
        f"os.execv(sys.executable, [sys.executable, '-I', '-S', {FAST_SERVER['args'][-1]!r}])\n"
    )
    server = {"command": sys.executable, "args": [str(quiet)]}
    jupyter = make_jupyter({"quiet": server}, "--MCPWebSocketApp.probe_timeout=0.5")
    async with jupyter.connect("quiet") as link:
        peer = Peer(link)
        assert (await peer.call(1, "tools/list"))["error"]["code"] == -31002
        assert "result" in await peer.call(2, "tools/list")


async def test_a_server_replaced_twice_stays_listed_while_a_session_uses_it(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    async with jupyter.connect("fast") as link:
        peer = Peer(link)
        await peer.initialize()
        for number in (1, 2):
            changed = {"fast": {**FAST_SERVER, "env": {"N": str(number)}}}
            jupyter.configuration.write_text(json.dumps({"mcpServers": changed}))
            await until(lambda: not jupyter.rest("GET", "servers/fast")[1]["sessions"], what="the reload")
            async with jupyter.connect("fast") as other:
                await Peer(other).initialize()
        await until(lambda: jupyter.rest("GET", "health")[1]["processes"] == 1)
        await peer.send(id=1, method="tools/list", params={})
        assert "result" in await peer.receive()


async def test_prewarmed_processes_are_used_and_replaced(make_jupyter):
    """The server notes when it starts; a session gets one that was there before it came."""
    warmed = {**FAST_SERVER, "mcp_ws": {"prewarm": 2}}
    jupyter = make_jupyter({"fast": warmed}, "--MCPWebSocketApp.max_processes=3")
    children = psutil.Process(jupyter.process.pid).children

    def waiting() -> set[int]:
        found = set()
        for child in children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                if "fast.py" in " ".join(child.cmdline()):
                    found.add(child.pid)
        return found

    before = await until(lambda: found if len(found := waiting()) == 2 else None, what="two processes ahead")
    assert jupyter.rest("GET", "health")[1]["processes"] == 2
    async with jupyter.connect("fast") as link:
        peer = Peer(link)
        await peer.initialize()
        await peer.send(id=1, method="tools/call", params={"name": "pid", "arguments": {}})
        taken = int((await peer.receive())["result"]["content"][0]["text"])
        assert taken in before
        await until(lambda: jupyter.rest("GET", "health")[1]["processes"] == 3, what="a replacement")
        (victim,) = [pid for pid in before if pid != taken]
        psutil.Process(victim).kill()
        await until(lambda: victim not in waiting() and len(waiting()) == 3, what="another replacement")
    jupyter.configuration.write_text(json.dumps({"mcpServers": {}}))
    await until(lambda: not waiting(), what="that none is left")

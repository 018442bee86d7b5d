"""REST and metrics: what operators and tools read, and what they can order."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import httpx
import jsonschema
import pytest
from openapi_spec_validator import validate
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mcp_ws_ide.app import MCPWebSocketApp
from mcp_ws_ide.handlers import ROUTES
from tests.conftest import FAST_SERVER, MODERN, Peer, until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def document(jupyter) -> dict:
    return jupyter.rest("GET", "openapi.json")[1]


def check(document: dict, path: str, method: str, status: int, answer: object) -> None:
    """Check that a response matches the description."""
    response = document["paths"][path][method]["responses"][str(status)]
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
    if "content" not in response:
        assert answer is None
        return
    schema = response["content"]["application/json"]["schema"]
    jsonschema.validate(answer, {**schema, "components": document["components"]})


def test_the_description_is_valid_and_covers_every_route(document):
    validate(document)
    described = {path: set(item) - {"parameters"} for path, item in document["paths"].items()}
    routes = {}
    for pattern, handler in ROUTES:
        if "/api/" in pattern:
            path = re.sub(r"\(\?P<name>[^)]*\)", "{name}", pattern).replace("([0-9a-f]{1,64})", "{id}")
            routes[path.removeprefix("/mcp-ws")] = {
                method for method in ("get", "post", "delete", "put", "patch") if method in vars(handler)
            }
    assert described == routes


async def test_responses_match_the_description(jupyter, document, peer):
    await peer.call(1, "tools/list")
    session = next(s["id"] for s in jupyter.rest("GET", "sessions")[1]["sessions"] if s["server"] == "fast")
    minted = jupyter.rest("POST", "tokens", {"servers": ["fast"], "note": "n"})[1]["id"]
    calls = [
        ("get", "/api/servers", "servers", None),
        ("get", "/api/servers/{name}", "servers/fast", None),
        ("get", "/api/servers/{name}", "servers/nope", None),
        ("get", "/api/sessions", "sessions", None),
        ("delete", "/api/sessions/{id}", f"sessions/{session}", None),
        ("delete", "/api/sessions/{id}", f"sessions/{session}ff", None),
        ("get", "/api/tokens", "tokens", None),
        ("post", "/api/tokens", "tokens", {"servers": ["fast"]}),
        ("post", "/api/tokens", "tokens", {"servers": []}),
        ("delete", "/api/tokens/{id}", f"tokens/{minted}", None),
        ("delete", "/api/tokens/{id}", f"tokens/{minted}", None),
        ("post", "/api/tickets", "tickets", {"server": "fast"}),
        ("get", "/api/health", "health", None),
        ("get", "/api/servers", "servers?usage=1", None),
        ("get", "/api/servers/{name}/stderr", "servers/fast/stderr?after=0", None),
        ("post", "/api/servers/{name}/stop", "servers/time/stop", None),
        ("post", "/api/servers/{name}/restart", "servers/time/restart", None),
        ("post", "/api/servers/{name}/restart", "servers/unset/restart", None),
        ("post", "/api/servers/{name}/preview", "servers/new/preview", {"entry": {"command": "true"}}),
        ("post", "/api/servers/{name}/preview", "servers/new/preview", {"entry": {}}),
        ("post", "/api/servers/{name}/preview", "servers/fast/preview", {"entry": {"command": "true"}}),
        ("put", "/api/servers/{name}/definition", "servers/new/definition", {"entry": {"command": "true"}}),
        ("get", "/api/servers/{name}/definition", "servers/fast/definition", None),
        ("delete", "/api/servers/{name}/definition", "servers/fast/definition", None),
        ("post", "/api/servers/{name}/consent", "servers/fast/consent", {"digest": "x"}),
        (
            "post",
            "/api/servers/{name}/try",
            "servers/new/try",
            {"entry": {"command": "true"}, "consent": "x"},
        ),
    ]
    for method, path, real, body in calls:
        status, answer = jupyter.rest(method.upper(), real, body)
        check(document, path, method, status, answer)


async def test_a_session_can_be_ended(jupyter):
    async with jupyter.connect() as link:
        await Peer(link).call(1, "tools/list")
        newest = max(jupyter.rest("GET", "sessions")[1]["sessions"], key=lambda s: s["created"])
        assert jupyter.rest("DELETE", f"sessions/{newest['id']}") == (204, None)
        with pytest.raises(ConnectionClosed) as closed:
            await link.recv()
        assert closed.value.rcvd.code == 1000


async def test_a_restart_ends_processes_and_leaves_modern_sessions(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    async with jupyter.connect() as modern, jupyter.connect() as legacy:
        await Peer(legacy).initialize()
        first = await Peer(modern).call(1, "tools/call", {"name": "pid"})
        assert jupyter.rest("POST", "servers/fast/restart") == (202, {"restarted": "fast", "ended": 2})
        with pytest.raises(ConnectionClosed) as closed:
            await legacy.recv()
        assert closed.value.rcvd.code == 4502
        second = await Peer(modern).call(2, "tools/call", {"name": "pid"})
        assert first["result"] != second["result"]


def test_a_restart_reports_that_nothing_ran(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    assert jupyter.rest("POST", "servers/fast/restart") == (202, {"restarted": "fast", "ended": 0})


def test_a_disabled_server_is_not_restarted_and_the_reason_is_given(jupyter):
    status, answer = jupyter.rest("POST", "servers/unset/restart")
    assert status == 409
    assert "'unset' is disabled: " in answer["message"]
    assert "NO_SUCH_VARIABLE" in answer["message"]


def metric(jupyter, name: str, **labels: str) -> float:
    _, _, body = jupyter.request("GET", "metrics", None, {"Authorization": f"token {jupyter.token}"})
    text = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    for line in body.decode().splitlines():
        found = re.match(r"([a-z_]+)(?:\{(.*)\})? (\S+)$", line)
        if found and found[1] == name and ",".join(sorted((found[2] or "").split(","))) == text:
            return float(found[3])
    return 0.0


async def test_metrics_count_what_happened(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    async with jupyter.connect() as modern, jupyter.connect() as legacy:
        await Peer(legacy).initialize()
        for number in range(3):
            await Peer(modern).call(number, "tools/list")
        await Peer(modern).send(
            id="s",
            method="tools/call",
            params={
                "name": "slow",
                "arguments": {"steps": 1, "delay": 60},
                "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"},
            },
        )
        await until(lambda: metric(jupyter, "mcp_ws_requests_in_flight", server="fast") == 1)
        assert metric(jupyter, "mcp_ws_links", server="fast", era="modern") == 1
        assert metric(jupyter, "mcp_ws_sessions", server="fast", era="legacy") == 1
        assert metric(jupyter, "mcp_ws_processes", server="fast") == 2
        assert metric(jupyter, "mcp_ws_messages_total", server="fast", direction="client_to_server") == 6
        assert metric(jupyter, "mcp_ws_messages_total", server="fast", direction="server_to_client") == 4
        assert metric(jupyter, "mcp_ws_bytes_total", server="fast", direction="server_to_client") > 400
        assert metric(jupyter, "mcp_ws_request_seconds_count", server="fast") == 4
        total = metric(jupyter, "mcp_ws_request_seconds_sum", server="fast")
        assert 0 < metric(jupyter, "mcp_ws_upstream_seconds_sum", server="fast") < total
        with pytest.raises(InvalidStatus):
            await jupyter.connect("nope").__aenter__()
        assert metric(jupyter, "mcp_ws_refusals_total", reason="unknown_server") == 1
        await Peer(modern).send(
            id="c",
            method="tools/call",
            params={"name": "crash", "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}},
        )
        await until(lambda: metric(jupyter, "mcp_ws_process_restarts_total", server="fast") == 1)


def test_every_trait_has_help_with_its_default():
    traits = {
        name: trait
        for name, trait in MCPWebSocketApp.class_own_traits(config=True).items()
        if name in vars(MCPWebSocketApp)
    }
    assert len(traits) >= 10
    for name, trait in traits.items():
        assert "efault" in trait.help, name


async def test_messages_count_as_activity_and_idle_links_do_not(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})

    def activity() -> str:
        _, _, body = jupyter.request("GET", "api/status", None, {"Authorization": f"token {jupyter.token}"})
        return json.loads(body)["last_activity"]

    async with jupyter.connect() as link:
        await asyncio.sleep(0)
        before = activity()
        await Peer(link).call(1, "tools/list")
        await until(lambda: activity() > before, what="activity")


@pytest.mark.parametrize(
    ("option", "words"),
    [("max_sessions=1", "max_sessions"), ("max_sessions_per_principal=1", "max_sessions_per_principal")],
)
async def test_one_session_too_many_is_refused_with_503(make_jupyter, option, words):
    jupyter = make_jupyter({"fast": FAST_SERVER}, f"--MCPWebSocketApp.{option}")
    async with jupyter.connect():
        with pytest.raises(InvalidStatus) as refused:
            await jupyter.connect().__aenter__()
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["Retry-After"]
        assert words in json.loads(refused.value.response.body)["message"]
    await until(lambda: jupyter.rest("GET", "health")[1]["sessions"] == 0)
    async with jupyter.connect() as again:
        assert (await Peer(again).call(1, "tools/list"))["id"] == 1


async def test_one_process_and_one_request_too_many_get_an_error(make_jupyter):
    jupyter = make_jupyter(
        {"fast": FAST_SERVER}, "--MCPWebSocketApp.max_processes=1", "--MCPWebSocketApp.max_in_flight=1"
    )
    async with jupyter.connect() as first, jupyter.connect() as second:
        await Peer(first).initialize()
        refused = await Peer(second).call(1, "tools/list")
        assert "max_processes" in refused["error"]["message"]
        assert refused["error"]["data"]["outcome"] == "not_sent"
        slow = {"name": "slow", "arguments": {"steps": 1, "delay": 60}}
        await Peer(first).send(id=1, method="tools/call", params=slow)
        await Peer(first).send(id=2, method="tools/list")
        refused = await Peer(first).receive()
        assert (refused["id"], refused["error"]["data"]["limit"]) == (2, "max_in_flight")


LOG_LINE = json.dumps(
    {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "mine"}}
)
LOG_LEVEL = {"io.modelcontextprotocol/logLevel": "info"}


async def test_log_messages_reach_the_session_that_asked_without_a_process_of_its_own(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    async with jupyter.connect() as logging, jupyter.connect() as other:
        await Peer(other).call(1, "tools/list")
        logs = {"name": "raw", "arguments": {"line": LOG_LINE}}
        heard = await Peer(logging).call(1, "tools/call", logs, **LOG_LEVEL)
        assert heard["params"]["data"] == "mine"
        assert (await Peer(logging).receive())["id"] == 1
        assert len(jupyter.processes("fast")) == 1
        # Nobody asked for this one: nobody gets it, and it is counted.
        assert (await Peer(other).call(2, "tools/call", logs))["id"] == 2
        assert metric(jupyter, "mcp_ws_messages_dropped_total", server="fast") == 1


async def test_the_holder_of_a_gateway_token_sees_no_log_messages_of_others(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    _, token = jupyter.rest("POST", "tokens", {"servers": ["fast"]})
    bearer = {"Authorization": f"Bearer {token['token']}"}
    async with jupyter.connect(additional_headers=bearer) as guest, jupyter.connect() as owner:
        slow = {"name": "slow", "arguments": {"steps": 1, "delay": 60}, "_meta": {**MODERN, **LOG_LEVEL}}
        await Peer(guest).send(id=1, method="tools/call", params=slow)
        await Peer(guest).call(2, "tools/list")
        logs = {"name": "raw", "arguments": {"line": LOG_LINE}}
        assert (await Peer(owner).call(1, "tools/call", logs, **LOG_LEVEL))["id"] == 1
        assert (await Peer(guest).call(3, "tools/list"))["id"] == 3
        assert metric(jupyter, "mcp_ws_messages_dropped_total", server="fast") == 1


@pytest.mark.parametrize("value", [10**400, -(10**400), 0, "1", True, 10**9])
def test_an_impossible_lifetime_is_refused_with_a_reason(jupyter, value):
    status, answer = jupyter.rest("POST", "tokens", {"servers": ["fast"], "expires_in": value})
    assert status == 400
    assert "expires_in" in answer["message"]


def test_a_name_that_is_no_string_is_refused(jupyter):
    for path, body in (("tokens", {"servers": [1]}), ("tickets", {"server": {}}), ("tickets", {})):
        status, answer = jupyter.rest("POST", path, body)
        assert (status, "must be a string" in answer["message"]) == (400, True)


def test_a_name_with_a_percent_sign_is_repeated_as_it_is(jupyter):
    status, answer = jupyter.rest("POST", "tickets", {"server": "a%b%%c"})
    assert status == 404
    assert answer["message"].startswith("server 'a%b%%c' is not configured; configured servers: ")


@pytest.mark.parametrize("note", [b'"\xed\xa0\x80"', b'"\\ud800"'])
def test_half_a_character_in_a_body_is_refused(jupyter, note):
    """What `make fuzz` found: JSON may name a lone surrogate, and no file can hold it."""
    address = f"{jupyter.url}mcp-ws/api/tokens"
    headers = {"Authorization": f"token {jupyter.token}"}
    body = b'{"servers": ["fast"], "note": %b, "tools": {"deny": [%b]}}' % (note, note)
    answer = httpx.post(address, content=body, headers=headers)
    assert answer.status_code == 400
    assert "Unicode" in answer.json()["message"]


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "1" * 5000])
def test_a_number_that_json_lacks_is_refused_with_its_place(jupyter, number):
    body = '{"tools": {"deny": ["a", {"b": NUMBER}]}, "expires_in": 5}'.replace("NUMBER", number)
    headers = {"Authorization": f"token {jupyter.token}"}
    answer = httpx.post(f"{jupyter.url}mcp-ws/api/tokens", content=body, headers=headers)
    assert answer.status_code == 400
    assert "tools.deny[1].b is NaN, infinite or too large" in answer.json()["message"]


NOT_JSON = {
    "NaN": b"NaN",
    "NaN inside": b'{"entry": {"command": "true", "timeout": NaN}, "servers": ["fast"], "expires_in": NaN}',
    "Infinity": b'{"expires_in": -Infinity}',
    "infinite": b'{"entry": {"a": 1e999}, "expires_in": 1e999}',
    "digits": b'{"expires_in": ' + b"1" * 5000 + b"}",
    "deep list": b"[" * 100_000,
    "deep object": b'{"entry":' * 2000 + b"1" + b"}" * 2000,
    "deep value": b'{"entry": ' + b"[" * 400 + b"]" * 400 + b"}",
    "deeper value": b'{"entry": {"command": "true", "args": ' + b"[" * 950 + b"]" * 950 + b"}}",
    "list": b"[]",
    "list of objects": b'[{"server": "fast"}]',
    "text": b'"fast"',
    "number": b"5",
    "null": b"null",
    "nothing known": b'{"nothing": 1}',
    "cut": b'{"entry": {',
    "not UTF-8": b'{"entry": "\xff"}',
    "NUL": b"\0",
    "UTF-16 of nothing": "[]".encode("utf-16"),
}
"""Bodies that no route with a body may accept, or fail for."""


@pytest.mark.parametrize("kind", NOT_JSON)
def test_a_body_that_is_no_json_object_is_refused_with_the_reason_by_every_route(jupyter, document, kind):
    refused = 0
    for path, item in document["paths"].items():
        for method in {"post", "put"} & set(item):
            if "requestBody" not in item[method]:
                continue
            real = path.replace("{name}", "new").replace("{id}", "abc")
            headers = {"Authorization": f"token {jupyter.token}", "If-Match": '"x"'}
            url = f"{jupyter.url}mcp-ws{real}"
            answer = httpx.request(method.upper(), url, content=NOT_JSON[kind], headers=headers, timeout=60)
            assert 400 <= answer.status_code < 500, (method, path, answer.text)
            assert len(answer.json()["message"]) > 10, (method, path, answer.text)
            refused += 1
    assert refused >= 7


@pytest.mark.parametrize(
    "value", [None, True, 5, -1.5, "", "x" * 100_000, [], [[]], [None], {}, {"a": []}, {"": {"": 1}}]
)
def test_a_member_of_a_wrong_type_is_refused_with_the_reason_by_every_route(jupyter, document, value):
    """Whatever is accepted is a real answer; nothing fails."""
    for path, item in document["paths"].items():
        for method in {"post", "put"} & set(item):
            schema = (
                item[method]
                .get("requestBody", {})
                .get("content", {})
                .get("application/json", {})
                .get("schema", {})
            )
            while "$ref" in schema:
                schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
            for member in schema.get("properties", {}):
                real = path.replace("{name}", "new").replace("{id}", "abc").removeprefix("/api/")
                headers = {"Authorization": f"token {jupyter.token}", "If-Match": '"x"'}
                url = f"{jupyter.url}mcp-ws/api/{real}"
                answer = httpx.request(method.upper(), url, json={member: value}, headers=headers, timeout=60)
                assert answer.status_code < 500, (method, path, member, answer.text)
                if answer.status_code >= 400:
                    assert len(answer.json()["message"]) > 10, (method, path, member, answer.text)


def test_a_path_at_which_there_is_nothing_is_refused_in_json(jupyter):
    for path in ("editor", "nothing/here", "sessions/NO"):
        for method in ("GET", "POST", "DELETE"):
            status, answer = jupyter.rest(method, path)
            assert (status, "nothing at this address" in answer["message"]) == (404, True), answer
    assert jupyter.request("POST", "mcp-ws/api/editor")[0] == 401

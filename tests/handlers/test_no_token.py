"""Jupyter without a token and a password: one policy for every transport and route."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from mcp_ws_ide.client import UnauthorizedError, connect
from mcp_ws_ide.client.negotiating import TRANSPORTS
from tests.conftest import BOUND, FAST_SERVER, Jupyter
from tests.inspector.test_cli import COMMAND

INIT = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    },
}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(b"0" * 16).decode(),
    "Sec-WebSocket-Protocol": "mcp",
}
MCP = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
REQUESTS: dict[str, tuple[str, str, Any, dict[str, str]]] = {
    "POST": ("POST", "servers/fast", INIT, MCP),
    "poll": ("POST", "servers/fast/poll", {"mcp.ws": "open"}, {"Content-Type": "application/x-ndjson"}),
    "ticket": ("POST", "api/tickets", {"server": "fast"}, {"Content-Type": "application/json"}),
    "token": ("POST", "api/tokens", {"servers": ["fast"]}, {"Content-Type": "application/json"}),
}
OPEN = (
    "--IdentityProvider.token=",
    "--PasswordIdentityProvider.token=",
    "--PasswordIdentityProvider.hashed_password=",
)


@pytest.fixture(scope="module")
def unlocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    running = Jupyter(tmp_path_factory.mktemp("open"), {"fast": FAST_SERVER}, *OPEN)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def for_any_origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    star = "--ServerApp.allow_origin=*"
    running = Jupyter(tmp_path_factory.mktemp("any"), {"fast": FAST_SERVER}, *OPEN, star)
    yield running
    running.stop()


def ask(jupyter: Jupyter, kind: str, **headers: str) -> tuple[int, dict[str, Any]]:
    method, path, body, own = REQUESTS[kind]
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    status, _, text = jupyter.request(method, f"mcp-ws/{path}", body, {**own, **given})
    # A slow answer is a stream that begins with comments.
    return status, json.loads(text[text.index(b"{") :].splitlines()[0])


def upgrade(jupyter: Jupyter, **headers: str) -> int:
    """Return the status of a WebSocket handshake."""
    lines = [
        f"{name}: {value}"
        for name, value in {"Host": f"127.0.0.1:{jupyter.port}", **UPGRADE, **headers}.items()
    ]

    async def handshake() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", jupyter.port)
        writer.write("\r\n".join(["GET /mcp-ws/servers/fast HTTP/1.1", *lines, "", ""]).encode())
        status = int((await asyncio.wait_for(reader.readline(), BOUND)).split()[1])
        writer.close()
        return status

    return asyncio.run(handshake())


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer x"}, {"Cookie": "a=b"}, {"Sec_Fetch_Site": "none"}]
)
def test_a_program_needs_no_credential_and_no_xsrf_token(unlocked, kind, headers):
    assert ask(unlocked, kind, **headers)[0] in (200, 201)


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_page_of_this_server_needs_none_either(unlocked, kind):
    assert ask(unlocked, kind, Origin=unlocked.url.rstrip("/"))[0] in (200, 201)


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Host": "evil.example"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ],
)
def test_other_pages_and_foreign_hosts_are_refused_with_the_reason(unlocked, kind, headers):
    status, answer = ask(unlocked, kind, **headers)
    assert status == 403
    assert any(word in answer["message"] for word in ("Origin", "Host", "cross-site", "XSRF")), answer


def test_a_websocket_obeys_the_same_policy(unlocked):
    own = unlocked.url.rstrip("/")
    assert (
        upgrade(unlocked)
        == upgrade(unlocked, Origin=own)
        == upgrade(unlocked, Authorization="Bearer x")
        == 101
    )
    assert upgrade(unlocked, Origin="https://evil.example") == 403
    assert upgrade(unlocked, Host="evil.example") == 403


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_star_lets_no_foreign_page_into_a_server_that_needs_no_credential(for_any_origin, kind):
    status, answer = ask(for_any_origin, kind, Origin="https://evil.example")
    assert status == 403
    assert "set a token" in answer["message"]
    assert upgrade(for_any_origin, Origin="https://evil.example") == 403
    assert ask(for_any_origin, kind)[0] in (200, 201)


def test_an_origin_that_differs_in_the_port_only_points_to_the_proxy(unlocked):
    _, answer = ask(unlocked, "POST", Origin="http://127.0.0.1:1")
    assert "port" in answer["message"] and "$http_host" in answer["message"]


@pytest.mark.parametrize("transports", [*[(name,) for name in TRANSPORTS], None])
@pytest.mark.parametrize("token", [None, "x"])
async def test_clients_connect_without_a_credential_or_with_any(unlocked, transports, token):
    url = f"{unlocked.url}mcp-ws/servers/fast"
    url = url if transports else f"ws{url.removeprefix('http')}"
    async with connect(url, token=token, transports=transports) as client:
        assert (await client.list_tools()).tools


def test_commands_need_no_credential(unlocked):
    variables = {name: value for name, value in unlocked.environment.items() if name != "JUPYTER_TOKEN"}
    shim = [sys.executable, "-m", "mcp_ws_ide.client.shim"]
    for command in ([*COMMAND, "servers"], [*shim, "config", "vscode", "fast"], [*shim, "fast"]):
        done = subprocess.run(
            command,
            input=json.dumps(INIT) + "\n",
            env=variables,
            capture_output=True,
            text=True,
            cwd=os.getcwd(),
        )
        assert done.returncode == 0, done.stderr
        assert "fast" in done.stdout


async def test_with_a_token_a_request_with_a_cookie_still_needs_the_xsrf_token(jupyter):
    _, headers, _ = jupyter.request("GET", "mcp-ws/", None, {"Authorization": f"token {jupyter.token}"})
    cookie = headers["Set-Cookie"].split(";")[0]
    origin = f"http://127.0.0.1:{jupyter.port}"
    status, answer = ask(jupyter, "POST", Cookie=cookie, Origin=origin)
    assert status in (401, 403)
    assert "Bearer TOKEN" in answer["message"]
    with pytest.raises(UnauthorizedError):
        async with connect(f"{jupyter.url}mcp-ws/servers/fast", transports=("poll",)):
            pass


# --- the form of refusals -------------------------------------------------------------------------


@pytest.mark.parametrize(("token", "status"), [("wrong", 401), (None, 401)])
@pytest.mark.parametrize("kind", ["POST", "poll"])
def test_a_refusal_is_a_json_rpc_error_and_a_401_a_challenge(jupyter, kind, token, status):
    method, path, body, own = REQUESTS[kind]
    headers = {**own, **({"Authorization": f"Bearer {token}"} if token else {})}
    got, answered, text = jupyter.request(method, f"mcp-ws/{path}", body, headers)
    answer = json.loads(text)
    assert (got, answer["status"]) == (status, status)
    assert answer["jsonrpc"] == "2.0" and answer["id"] is None
    assert answer["error"]["message"] == answer["message"]
    assert answer["error"]["code"] == -31008
    assert answer["error"]["data"] == {"status": 401, "outcome": "not_sent"}
    challenge = {name.lower(): value for name, value in answered.items()}["www-authenticate"]
    assert challenge.startswith('Bearer realm="Jupyter"')
    if token is None:  # RFC 6750 section 3.1: a client that had no token must not take it for an invalid one
        assert "error" not in challenge
    else:
        assert 'error="invalid_token"' in challenge
        assert answer["message"].partition(";")[0] in challenge


async def test_the_sdk_shows_the_reason_of_a_refusal(jupyter):
    import httpx2
    from mcp import Client, MCPError
    from mcp.client.streamable_http import streamable_http_client

    async def refusal(server: str, token: str) -> str:
        url = f"{jupyter.url}mcp-ws/servers/{server}"
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http:
            try:
                async with Client(streamable_http_client(url, http_client=http), mode="legacy"):
                    raise AssertionError("it was not refused")
            except* MCPError as group:
                error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        return str(error)

    assert "server 'nope' is not configured" in await refusal("nope", jupyter.token)
    assert "credential is missing or wrong" in await refusal("fast", "wrong")


@pytest.fixture(scope="module")
def on_every_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    running = Jupyter(tmp_path_factory.mktemp("addresses"), {"fast": FAST_SERVER}, *OPEN, ip="0.0.0.0")
    yield running
    running.stop()


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_name_that_may_be_an_attackers_is_refused_on_every_address(on_every_address, kind):
    """DNS rebinding: Jupyter checks no Host there."""
    method, path, body, headers = REQUESTS[kind]
    port = on_every_address.port
    for host, refused in (
        ("evil.example", True),
        ("127.0.0.1", False),
        ("localhost", False),
        ("10.1.2.3", False),
    ):
        for origin in ({}, {"Origin": f"http://{host}:{port}"}):
            sent = {**headers, "Host": f"{host}:{port}", **origin}
            status, _, text = on_every_address.request(method, f"mcp-ws/{path}", body, sent)
            assert (status == 403) is refused, (host, status, text)

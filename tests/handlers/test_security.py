"""Refused before a byte flows: anonymous, foreign, wrong, revoked, out of scope."""

from __future__ import annotations

import asyncio
import base64
import json
import re

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mcp_ws_ide.handlers import ROUTES
from mcp_ws_ide.observe.redaction import Redactor
from tests.conftest import BOUND, Jupyter, Peer

EVIL = "https://evil.example"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(b"0" * 16).decode(),
    "Sec-WebSocket-Protocol": "mcp, mcp.tap.v1",
}


def example_path(pattern: str) -> str:
    path = (
        re.sub(r"\(\?P<name>.*?\)(?=/|$)", "/a/b" if pattern.endswith("|/.*)") else "fast", pattern)
        .replace("([0-9a-f]{1,64})", "abc")
        .rstrip("?")
    )
    return path.lstrip("/")


async def status_of(jupyter: Jupyter, name: str = "fast", query: str = "", **options) -> int:
    try:
        async with connect(jupyter.endpoint(name) + query, compression=None, **options):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


def mint(jupyter: Jupyter, *servers: str, expires_in: float = 3600) -> dict:
    status, token = jupyter.rest("POST", "tokens", {"servers": list(servers), "expires_in": expires_in})
    assert status == 201
    return token


def bearer(secret: str) -> dict:
    return {"additional_headers": {"Authorization": f"Bearer {secret}"}, "subprotocols": ["mcp"]}


def cookie_of(jupyter: Jupyter) -> str:
    _, headers, _ = jupyter.request("GET", "mcp-ws/", None, {"Authorization": f"token {jupyter.token}"})
    return headers["Set-Cookie"].split(";")[0] if "username" in headers["Set-Cookie"] else ""


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", [example_path(pattern) for pattern, _ in ROUTES])
@pytest.mark.parametrize("upgrade", [False, True])
def test_no_route_answers_an_anonymous_request(jupyter, method, path, upgrade):
    status, _, body = jupyter.request(method, path, None, UPGRADE if upgrade else {})
    if method == "OPTIONS" and status == 204:
        return  # a preflight carries no data either way
    assert status not in (101, 200, 201), (method, path)
    if "servers/fast" in path:
        assert status in (401, 403, 405), "never a redirect"
    assert b"sessions" not in body


@pytest.mark.parametrize(("method", "path"), [("GET", "mcp-ws/api/servers"), ("POST", "mcp-ws/servers/fast")])
@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}], ids=["no credential", "a wrong one"]
)
def test_a_missing_or_wrong_credential_is_answered_with_how_to_send_one(jupyter, method, path, headers):
    status, _, body = jupyter.request(method, path, None, headers)
    assert status == 401
    assert b"send the header Authorization with the value Bearer TOKEN" in body


@pytest.mark.parametrize(("method", "path"), [("GET", "mcp-ws/api/servers"), ("POST", "mcp-ws/servers/fast")])
def test_a_page_whose_cookie_is_not_valid_is_told_to_log_in(jupyter, method, path):
    page = {"Cookie": "_xsrf=1; username-127-0-0-1=invalid", "X-XSRFToken": "1"}
    status, _, body = jupyter.request(method, path, None, page)
    assert (status, json.loads(body)["message"]) == (
        401,
        "your login is missing or has expired: log in again",
    )


@pytest.mark.parametrize("path", [example_path(pattern) for pattern, _ in ROUTES])
@pytest.mark.parametrize("origin", [EVIL, "null", f"{EVIL}:8888"])
def test_a_foreign_page_is_refused_even_with_a_valid_token(jupyter, path, origin):
    headers = {**UPGRADE, "Origin": origin, "Authorization": f"token {jupyter.token}"}
    assert jupyter.request("GET", path, None, headers)[0] in (403, 404, 405)


async def test_origins_on_the_endpoint(jupyter):
    cookie = await asyncio.to_thread(cookie_of, jupyter)
    own = f"http://127.0.0.1:{jupyter.port}"
    with_cookie, with_token = {"Cookie": cookie}, {"Authorization": f"Bearer {jupyter.token}"}
    assert cookie
    cases = [
        (with_cookie, own, 101),
        (with_cookie, EVIL, 403),
        (with_cookie, "null", 403),
        (with_cookie, "http://[::1", 403),
        (with_cookie, None, 403),
        (with_token, own, 101),
        (with_token, EVIL, 403),
        (with_token, None, 101),
        ({**with_token, "Sec-Fetch-Site": "cross-site"}, None, 403),
    ]
    for headers, origin, expected in cases:
        assert await status_of(jupyter, additional_headers=headers, origin=origin) == expected, (
            headers,
            origin,
        )


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"Origin": EVIL}, 403),
        ({"Origin": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Cookie": "none"}, 401),
    ],
)
def test_an_own_page_may_probe_with_its_cookie_and_a_foreign_one_may_not(jupyter, headers, expected):
    """Browsers send no Origin with a GET of a page's own."""
    given = {"Cookie": cookie_of(jupyter), "Accept": "application/json", **headers}
    status, _, body = jupyter.request("GET", "mcp-ws/servers/fast/probe", None, given)
    assert status == expected
    assert (b'"websocket"' in body) == (expected == 200)


def test_a_refusal_gives_its_reason_and_is_not_redacted(jupyter):
    def words(**headers: str) -> str:
        answer = jupyter.request("GET", "mcp-ws/servers/fast/probe", None, headers)[2]
        return json.loads(answer)["message"]

    known = {"Authorization": f"Bearer {jupyter.token}"}
    crossing = words(**known, **{"Sec-Fetch-Site": "cross-site"})
    assert "Sec-Fetch-Site" in crossing
    assert "allow_origin" not in crossing
    assert EVIL in words(**known, Origin=EVIL)
    anonymous = words()
    assert "Bearer TOKEN" in anonymous
    assert Redactor().text(anonymous) == anonymous, "it may come from another gateway"


async def test_an_allowed_origin_may_connect_and_its_neighbour_may_not(make_jupyter):
    from tests.conftest import FAST_SERVER

    own = make_jupyter({"fast": FAST_SERVER}, r"--ServerApp.allow_origin_pat=https://ide\.example\.com")
    headers = {"Authorization": f"Bearer {own.token}"}
    assert await status_of(own, additional_headers=headers, origin="https://ide.example.com") == 101
    for origin in ("https://ide.example.com.evil.example", "http://ide.example.com", EVIL):
        assert await status_of(own, additional_headers=headers, origin=origin) == 403


def test_a_foreign_host_is_refused(jupyter):
    headers = {**UPGRADE, "Host": "evil.example", "Authorization": f"token {jupyter.token}"}
    for path in ("mcp-ws/servers/fast", "mcp-ws/api/tap", "mcp-ws/api/servers"):
        status, _, body = jupyter.request("GET", path, None, headers)
        assert (status, b"to allow it, set ServerApp.allow_remote_access" in body) == (403, True)


async def test_every_way_to_present_a_credential_works(jupyter):
    encoded = base64.urlsafe_b64encode(jupyter.token.encode()).decode().rstrip("=")
    gateway = mint(jupyter, "fast")["token"]
    encoded_gateway = base64.urlsafe_b64encode(gateway.encode()).decode().rstrip("=")
    assert await status_of(jupyter, **bearer(jupyter.token)) == 101
    assert await status_of(jupyter, additional_headers={"Authorization": f"token {jupyter.token}"}) == 101
    for entry in (
        f"mcp.auth.{encoded}",
        f"mcp.auth.{encoded_gateway}",
        f"v1.token.websocket.jupyter.org.{jupyter.token}",
    ):
        async with connect(jupyter.endpoint("fast"), subprotocols=["mcp", entry]) as link:
            assert link.subprotocol == "mcp"
    assert await status_of(jupyter, query=f"?token={jupyter.token}") == 101


async def test_wrong_credentials_are_refused(jupyter):
    assert await status_of(jupyter) == 401
    assert await status_of(jupyter, **bearer("wrong")) == 401
    assert await status_of(jupyter, **bearer("mcpws_wrong")) == 401
    assert await status_of(jupyter, subprotocols=["mcp", "mcp.auth.!!!"]) == 401
    assert await status_of(jupyter, query="?token=wrong") == 401
    assert await status_of(jupyter, query="?ticket=wrong") == 401


async def test_a_gateway_token_opens_its_servers_and_no_other_route_but_the_tap(jupyter):
    token = mint(jupyter, "fast")
    assert await status_of(jupyter, "fast", **bearer(token["token"])) == 101
    assert await status_of(jupyter, "git", **bearer(token["token"])) == 403
    headers = {"Authorization": f"Bearer {token['token']}"}
    for path in (
        "api/contents",
        "api/terminals",
        "mcp-ws/api/servers",
        "mcp-ws/api/tokens",
        "mcp-ws/",
    ):
        status, answer, _ = jupyter.request("GET", path, None, {**headers, **UPGRADE})
        assert status in (302, 401, 403), path
        assert "username" not in answer.get("Set-Cookie", "")
    assert token["token"] not in json.dumps(jupyter.rest("GET", "tokens"))
    stored = jupyter.home / "data" / "mcp_ws_ide" / "tokens.json"
    assert token["token"] not in stored.read_text()
    assert stored.stat().st_mode & 0o077 == 0


async def test_a_revoked_token_drops_its_links_and_opens_none(jupyter):
    token = mint(jupyter, "fast")
    async with connect(jupyter.endpoint("fast"), **bearer(token["token"]), user_agent_header="tests") as link:
        await Peer(link).call(1, "tools/list")
        assert jupyter.rest("DELETE", f"tokens/{token['id']}")[0] == 204
        async with asyncio.timeout(BOUND):
            with pytest.raises(ConnectionClosed):
                await link.recv()
        assert link.close_code == 4403
    assert await status_of(jupyter, **bearer(token["token"])) == 401
    assert jupyter.rest("DELETE", f"tokens/{token['id']}")[0] == 404


async def test_an_expired_token_drops_its_links(jupyter):
    token = mint(jupyter, "fast", expires_in=1)
    async with connect(jupyter.endpoint("fast"), **bearer(token["token"]), user_agent_header="tests") as link:
        async with asyncio.timeout(BOUND):
            with pytest.raises(ConnectionClosed):
                await link.recv()
        assert link.close_code == 4401
    assert await status_of(jupyter, **bearer(token["token"])) == 401


async def test_a_ticket_opens_one_link_to_its_server(jupyter):
    ticket = jupyter.rest("POST", "tickets", {"server": "fast"})[1]["ticket"]
    other = jupyter.rest("POST", "tickets", {"server": "fast"})[1]["ticket"]
    assert await status_of(jupyter, query=f"?ticket={ticket}") == 101
    assert await status_of(jupyter, query=f"?ticket={ticket}") == 401
    assert await status_of(jupyter, "git", query=f"?ticket={other}") == 401
    assert await status_of(jupyter, query=f"?ticket={other}") == 401, "a misdirected ticket is used up"
    third = jupyter.rest("POST", "tickets", {"server": "fast"})[1]["ticket"]
    foreign = {**UPGRADE, "Host": "evil.example"}
    assert jupyter.request("GET", f"mcp-ws/servers/fast?ticket={third}", None, foreign)[0] == 403
    assert await status_of(jupyter, query=f"?ticket={third}") == 401, "so is one tried under a foreign name"


def test_a_cookie_post_needs_the_xsrf_token(jupyter):
    status, _, _ = jupyter.request(
        "POST", "mcp-ws/api/tokens", {"servers": ["fast"]}, {"Cookie": cookie_of(jupyter)}
    )
    assert status == 403


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("tokens", {}, "servers"),
        ("tokens", {"servers": ["nope"]}, "nope"),
        ("tokens", {"servers": ["fast"], "expires_in": 1e12}, "expires_in"),
        ("tokens", {"servers": ["fast"], "expires_in": "1"}, "expires_in"),
        ("tokens", {"servers": ["fast"], "note": 5}, "note"),
        ("tokens", {"servers": ["fast"], "note": "\ud800"}, "valid Unicode"),
        ("tickets", {"server": 5}, "a string, and not 5"),
        ("tokens", [], "object"),
        (
            "tokens",
            {"servers": ["fast"], "expires": 1},
            "'expires'; known members: servers, expires_in, note, tools",
        ),
        ("tickets", {"server": "fast", "name%s": 1}, "%s'; known members: server"),
        ("servers/fast/entry", {"ide": "cursor", "tokn": False}, "'tokn'; known members: ide"),
        ("servers/fast/preview", {"entry": {}, "foo": 1}, "'foo'"),
        ("servers/fast/consent", {"digest": "x", "foo": 1}, "'foo'"),
        ("servers/fast/try", {"entry": {}, "foo": 1}, "'foo'"),
    ],
)
def test_invalid_rest_input_is_refused_with_a_reason(jupyter, path, body, word):
    status, answer = jupyter.rest("POST", path, body)
    assert status in (400, 404)
    assert word in answer["message"]


async def test_no_secret_reaches_the_log(jupyter):
    canary = "c4n4ry-" + "x" * 20
    ticket = jupyter.rest("POST", "tickets", {"server": "fast"})[1]["ticket"]
    for query in (f"?token={canary}", f"?ticket={ticket}", f"?token={jupyter.token}"):
        await status_of(jupyter, "nope", query=query)
        await status_of(jupyter, "fast", query=query)
    log = jupyter.log.read_text()
    for secret in (canary, ticket, jupyter.token):
        assert secret not in log


@pytest.mark.parametrize("host", ["127.1", "0.0.0.0", "2130706433", "[::ffff:127.0.0.1]"])
def test_another_spelling_of_this_machine_is_told_the_one_to_use(jupyter, host):
    """The cure was to let every Host in."""
    headers = {**UPGRADE, "Host": f"{host}:{jupyter.port}"}
    status, _, text = jupyter.request("GET", "mcp-ws/servers/fast", None, headers)
    assert status == 403
    assert f"use 127.0.0.1:{jupyter.port}" in text.decode()
    assert "allow_remote_access" not in text.decode()

"""A real JupyterHub with its proxy in front: two users, their single-user servers, and clients outside."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.chromium import CHROMIUM, LAUNCH
from tests.conftest import BOUND, DEMO, FAST_SERVER, MODERN, Peer, response_in, until, wait_until
from tests.interop.conftest import echo_on_the_page
from tests.interop.hub import NAMESAKE_TOKEN, PASSWORD, USERS, Hub, log_in_as_ana
from tests.interop.proxies import Outside, ThroughAProxy
from tests.interop.sign_in_clients import (
    BY_URL_ALONE,
    PAGE,
    SDK_CLIENT,
    Running,
    UrlClient,
    approve,
    secrets_of_signing_in,
)
from tests.programs import need

pytestmark = [pytest.mark.node, pytest.mark.heavy]


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[Hub]:
    running = Hub(tmp_path_factory.mktemp("hub"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def ana(hub) -> Outside:
    return hub.server_of(USERS[0], {"fast": FAST_SERVER, "demo": DEMO})


@pytest.fixture(scope="module")
def outside(ana) -> Outside:
    return ana


class TestThroughTheHub(ThroughAProxy):
    """The user's own token of the Hub, as ``Authorization: Bearer``."""


async def refusal(link: Any) -> int:
    """The status that refuses a WebSocket."""
    with pytest.raises(InvalidStatus) as refused:
        await link.__aenter__()
    return int(refused.value.response.status_code)


def bearer(token: str) -> dict[str, dict[str, str]]:
    return {"additional_headers": {"Authorization": f"Bearer {token}"}}


async def echo(link: Any) -> Any:
    return await Peer(link).call(1, "tools/call", {"name": "echo", "arguments": {"text": "x"}})


# --- who may ----------------------------------------------------------------------------------------


async def test_every_way_to_present_a_credential_passes_the_hub(ana):
    gateway_token = ana.rest("POST", "tokens", {"servers": ["fast"]})[1]["token"]
    ticket = ana.rest("POST", "tickets", {"server": "fast"})[1]["ticket"]
    encoded = base64.urlsafe_b64encode(gateway_token.encode()).decode().rstrip("=")
    for name, options in (
        ("fast", {"additional_headers": {"Authorization": f"token {ana.token}"}}),
        ("fast", bearer(gateway_token)),
        (f"fast?ticket={ticket}", {"additional_headers": {}}),
        (f"fast?token={ana.token}", {"additional_headers": {}}),
        ("fast", {"additional_headers": {}, "subprotocols": ["mcp", f"mcp.auth.{encoded}"]}),
    ):
        async with ana.connect(name, **options) as link:
            assert (await echo(link))["id"] == 1
            assert [s["principal"] for s in ana.rest("GET", "sessions")[1]["sessions"]] == ["ana@example"]
        await until(lambda: ana.rest("GET", "sessions")[1]["sessions"] == [])


async def test_a_gateway_token_opens_its_server_and_nothing_else_of_the_hub(ana):
    token = ana.rest("POST", "tokens", {"servers": ["fast"]})[1]["token"]
    async with httpx.AsyncClient(timeout=BOUND) as client:
        answer = await ana.http(client).modern(1, "tools/list", Authorization=f"Bearer {token}")
        assert (answer.status_code, response_in(answer)["id"]) == (200, 1)
    assert await refusal(ana.connect("demo", **bearer(token))) == 403
    assert ana.rest("GET", "sessions", token=token)[0] in (401, 403)
    assert ana.request("GET", "api/contents", headers={"Authorization": f"Bearer {token}"})[0] == 403


async def test_tokens_of_other_users_open_nothing(hub, ana):
    stranger = hub.mint("bob")
    narrow = hub.mint(USERS[0], "read:users!user")
    for token in (stranger, narrow, "no-such-token"):
        assert await refusal(ana.connect(**bearer(token))) == 401
        async with httpx.AsyncClient(timeout=BOUND) as client:
            answer = await ana.http(client).modern(1, "tools/list", Authorization=f"Bearer {token}")
            assert answer.status_code == 401
        assert ana.rest("POST", "tokens", {"servers": ["fast"]}, token=token)[0] in (401, 403)


async def test_a_guest_of_the_server_has_separate_sessions(hub, ana):
    guest = hub.mint("guest")
    async with ana.connect() as mine, ana.connect(**bearer(guest)) as theirs:
        await echo(mine)
        await echo(theirs)
        seen = {
            token: ana.rest("GET", "sessions", token=token)[1]["sessions"] for token in (ana.token, guest)
        }
        assert [[s["principal"] for s in sessions] for sessions in seen.values()] == [
            ["ana@example"],
            ["guest"],
        ]
        assert ana.rest("DELETE", f"sessions/{seen[ana.token][0]['id']}", token=guest)[0] == 404


async def test_a_service_is_not_the_user_of_the_same_name(hub, ana):
    guest = hub.mint("guest")
    minted = ana.rest("POST", "tokens", {"servers": ["fast"]}, token=guest)[1]
    async with ana.connect(**bearer(guest)) as theirs, ana.connect(**bearer(NAMESAKE_TOKEN)) as its:
        await echo(theirs)
        await echo(its)
        (session,) = ana.rest("GET", "sessions", token=guest)[1]["sessions"]
        (other,) = ana.rest("GET", "sessions", token=NAMESAKE_TOKEN)[1]["sessions"]
        assert (session["principal"], other["principal"]) == ("guest", "service/guest")
        assert ana.rest("DELETE", f"sessions/{session['id']}", token=NAMESAKE_TOKEN)[0] == 404
    assert ana.rest("GET", "tokens", token=NAMESAKE_TOKEN)[1]["tokens"] == []
    assert ana.rest("DELETE", f"tokens/{minted['id']}", token=guest)[0] == 204


async def test_foreign_pages_are_refused_and_the_hubs_own_are_not(ana):
    own = ana.url.partition("/user")[0]
    async with ana.connect(origin=own) as link:
        assert (await echo(link))["id"] == 1
    assert await refusal(ana.connect(origin="https://evil.example")) == 403


def test_entries_have_the_public_address_and_the_scheme_of_the_proxy_in_front(ana):
    headers = {"Authorization": f"token {ana.token}", "X-Scheme": "https"}
    status, _, body = ana.request("POST", "mcp-ws/api/servers/fast/entry", {"ide": "vscode"}, headers)
    assert status == 200
    public = f"{ana.url}mcp-ws/servers/fast".replace("http:", "https:")
    assert json.loads(body)["servers"]["fast"]["url"] == public


async def test_a_link_ends_when_the_hub_revokes_its_token(hub, ana):
    token = hub.mint(USERS[0], f"access:servers!user={USERS[0]}")
    async with ana.connect(**bearer(token)) as revoked, ana.connect() as other:
        await echo(revoked)
        hub.revoke_newest(USERS[0])
        async with asyncio.timeout(BOUND):
            with pytest.raises(ConnectionClosed) as closed:
                await revoked.recv()
        assert closed.value.rcvd.code == 4401
        assert (await echo(other))["id"] == 1


# --- what the Hub does besides ------------------------------------------------------------------------


async def test_messages_are_activity_to_the_hub(hub, ana):
    async with ana.connect() as link:
        await echo(link)
        before = datetime.now(UTC)
        await echo(link)
        await until(lambda: hub.last_activity(USERS[0]) > before, what="the server's report to the Hub")


async def test_an_open_link_is_activity_to_the_proxy(hub, ana):
    async with ana.connect() as link:
        before = hub.proxy_activity(USERS[0])
        await (await link.ping())  # to the proxy the same as the Pongs that answer the gateway's Pings
        await until(lambda: hub.proxy_activity(USERS[0]) > before, what="the proxy's count")


async def test_links_outlive_a_restart_of_the_hub(hub, ana):
    token = ana.rest("POST", "tokens", {"servers": ["fast"]})[1]["token"]
    async with ana.connect() as link:
        await echo(link)
        hub.crash()
        said = hub.log.read_text().count("could not be checked")
        await until(
            lambda: hub.log.read_text().count("could not be checked") > said + 1, what="checks without a Hub"
        )
        assert (await echo(link))["id"] == 1
        async with ana.connect(**bearer(token)) as other:
            assert (await echo(other))["id"] == 1, "a gateway token needs no Hub"
        hub.start()
        assert (await echo(link))["id"] == 1


async def test_a_terminal_on_the_hub_finds_its_gateway(ana):
    request = {"jsonrpc": "2.0", "id": "of-a-terminal", "method": "tools/list", "params": {"_meta": MODERN}}
    headers = {"Authorization": f"token {ana.token}"}
    status, _, made = ana.request("POST", "api/terminals", {}, headers)
    assert status == 200, made
    name = json.loads(made)["name"]
    url = ana.endpoint("x").replace("mcp-ws/servers/x", f"terminals/websocket/{name}")
    program = f"{sys.executable} -m mcp_ws_ide.client.shim"
    async with websocket(url, additional_headers=headers) as terminal:
        for command, answer in (
            (f"echo '{json.dumps(request)}' | {program} fast", '"inputSchema"'),
            (f"{program} config vscode fast --url {ana.url}", '"Bearer mcpws_'),
        ):
            await terminal.send(json.dumps(["stdin", command + "\r"]))
            shown = ""
            async with asyncio.timeout(BOUND):
                while answer not in shown:
                    kind, *text = json.loads(await terminal.recv())
                    shown += text[0] if kind == "stdout" else ""
    ana.request("DELETE", f"api/terminals/{name}", headers=headers)


@pytest.mark.parametrize(
    "path", ["user/ana@example/lab", "user/ana@example/mcp-ws/", "hub/user-redirect/lab"]
)
def test_the_inspector_takes_the_addresses_that_a_browser_shows(hub, ana, path, tmp_path):
    token = tmp_path / "token"
    token.write_text(ana.token)
    command = [sys.executable, "-m", "mcp_ws_ide.inspector.cli", "servers", "--token-file", str(token)]
    done = subprocess.run(
        [*command, "--url", f"http://127.0.0.1:{hub.public}/{path}"],
        env={key: value for key, value in os.environ.items() if not key.startswith("JUPYTER")},
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )
    assert (done.returncode, "fast" in done.stdout) == (0, True), done.stderr


async def test_the_hub_leaves_no_process_when_it_stops_a_server(hub):
    server = hub.server_of("bob", {"fast": FAST_SERVER})
    async with server.connect() as link:
        answer = await Peer(link).call(1, "tools/call", {"name": "pid"})
        pid = int(answer["result"]["content"][0]["text"])
        assert psutil.pid_exists(pid)
        assert hub.ask("DELETE", "users/bob/server")[0] in (202, 204)
        wait_until(lambda: not psutil.pid_exists(pid), what="the end of the MCP server")


@pytest.mark.chromium
async def test_the_page_works_after_a_login_at_the_hub(ana):
    need(CHROMIUM, "chromium")
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(**LAUNCH)
        page = await browser.new_page()
        page.set_default_timeout(1000 * BOUND)
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        await page.goto(f"{ana.url}mcp-ws/")
        await log_in_as_ana(page)
        await echo_on_the_page(page, "hello hub")
        assert page.url.startswith(f"{ana.url}mcp-ws/#")
        assert complaints == []
        await browser.close()


@pytest.mark.chromium
@pytest.mark.parametrize("name", BY_URL_ALONE)
async def test_a_client_signs_in_by_url_through_the_hubs_login(hub, ana, name, tmp_path):
    with UrlClient(name, f"{ana.url}mcp-ws/servers/demo", tmp_path) as client:
        code = await approve(client.until(PAGE), log_in_as_ana, name)
        client.until_it_has_called()
    (token,) = [t for t in ana.rest("GET", "tokens")[1]["tokens"] if t["note"].startswith(name)]
    assert token["servers"] == ["demo"]
    assert [secrets_of_signing_in(log, code) for log in (hub.log, hub.proxy_log)] == [[], []]


@pytest.mark.chromium
async def test_another_user_of_the_hub_approves_nothing_on_this_server(ana):
    """They have no access to the server, so the Hub does not let them see the page."""
    from playwright.async_api import async_playwright

    need(CHROMIUM, "chromium")
    with Running(sys.executable, SDK_CLIENT, f"{ana.url}mcp-ws/servers/demo") as client:
        url = client.until(PAGE)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(**LAUNCH)
            page = await browser.new_page()
            page.set_default_timeout(1000 * BOUND)
            await page.goto(url)
            await page.fill("#username_input", "bob")
            await page.fill("#password_input", PASSWORD)
            await page.click("#login_submit")
            await page.wait_for_load_state()
            assert "403" in await page.inner_text("body")
            assert await page.query_selector("button[value=approve]") is None
            await browser.close()

"""Unmodified OAuth clients sign in by URL alone; Chromium does what the user does."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.conftest import BOUND, DEMO, FAST_SERVER, Jupyter, free_port
from tests.interop import vscode_dev
from tests.interop.conftest import PACKAGES
from tests.interop.sign_in_clients import (
    MCP_REMOTE,
    PAGE,
    SDK_CLIENT,
    Running,
    UrlClient,
    approve,
    page_of,
    secrets_of_signing_in,
    with_token,
)
from tests.interop.test_typescript import program
from tests.signing_in import Person, application

pytestmark = [pytest.mark.chromium, pytest.mark.heavy]
SDKS = {
    "python 2.x": "Python SDK",
    "python 1.x": "Python SDK",
    "typescript 2.x": "TypeScript SDK",
    "typescript 1.x": "TypeScript SDK",
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    running = Jupyter(tmp_path_factory.mktemp("sign-in"), {"fast": FAST_SERVER, "demo": DEMO})
    yield running
    running.stop()


def tokens(jupyter: Jupyter) -> dict[str, dict[str, Any]]:
    return {token["id"]: token for token in jupyter.rest("GET", "tokens")[1]["tokens"]}


def command_of(sdk: str, url: str, request: pytest.FixtureRequest) -> list[str]:
    language, _, version = sdk.partition(" ")
    if language == "python":
        python = sys.executable if version == "2.x" else request.getfixturevalue("mcp1_python")
        return [python, SDK_CLIENT, url]
    return [request.getfixturevalue("node_program"), program("sign_in_client.mjs"), url, version[0]]


@pytest.mark.parametrize("sdk", SDKS)
async def test_an_sdk_signs_in_calls_a_tool_and_refreshes(gateway, sdk, request):
    before = tokens(gateway)
    url = f"{gateway.url}mcp-ws/servers/demo"
    with Running(*command_of(sdk, url, request)) as client:
        code = await approve(client.until(PAGE), with_token(gateway.token), SDKS[sdk])
        client.until("RESULT signed in")
        client.until("RESULT refreshed")
    (token_id,) = tokens(gateway).keys() - before.keys()
    token = tokens(gateway)[token_id]
    assert token["servers"] == ["demo"]
    assert token["note"].startswith(SDKS[sdk])
    assert secrets_of_signing_in(gateway.log, code) == []


@pytest.mark.node
async def test_mcp_remote_signs_in_and_calls_a_tool(gateway, tmp_path):
    with UrlClient(MCP_REMOTE, f"{gateway.url}mcp-ws/servers/demo", tmp_path) as client:
        code = await approve(client.until(PAGE), with_token(gateway.token), MCP_REMOTE)
        client.until_it_has_called()
    assert secrets_of_signing_in(gateway.log, code) == []


@pytest.mark.node
def test_the_conformance_suite_finds_no_fault_in_the_authorization_server(gateway, node_program):
    suite = PACKAGES / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    port = free_port()
    client = application(gateway, "demo", redirect_uri=f"http://127.0.0.1:{port}/callback")
    options = [
        "--url",
        client.server["issuer"],
        "--client-id",
        client.client_id,
        "--resource",
        client.resource,
    ]
    with Running(node_program, str(suite), "authorization", *options, "--port", str(port)) as running:
        answer = Person(gateway).decide(running.until(PAGE))
        httpx.get(answer.headers["Location"], timeout=BOUND)
        printed = running.rest()
    assert "authorization-code-grant: 1 passed, 0 failed" in printed
    assert "Total: 3 passed, 0 failed" in printed


async def test_a_callback_on_the_web_may_send_the_browser_on_to_the_users_computer(gateway):
    """As with VS Code in a browser, which also needs the code not to be the first parameter."""
    port = gateway.port
    state = quote(f"http://localhost:{port}/api?vscode-reqid=1", safe="")
    client = application(
        gateway, "demo", redirect_uri=f"https://{vscode_dev.HOST}/redirect", state=state, another=True
    )
    with vscode_dev.vscode_dev() as launch:
        async with page_of(client.authorization_url(), with_token(gateway.token), launch) as page:
            await page.click("button[value=approve]")
            await page.wait_for_url(f"http://localhost:{port}/api?vscode-reqid=1&*")
            code = re.search("&code=([^&]+)", page.url)
    assert code is not None
    assert client.exchange(code[1]).status_code == 200


async def test_a_page_that_opens_the_sign_in_in_a_window_can_talk_to_its_callback_there(gateway):
    """As web clients do: the window comes back to their own origin, and tells the page that opened it."""
    client = application(gateway, "demo", redirect_uri=f"{gateway.url}api")
    async with page_of(client.authorization_url(), with_token(gateway.token)) as page:
        await page.goto(f"{gateway.url}api")
        async with page.expect_popup() as opening:
            await page.evaluate("url => void window.open(url)", client.authorization_url())
        popup = await opening.value
        await popup.click("button[value=approve]")
        await popup.wait_for_url("**/api?*")
        assert await popup.evaluate("window.opener !== null")


async def test_a_user_who_denies_sends_the_client_an_error(gateway):
    with Running(sys.executable, SDK_CLIENT, f"{gateway.url}mcp-ws/servers/demo") as client:
        async with page_of(client.until(PAGE), with_token(gateway.token)) as page:
            await page.click("button[value=deny]")
            await page.wait_for_url(re.compile(r"http://127\.0\.0\.1:\d+/[^?]*\?"))
            assert "error=access_denied" in page.url

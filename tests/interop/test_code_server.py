"""A real code-server with a password, and its two port proxies, in front of Jupyter."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import InvalidStatus

from mcp_ws_ide.client import UnauthorizedError, connect
from tests.chromium import CHROMIUM, LAUNCH
from tests.conftest import BOUND, DEMO, FAST_SERVER, MODERN, Jupyter, Peer, free_port, wait_until
from tests.interop.conftest import ROOT, echo_on_the_page, node
from tests.interop.proxies import Outside, ThroughAProxy
from tests.programs import need

pytestmark = [pytest.mark.node, pytest.mark.heavy]
PROGRAM = ROOT / ".npm-env" / "code-server" / "node_modules" / "code-server" / "out" / "node" / "entry.js"
PASSWORD = "a-password-0123456789"
DOMAIN = "code.example"


class CodeServer:
    """One code-server on the loopback interface.

    Attributes:
        cookie: what a client must present, as after a login with the password.
    """

    def __init__(self, home: Path, program: Path = PROGRAM, *arguments: str, **environment: str) -> None:
        runtime = node()
        need(runtime is not None and program.exists(), "Node with code-server")
        assert runtime is not None
        self.home, self.port = home, free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        folders = (f"--user-data-dir={home}/data", f"--extensions-dir={home}/extensions")
        quiet = ("--disable-telemetry", "--disable-update-check", f"--config={home}/config.yaml")
        options = (f"--bind-addr=127.0.0.1:{self.port}", "--auth=password", *folders, *quiet, *arguments)
        self.log = home / "code-server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [runtime, str(program), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "HOME": str(home), "PASSWORD": PASSWORD, **environment},
                start_new_session=True,
            )
        wait_until(self._answers, BOUND, "code-server")
        login = httpx.post(f"{self.url}login", data={"password": PASSWORD}, timeout=BOUND)
        self.cookie = login.headers["Set-Cookie"].partition(";")[0]

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return httpx.get(f"{self.url}healthz", timeout=BOUND).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.terminate()
        try:
            self.process.wait(BOUND)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for process in family:  # VS Code's own processes wait for their clients for hours
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.fixture(scope="module")
def code_server(tmp_path_factory) -> Iterator[CodeServer]:
    running = CodeServer(
        tmp_path_factory.mktemp("code-server"), PROGRAM, f"--proxy-domain={{{{port}}}}.{DOMAIN}"
    )
    yield running
    running.stop()


@pytest.fixture(scope="module")
def jupyter_at(tmp_path_factory) -> Iterator[Callable[..., Jupyter]]:
    started: list[Jupyter] = []

    def start(*arguments: str, **options) -> Jupyter:
        servers = {"fast": FAST_SERVER, "demo": DEMO}
        started.append(Jupyter(tmp_path_factory.mktemp("jupyter"), servers, *arguments, **options))
        return started[-1]

    yield start
    for running in started:
        running.stop()


@pytest.fixture(scope="module", params=["proxy", "absproxy"])
def outside(request, code_server, jupyter_at) -> Outside:
    """``/proxy/PORT/`` takes its own path away; ``/absproxy/PORT/`` leaves it, and Jupyter must live below it."""
    port = free_port()
    path = f"/{request.param}/{port}/"
    jupyter = jupyter_at(port=port, base_url=path if request.param == "absproxy" else "/")
    headers = {"Cookie": code_server.cookie}
    return Outside(code_server.url.rstrip("/") + path, jupyter.token, headers)


class TestThroughCodeServer(ThroughAProxy):
    """Jupyter's token in ``Authorization``, code-server's login in ``Cookie``."""

    passes_on_closing = False  # http-proxy 1.18 looks for a client that leaves only while the request is sent


async def test_a_gateway_token_passes_and_another_does_not(outside):
    token = outside.rest("POST", "tokens", {"servers": ["fast"]})[1]["token"]
    async with outside.connect(additional_headers={"Authorization": f"Bearer {token}"}) as link:
        assert (await Peer(link).call(1, "tools/list"))["id"] == 1
    with pytest.raises(InvalidStatus) as refused:
        await outside.connect(additional_headers={"Authorization": "Bearer wrong"}).__aenter__()
    assert refused.value.response.status_code == 401


async def test_without_its_login_code_server_lets_nobody_through(outside):
    stranger = Outside(outside.url, outside.token)
    with pytest.raises(UnauthorizedError):
        async with connect(stranger.endpoint("fast"), token=stranger.token):
            pass
    async with httpx.AsyncClient(timeout=BOUND) as client:
        assert (await stranger.http(client).modern(1, "tools/list")).status_code == 401


def test_mcp_ws_connect_takes_the_login_from_a_file(outside, tmp_path):
    login = tmp_path / "headers"
    login.write_text(f"Cookie: {outside.headers['Cookie']}\n")
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN}}
    command = [sys.executable, "-m", "mcp_ws_ide.client.shim", outside.endpoint("fast")]
    done = subprocess.run(
        [*command, "--header-file", str(login)],
        input=json.dumps(request) + "\n",
        env={**os.environ, "MCP_WS_TOKEN": outside.token},
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=True,
    )
    assert json.loads(done.stdout)["result"]["tools"]


async def test_pages_of_code_server_may_and_foreign_ones_may_not(outside):
    own = f"http://127.0.0.1:{outside.port}"
    async with outside.connect(origin=own) as link:
        assert (await Peer(link).call(1, "tools/list"))["id"] == 1
    with pytest.raises(InvalidStatus) as refused:
        await outside.connect(origin="https://evil.example").__aenter__()
    assert refused.value.response.status_code == 403


async def test_a_proxy_domain_needs_remote_access(code_server, jupyter_at):
    for allowed in (False, True):
        jupyter = jupyter_at(f"--ServerApp.allow_remote_access={allowed}")
        link = websocket(
            f"ws://{jupyter.port}.{DOMAIN}/mcp-ws/servers/fast",
            additional_headers={"Cookie": code_server.cookie, "Authorization": f"Bearer {jupyter.token}"},
            subprotocols=["mcp"],
            host="127.0.0.1",
            port=code_server.port,
        )
        if allowed:
            async with link as opened:
                assert (await Peer(opened).call(1, "tools/list"))["id"] == 1
        else:
            with pytest.raises(InvalidStatus) as refused:
                await link.__aenter__()
            assert refused.value.response.status_code == 403
            assert b"allow_remote_access" in refused.value.response.body


def test_an_entry_asked_for_through_absproxy_has_the_public_address(outside):
    printed = outside.rest("POST", "servers/fast/entry", {"ide": "vscode"})[1]["servers"]["fast"]["url"]
    if "absproxy" in outside.url:
        assert printed == f"{outside.url}mcp-ws/servers/fast"
    else:
        assert printed == f"http://127.0.0.1:{outside.port}/mcp-ws/servers/fast", "the path is not seen"


@pytest.mark.chromium
@pytest.mark.parametrize("outside", ["absproxy"], indirect=True)
async def test_the_page_works_below_absproxy(outside):
    """Not below ``/proxy/``, which hides its prefix from the page: docs/operate/proxies.md."""
    need(CHROMIUM, "chromium")
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(**LAUNCH)
        context = await browser.new_context()
        context.set_default_timeout(1000 * BOUND)
        name, _, value = outside.headers["Cookie"].partition("=")
        await context.add_cookies([{"name": name, "value": value, "url": outside.url}])
        page = await context.new_page()
        await page.goto(f"{outside.url}mcp-ws/?token={outside.token}")
        await echo_on_the_page(page, "hello proxy")
        await browser.close()

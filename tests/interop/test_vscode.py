"""VS Code's own MCP client, inside a whole code-server, driven in Chromium (``make interop-ides``)."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.chaos import ChaosLink
from tests.chromium import CHROMIUM
from tests.conftest import BOUND, DEMO, Jupyter, until
from tests.handlers.test_tls import Certificates
from tests.interop.conftest import ROOT
from tests.interop.hub import USERS, Hub, log_in_as_ana
from tests.interop.nginx import Nginx, documented
from tests.interop.sign_in_clients import PICTURES, secrets_of_signing_in, with_token
from tests.interop.test_code_server import CodeServer
from tests.interop.vscode_dev import vscode_dev
from tests.programs import need

pytestmark = [pytest.mark.node, pytest.mark.chromium, pytest.mark.ides]
FOLDER = ROOT / ".npm-env" / "code-server-whole" / "node_modules" / "code-server"
SETTINGS = {
    "chat.mcp.autostart": "never",
    "workbench.startupEditor": "none",
    "workbench.secondarySideBar.defaultVisibility": "hidden",  # the chat there takes the focus when it is ready
}
EXTENSION = Path(__file__).with_name("vscode_extension")
"""Calls a tool as a chat would, which would need a model and an account."""
PATIENCE = 60_000
"""Milliseconds that VS Code may take for one step."""
DISCOVERED = "Discovered [1-9][0-9]* tools"
SIZE = {"width": 1400, "height": 900}
SHOWN = {"x": 350, "y": 370, "width": 1040, "height": 460}
"""The part of the window that the picture in docs/guides/sign-in.md shows."""


class Window:
    """One VS Code window with a folder open."""

    def __init__(self, page) -> None:
        self.page = page

    async def choose(self, text: str | re.Pattern, patience: int = PATIENCE) -> None:
        """A row of the list that is open."""
        row = self.page.locator(".quick-input-widget .monaco-list-row", has_text=text)
        await row.first.click(timeout=patience)

    async def command(self, title: str) -> None:
        """Run a command of the palette."""
        await self.page.keyboard.press("F1")
        await self.page.locator(".quick-input-widget input").first.fill(f">{title}", timeout=10_000)
        await self.choose(title, 10_000)

    async def start(self, name: str) -> None:
        """Start an MCP server as a user does: again, while VS Code is not up yet and does nothing."""
        from playwright.async_api import TimeoutError as NotThere

        for _attempt in range(12):
            with contextlib.suppress(NotThere):
                await self.command("MCP: List Servers")
                await self.choose(name, 10_000)
                await self.choose(re.compile("^(Start Server|Show Output)"), 10_000)
                return await self.says(f"Starting server {name}", 10_000)
        raise AssertionError(f"VS Code does not start {name}")

    async def says(self, words: str, patience: int = PATIENCE) -> str:
        """Wait until the output panel has a line with this text, a regular expression; return the line."""
        line = re.compile(r"\s".join(words.split()))
        found = self.page.locator(".view-line", has_text=line).first
        await found.wait_for(timeout=patience)
        return await found.inner_text()

    async def agree(self, question: str, answer: str) -> None:
        """Answer a dialog."""
        dialog = self.page.locator(".monaco-dialog-box", has_text=question)
        await dialog.get_by_role("button", name=answer, exact=True).click(timeout=PATIENCE)

    async def sign_in(self, log_in: Callable[[Any], Awaitable[None]]) -> str:
        """Do what the user does, from the start of the server ``demo`` to the list of its tools; return the code.

        ``vscode.dev``, which sends the browser back to code-server, is a stand-in.
        """
        await self.start("demo")
        question = "wants to authenticate to MCP server demo"
        if PICTURES:
            await self.page.locator(".monaco-dialog-box", has_text=question).wait_for(timeout=PATIENCE)
            await self.page.screenshot(path=f"{PICTURES}/sign-in-vscode.png", clip=SHOWN)
        await self.agree(question, "Allow")
        async with self.page.expect_popup(timeout=PATIENCE) as opening:
            await self.agree("open the external website", "Open")
        popup = await opening.value
        await log_in(popup)
        await popup.wait_for_selector("text=Approve only if you have just asked", timeout=PATIENCE)
        assert "Allow code-server to use" in await popup.inner_text("h1")
        assert "vscode.dev" in await popup.inner_text("main")
        await popup.click("button[value=approve]")
        await popup.wait_for_url(re.compile("http://127.0.0.1:.*/callback[?]vscode-reqid"))
        code = parse_qs(urlsplit(popup.url).query)["code"][0]
        await self.says(DISCOVERED)
        return code

    async def call_echo(self) -> None:
        """Call a tool, as a chat would."""
        await self.command("Call Echo")
        await self.agree("Run echo", "Yes")
        called = self.page.locator(".notification-list-item", has_text="called in VS Code")
        await called.wait_for(timeout=PATIENCE)


@pytest.fixture
def certificates(tmp_path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
async def vscode(tmp_path, certificates) -> AsyncIterator:
    """Open a window of Chromium with VS Code, for the content of a workspace's ``mcp.json``, and further settings."""
    need(CHROMIUM, "chromium")
    need((FOLDER / "lib/vscode/node_modules").exists(), "VS Code of code-server ('make interop-ides')")
    from playwright.async_api import async_playwright

    home, work = tmp_path / "code-server", tmp_path / "work"
    user = home / "data" / "User"
    user.mkdir(parents=True)
    shutil.copytree(EXTENSION, home / "extensions" / "tests.call-echo-1.0.0")
    (work / ".vscode").mkdir(parents=True)
    program = FOLDER / "out" / "node" / "entry.js"
    trusted = {"NODE_EXTRA_CA_CERTS": str(certificates.authority)}
    code_server = CodeServer(home, program, "--disable-workspace-trust", **trusted)

    with vscode_dev() as launch:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(**launch)
            context = await browser.new_context(viewport=SIZE, ignore_https_errors=True)
            context.set_default_timeout(1000 * BOUND)
            name, _, value = code_server.cookie.partition("=")
            await context.add_cookies([{"name": name, "value": value, "url": code_server.url}])

            async def open_with(entry: dict, **settings: Any) -> Window:
                (user / "settings.json").write_text(json.dumps({**SETTINGS, **settings}))
                (work / ".vscode" / "mcp.json").write_text(json.dumps(entry))
                page = await context.new_page()
                await page.goto(f"{code_server.url}?folder={work}", timeout=PATIENCE)
                await page.locator(".monaco-workbench").wait_for(timeout=PATIENCE)
                await page.locator(".explorer-folders-view", has_text=".vscode").wait_for(timeout=PATIENCE)
                return Window(page)

            yield open_with
            await browser.close()
    code_server.stop()


@pytest.mark.timeout(300)
async def test_the_http_entry_starts_in_vs_code(make_jupyter, vscode):
    jupyter = make_jupyter({"demo": DEMO})
    window = await vscode(jupyter.rest("POST", "servers/demo/entry", {"ide": "vscode"})[1])
    await window.start("demo")
    await window.says(DISCOVERED)
    (session,) = jupyter.rest("GET", "sessions")[1]["sessions"]
    assert session["link"] == "http"
    assert session["user_agent"].startswith("code-server/")


def by_url_alone(url: str) -> dict[str, Any]:
    """What the user writes.

    The URLs of these tests do not say localhost or 127.0.0.1, because code-server opens pages of these through its own
    port proxy.
    """
    return {"servers": {"demo": {"type": "http", "url": f"{url}mcp-ws/servers/demo"}}}


async def check_sign_in(
    window: Window, gateway: Jupyter, log_in: Callable[[Any], Awaitable[None]], *logs: Path
) -> None:
    """Sign in and call a tool; look at the token, at the session, and in every log for secrets."""
    code = await window.sign_in(log_in)
    (token,) = gateway.rest("GET", "tokens")[1]["tokens"]
    assert token["note"] == "code-server (vscode.dev), signed in"
    assert token["servers"] == ["demo"]
    (session,) = gateway.rest("GET", "sessions")[1]["sessions"]
    assert session["user_agent"].startswith("code-server/")
    await window.call_echo()
    for log in logs:
        assert secrets_of_signing_in(log, code) == []


@pytest.mark.timeout(300)
async def test_vs_code_signs_in_by_url_alone_and_calls_a_tool(make_jupyter, vscode):
    jupyter = make_jupyter({"demo": DEMO}, "--ServerApp.log_level=DEBUG", ip="0.0.0.0")
    window = await vscode(by_url_alone(f"http://127.0.0.2:{jupyter.port}/"))
    await check_sign_in(window, jupyter, with_token(jupyter.token), jupyter.log)


@pytest.mark.timeout(300)
async def test_vs_code_signs_in_through_nginx_with_tls(make_jupyter, vscode, certificates, tmp_path):
    jupyter = make_jupyter({"demo": DEMO}, "--ServerApp.log_level=DEBUG")
    nginx = Nginx(documented(jupyter, certificates), tmp_path)
    try:
        # Without the system's own authorities, VS Code takes those of Node, to which the environment adds one.
        of_node = {"http.systemCertificates": False}
        window = await vscode(by_url_alone(f"https://127.0.0.2:{nginx.port}/"), **of_node)
        await check_sign_in(window, jupyter, with_token(jupyter.token), jupyter.log, nginx.log)
    finally:
        nginx.stop()


@pytest.mark.timeout(300)
async def test_vs_code_signs_in_through_the_hubs_login(vscode, tmp_path):
    hub = Hub(tmp_path, host="127.0.0.2")
    try:
        gateway = hub.server_of(USERS[0], {"demo": DEMO})
        window = await vscode(by_url_alone(gateway.url))
        await check_sign_in(window, gateway, log_in_as_ana, hub.log, hub.proxy_log)
    finally:
        hub.stop()


@pytest.mark.timeout(300)
async def test_the_command_entry_starts_in_vs_code_and_survives_a_cut(make_jupyter, vscode):
    jupyter = make_jupyter({"demo": DEMO})
    entry = jupyter.rest("POST", "servers/demo/entry", {"ide": "vscode-command"})[1]
    (server,) = entry["servers"].values()
    # VS Code asks a login shell for its PATH, and that of a test machine does not know this environment.
    server["command"] = str(Path(sys.executable).with_name(server["command"]))
    async with ChaosLink(jupyter.port, seed=1) as chaos:
        server["args"] = [url.replace(f":{jupyter.port}/", f":{chaos.port}/") for url in server["args"]]
        window = await vscode(entry)
        await window.start("demo")
        await window.says(DISCOVERED)
        (session,) = jupyter.rest("GET", "sessions")[1]["sessions"]
        assert session["resumable"]
        assert chaos.cut("reset") == "reset"
        await until(lambda: chaos.accepted == 2, what="a second link")
        await window.says("the session was resumed")
        assert [s["id"] for s in jupyter.rest("GET", "sessions")[1]["sessions"]] == [session["id"]]

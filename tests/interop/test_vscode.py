"""VS Code's own MCP client, inside a whole code-server, driven in Chromium (``make interop-ides``)."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos import ChaosLink
from tests.chromium import CHROMIUM, LAUNCH
from tests.conftest import BOUND, DEMO, until
from tests.interop.conftest import ROOT, need
from tests.interop.test_code_server import CodeServer

pytestmark = [pytest.mark.node, pytest.mark.chromium, pytest.mark.ides]
FOLDER = ROOT / ".npm-env" / "code-server-whole" / "node_modules" / "code-server"
SETTINGS = {
    "chat.mcp.autostart": "never",
    "workbench.startupEditor": "none",
    "workbench.secondarySideBar.defaultVisibility": "hidden",  # the chat there takes the focus when it is ready
}
PATIENCE = 60_000
"""Milliseconds that VS Code may take for one step."""


class Window:
    """One VS Code window with a folder open."""

    def __init__(self, page) -> None:
        self.page = page

    async def choose(self, text: str | re.Pattern) -> None:
        """A row of the list that is open."""
        row = self.page.locator(".quick-input-widget .monaco-list-row", has_text=text)
        await row.first.click(timeout=PATIENCE)

    async def start(self, name: str) -> None:
        """Start an MCP server as a user does: again, while VS Code is not up yet and does nothing."""
        from playwright.async_api import TimeoutError as NotThere

        for _attempt in range(6):
            await self.page.keyboard.press("F1")
            await self.page.locator(".quick-input-widget input").first.fill(">MCP: List Servers")
            await self.choose("MCP: List Servers")
            await self.choose(name)
            await self.choose(re.compile("^(Start Server|Show Output)"))
            try:
                return await self.says(f"Starting server {name}", 10_000)
            except NotThere:
                continue
        raise AssertionError(f"VS Code does not start {name}")

    async def says(self, words: str, patience: int = PATIENCE) -> None:
        """Wait until the output panel has a line with this text."""
        line = re.compile(r"\s".join(map(re.escape, words.split())))
        await self.page.locator(".view-line", has_text=line).first.wait_for(timeout=patience)


@pytest.fixture
async def vscode(tmp_path) -> AsyncIterator:
    need(CHROMIUM is not None, "chromium")
    need((FOLDER / "lib/vscode/node_modules").exists(), "VS Code of code-server ('make interop-ides')")
    from playwright.async_api import async_playwright

    home, work = tmp_path / "code-server", tmp_path / "work"
    (home / "data" / "User").mkdir(parents=True)
    (home / "data" / "User" / "settings.json").write_text(json.dumps(SETTINGS))
    (work / ".vscode").mkdir(parents=True)
    code_server = CodeServer(home, FOLDER / "out" / "node" / "entry.js", "--disable-workspace-trust")

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(**LAUNCH)
        context = await browser.new_context(viewport={"width": 1400, "height": 900})
        context.set_default_timeout(1000 * BOUND)
        name, _, value = code_server.cookie.partition("=")
        await context.add_cookies([{"name": name, "value": value, "url": code_server.url}])

        async def open_with(entry: dict) -> Window:
            (work / ".vscode" / "mcp.json").write_text(json.dumps(entry))
            page = await context.new_page()
            await page.goto(f"{code_server.url}?folder={work}")
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
    await window.says("Discovered 13 tools")
    (session,) = jupyter.rest("GET", "sessions")[1]["sessions"]
    assert session["link"] == "http"
    assert session["user_agent"].startswith("code-server/")


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
        await window.says("Discovered 13 tools")
        (session,) = jupyter.rest("GET", "sessions")[1]["sessions"]
        assert session["resumable"]
        assert chaos.cut("reset") == "reset"
        await until(lambda: chaos.accepted == 2, what="a second link")
        await window.says("Resumed")
        assert [s["id"] for s in jupyter.rest("GET", "sessions")[1]["sessions"]] == [session["id"]]

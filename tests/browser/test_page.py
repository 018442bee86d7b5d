"""The page in a real Chromium, against a real gateway and a real server."""

from __future__ import annotations

import os
import shutil
import sys

import pytest

from tests.conftest import DEMO, FAST_SERVER

pytestmark = [pytest.mark.chromium]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOSTILE = (
    "import json, sys\n"
    "def say(i, r): print(json.dumps({'jsonrpc': '2.0', 'id': i, 'result': r}), flush=True)\n"
    "bad = '<img src=x onerror=\"document.title=1\">'\n"
    "for line in sys.stdin:\n"
    "    m = json.loads(line)\n"
    "    if m.get('method') == 'initialize': say(m['id'], {'protocolVersion': '2025-11-25', 'capabilities': {'tools': {}}, 'serverInfo': {'name': bad, 'version': '1'}})\n"
    "    elif m.get('method') == 'tools/list': say(m['id'], {'tools': [{'name': bad, 'description': bad, 'inputSchema': {'type': 'object'}}]})\n"
    "    elif 'id' in m: say(m['id'], {'content': [{'type': 'text', 'text': bad}, {'type': 'image', 'mimeType': 'image/svg+xml', 'data': 'PHN2Zz4='}]})\n"
)


@pytest.fixture
async def page(make_jupyter, tmp_path):
    if CHROMIUM is None:
        assert not os.environ.get("CI"), "chromium is missing"
        pytest.skip("no chromium on this machine")
    from playwright.async_api import async_playwright

    hostile = tmp_path / "hostile.py"
    hostile.write_text(HOSTILE)
    servers = {
        "demo": DEMO,
        "fast": FAST_SERVER,
        "hostile": {"command": sys.executable, "args": [str(hostile)]},
    }
    own = make_jupyter(servers, base_url="/user/me/")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page()
        page.complaints = []
        page.on(
            "console",
            lambda message: page.complaints.append(message.text) if message.type == "error" else None,
        )
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        await page.goto(f"{own.url}mcp-ws/?token={own.token}")
        page.jupyter = own
        yield page
        await browser.close()


async def shows(page, selector: str, text: str) -> None:
    await page.locator(selector, has_text=text).first.wait_for(timeout=20_000)


async def test_connect_list_call_progress_cancel_and_close(page):
    assert "token" not in page.url
    await page.get_by_role("button", name="demo").click()
    await shows(page, "#state", "connected to demo")
    await page.select_option("#tool", "echo")
    await page.fill("#arguments", '{"text": "hello page"}')
    await page.click("#call")
    await shows(page, "#result", "hello page")
    await page.fill("#arguments", "{")
    await page.click("#call")
    await shows(page, "#result", "not JSON")
    await page.select_option("#tool", "slow")
    await page.fill("#arguments", '{"steps": 600, "delay": 0.05}')
    await page.click("#call")
    await shows(page, "#frames", "notifications/progress")
    await page.click("#cancel")
    await shows(page, "#result", "cancelled")
    await page.select_option("#tool", "image")
    await page.click("#call")
    await page.locator("#result img").wait_for(timeout=20_000)
    await page.click("#disconnect")
    await shows(page, "#state", "closed (1000)")
    assert page.complaints == []


async def test_a_server_that_crashes_is_said(page):
    await page.get_by_role("button", name="demo").click()
    await shows(page, "#state", "connected to demo")
    await page.select_option("#tool", "crash")
    await page.click("#call")
    await shows(page, "#state", "server ended (4502)")


async def test_hostile_text_stays_text(page):
    await page.get_by_role("button", name="hostile").click()
    await shows(page, "#state", "<img")
    await page.click("#call")
    await shows(page, "#result", "<img")
    assert await page.title() == "MCP over WebSocket"
    assert await page.locator("main img").count() == 0

"""The page in a real Chromium, against a real gateway and a real server."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.conftest import DEMO

pytestmark = [pytest.mark.chromium]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
async def page(make_jupyter):
    if CHROMIUM is None:
        assert not os.environ.get("CI"), "chromium is missing"
        pytest.skip("no chromium on this machine")
    from playwright.async_api import async_playwright

    own = make_jupyter({"demo": DEMO}, base_url="/user/me/")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page()
        page.complaints = []
        page.on("console", lambda m: page.complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        await page.goto(f"{own.url}mcp-ws/?token={own.token}")
        yield page
        await browser.close()


async def test_the_page_lists_the_servers_and_forgets_the_token(page):
    await page.get_by_role("link", name="demo").wait_for(timeout=20_000)
    assert "token" not in page.url
    assert page.complaints == []

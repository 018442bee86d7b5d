"""A client that signs in, in a process of its own, and the user, who uses Chromium."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.chromium import CHROMIUM, LAUNCH
from tests.conftest import BOUND, OUTSIDE
from tests.interop.conftest import PACKAGES, node
from tests.interop.test_typescript import program
from tests.programs import need

MCP_REMOTE: Final = "MCP CLI Proxy"
"""What mcp-remote calls itself."""
BY_URL_ALONE: Final = ("Python SDK", "TypeScript SDK", MCP_REMOTE)
"""The clients that :class:`UrlClient` starts, by the names that they give themselves."""
SDK_CLIENT: Final = str(Path(__file__).with_name("sign_in_client.py"))
PAGE: Final = re.compile(r"https?://\S+/mcp-ws/sign-in/authorize\S+")
PICTURES: Final = os.environ.get("MCP_WS_PICTURES")
"""Directory for pictures of the page as the tests see it; unset: none are taken."""


class Running:
    """A client; its lines come as they are printed."""

    def __init__(self, *command: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.printed = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def until(self, pattern: re.Pattern[str] | str) -> str:
        """Wait for a line that matches, and return what does."""
        while True:
            line = self._lines.get(timeout=BOUND)
            assert line is not None, self.printed
            self.printed += line
            if found := re.search(pattern, line):
                return found[0]

    def rest(self) -> str:
        """Wait for the end; return everything that was printed."""
        while (line := self._lines.get(timeout=BOUND)) is not None:
            self.printed += line
        self.process.wait(BOUND)
        return self.printed

    def send(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(BOUND)
        self._reader.join(BOUND)
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


class UrlClient(Running):
    """An unmodified OAuth client, which is given the URL of an MCP endpoint and nothing else.

    Args:
        name: one of ``BY_URL_ALONE``.
        url: the endpoint, of a server that has the tool ``echo``.
        home: where the client may keep files.
        authority: a file with the certificate of a further authority to trust.
    """

    def __init__(self, name: str, url: str, home: Path, authority: Path | None = None) -> None:
        self.name = name
        trusted = (
            {}
            if authority is None
            else {"SSL_CERT_FILE": str(authority), "NODE_EXTRA_CA_CERTS": str(authority)}
        )
        environment = {"MCP_REMOTE_CONFIG_DIR": str(home), "HOME": str(home), **OUTSIDE, **trusted}
        super().__init__(*self._command(url), **environment)

    def _command(self, url: str) -> list[str]:
        if self.name == "Python SDK":
            return [sys.executable, SDK_CLIENT, url]
        runtime, package = node(), PACKAGES / "mcp-remote"
        need(runtime is not None and package.exists(), "Node with mcp-remote")
        assert runtime is not None
        if self.name == "TypeScript SDK":
            return [runtime, program("sign_in_client.mjs"), url, "2"]
        entry = json.loads((package / "package.json").read_text())["bin"]["mcp-remote"]
        return [runtime, str(package / entry), url, "--transport", "http-only"]

    def until_it_has_called(self) -> None:
        """Wait until the client has signed in, and a tool has answered it."""
        if self.name != MCP_REMOTE:
            self.until("RESULT signed in")
            self.until("RESULT refreshed")
            return
        self.until("Proxy established|Connected to remote server")
        information = {"clientInfo": {"name": "t", "version": "1"}, "capabilities": {}}
        self.send(id=1, method="initialize", params={"protocolVersion": "2025-06-18", **information})
        self.until('"serverInfo"')
        self.send(method="notifications/initialized")
        self.send(id=2, method="tools/call", params={"name": "echo", "arguments": {"text": "through it"}})
        self.until('"text": ?"through it"')


@contextlib.asynccontextmanager
async def page_of(
    url: str, log_in: Callable[[Any], Awaitable[None]], launch: dict[str, Any] = LAUNCH
) -> AsyncIterator[Any]:
    """What the user sees after the login."""
    need(CHROMIUM, "chromium")
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(**launch)
        context = await browser.new_context(ignore_https_errors=True)
        page = await context.new_page()
        page.set_default_timeout(1000 * BOUND)
        await page.goto(url)
        await log_in(page)
        await page.wait_for_selector("text=Approve only if you have just asked")
        yield page
        await browser.close()


async def approve(url: str, log_in: Callable[[Any], Awaitable[None]], name: str) -> str:
    """Do what the user does: log in, look, approve; the browser ends at the client. Return the code it gave there."""
    async with page_of(url, log_in) as page:
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        await page.reload()
        assert f"Allow {name}" in await page.inner_text("h1")
        if PICTURES:
            await page.click("button[value=list]")
            await page.wait_for_selector("input[name=tool]")
            await page.set_viewport_size({"width": 720, "height": 600})
            await page.screenshot(path=f"{PICTURES}/sign-in.png", full_page=True)
        await page.click("button[value=approve]")
        await page.wait_for_url(re.compile(r"http://(127\.0\.0\.1|localhost):\d+/[^?]*\?"))
        await page.wait_for_load_state()
        assert [text for text in problems if "Content Security Policy" in text] == []
        return parse_qs(urlsplit(page.url).query)["code"][0]


def secrets_of_signing_in(log: Path, code: str) -> list[str]:
    """Return what a log must not hold: the code, tokens and refresh tokens."""
    text = log.read_text()
    assert text
    return [*re.findall(r"mcpwsr?_[\w-]{16,}", text), *([code] if code in text else [])]


def with_token(token: str) -> Callable[[Any], Awaitable[None]]:
    """Return what logs in at Jupyter's own page."""

    async def log_in(page: Any) -> None:
        await page.fill("input[name=password]", token)
        await page.click("button[type=submit]")

    return log_in

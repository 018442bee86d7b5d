"""Unmodified OAuth clients sign in by URL alone; Chromium does what the user does."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chromium import CHROMIUM, LAUNCH
from tests.conftest import BOUND, DEMO, FAST_SERVER, OUTSIDE, Jupyter
from tests.interop.conftest import PACKAGES, need
from tests.interop.test_typescript import program

pytestmark = [pytest.mark.chromium, pytest.mark.heavy]
HERE = Path(__file__).parent
PAGE = re.compile(r"https?://\S+/mcp-ws/sign-in/authorize\S+")


class Running:
    """A client in a process of its own; its lines come as they are printed."""

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

    def until(self, pattern: re.Pattern[str] | str) -> re.Match[str]:
        """Wait for a line that matches."""
        while True:
            line = self._lines.get(timeout=BOUND)
            assert line is not None, self.printed
            self.printed += line
            if found := re.search(pattern, line):
                return found

    def send(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(BOUND)
        self._reader.join(BOUND)
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    running = Jupyter(tmp_path_factory.mktemp("sign-in"), {"fast": FAST_SERVER, "demo": DEMO})
    yield running
    running.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    need(CHROMIUM is not None, "chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**LAUNCH)
        yield browser
        browser.close()


@pytest.fixture
def run() -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(*command: str, **environment: str) -> Running:
        started.append(Running(*command, **environment))
        return started[-1]

    yield start
    for client in started:
        client.stop()


def approve(chromium: Any, jupyter: Jupyter, url: str, name: str) -> None:
    """Do what the user does: log in, look, approve; the browser ends at the client."""
    context = chromium.new_context()
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.goto(url)
    page.fill("input[name=password]", jupyter.token)
    page.click("button[type=submit]")
    page.wait_for_selector("text=Approve only if you have just asked")
    assert f"Allow {name}" in page.inner_text("h1")
    page.click("text=Approve >> nth=-1")
    page.wait_for_url(re.compile(r"http://(127\.0\.0\.1|localhost):"), timeout=BOUND * 1000)
    page.wait_for_load_state()
    assert "code=" in page.url
    assert [text for text in problems if "Content Security Policy" in text] == []
    context.close()


def sign_in(client: Running, chromium: Any, jupyter: Jupyter, name: str) -> None:
    approve(chromium, jupyter, client.until(PAGE)[0], name)


def one_more_token(jupyter: Jupyter, before: list[dict[str, Any]]) -> dict[str, Any]:
    known = {token["id"] for token in before}
    (token,) = [token for token in tokens(jupyter) if token["id"] not in known]
    return token


def tokens(jupyter: Jupyter) -> list[dict[str, Any]]:
    return jupyter.rest("GET", "tokens")[1]["tokens"]


@pytest.fixture(params=["python 2.x", "python 1.x", "typescript 2.x", "typescript 1.x"])
def command(request: pytest.FixtureRequest) -> tuple[list[str], str]:
    """A client, without the URL and its last arguments."""
    language, _, major = request.param.partition(" ")
    if language == "python":
        python = sys.executable if major == "2.x" else request.getfixturevalue("mcp1_python")
        return [python, str(HERE / "sign_in_client.py")], "Python SDK"
    node = request.getfixturevalue("node_program")
    return [node, program("sign_in_client.mjs")], "TypeScript SDK"


def arguments(command: tuple[list[str], str], request: pytest.FixtureRequest, url: str) -> list[str]:
    major = [request.node.callspec.params["command"].partition(" ")[2][0]]
    return [*command[0], url, *(major if "TypeScript" in command[1] else [])]


def test_an_sdk_signs_in_calls_a_tool_and_refreshes(gateway, chromium, run, command, request):
    before = tokens(gateway)
    url = f"{gateway.url}mcp-ws/servers/demo"
    client = run(*arguments(command, request, url))
    sign_in(client, chromium, gateway, command[1])
    client.until("RESULT signed in")
    client.until("RESULT refreshed")
    token = one_more_token(gateway, before)
    assert token["servers"] == ["demo"]
    assert token["note"].startswith(command[1])


@pytest.mark.node
def test_mcp_remote_signs_in_and_calls_a_tool(gateway, chromium, run, node_program, tmp_path):
    package = PACKAGES / "mcp-remote"
    need(package.exists(), "mcp-remote")
    entry = json.loads((package / "package.json").read_text())["bin"]["mcp-remote"]
    environment = {"MCP_REMOTE_CONFIG_DIR": str(tmp_path), "HOME": str(tmp_path), **OUTSIDE}
    url = f"{gateway.url}mcp-ws/servers/demo"
    client = run(node_program, str(package / entry), url, "--transport", "http-only", **environment)
    sign_in(client, chromium, gateway, "MCP CLI Proxy")
    client.until("Proxy established|Connected to remote server")
    version = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    }
    client.send(id=1, method="initialize", params=version)
    client.until('"serverInfo"')
    client.send(method="notifications/initialized")
    client.send(
        id=2, method="tools/call", params={"name": "echo", "arguments": {"text": "through mcp-remote"}}
    )
    client.until('"text": ?"through mcp-remote"')


def test_a_user_who_denies_sends_the_client_an_error(gateway, chromium, run, request):
    client = run(sys.executable, str(HERE / "sign_in_client.py"), f"{gateway.url}mcp-ws/servers/demo")
    url = client.until(PAGE)[0]
    context = chromium.new_context(extra_http_headers={})
    page = context.new_page()
    page.goto(url)
    page.fill("input[name=password]", gateway.token)
    page.click("button[type=submit]")
    page.click("text=Deny")
    page.wait_for_url(re.compile(r"http://127\.0\.0\.1:"), timeout=BOUND * 1000)
    assert "error=access_denied" in page.url
    context.close()

"""The page in a real Chromium against a real gateway: one browser and one gateway per test module."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mcp_ws_ide
from tests.chromium import CHROMIUM, LAUNCH
from tests.conftest import BOUND, DEMO, FAST_SERVER, TESTS, Jupyter, wait_until
from tests.interop.conftest import PACKAGES, node
from tests.programs import need

ROOT = Path(__file__).parents[2]
AXE = ROOT / "frontend_static" / "node_modules" / "axe-core" / "axe.min.js"
SHOWCASE = {"command": sys.executable, "args": ["-I", "-S", str(TESTS / "servers" / "showcase.py")]}
TASKS = {"command": sys.executable, "args": ["-I", "-S", str(TESTS / "servers" / "tasks.py")]}
HOSTILE = {"command": sys.executable, "args": ["-I", "-S", str(TESTS / "servers" / "hostile.py")]}
PICTURES = os.environ.get("MCP_WS_PICTURES")
"""Directory for pictures of the page as the tests see it; unset: none are taken."""
WATCH_POLICY = "addEventListener('securitypolicyviolation', (e) => console.error(`policy: ${e.violatedDirective} ${e.blockedURI}`))"
NETWORK = re.compile(r"WebSocket connection to|net::ERR_|Failed to load resource")
"""Chromium's own messages about network failures, which the page cannot suppress."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser. While it exists, Playwright's event loop runs, so tests cannot be coroutines."""
    need(CHROMIUM, "chromium")
    page = Path(mcp_ws_ide.__file__).parent / "static" / "page.json"
    need(page.exists(), "the page ('make page')")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**LAUNCH)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """A gateway with the demo, a server from npm, and servers with content that is unusual or hostile."""
    everything = PACKAGES / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"
    example = PACKAGES / "@modelcontextprotocol" / "server-basic-vanillajs" / "dist" / "index.js"
    servers = {
        "demo": DEMO,
        "fast": FAST_SERVER,
        "showcase": SHOWCASE,
        "hostile": HOSTILE,
        "tasks": TASKS,
        "example-app": {"command": node() or "node", "args": [str(example), "--stdio"]},
        "pair": {"group": ["showcase", "tasks", "example-app"]},
        "broken": {"command": sys.executable, "args": ["-c", "raise SystemExit('boom: cannot start')"]},
        "everything": {"command": node() or "node", "args": [str(everything)]},
    }
    running = Jupyter(tmp_path_factory.mktemp("page"), servers, base_url="/user/a%40b/")
    yield running
    running.stop()


class Tab:
    """One tab of the page; ``complaints`` are console errors and violations of the content security policy."""

    def __init__(self, page: Any, gateway: Jupyter, url: str) -> None:
        self.page, self.gateway = page, gateway
        self.root = f"{url}mcp-ws/"
        self.complaints: list[str] = []
        page.set_default_timeout(1000 * BOUND)
        page.add_init_script(WATCH_POLICY)
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def log_in(self) -> None:
        self.page.goto(f"{self.root}?token={self.gateway.token}")
        self.page.get_by_role("navigation", name="Views").wait_for()

    def go(self, place: str, query: str = "") -> None:
        """Go to a route of the page, such as ``server/demo/tools/echo``."""
        self.page.goto(f"{self.root}{query}#/{place}")

    def arrives(self, place: str) -> None:
        """Wait until the page has gone to a route; Playwright learns of it after the key or click that led there."""
        self.page.wait_for_url(lambda url: url.endswith(f"#/{place}"))

    def connected(self) -> None:
        self.page.locator(".state[data-state=connected]").wait_for()

    def shows(self, text: str, within: str = "body") -> None:
        self.page.locator(within).filter(has_text=text).last.wait_for()

    def call(self) -> None:
        self.page.get_by_role("button", name="Call", exact=True).click()

    def session(self, server: str) -> dict[str, Any] | None:
        """Return the newest session with a server, as the gateway lists it."""
        sessions = self.gateway.rest("GET", "sessions")[1]["sessions"]
        return next((found for found in reversed(sessions) if found["server"] == server), None)

    def picture(self, name: str, width: int = 1280, height: int = 800) -> None:
        """Save a picture of the page, if pictures are wanted."""
        if PICTURES is None:
            return
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.screenshot(path=str(Path(PICTURES) / f"page-{name}.png"))

    def accessible(self) -> None:
        """Assert that axe finds no serious or critical violation."""
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = [
            f"{one['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]
        assert serious == []

    def quiet(self, *, network: bool = False) -> None:
        """Assert that there were no complaints; ``network``: except Chromium's about a network that was cut."""
        complaints = [said for said in self.complaints if not (network and NETWORK.search(said))]
        assert complaints == []


@pytest.fixture
def open_tab(chromium: Any, gateway: Jupyter) -> Iterator[Callable[..., Tab]]:
    """Open tabs, each logged in; those with the same ``context`` share cookies."""
    with contextlib.ExitStack() as stack:

        def make(
            url: str | None = None, context: Any = None, own: Jupyter | None = None, **options: Any
        ) -> Tab:
            if context is None:
                context = chromium.new_context(viewport={"width": 1280, "height": 800}, **options)
                stack.callback(context.close)
            jupyter = own or gateway
            tab = Tab(context.new_page(), jupyter, url or jupyter.url)
            tab.log_in()
            return tab

        yield make


@pytest.fixture
def tab(open_tab: Callable[..., Tab]) -> Tab:
    return open_tab()


class Road:
    """A TCP proxy to the gateway that can be cut and mended, or held and released."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._links: list[socket.socket] = []
        self._open = True
        self._flowing = threading.Event()
        self._flowing.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._listener.accept()
                if not self._open:
                    link.close()
                    continue
                try:
                    onward = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    link.close()  # the others that wait are not to hang
                    continue
                self._links += [link, onward]
                for source, drain in ((link, onward), (onward, link)):
                    threading.Thread(target=self._carry, args=(source, drain), daemon=True).start()

    def _carry(self, source: socket.socket, drain: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flowing.wait()
                drain.sendall(data)
        for end in (source, drain):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()  # the other thread closes the other one

    def cut(self) -> None:
        """Close every connection, and accept none until mended."""
        self._open = False
        for link in self._links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        self._links.clear()

    def mend(self) -> None:
        self._open = True

    def hold(self) -> None:
        """Delay all data until released, without closing a connection."""
        self._flowing.clear()

    def release(self) -> None:
        self._flowing.set()

    def close(self) -> None:
        self.release()
        self.cut()
        self._listener.close()


@pytest.fixture
def road(gateway: Jupyter) -> Iterator[Road]:
    made = Road(gateway.port)
    yield made
    made.close()


__all__ = ["PICTURES", "Road", "Tab", "wait_until"]

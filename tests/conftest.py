"""A real Jupyter server with the extension, as a child process, and raw WebSocket peers for it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, settings
from websockets.asyncio.client import ClientConnection, connect

from mcp_ws_ide.version import build
from tests.durations import SECONDS
from tests.prefork import ALL, Forked, Prefork

TESTS = Path(__file__).parent
FAST_SERVER = {"command": sys.executable, "args": ["-I", "-S", str(TESTS / "servers" / "fast.py")]}
SHADOWED = str(TESTS / "shadowed")
"""A directory whose modules shadow installed ones that are slow to import; first on the path of this Python and of those
that tests start."""
for _name in [name for name in os.environ if name.startswith(("PYTHON", "JUPYTER")) and name != "PYTHONPATH"]:
    # No test may pass only because of how the caller has set up Python (PYTHONUNBUFFERED, ...) or Jupyter.
    del os.environ[_name]
OUTSIDE: Final = {name: os.environ[name] for name in ("SSL_CERT_FILE",) if name in os.environ}
"""What a program of a test needs that fetches something from the Internet."""
os.environ["SSL_CERT_FILE"] = str(TESTS / "authority.pem")
"""An authority whose key nobody has. Reading the hundred and more of a system takes 30 ms of CPU time, and each client of
a test reads them, though it connects to this machine."""
sys.path.insert(0, SHADOWED)
os.environ["PYTHONPATH"] = os.pathsep.join([SHADOWED, *filter(None, [os.environ.get("PYTHONPATH")])])
JUPYTERS: Final = Prefork(
    *("jupyter_server.serverapp", "mcp_ws_ide.app", "mcp.client.auth"),
    # What these import while a server starts.
    *(
        f"jupyter_server.services.{name}.handlers"
        for name in ("api", "config", "contents", "events", "kernels")
    ),
    *(
        f"jupyter_server.services.{name}.handlers"
        for name in ("kernelspecs", "nbconvert", "security", "sessions")
    ),
    *(
        "jupyter_server.services.shutdown",
        "jupyter_server.kernelspecs.handlers",
        "jupyter_server.view.handlers",
    ),
    *(
        "jupyter_server.nbconvert.handlers",
        "jupyter_server_terminals.app",
        "jinja2.ext",
        "packaging.requirements",
    ),
    *("jupyter_core.migrate", "tornado.platform.asyncio", "encodings.utf_8_sig"),
)
"""Starts the Jupyter servers of tests; the gateway imports ``mcp.client.auth`` when a server first wants OAuth."""
SERVERS: Final = Prefork(
    *("mcp_ws_ide.demo.server", "mcp_server_git.server", "mcp_server_time.server"),
    *("anyio._backends._asyncio", "rich.logging", "rich.console"),  # what these import when they start
)
"""Starts servers on the SDK 2.x."""
COMMANDS: Final = Prefork("mcp_ws_ide.client.shim", "mcp_ws_ide.inspector.commands")
"""Starts our command-line programs, for tests that send them no signal and give them no terminal."""
PROGRAMS: Final = Prefork("mcp_ws_ide.client.sync.client", "mcp.client", "anyio._backends._asyncio")
"""Starts programs with our client or the SDK's."""


def on_sdk(*program: str) -> dict[str, Any]:
    """The configuration of a stdio server on the SDK 2.x: ``-m MODULE``, or a file."""
    command, *arguments = SERVERS.command(*program)
    return {"command": command, "args": arguments, "env": {"PYTHONPATH": SHADOWED}}


DEMO = on_sdk("-m", "mcp_ws_ide.demo")
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}

settings.register_profile(
    "same inputs", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.register_profile(
    "new inputs", settings.get_profile("same inputs"), derandomize=False, max_examples=2000
)
settings.load_profile("same inputs")  # a run fails for what changed; `make properties` looks for new failures

BOUND: Final = 120.0
"""Seconds that a test waits for what must come: an end to a hang, and no measure of how fast the machine is."""


def wait_until(condition: Callable[[], Any], seconds: float = BOUND, what: str = "the condition") -> Any:
    """Poll a condition, bounded."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come true within {seconds} s")


async def until(condition: Callable[[], Any], seconds: float = BOUND, what: str = "the condition") -> Any:
    """As :func:`wait_until`, on an event loop."""
    async with asyncio.timeout(seconds):
        while not (value := condition()):
            await asyncio.sleep(0.01)
    return value


def cpu_seconds(work: Callable[..., Any], *arguments: Any) -> float:
    """The least CPU time of up to three calls, for comparing one size of input with another in the same test."""
    taken: list[float] = []
    while len(taken) < 3 and sum(taken) < 0.2:
        began = time.process_time()
        work(*arguments)
        taken.append(time.process_time() - began)
    return min(taken)


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on, and that no outgoing connection gets.

    The system gives those from 32768 on: one could take the port before a server has it, or while a server restarts.
    """
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


async def interrupt(process: asyncio.subprocess.Process) -> int:
    """Send a child SIGINT and return its exit code; kill it and fail if it does not exit."""
    process.send_signal(signal.SIGINT)
    try:
        return await asyncio.wait_for(process.wait(), BOUND)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError(f"SIGINT did not end it within {BOUND} s") from None


@contextlib.asynccontextmanager
async def child(*command: str, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """A child process, which has ended after the block: one that runs on would fail a later test."""
    process = await asyncio.create_subprocess_exec(*command, **options)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def pytest_configure(config: pytest.Config) -> None:
    """Start children with the default signal actions, also under ``nohup`` or ``make test &`` in a script.

    An ignored signal stays ignored after exec, a handled one does not. The process that runs the tests keeps ignoring.
    """
    shared = getattr(config, "workerinput", {}).get("preforks", [])
    for prefork, address in zip(ALL, shared, strict=False):
        prefork.share(address)
    if _hands_out_tests(config):
        for prefork in ALL:
            prefork.begin()
    else:
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, lambda *_: None)


def _hands_out_tests(config: pytest.Config) -> bool:
    return bool(config.getoption("numprocesses", None)) and not hasattr(config, "workerinput")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a test process where the processes are that fork for all of them."""
    node.workerinput["preforks"] = [prefork.address for prefork in ALL]


def pytest_unconfigure(config: pytest.Config) -> None:
    if _hands_out_tests(config):
        for prefork in ALL:
            prefork.stop()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Look for tests without collecting garbage: what is imported stays, and later collections skip it."""
    gc.disable()
    found = yield
    gc.enable()
    gc.freeze()
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: at the end no process waits long for another's file. Skip what needs the pure build."""
    files: defaultdict[Path, float] = defaultdict(float)
    for item in items:
        files[item.path] += _seconds(item)
    for name, seconds in SECONDS.items():
        files[TESTS / name] = seconds
    if build() == "compiled":
        for item in items:
            if marker := item.get_closest_marker("pure"):
                item.add_marker(pytest.mark.skip(reason=f"pure Python only: {marker.args[0]}"))
    items.sort(key=lambda item: (-files[item.path], item.path))


def _seconds(item: pytest.Item) -> float:
    """Roughly what a test takes whose file is not in :data:`SECONDS`."""
    marks = {mark.name for mark in item.iter_markers()}
    if "heavy" in marks:
        return 4.0
    if marks & {"node", "chromium"}:
        return 1.0
    return 0.05 if item.path.parent.name in {"core", "config", "links", "observe", "docs"} else 0.4


class Jupyter:
    """One Jupyter server in a process of its own."""

    def __init__(
        self,
        home: Path,
        servers: dict[str, Any],
        *arguments: str,
        base_url: str = "/",
        ip: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        environment: dict[str, str] | None = None,
        port: int | None = None,
        python: str | Path = sys.executable,
    ) -> None:
        self.token = "test-token-0123456789"
        self.home = home
        self.configuration = home / "mcp.json"
        self.configuration.write_text(json.dumps({"mcpServers": servers}))
        self.port = port or free_port()
        self.tls = tls
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.port}{base_url}"
        self.log = home / "jupyter.log"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")},
            "HOME": str(home),
            "JUPYTER_TOKEN": self.token,
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "JUPYTER_DATA_DIR": str(home / "data"),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            **(environment or {}),
        }
        self.python = str(python)
        self.arguments = [
            *("--no-browser", "--allow-root", f"--ServerApp.port={self.port}"),
            *(f"--ServerApp.base_url={base_url}", f"--ServerApp.ip={ip}", "--ServerApp.port_retries=0"),
            *("--ServerApp.allow_unauthenticated_access=False", f"--ServerApp.root_dir={home}"),
            *(f"--MCPWebSocketApp.server_files={self.configuration}", *arguments),
        ]
        self.start()

    def start(self) -> None:
        """Start it, also again after :meth:`stop`; the log goes on."""
        configured = self.configuration.read_text()
        for prefork in ALL:
            if prefork.address in configured:
                prefork.begin()
        self.process = self._spawn()
        self.wait_ready()

    def _spawn(self) -> Forked | subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            if self.python == sys.executable:
                return JUPYTERS.start(["-m", "jupyter_server", *self.arguments], self.environment, log)
            return subprocess.Popen(
                [self.python, "-m", "jupyter_server", *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )

    def listens(self) -> bool:
        """Whether it accepts connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def wait_ready(self) -> None:
        def listens() -> bool:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            return self.listens()

        def answers() -> bool:
            with contextlib.suppress(OSError):
                return listens() and self.rest("GET", "health")[0] == 200
            return False

        wait_until(listens, what="Jupyter's start")
        wait_until(answers, what="Jupyter's start")

    def kill(self) -> None:
        """End it as ``kill -9`` does; :meth:`start` starts it again."""
        self.process.kill()
        self.process.wait(BOUND)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(BOUND)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(BOUND)

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Plain HTTP below the base URL; no redirect is followed."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers or {}, method=method)
        opener = urllib.request.build_opener(NoRedirect, urllib.request.HTTPSHandler(context=self.tls))
        try:
            with opener.open(request, timeout=BOUND) as response:
                return response.status, dict(response.headers), response.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def rest(self, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
        """An authenticated REST call: status and JSON."""
        headers = {"Authorization": f"token {token or self.token}"}
        status, _, text = self.request(method, f"mcp-ws/api/{path}", body, headers)
        return status, json.loads(text) if text else None

    def endpoint(self, name: str) -> str:
        return f"ws{self.url.removeprefix('http')}mcp-ws/servers/{name}"

    def connect(self, name: str = "fast", **options: Any) -> Any:
        """A raw WebSocket to a server, authenticated unless told otherwise."""
        headers = {"Authorization": f"Bearer {self.token}"}
        defaults = {
            "additional_headers": headers,
            "subprotocols": ["mcp"],
            "max_size": None,
            "compression": None,
            "open_timeout": BOUND,
        }
        if self.tls is not None:
            defaults["ssl"] = self.tls
        options = {"user_agent_header": "tests", "create_connection": Link, **defaults, **options}
        return connect(self.endpoint(name), **options)

    def processes(self, name: str) -> list[dict[str, Any]]:
        return self.rest("GET", f"servers/{name}")[1]["processes"]


class Link(ClientConnection):
    """A WebSocket that is aborted at the end of its test, if the test leaves it open."""

    still_open: ClassVar[set[Link]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.still_open.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.still_open.discard(self)
        super().connection_lost(exc)


@pytest.fixture
async def abort_links() -> AsyncIterator[None]:
    yield
    for link in Link.still_open:
        link.transport.abort()
    for _ in range(3):  # what was closed last closes its socket in one of the next turns
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def abort_links_of_async_tests(request: pytest.FixtureRequest) -> None:
    """Leave no link to the collector, whose warning would hit a later test; other tests have no loop."""
    if inspect.iscoroutinefunction(request.function):
        request.getfixturevalue("abort_links")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


@pytest.fixture(scope="module", autouse=True)
def nothing_unclosed() -> Iterator[None]:
    """Collect garbage after each module, so that a warning of what its tests left open names one of them."""
    yield
    gc.collect()


@pytest.fixture(scope="session", autouse=True)
def nothing_left() -> Iterator[None]:
    """At the end of the tests, every process that they started has exited, waited for or not."""
    mark = f"MCP_WS_TESTS_{os.getpid()}"
    os.environ[mark] = "1"

    def left() -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if mark in process.environ() and process.pid != os.getpid():
                    found.append(process)
        for prefork in ALL:
            for fork in prefork.forks if prefork.shared else []:  # these lack the mark
                with contextlib.suppress(psutil.Error):
                    if fork.poll() is None:
                        found.append(psutil.Process(fork.pid))
        return found

    yield
    for prefork in ALL:
        prefork.stop()
    try:
        wait_until(lambda: not left(), what="the end of all processes")
    except AssertionError as error:
        processes = left()
        commands = [" ".join(process.cmdline())[:300] for process in processes]
        for process in processes:
            process.kill()
        raise AssertionError(f"{len(commands)} processes are left: {commands}") from error


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """The server most tests share; its base_url needs quoting, as a hub's may."""
    running = start_usual(tmp_path_factory.mktemp("jupyter"))
    yield running
    running.stop()


@pytest.fixture
def mortal(jupyter: Jupyter) -> Iterator[None]:
    """For a test that ends the process of the shared ``fast``: its crash does not count against later tests.

    Without it five such tests within a minute open the breaker, and whichever test comes next is refused.
    """
    yield
    jupyter.rest("POST", "servers/fast/restart")


def start_usual(home: Path) -> Jupyter:
    """Start a Jupyter with the servers that most tests use."""
    servers = {
        "fast": FAST_SERVER,
        "demo": DEMO,
        "git": {"command": "mcp-server-git", "env": {"PYTHONPATH": SHADOWED}},
        "time": {"command": "mcp-server-time", "env": {"PYTHONPATH": SHADOWED}},
        "absent": {"command": "no-such-command"},
        "unset": {"command": "${NO_SUCH_VARIABLE}"},
    }
    return Jupyter(home, servers, base_url="/user/a%40b/")


@pytest.fixture
def make_jupyter(tmp_path: Path) -> Iterator[Callable[..., Jupyter]]:
    """Start further Jupyter servers; they are stopped at the end of the test."""
    started: list[Jupyter] = []

    def make(servers: dict[str, Any], *arguments: str, **options: Any) -> Jupyter:
        home = tmp_path / f"jupyter{len(started)}"
        home.mkdir()
        started.append(Jupyter(home, servers, *arguments, **options))
        return started[-1]

    yield make
    for running in started:
        running.stop()


def response_in(answer: httpx.Response) -> dict[str, Any]:
    """The JSON-RPC response of a POST: its body, or the last event of the stream that a slow machine gets."""
    if answer.headers["Content-Type"] != "text/event-stream":
        return answer.json()
    return json.loads([line for line in answer.text.splitlines() if line.startswith("data: ")][-1][6:])


class Peer:
    """A raw JSON-RPC peer over one WebSocket."""

    def __init__(self, link: ClientConnection) -> None:
        self.link = link

    async def send(self, **message: Any) -> None:
        await self.link.send(json.dumps({"jsonrpc": "2.0", **message}))

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(BOUND):
            return json.loads(await self.link.recv())

    async def call(
        self, request_id: Any, method: str, params: dict[str, Any] | None = None, **meta: Any
    ) -> dict[str, Any]:
        """A modern request and the next message."""
        await self.send(id=request_id, method=method, params={**(params or {}), "_meta": {**MODERN, **meta}})
        return await self.receive()

    async def initialize(self) -> dict[str, Any]:
        params = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        }
        await self.send(id="init", method="initialize", params=params)
        answer = await self.receive()
        await self.send(method="notifications/initialized")
        return answer


@pytest.fixture
async def peer(jupyter: Jupyter) -> AsyncIterator[Peer]:
    async with jupyter.connect("fast") as link:
        yield Peer(link)

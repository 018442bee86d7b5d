"""``mcp-ws-inspect -- COMMAND ARGS``: one server behind a gateway of its own, for as long as it is watched.

The gateway is a Jupyter server with this extension alone, a child of this process: on a free port of the
loopback interface, with a token made for the occasion and configuration in a temporary directory.
Whatever ends this process ends the gateway, and the gateway ends the server. The directory of one that was killed is
removed by the next one that starts.

Command, arguments and environment reach the gateway as variables of its own environment: nothing of them is
written to disk, and ``${…}`` in them means nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import connect

from mcp_ws_ide.core.messages import NEWEST_HANDSHAKE
from mcp_ws_ide.discovery import RunningGateway, endpoint_url
from mcp_ws_ide.errors import ConnectError
from mcp_ws_ide.ide_entries import grouped_entries
from mcp_ws_ide.inspector.sanitise import visible
from mcp_ws_ide.rest_client import GatewayClient

START: Final = 30.0
"""Seconds that the gateway may take to start."""
FIRST_ANSWER: Final = 15.0
"""Seconds that are waited for the server's first answer; a server that loads for longer goes on loading."""
STOP: Final = 10.0
"""Seconds that the gateway may take to end its server and itself."""
STDERR_LINES: Final = 20
HOME_PREFIX: Final = "mcp-ws-inspect-"
LOCK: Final = "lock"
"""In a gateway's directory, a file that is locked as long as the directory is in use."""
PREFIX: Final = "MCP_WS_WRAPPED_"
LAUNCHERS: Final = re.compile(r"(python[\d.]*|node|deno|bun|npx|bunx|uvx?|pipx|sh|bash)(\.exe)?$")
"""Commands that run another program, which is what the server is named after."""
JUPYTER: Final = (
    "import sys; sys.modules['rfc3987_syntax'] = None; from jupyter_server.serverapp import main; main()"
)
"""Jupyter without a grammar of IRIs, which jsonschema compiles at import, for more than half of the time that a start
takes; no schema of Jupyter's events asks for one."""
ADVICE: Final = (
    "What follows -- must start an MCP server that speaks over its stdin and stdout, as in: "
    "mcp-ws-inspect -- python my_server.py"
)
PR_SET_PDEATHSIG: Final = 1


class CannotWrap(Exception):
    """The command cannot be run, or its server does not speak; the text says why.

    Attributes:
        code: the exit code.
    """

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class PrivateGateway:
    """A gateway with one server. Use as a context manager.

    Raises:
        CannotWrap: the command does not exist, or the gateway does not start.
    """

    def __init__(self, command: Sequence[str], name: str | None = None, port: int | None = None) -> None:
        self.name = name or server_name(command)
        self._command = [_found(command[0]), *command[1:]]
        self._port = port or _free_port()
        self._token = secrets.token_urlsafe(24)
        self._process: subprocess.Popen[bytes] | None = None
        self._stack = contextlib.ExitStack()
        self.gateway = RunningGateway(f"http://127.0.0.1:{self._port}/", self._token)

    def __enter__(self) -> PrivateGateway:
        with contextlib.ExitStack() as stack:
            _remove_stale()
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=HOME_PREFIX)))
            lock = stack.enter_context(_locked(home))
            self._log = home / "gateway.log"
            environment = self._configure(home)
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    [
                        sys.executable,
                        "-c",
                        JUPYTER,
                        "--no-browser",
                        f"--config={home / 'config.json'}",
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    pass_fds=[lock.fileno()],  # held until both of us have ended
                    start_new_session=True,  # Ctrl-C is ours: we end it in order
                    preexec_fn=partial(_end_with_parent, os.getpid()) if sys.platform == "linux" else None,
                )
            stack.callback(self._stop)
            self._wait_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        with _undisturbed():
            self._stack.close()

    def _configure(self, home: Path) -> dict[str, str]:
        """Write the configuration; returns the gateway's environment."""
        passed = {f"{PREFIX}ARG_{number}": text for number, text in enumerate(self._command)}
        command, *arguments = (f"${{env:{name}}}" for name in passed)
        variables = {name: f"${{env:{PREFIX}ENV_{name}}}" for name in os.environ if _is_plain(name)}
        passed |= {f"{PREFIX}ENV_{name}": os.environ[name] for name in variables}
        variables.setdefault("TMPDIR", tempfile.gettempdir())  # the gateway's own ends with it
        spec = {"command": command, "args": arguments, "env": variables, "cwd": os.getcwd()}
        servers = home / "mcp.json"
        servers.write_text(json.dumps({"mcpServers": {self.name: spec}}))
        options = {
            "ServerApp": {
                "ip": "127.0.0.1",
                "port": self._port,
                "port_retries": 0,
                "allow_root": True,
                "root_dir": str(home),
                "jpserver_extensions": {"mcp_ws_ide": True},
                "terminals_enabled": False,
            },
            "MCPWebSocketApp": {"server_files": [str(servers)], "entry_points": False},
        }
        (home / "config.json").write_text(json.dumps(options))
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("JUPYTER", PREFIX))}
        places = {"JUPYTER_RUNTIME_DIR": str(home / "runtime"), "JUPYTER_DATA_DIR": str(home / "data")}
        # No configuration but ours; Jupyter makes an empty directory for it among the temporary ones.
        own = {"JUPYTER_NO_CONFIG": "1", "TMPDIR": str(home), "JUPYTER_TOKEN": self._token}
        return {**kept, **passed, **places, **own}

    def _wait_ready(self) -> None:
        assert self._process is not None
        end = time.monotonic() + START
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(ConnectError):
                GatewayClient(self.gateway, 2.0).call("GET", "health")
                return
            time.sleep(0.05)
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-STDERR_LINES:])
        raise CannotWrap(f"the gateway did not start; its last words:\n{tail}", 1)

    def _stop(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            process.kill()  # its supervisor ends the server then
            process.wait(STOP)

    # --- the server ---------------------------------------------------------------------------------

    def greet(self) -> str:
        """Ask the server who it is; returns a line that says so, or that it has not answered yet.

        Raises:
            CannotWrap: it ended, or does not speak MCP; with the last lines of its stderr.
        """
        try:
            answer = self._initialize()
        except TimeoutError:
            return f"no answer within {FIRST_ANSWER:g} s: it may still be loading, or be no MCP server"
        except (ConnectionClosed, InvalidStatus, WebSocketException, OSError, ValueError) as error:
            raise self._failure(str(error)) from None
        if "error" in answer:
            refusal = answer["error"]
            raise self._failure(str(refusal.get("message") if isinstance(refusal, dict) else refusal))
        result = answer.get("result")
        info = result.get("serverInfo") if isinstance(result, dict) else None
        known = info if isinstance(info, dict) else {}
        who = " ".join(str(known.get(key) or "") for key in ("name", "version")).strip()
        return f"answered by {who}" if who else "the server answers"

    def _initialize(self) -> dict[str, Any]:
        client = {"name": "mcp-ws-inspect", "version": "1"}
        params = {"protocolVersion": NEWEST_HANDSHAKE, "capabilities": {}, "clientInfo": client}
        question = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        headers = {"Authorization": f"Bearer {self._token}"}
        with connect(
            endpoint_url(self.gateway, self.name),
            additional_headers=headers,
            subprotocols=["mcp"],  # type: ignore[list-item]  # a NewType of str
            open_timeout=FIRST_ANSWER,
        ) as link:
            link.send(json.dumps(question))
            while True:
                answer = json.loads(link.recv(FIRST_ANSWER))
                if not isinstance(answer, dict) or answer.get("id") != 1:
                    continue
                if answer.get("method") == "initialize":
                    raise ValueError("it sends back what it is asked, so it is no MCP server")
                if "method" not in answer:
                    return answer

    def _failure(self, words: str) -> CannotWrap:
        lines: list[str] = []
        with contextlib.suppress(ConnectError):
            lines = GatewayClient(self.gateway).call("GET", f"servers/{self.name}").get("stderr") or []
        said = "\n".join(f"    {line}" for line in lines[-STDERR_LINES:])
        tail = f"; the last lines of its stderr:\n{said}" if said else "; it wrote nothing to stderr"
        return CannotWrap(f"{self._command[0]} does not serve: {words}{tail}\n{ADVICE}", 1)

    def lines(self) -> Iterator[str]:
        """How to connect to it."""
        url = endpoint_url(self.gateway, self.name)
        yield f"server     {self.name}"
        yield f"websocket  {url}"
        yield f"http       http{url.removeprefix('ws')}"
        yield f"page       {self.gateway.url}mcp-ws/?token={self._token}"
        yield f"token      {self._token}"
        for ides, entry in grouped_entries(self.name, self.gateway.url, self._token):
            yield f"\n{', '.join(ides)}:"
            yield json.dumps(entry, indent=2)


def server_name(command: Sequence[str]) -> str:
    """A name for the server: of the program, or of what a launcher runs."""
    words = [os.path.basename(command[0])]
    if LAUNCHERS.fullmatch(words[0]) and not {"-c", "-e"} & set(command):
        words = [os.path.basename(word) for word in command[1:] if not word.startswith("-")] or words
    stem = re.sub(r"\.(py|js|mjs|ts|sh|exe)$", "", words[0])
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.")[:60] or "server"


def _found(command: str) -> str:
    path = shutil.which(command)
    if path is not None:
        return os.path.abspath(path)
    if os.path.dirname(command) and os.path.isfile(command):
        raise CannotWrap(f"{command} is not executable", 2)
    raise CannotWrap(f"command not found: {command}", 2)


def _is_plain(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is not None and not name.startswith(PREFIX)


def _locked(home: Path) -> BinaryIO:
    """The lock of a new directory; it gets its name when it is held, so that nobody takes it for a stale one's."""
    nameless = home / f"{LOCK}.new"
    lock = nameless.open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    nameless.rename(home / LOCK)
    return lock


def _remove_stale() -> None:
    """Remove what earlier ones left that were killed: their directories, which nobody locks any more."""
    for home in Path(tempfile.gettempdir()).glob(f"{HOME_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, in use, or just being made or removed
            if home.is_symlink() or home.stat().st_uid != os.getuid():
                continue
            with (home / LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(home)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_with_parent(parent: int) -> None:
    """In the child: the kernel ends it should we be killed; who was killed before that is seen to be gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C does not interrupt the cleaning up, which is bounded."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before: Mapping[int, Any] = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def announce(private: PrivateGateway, who: str) -> None:
    """Say on standard error how to connect; what passes goes to standard output."""
    for line in private.lines():
        print("\n".join(visible(part) for part in line.split("\n")), file=sys.stderr)
    print(f"\n{visible(who)}\n", file=sys.stderr, flush=True)

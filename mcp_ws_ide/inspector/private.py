"""``mcp-ws-inspect -- COMMAND ARGS``: one server behind a private gateway that lives as long as the inspector.

The gateway is a Jupyter server with only this extension, a child of this process: on a free port of the loopback
interface, with a random token and its configuration in a temporary directory. When this process ends for any reason,
the gateway ends, and with it the server. The directory of a killed inspector is removed by the next one that starts.

Command, arguments and environment are passed to the gateway as environment variables: they are not written to disk,
and ``${…}`` in them is not expanded. The server gets the same variables as a server of Jupyter would
(:func:`~mcp_ws_ide.config.environment.inherited`), so that what works here works there.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
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
import threading
import time
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import quote

from jupyter_core.paths import jupyter_runtime_dir
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import connect

from mcp_ws_ide.config.environment import MAX_NAMED, inherited, withheld
from mcp_ws_ide.core.messages import NEWEST_HANDSHAKE
from mcp_ws_ide.discovery import RunningGateway, endpoint_url, text_of_file
from mcp_ws_ide.errors import ConnectError, UnusableArgumentError
from mcp_ws_ide.ide_entries import grouped_entries
from mcp_ws_ide.inspector.recording import create_private
from mcp_ws_ide.private_files import write_private
from mcp_ws_ide.rest_client import GatewayClient
from mcp_ws_ide.sanitise import visible

START: Final = 90.0
"""Seconds that the gateway may take to start."""
FIRST_ANSWER: Final = 15.0
"""Seconds to wait for the server's first response; a server that takes longer continues to load."""
STOP: Final = 10.0
"""Seconds that the gateway may take to end its server and exit."""
STDERR_LINES: Final = 20
HOME_PREFIX: Final = "mcp-ws-inspect-"
LOCK: Final = "lock"
"""A file in the gateway's directory that is locked while the directory is in use."""
PREFIX: Final = "MCP_WS_WRAPPED_"
LAUNCHERS: Final = re.compile(r"(python[\d.]*|node|deno|bun|npx|bunx|uvx?|pipx|sh|bash)(\.exe)?$")
"""Commands that run another program; the server is named after that program."""
JUPYTER: Final = (
    "import sys; sys.modules['rfc3987_syntax'] = None; from jupyter_server.serverapp import main; main()"
)
"""Starts Jupyter without the grammar of IRIs, which jsonschema compiles at import and which takes more than half of the
start time; no schema of Jupyter's events needs it."""
ADVICE: Final = (
    "COMMAND after -- must start an MCP server that uses stdin and stdout, for example: "
    "mcp-ws-inspect -- python my_server.py"
)
LEAST_TOKEN: Final = 16
"""Characters of the shortest token that may be given."""
PR_SET_PDEATHSIG: Final = 1


class CannotWrapError(Exception):
    """The command cannot be run, or its server does not speak MCP; the text says why.

    Attributes:
        code: the exit code.
    """

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class PrivateGateway:
    """A gateway with one server; use it as a context manager.

    Args:
        command: the command of the server and its arguments.
        name: name of the server; None for one that follows from its program.
        port: port of the gateway; None for a free one.
        env_vars: names of variables to pass on, with ``*`` for any characters.
        token: the gateway's token; None for a new one.
        found: whether it is among the running gateways that other commands find.

    Raises:
        CannotWrapError: the command does not exist, or the gateway does not start.
    """

    def __init__(
        self,
        command: Sequence[str],
        name: str | None = None,
        port: int | None = None,
        env_vars: Sequence[str] = (),
        token: str | None = None,
        found: bool = False,
    ) -> None:
        self._env_vars = env_vars
        self._found = found
        self.name = name or server_name(command)
        self._command = [_found(command[0]), *command[1:]]
        if port and not _is_free(port):
            raise CannotWrapError(
                f"port {port} is in use; choose another one with --port, or leave it out", 2
            )
        self._port = port or _free_port()
        self._token = token or secrets.token_urlsafe(24)
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
                    pass_fds=[lock.fileno()],  # held until both processes have exited
                    start_new_session=True,  # Ctrl-C goes to the inspector, which ends the gateway in order
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
        """Write the configuration; return the gateway's environment."""
        passed = {f"{PREFIX}ARG_{number}": text for number, text in enumerate(self._command)}
        command, *arguments = (f"${{env:{name}}}" for name in passed)
        child = inherited(os.environ, self._env_vars)
        variables = {name: f"${{env:{PREFIX}ENV_{name}}}" for name in child if _is_plain(name)}
        passed |= {f"{PREFIX}ENV_{name}": os.environ[name] for name in variables}
        variables.setdefault(
            "TMPDIR", tempfile.gettempdir()
        )  # the gateway's own TMPDIR is removed at the end
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
        runtime = jupyter_runtime_dir() if self._found else str(home / "runtime")
        places = {"JUPYTER_RUNTIME_DIR": runtime, "JUPYTER_DATA_DIR": str(home / "data")}
        # Only this configuration; Jupyter creates an empty configuration directory in TMPDIR.
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
        raise CannotWrapError(f"the gateway did not start; the end of its log:\n{tail}", 1)

    def _stop(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            process.kill()  # its supervisor then ends the server
            process.wait(STOP)

    # --- the server ---------------------------------------------------------------------------------

    def greet(self) -> str:
        """Send ``initialize`` to the server; return one line about its response, or that there is none yet.

        Raises:
            CannotWrapError: it exited or does not speak MCP; with the last lines of its stderr.
        """
        try:
            answer = self._initialize()
        except TimeoutError:
            return f"no response within {FIRST_ANSWER:g} s; the server may still be loading, or not be an MCP server"
        except (ConnectionClosed, InvalidStatus, WebSocketException, OSError, ValueError) as error:
            raise self._failure(str(error)) from None
        if "error" in answer:
            refusal = answer["error"]
            raise self._failure(str(refusal.get("message") if isinstance(refusal, dict) else refusal))
        result = answer.get("result")
        info = result.get("serverInfo") if isinstance(result, dict) else None
        known = info if isinstance(info, dict) else {}
        who = " ".join(str(known.get(key) or "") for key in ("name", "version")).strip()
        return f"connected to {who}" if who else "the server responds"

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
            proxy=None,
        ) as link:
            link.send(json.dumps(question))
            while True:
                answer = json.loads(link.recv(FIRST_ANSWER))
                if isinstance(answer, dict) and answer.get("id") == 1 and "method" not in answer:
                    return answer

    def _failure(self, detail: str) -> CannotWrapError:
        lines: list[str] = []
        with contextlib.suppress(ConnectError):
            lines = GatewayClient(self.gateway).call("GET", f"servers/{self.name}").get("stderr") or []
        said = "\n".join(f"    {line}" for line in lines[-STDERR_LINES:])
        tail = f"; the last lines of its stderr:\n{said}" if said else "; it wrote nothing to stderr"
        return CannotWrapError(f"{self._command[0]} is not a working MCP server: {detail}{tail}\n{ADVICE}", 1)

    @property
    def _page(self) -> str:
        """The address of the page at this server, with the token."""
        return f"{self.gateway.url}mcp-ws/?token={self._token}#/server/{quote(self.name, safe='')}"

    def open_page(self) -> bool:
        """Open the page in a browser; return whether there is one.

        The browser gets the name of a file that only this user may read, as Jupyter's own start does: others can see
        the arguments of a program, and the address holds the token.
        """
        try:
            browser = webbrowser.get()
        except webbrowser.Error:
            return False
        file = Path(jupyter_runtime_dir()) / f"{HOME_PREFIX}{os.getpid()}.html"
        self._stack.callback(file.unlink, missing_ok=True)
        write_private(file, f'<meta http-equiv="refresh" content="0; url={escape(self._page)}">'.encode())
        # Some browsers are waited for.
        threading.Thread(target=browser.open, args=(file.as_uri(),), daemon=True).start()
        return True

    def lines(self) -> Iterator[str]:
        """Yield lines that tell how to connect to the server."""
        url = endpoint_url(self.gateway, self.name)
        yield f"server     {self.name}"
        yield f"websocket  {url}"
        yield f"http       http{url.removeprefix('ws')}"
        yield f"page       {self._page}"
        yield f"token      {self._token}"
        if missing := withheld(os.environ, inherited(os.environ, self._env_vars)):
            yield f"\nnot passed on: {', '.join(missing[:MAX_NAMED])}{' …' if missing[MAX_NAMED:] else ''}"
            yield '(--env-vars NAME passes a variable on, as "env_vars" does in an entry of mcp.json)'
        for ides, entry in grouped_entries(self.name, self.gateway.url, self._token):
            yield f"\n{', '.join(ides)}:"
            yield json.dumps(entry, indent=2)


def kept_token(path: str) -> str:
    """Return the token in a file; a file that does not exist is written with a new one, for its owner only.

    Raises:
        UnusableArgumentError: the file cannot be read, or its token is too short to be safe.
        RecordingError: the file cannot be written.
    """
    if not os.path.exists(path):
        with open(create_private(path, overwrite=False), "w", encoding="ascii") as file:
            file.write(f"{secrets.token_urlsafe(24)}\n")
    token = text_of_file(path, "token file").strip()
    if len(token) < LEAST_TOKEN or not re.fullmatch(r"[A-Za-z0-9._~-]+", token):
        raise UnusableArgumentError(
            f"the token file {path} must have at least {LEAST_TOKEN} letters, digits, or . _ ~ - on one line"
        )
    return token


def server_name(command: Sequence[str]) -> str:
    """Return a name for the server, from its program or from the program that a launcher runs."""
    detail = [os.path.basename(command[0])]
    if LAUNCHERS.fullmatch(detail[0]) and not {"-c", "-e"} & set(command):
        detail = [os.path.basename(word) for word in command[1:] if not word.startswith("-")] or detail
    stem = re.sub(r"\.(py|js|mjs|ts|sh|exe)$", "", detail[0])
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.")[:60] or "server"


def _found(command: str) -> str:
    path = shutil.which(command)
    if path is not None:
        return os.path.abspath(path)
    if os.path.dirname(command) and os.path.isfile(command):
        raise CannotWrapError(f"{command!r} is not executable; check its permissions", 2)
    raise CannotWrapError(f"command not found: {command!r}; install it, or give its full path", 2)


def _is_plain(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is not None and not name.startswith(PREFIX)


def _locked(home: Path) -> BinaryIO:
    """Create the lock of a new directory; it is renamed once it is held, so that it is never taken for a stale one."""
    nameless = home / f"{LOCK}.new"
    lock = nameless.open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    nameless.rename(home / LOCK)
    return lock


def _remove_stale() -> None:
    """Remove the directories of killed inspectors, which nothing locks any more."""
    for home in Path(tempfile.gettempdir()).glob(f"{HOME_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, in use, or just being created or removed
            if home.is_symlink() or home.stat().st_uid != os.getuid():
                continue
            with (home / LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(home)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Jupyter does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_with_parent(parent: int) -> None:
    """In the child: have the kernel end it when the parent dies; exit if the parent is dead already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore a second Ctrl-C during the cleanup, which is bounded."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before: Mapping[int, Any] = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def announce(private: PrivateGateway, who: str) -> None:
    """Print on stderr how to connect; traffic goes to stdout."""
    for line in private.lines():
        print("\n".join(visible(part) for part in line.split("\n")), file=sys.stderr)
    print(f"\n{visible(who)}\n", file=sys.stderr, flush=True)

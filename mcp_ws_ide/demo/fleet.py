"""``make fleet``: start Redis, three gateways and HAProxy on this machine, and print how to use them.

Needs the programs ``redis-server`` and ``haproxy``. The gateways and HAProxy run with the files of ``deploy/``. Prints
the URL of the page and of the endpoint behind HAProxy, and of each gateway; SIGTERM and Ctrl-C end everything.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Final

from mcp_ws_ide.engines.keys import load_sealer

GATEWAYS: Final = 3
START_SECONDS: Final = 60.0
"""Seconds that everything may take to start."""
STOP_SECONDS: Final = 15.0
"""Seconds that a program may take to end before it is killed."""
LOOK_SECONDS: Final = 0.1
"""Seconds between two looks whether something has started."""
LOG_LINES: Final = 20
"""Lines of a log that an error shows."""
NEEDED: Final = ("redis-server", "haproxy")
"""Programs, which Debian's packages of the same names contain."""


class CannotStartError(Exception):
    """Something does not start; the text says what, and why."""


class LocalFleet:
    """The programs of one fleet.

    Args:
        deploy: the folder with ``haproxy.cfg`` and ``jupyter_server_config.py``.
        folder: for data and logs.
        port: of HAProxy; 0 for any.
        token: Jupyter's token.

    Attributes:
        gateways: the URLs of the gateways.
        url: the URL of HAProxy.
    """

    def __init__(self, deploy: Path, folder: Path, port: int, token: str) -> None:
        self._deploy, self._folder = deploy, folder
        self._token = token
        redis, outside, *ports = _free_ports(2 + GATEWAYS)
        self._redis, self._port = redis, port or outside
        self._ports = ports
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.gateways = [f"http://127.0.0.1:{number}/" for number in ports]
        self.url = f"http://127.0.0.1:{self._port}/"

    @property
    def pids(self) -> dict[str, int]:
        """The process ids, by name."""
        return {name: process.pid for name, process in self._processes.items()}

    def start(self) -> None:
        """Start everything, and wait until HAProxy passes requests on.

        Raises:
            CannotStartError: a program is missing, or ends.
        """
        missing = [name for name in NEEDED if not _program(name)]
        if missing:
            raise CannotStartError(
                f"{' and '.join(missing)} are missing: apt-get install {' '.join(missing)}"
            )
        self._start_redis()
        load_sealer(self._folder / "session-keys.json")
        for number in range(GATEWAYS):
            self.start_gateway(number)
        addresses = {f"GATEWAY{n}": f"127.0.0.1:{port}" for n, port in enumerate(self._ports, 1)}
        environment = {**addresses, "PORT": str(self._port), "SOCKET": str(self.socket)}
        self._run("haproxy", [_program("haproxy"), "-f", str(self._deploy / "haproxy.cfg")], environment)
        for url in [*self.gateways, self.url]:
            self._wait(url)

    @property
    def socket(self) -> Path:
        """Where HAProxy takes commands."""
        return self._folder / "haproxy.sock"

    def _start_redis(self) -> None:
        where = ["--bind", "127.0.0.1", "--port", str(self._redis), "--dir", str(self._folder)]
        kept = ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
        self._run("redis", [_program("redis-server"), *where, *kept], {})

    def start_gateway(self, number: int) -> None:
        """Start one gateway, also again."""
        home = self._folder / f"gateway{number + 1}"
        home.mkdir(exist_ok=True)
        environment = {
            "JUPYTER_TOKEN": self._token,
            "JUPYTER_DATA_DIR": str(home),
            "JUPYTER_RUNTIME_DIR": str(home),
            "MCP_WS_LISTEN": "127.0.0.1",
            "MCP_WS_PORT": str(self._ports[number]),
            "MCP_WS_PEER": "127.0.0.1:0",
            "MCP_WS_ENGINE": f"redis://127.0.0.1:{self._redis}",
            "MCP_WS_KEYS_FILE": str(self._folder / "session-keys.json"),
            "MCP_WS_SERVERS_FILE": str(self._deploy / "mcp.json"),
            "MCP_WS_ALLOW_ROOT": "1" if os.geteuid() == 0 else "0",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # deploy/mcp.json runs "python"
        }
        config = f"--config={self._deploy / 'jupyter_server_config.py'}"
        self._run(f"gateway{number + 1}", [sys.executable, "-m", "jupyter_server", config], environment)

    def _run(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        """Run a program in a process group of its own, which Ctrl-C does not reach."""
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def _wait(self, url: str) -> None:
        """Wait until a gateway accepts sessions."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if _accepts(url):
                return
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise CannotStartError(f"{name} has ended:\n{self._end_of_log(name)}")
            time.sleep(LOOK_SECONDS)
        logs = "\n".join(self._end_of_log(name) for name in self._processes)
        raise CannotStartError(f"{url} does not accept sessions within {START_SECONDS:g} s:\n{logs}")

    def _end_of_log(self, name: str) -> str:
        """Return the last lines that a program has written."""
        lines = (self._folder / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_LINES:])

    def stop(self) -> None:
        """End everything: HAProxy, then the gateways, then Redis."""
        gateways = [name for name in self._processes if name.startswith("gateway")]
        for names in (["haproxy"], gateways, ["redis"]):
            ending = [self._processes.pop(name) for name in names if name in self._processes]
            for process in ending:
                process.send_signal(signal.SIGTERM)
            for process in ending:
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _accepts(url: str) -> bool:
    """Return whether a gateway accepts sessions."""
    try:
        urllib.request.urlopen(f"{url}mcp-ws/api/ready", timeout=5).close()  # noqa: S310 - on this machine
    except OSError:
        return False
    return True


def _program(name: str) -> str:
    """Return the path of a program; ``""`` if it is not installed."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") or ""


def _free_ports(number: int) -> list[int]:
    """Return ports of loopback that nobody listens at."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def announce(fleet: LocalFleet, folder: Path, token: str) -> None:
    """Print how to use a fleet."""
    inspect = Path(sys.executable).parent / "mcp-ws-inspect"
    print(f"page:      {fleet.url}mcp-ws/?token={token}")
    print(f"websocket: {fleet.url.replace('http', 'ws', 1)}mcp-ws/servers/demo?token={token}")
    for number, url in enumerate(fleet.gateways, 1):
        print(f"gateway{number}:  {url} (process {fleet.pids[f'gateway{number}']})")
    print(f"drain:     JUPYTER_TOKEN={token} {inspect} drain --wait --url {fleet.gateways[0]}")
    print(f"logs:      {folder}", flush=True)


def main(argv: list[str] | None = None) -> int:
    """Run a fleet until a signal ends it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--deploy", type=Path, default=Path("deploy"), help="the folder deploy/ of the sources"
    )
    parser.add_argument("--port", type=int, default=8888, help="port of HAProxy; 0 for any (default 8888)")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    token = os.environ.get("JUPYTER_TOKEN") or secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory(prefix="mcp-ws-ide-fleet-") as name:
        folder = Path(name)
        fleet = LocalFleet(options.deploy.resolve(), folder, options.port, token)
        try:
            fleet.start()
            announce(fleet, folder, token)
            signal.pause()
        except KeyboardInterrupt:
            return 0
        except CannotStartError as error:
            print(f"make fleet: {error}", file=sys.stderr)
            return 1
        finally:
            fleet.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())

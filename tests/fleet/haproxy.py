"""A real HAProxy with ``deploy/haproxy.cfg``: round robin without cookies."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

from tests.conftest import free_port, wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
NAMES = ("gateway1", "gateway2", "gateway3")


class HAProxy:
    """A running HAProxy, told what to do over its socket.

    Args:
        path: of the socket.
        port: where it listens.
    """

    def __init__(self, path: Path, port: int) -> None:
        self._path = path
        self.port = port

    def tell(self, *commands: str) -> str:
        """Have it run commands; return what it answers."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._path))
            connection.sendall(f"{';'.join(commands)}\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def endpoint(self, server: str) -> str:
        return f"ws://127.0.0.1:{self.port}/mcp-ws/servers/{server}"

    def cut(self) -> None:
        """End all connections, as a network failure does."""
        self.tell(*(f"shutdown sessions server gateways/{name}" for name in NAMES))

    def use(self, *places: int) -> None:
        """Give new connections to these gateways only; connections that exist stay."""
        self.tell(
            *(
                f"set server gateways/{name} state {'ready' if place in places else 'maint'}"
                for place, name in enumerate(NAMES)
            )
        )

    def requests(self) -> list[int]:
        """How many requests it has given to each gateway."""
        return [int(count) for count in self._column("stot")]

    def until_up(self, *places: int) -> None:
        """Use all gateways, and wait until its checks have found these ready."""
        self.use(0, 1, 2)
        wait_until(
            lambda: all(self._column("status")[place] == "UP" for place in places), what="HAProxy's checks"
        )

    def _column(self, name: str) -> list[str]:
        names, *rows = [line.split(",") for line in self.tell("show stat").splitlines() if "," in line]
        return [row[names.index(name)] for row in rows if row[1] in NAMES]


class OwnHAProxy(HAProxy):
    """One that the test starts.

    Args:
        folder: for its socket.
        ports: those of the gateways, on loopback.
    """

    def __init__(self, folder: Path, ports: list[int]) -> None:
        program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program is not None, "haproxy is not installed: apt-get install haproxy"
        super().__init__(folder / "haproxy.sock", free_port())
        gateways = {f"GATEWAY{number}": f"127.0.0.1:{port}" for number, port in enumerate(ports, 1)}
        environment = {**os.environ, **gateways, "PORT": str(self.port), "SOCKET": str(self._path)}
        with (folder / "haproxy.log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, "-f", str(DEPLOY / "haproxy.cfg")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        wait_until(self._answers, what="HAProxy")

    def _answers(self) -> bool:
        """Whether it listens: its socket is there before that."""
        assert self.process.poll() is None, "HAProxy does not start"
        try:
            return bool(self.tell("show info"))
        except OSError:
            return False

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

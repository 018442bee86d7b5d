"""Several real Jupyters on one Redis, and clients that reach them through a balancer."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.conftest import Jupyter, wait_until
from tests.fleet.balancer import Balancer
from tests.handlers.test_restart import Patient
from tests.redis_server import RedisServer


class Fleet:
    """Jupyters with the same configuration, keys and engine.

    Args:
        options: further arguments of each.
        environment: further variables of each.

    Attributes:
        prefix: what the names of all keys in Redis begin with.
    """

    def __init__(
        self,
        folder: Path,
        number: int,
        servers: dict[str, Any],
        *options: str,
        environment: dict[str, str] | None = None,
    ) -> None:
        (folder / "redis").mkdir()
        self.redis = RedisServer(folder / "redis", appendonly="yes", appendfsync="always")
        engine = self.redis.address
        self.prefix = engine.partition("prefix=")[2]
        keys = folder / "keys.json"
        self.jupyters: list[Jupyter] = []
        try:
            for place in range(number):
                home = folder / f"jupyter{place}"
                home.mkdir()
                arguments = [
                    f"--MCPWebSocketApp.engine={engine}",
                    f"--MCPWebSocketApp.engine_keys_file={keys}",
                ]
                self.jupyters.append(Jupyter(home, servers, *arguments, *options, environment=environment))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        for jupyter in self.jupyters:
            jupyter.process.send_signal(signal.SIGCONT)
            jupyter.stop()
        self.redis.stop()

    def balancer(self) -> Balancer:
        return Balancer([jupyter.port for jupyter in self.jupyters])

    def sessions(self, place: int) -> list[dict[str, Any]]:
        """The sessions that one Jupyter serves."""
        sessions, own = self.jupyters[place].rest("GET", "sessions")[1]["sessions"], self.instance(place)
        return [one for one in sessions if one["link"] != "group" and one["instance"] == own]

    def instance(self, place: int) -> str:
        """The id of one Jupyter's gateway."""
        (own,) = [one for one in self.instances(place) if one["self"]]
        return own["id"]

    def instances(self, place: int = 0) -> list[dict[str, Any]]:
        """The gateways, as one Jupyter lists them."""
        return self.jupyters[place].rest("GET", "instances")[1]["instances"]

    async def killed(self, place: int) -> None:
        await asyncio.to_thread(self.jupyters[place].kill)

    async def started(self, place: int) -> None:
        await asyncio.to_thread(self.jupyters[place].start)

    async def drained(self, place: int) -> None:
        """Have a gateway drain, and wait until no session is left there that can move."""
        jupyter = self.jupyters[place]

        def drain() -> None:
            assert jupyter.rest("POST", f"instances/{self.instance(place)}/drain")[0] == 202
            wait_until(lambda: all(one["to_drain"] == 0 for one in self.instances(place) if one["self"]))

        await asyncio.to_thread(drain)

    def cut_peers(self, least: int) -> bool:
        """Cut the connections between the gateways, as a failure of the network between them does.

        Args:
            least: do nothing, and return False, while there are fewer. A poll link has none between two polls.
        """
        ports = {int(one["peer"].rpartition(":")[2]) for one in self.instances()}
        with ExitStack() as copies:
            sockets = [
                copies.enter_context(connection)
                for jupyter in self.jupyters
                for connection in sockets_of(jupyter.process.pid)
            ]
            peers = [connection for connection in sockets if remote_port(connection) in ports]
            if len(peers) < least:
                return False
            for connection in peers:
                connection.shutdown(socket.SHUT_RDWR)
            return True

    @contextmanager
    def silenced(self, place: int) -> Iterator[None]:
        """Suspend a gateway within the block without the end of its lease, however long a busy machine takes."""
        lease = f"{self.prefix}instance:{self.instance(place)}"
        self.suspend(place)
        try:
            while b":1" not in self.redis.ask("PERSIST", lease):  # it had ended before: the disk was slow
                self.wake(place)
                wait_until(lambda: b":1" in self.redis.ask("EXISTS", lease), what="the lease of a gateway")
                self.suspend(place)
            yield
        finally:
            self.wake(place)

    def hold_lease(self, place: int) -> None:
        """Keep the lease of a gateway for a minute, or until it renews it, however long a busy machine takes."""
        lease = f"{self.prefix}instance:{self.instance(place)}"
        while b":1" not in self.redis.ask("PEXPIRE", lease, "60000"):
            wait_until(lambda: b":1" in self.redis.ask("EXISTS", lease), what="the lease of a gateway")

    def suspend(self, place: int) -> None:
        self.jupyters[place].process.send_signal(signal.SIGSTOP)

    def wake(self, place: int) -> None:
        self.jupyters[place].process.send_signal(signal.SIGCONT)


PIDFD_GETFD = 438
"""Number of the system call (Linux, all architectures)."""


def sockets_of(pid: int) -> Iterator[socket.socket]:
    """The TCP sockets of a process, each as a copy."""
    system = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(pid)
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                    copy = system.syscall(PIDFD_GETFD, process, int(name), 0)
                    if copy >= 0:
                        yield socket.socket(fileno=copy)
    finally:
        os.close(process)


def remote_port(connection: socket.socket) -> int:
    """The port at the other end; 0 if there is none."""
    try:
        return connection.getpeername()[1] if connection.family == socket.AF_INET else 0
    except OSError:
        return 0


@asynccontextmanager
async def caller(
    balancer: Balancer, token: str, server: str = "fast", *, legacy: bool = False
) -> AsyncIterator[Patient]:
    """A client on raw streams that reaches whatever gateway the balancer gives it."""
    async with Patient(balancer.endpoint(server), token, 1, legacy) as one:
        yield one

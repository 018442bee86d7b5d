"""A real Redis server for tests: Debian's ``redis-server``. Where it is missing, the tests fail."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.conftest import BOUND, free_port, wait_until

PROGRAM = "redis-server"
_prefixes = itertools.count()


class RedisServer:
    """One server on loopback, with its data in a directory.

    Args:
        options: of its configuration, such as ``maxmemory-policy="allkeys-lru"``; underscores are hyphens.
    """

    def __init__(self, directory: Path, **options: str) -> None:
        assert shutil.which(PROGRAM), "redis-server is not installed: apt-get install redis-server"
        self.directory = directory
        self.port = free_port()
        self.options = {"save": "", "appendonly": "no", **options}
        self.password = options.get("requirepass", "")
        self.start()

    @property
    def address(self) -> str:
        """The address of the server, with a prefix that no other test uses."""
        return f"redis://127.0.0.1:{self.port}?prefix=test{next(_prefixes)}:"

    def start(self) -> None:
        """Start it, also again: with the data on its disk."""
        arguments = [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        for name, value in self.options.items():
            arguments += [f"--{name.replace('_', '-')}", value]
        log = (self.directory / "redis.log").open("ab")
        with log:
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self._answers, what="the start of redis-server")

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.directory / "redis.log").read_text()[-2000:]
        with contextlib.suppress(OSError):
            return not self.ask("PING").startswith(b"-LOADING")
        return False

    def ask(self, *command: Any) -> bytes:
        """Send one command; return the reply as it is on the wire, if it fits into one read."""
        with socket.create_connection(("127.0.0.1", self.port), BOUND) as connection:
            if self.password and command[0] != "AUTH":
                connection.sendall(_packed("AUTH", self.password))
                connection.recv(100)
            connection.sendall(_packed(*command))
            return connection.recv(1 << 20)

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        self.process.kill()
        self.process.wait(BOUND)

    def lose_everything(self) -> None:
        """Kill it, and start it again empty."""
        self.kill()
        for path in self.directory.iterdir():
            if path.name != "redis.log":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.start()

    @contextlib.contextmanager
    def suspended(self) -> Any:
        """Let it do nothing within the block, while connections are accepted and stay open."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.kill()


def _packed(*command: Any) -> bytes:
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in command]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)

"""A real HAProxy on loopback, in front of one server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

from tests.conftest import free_port, wait_until
from tests.programs import need


class HAProxy:
    """One HAProxy.

    Args:
        settings: lines of its defaults section, such as ``timeout tunnel 3s``.
        rules: lines of its frontend.
        port: of the server behind it.
        folder: for its file.
    """

    def __init__(self, settings: str, rules: str, port: int, folder: Path) -> None:
        program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
        need(program, "haproxy")
        self.port = free_port()
        file = folder / "haproxy.cfg"
        file.write_text(
            f"defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n{settings}\n"
            f"frontend outside\n bind 127.0.0.1:{self.port}\n{rules}\n default_backend inside\n"
            f"backend inside\n server jupyter 127.0.0.1:{port}\n"
        )
        self.process = subprocess.Popen(
            [program, "-f", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def listens() -> bool:
            assert self.process.poll() is None, "HAProxy does not start"
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        wait_until(listens, what="HAProxy")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

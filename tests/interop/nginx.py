"""A real nginx on loopback, with the http block a test gives."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Final

from tests.conftest import Jupyter, free_port, wait_until
from tests.handlers.test_tls import Certificates
from tests.programs import need

CONFIGURATION: Final = Path(__file__).parents[2] / "docs" / "operate" / "nginx.conf"


def documented(jupyter: Jupyter, certificates: Certificates) -> str:
    """docs/operate/nginx.conf with the ports and certificates of a test, on two addresses of loopback."""
    served = CONFIGURATION.read_text()
    for there, here in (
        ("listen 443 ssl", "listen 127.0.0.1:PORT ssl; listen 127.0.0.2:PORT ssl"),
        ("/etc/ssl/jupyter.pem", str(certificates.chain)),
        ("/etc/ssl/jupyter.key", str(certificates.key)),
        ("127.0.0.1:8888", f"127.0.0.1:{jupyter.port}"),
    ):
        assert there in served
        served = served.replace(there, here)
    return served


class Nginx:
    """One nginx; can be restarted, as operators do.

    Args:
        served: what stands in its http block; ``PORT`` is replaced by the port it listens on.
        folder: for its files.

    Attributes:
        log: of its requests, as nginx writes it by default.
    """

    def __init__(self, served: str, folder: Path) -> None:
        self.program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        need(self.program, "nginx")
        self.port = free_port()
        temporary = "".join(
            f"{name}_temp_path {folder}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        self.file, self.log = folder / "nginx.conf", folder / "access.log"
        self.file.write_text(
            f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\n"
            f"events {{}}\nhttp {{ access_log {self.log}; {temporary}\n{served.replace('PORT', str(self.port))}\n}}"
        )
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.program, "-c", str(self.file)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

        def listens() -> bool:
            assert self.process.poll() is None, (self.file.parent / "error.log").read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        wait_until(listens, what="nginx")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

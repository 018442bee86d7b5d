"""Jupyter on a Unix socket (``--sock``) has no address for MCP clients: every command reports that, and none invents an address."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mcp_ws_ide.client import ConnectError, connect
from mcp_ws_ide.discovery import find_gateway
from tests.conftest import BOUND, FAST_SERVER, wait_until

TOKEN = "test-token-0123456789"


class OnSocket:
    """A Jupyter server on a socket, and the environment for commands beside it."""

    def __init__(self, home: Path) -> None:
        configuration = home / "mcp.json"
        configuration.write_text(json.dumps({"mcpServers": {"fast": FAST_SERVER}}))
        self.path = home / "s"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")},
            "HOME": str(home),
            **{f"JUPYTER_{kind}_DIR": str(home / kind) for kind in ("RUNTIME", "DATA", "CONFIG")},
        }
        self.log = home / "log"
        command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root"]
        options = [f"--sock={self.path}", f"--ServerApp.root_dir={home}"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *options, f"--MCPWebSocketApp.server_files={configuration}"],
                env={**self.environment, "JUPYTER_TOKEN": TOKEN},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.path)), headers={"Authorization": f"token {TOKEN}"}
        )
        wait_until(self._answers, what="Jupyter's start")

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        if not self._listens():
            return False
        with contextlib.suppress(httpx.HTTPError):
            answer = self.http.get("http://localhost/mcp-ws/api/health")
            return answer.status_code == 200 and bool(list(self.path.parent.glob("RUNTIME/jpserver-*.json")))
        return False

    def _listens(self) -> bool:
        """Ask first: httpx does not close a socket that cannot connect."""
        with socket.socket(socket.AF_UNIX) as attempt:
            return attempt.connect_ex(str(self.path)) == 0

    def stop(self) -> None:
        self.http.close()
        self.process.terminate()
        self.process.wait(BOUND)

    def run(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"mcp_ws_ide.{module}", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BOUND,
            check=False,
        )


@pytest.fixture(scope="module")
def on_socket(tmp_path_factory) -> Iterator[OnSocket]:
    running = OnSocket(tmp_path_factory.mktemp("sock"))
    yield running
    running.stop()


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("client.shim", ["fast"]),
        ("client.shim", ["config", "vscode", "fast"]),
        ("inspector.cli", ["servers"]),
        ("inspector.cli", ["tail"]),
    ],
)
def test_commands_report_that_a_port_is_needed(on_socket, module, arguments):
    done = on_socket.run(module, *arguments)
    assert done.returncode == 1
    assert f"only on the Unix socket {on_socket.path}" in done.stderr
    assert "TCP port" in done.stderr


def test_the_client_reports_that_a_port_is_needed(on_socket):
    record = json.loads(next(on_socket.path.parent.glob("RUNTIME/jpserver-*.json")).read_text())
    with pytest.raises(ConnectError, match="TCP port"):
        connect("fast", url=record["url"])


def test_a_server_with_a_port_is_found_before_a_newer_one_on_a_socket(tmp_path, monkeypatch):
    for number, url in enumerate(("http://127.0.0.1:8888/", "http+unix://%2Ftmp%2Fs/")):
        record = tmp_path / f"jpserver-{number}.json"
        record.write_text(json.dumps({"url": url, "token": "", "pid": os.getpid()}))
        os.utime(record, (number, number))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    assert find_gateway(environ={}).url == "http://127.0.0.1:8888/"


@pytest.mark.parametrize(
    ("asked_at", "headers", "address"),
    [
        ("localhost", {}, None),
        ("localhost:8888", {}, "http://localhost:8888/mcp-ws/servers/fast"),  # as through ssh -L
        ("localhost", {"X-Forwarded-For": "10.0.0.1"}, "http://localhost/mcp-ws/servers/fast"),
    ],
)
def test_an_entry_is_given_only_if_a_proxy_is_in_front_of_the_socket(on_socket, asked_at, headers, address):
    tokens = len(on_socket.http.get("http://localhost/mcp-ws/api/tokens").json()["tokens"])
    answer = on_socket.http.post(
        "http://localhost/mcp-ws/api/servers/fast/entry",
        json={"ide": "vscode"},
        headers={"Host": asked_at, **headers},
    )
    if address is None:
        assert (answer.status_code, "--sock" in answer.json()["message"]) == (409, True)
        assert len(on_socket.http.get("http://localhost/mcp-ws/api/tokens").json()["tokens"]) == tokens
    else:
        assert answer.json()["servers"]["fast"]["url"] == address

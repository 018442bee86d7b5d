"""An installation that does not fit what the package declares says what is missing, everywhere people look."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from mcp_ws_ide import installation
from tests.conftest import BOUND, Jupyter, wait_until

REASON = re.compile(
    r"mcp-ws-ide \S+ cannot be loaded: No module named 'websockets\.\w+'; websockets 14\.2 is installed, "
    r"websockets>=15 is needed; run: \S*python\S* -m pip install 'websockets>=15'"
)
INSPECT = "import sys; from mcp_ws_ide.scripts import inspect; sys.exit(inspect())"
CONNECT = "import sys; from mcp_ws_ide.scripts import connect; sys.exit(connect())"


class WithoutExtension(Jupyter):
    """A Jupyter server whose extension does not load. It imports everything itself: that is what fails."""

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "jupyter_server", *self.arguments]
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
            )

    def wait_ready(self) -> None:
        def answers() -> bool:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            with contextlib.suppress(OSError):
                return self.request("GET", "api", headers=self.credential)[0] == 200
            return False

        wait_until(answers, what="Jupyter's start")

    @property
    def credential(self) -> dict[str, str]:
        return {"Authorization": f"token {self.token}"}


@pytest.fixture(scope="module")
def old_websockets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables with which Python finds an old websockets, and none of what the package imports of it."""
    folder = tmp_path_factory.mktemp("old")
    (folder / "websockets").mkdir()
    (folder / "websockets" / "__init__.py").write_text("")
    record = folder / "websockets-14.2.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: websockets\nVersion: 14.2\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ["PYTHONPATH"]])}


@pytest.fixture(scope="module")
def jupyter(
    tmp_path_factory: pytest.TempPathFactory, old_websockets: dict[str, str]
) -> Iterator[WithoutExtension]:
    home = tmp_path_factory.mktemp("home")
    server = WithoutExtension(home, {}, environment=old_websockets)
    yield server
    server.stop()


def run(code: str, *arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND, check=False, env=environment,
    )  # fmt: skip


def test_jupyter_logs_one_line_that_names_package_versions_and_cure(jupyter):
    lines = [
        line for line in jupyter.log.read_text().splitlines() if line.startswith("[E") and REASON.search(line)
    ]
    assert len(lines) == 1, jupyter.log.read_text()
    assert "extension was successfully loaded" not in "".join(
        line for line in jupyter.log.read_text().splitlines() if "mcp_ws_ide" in line
    )


@pytest.mark.parametrize("path", ["mcp-ws", "mcp-ws/", "mcp-ws/api/servers", "mcp-ws/servers/demo"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_every_address_of_the_gateway_answers_with_the_reason(jupyter, method, path):
    status, _, body = jupyter.request(method, path, {} if method == "POST" else None, jupyter.credential)
    assert status == 503
    assert REASON.search(body.decode()), body


def test_the_reason_is_told_only_to_who_has_a_credential(jupyter):
    status, _, body = jupyter.request("GET", "mcp-ws/api/servers")
    assert status == 503
    assert b"websockets" not in body


async def test_a_websocket_client_is_refused_with_the_reason(jupyter):
    url = f"{jupyter.url.replace('http', 'ws', 1)}mcp-ws/servers/demo"
    with pytest.raises(InvalidStatus) as refused:
        async with asyncio.timeout(BOUND), connect(url, additional_headers=jupyter.credential):
            pass
    assert refused.value.response.status_code == 503
    assert REASON.search(bytes(refused.value.response.body or b"").decode())


@pytest.mark.parametrize(("code", "argument"), [(INSPECT, "servers"), (CONNECT, "demo")])
def test_the_commands_show_the_reason_of_the_gateway(jupyter, code, argument):
    environment = {**os.environ, "JUPYTER_SERVER_URL": jupyter.url, "JUPYTER_TOKEN": jupyter.token}
    done = run(code, argument, environment=environment)
    assert done.returncode != 0
    assert "503" in done.stderr, done.stderr
    assert REASON.search(done.stderr), done.stderr


@pytest.mark.parametrize("code", [INSPECT, CONNECT])
def test_a_command_that_cannot_be_imported_prints_one_line(old_websockets, code):
    done = run(code, "servers", environment={**os.environ, **old_websockets})
    assert done.returncode == 1
    assert REASON.fullmatch(done.stderr.strip()), done.stderr


def test_jupyters_list_of_extensions_shows_the_reason(old_websockets, tmp_path):
    program = Path(sys.executable).with_name("jupyter")
    environment = {**os.environ, **old_websockets, "HOME": str(tmp_path)}
    done = subprocess.run(
        [program, "server", "extension", "list"], capture_output=True, text=True, check=True, env=environment
    )
    assert REASON.search(done.stdout + done.stderr), done.stdout


def test_a_package_that_meets_its_bound_and_fails_is_named_with_its_version():
    error = ImportError("cannot import name 'X' from 'websockets.frames'", name="websockets.frames")
    line = installation.explain(error)
    assert re.search(r"cannot import name 'X'.*; websockets \d\S* is installed; run: .* --upgrade", line), (
        line
    )


def test_this_environment_meets_every_requirement():
    assert installation.warning() is None

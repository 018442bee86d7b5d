"""The demo on Binder: what repo2docker makes of it, and the same scripts run in a fresh environment."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import OUTSIDE, free_port, wait_until

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.binder]


class Fresh:
    """An environment with the packages of environment.yml, after postBuild."""

    def __init__(self, home: Path) -> None:
        self.bin = home / "environment" / "bin"
        self.home = home
        self.repository = home / "repository"
        self.environment = {
            **{
                k: v
                for k, v in os.environ.items()
                if not k.startswith(("JUPYTER", "PYTHON", "VIRTUAL_ENV", "SSL_CERT_FILE"))
            },
            **OUTSIDE,
            "HOME": str(home),
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "JUPYTER_TOKEN": "binder-test-token",
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        }
        venv.create(home / "environment", with_pip=True)
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.repository)], check=True)
        asked = re.findall(r"^      - (.*)$", (self.repository / "binder/environment.yml").read_text(), re.M)
        self.run("python", "-m", "pip", "install", "--quiet", "jupyter-repo2docker", *asked)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.repository,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.home / "lab.log").open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=self.repository,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Iterator[Fresh]:
    yield Fresh(tmp_path_factory.mktemp("binder"))


def test_repo2docker_takes_environment_build_and_start(fresh):
    dockerfile = fresh.run("jupyter-repo2docker", "--no-build", "--debug", ".")
    assert "binder/environment.yml" in dockerfile
    assert "RUN ./binder/postBuild" in dockerfile
    assert 'R2D_ENTRYPOINT="${REPO_DIR}/binder/start"' in dockerfile


async def test_the_notebook_connects_calls_and_survives_a_cut(fresh):
    fresh.run("binder/postBuild")
    assert "mcp_ws_ide" in fresh.run("jupyter", "server", "extension", "list")
    workspaces = fresh.run("jupyter", "lab", "workspaces", "export")
    assert {"notebook:binder/demo.ipynb", "terminal:1"} <= set(json.loads(workspaces)["data"])
    port = free_port()
    command = ["binder/start", "jupyter", "lab", "--no-browser", "--allow-root", f"--ServerApp.port={port}"]
    lab = fresh.start(*command, "--ServerApp.ip=127.0.0.1")
    try:
        runtime = Path(fresh.environment["JUPYTER_RUNTIME_DIR"])
        await asyncio.to_thread(wait_until, lambda: list(runtime.glob("jpserver-*.json")), 60, "Jupyter")
        await asyncio.to_thread(fresh.run, "jupyter", "execute", "--output=done.ipynb", "binder/demo.ipynb")
        done = json.loads((fresh.repository / "binder" / "done.ipynb").read_text())
        outputs = json.dumps([cell.get("outputs") for cell in done["cells"]])
        for expected in (
            "hello from a notebook",
            "data:image/png",
            "'Reconnecting', 'Resumed'",
            "6 steps done",
        ):
            assert expected in outputs, expected
        assert "[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]" in outputs, "no step of the progress is missing or doubled"
    finally:
        os.killpg(lab.pid, signal.SIGTERM)
        await asyncio.to_thread(lab.wait, 20)


def test_a_terminal_of_the_demo_opens_with_the_inspector(fresh):
    shown = fresh.run("binder/start", "sh", "-c", "echo $SHELL")
    program = Path(shown.strip())
    assert program.name == "terminal"
    assert os.access(program, os.X_OK)
    assert "mcp-ws-inspect attach" in program.read_text()

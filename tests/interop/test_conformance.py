"""The official conformance suite, against a server with all its fixtures, directly and through the gateway: what
passes directly passes through it, for each revision whose requirements the suite knows."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import BOUND, free_port, on_sdk, wait_until
from tests.interop.conftest import PACKAGES

SUITE = PACKAGES / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
SERVER = str(Path(__file__).parents[1] / "servers" / "conformance.py")
FORWARDER = str(Path(__file__).with_name("bearer.mjs"))
RESULT = re.compile(r"[✓✗] ([\w-]+): (\d+) passed, (\d+) failed")
ATTEMPTS = 3
"""How often a scenario may be tried alone: for some answers the suite waits half a second, whatever the machine does."""
TASKS = re.compile("tasks-")
"""Scenarios of the tasks extension; the suite runs them "for visibility"."""
WORSE_DIRECTLY = {"tasks-request-headers"}
"""Scenarios that fail directly: the Python SDK checks ``Mcp-Name`` for no method of an extension."""
WORSE_THROUGH_THE_GATEWAY = {
    "http-custom-header-server-validation": "the gateway reads no tool schemas, so it cannot know which header "
    "repeats which argument; the suite itself does not require it yet",
}
MODERN = "2026-07-28"
TASK_SCENARIOS = 9
"""How many scenarios of the tasks extension there are at least; a tenth, of notifications, makes no check yet."""
SCENARIOS = {"2025-11-25": 33, MODERN: 49}
"""How many scenarios each revision has at least."""


@pytest.fixture
def background(tmp_path) -> Iterator[Callable[..., None]]:
    """Start a program that listens on a port."""
    started: list[subprocess.Popen[bytes]] = []

    def run(port: int, *command: str) -> None:
        log = tmp_path / f"{port}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
        started.append(process)

        def listens() -> bool:
            assert process.poll() is None, log.read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(listens, what=f"{command[1]} on its port")

    yield run
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)  # Node's launcher starts it as a child
        process.wait()


@pytest.fixture
def direct(background) -> str:
    """The server with the SDK's own HTTP transport."""
    port = free_port()
    background(port, sys.executable, SERVER, str(port))
    return f"http://localhost:{port}/mcp"


@pytest.fixture
def through(background, make_jupyter, node_program) -> str:
    """The server behind the gateway. Some scenarios drop the URL's query and send no header of ours, hence the
    forwarder."""
    jupyter = make_jupyter({"conformance": on_sdk(SERVER)})
    port = free_port()
    path = "/mcp-ws/servers/conformance"
    background(port, node_program, FORWARDER, str(port), str(jupyter.port), path, jupyter.token)
    return f"http://localhost:{port}/mcp"


def run_suite(node: str, url: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the suite's checks of a server."""
    return subprocess.run(
        [node, str(SUITE), "server", "--url", url, *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=4 * BOUND,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )


def conformance(node: str, url: str, revision: str, folder: Path) -> dict[str, tuple[int, int]]:
    """Checks passed and failed, by scenario."""
    done = run_suite(node, url, folder, "--requirements", revision)
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    found = {name: (int(passed), int(failed)) for name, passed, failed in RESULT.findall(text)}
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return found


def passes_alone(node: str, url: str, revision: str, folder: Path, scenario: str) -> bool:
    """Whether a scenario passes when nothing else of the suite runs."""
    options = ["--scenario", scenario]
    if not TASKS.match(scenario):  # of no revision: the suite would skip it, and succeed
        options += ["--spec-version", revision]
    return any(run_suite(node, url, folder, *options).returncode == 0 for _ in range(ATTEMPTS))


@pytest.mark.node
@pytest.mark.heavy
@pytest.mark.parametrize("revision", SCENARIOS)
def test_what_passes_directly_passes_through_the_gateway(direct, through, node_program, tmp_path, revision):
    expected, found = (conformance(node_program, url, revision, tmp_path) for url in (direct, through))
    assert len(expected) >= SCENARIOS[revision]
    failing = {name for name, (_, failed) in expected.items() if failed}
    slow = {n for n in failing - WORSE_DIRECTLY if passes_alone(node_program, direct, revision, tmp_path, n)}
    assert failing - slow == WORSE_DIRECTLY & set(expected), "the fixtures are whole"
    of_tasks = sum(TASKS.match(name) is not None for name in found)
    assert of_tasks >= TASK_SCENARIOS if revision == MODERN else of_tasks == 0
    # A scenario may make fewer checks: whether a quick answer is an event stream is the server's choice.
    worse = {
        name for name in expected if found.get(name, (0, 1))[1] or (expected[name][0] and not found[name][0])
    }
    known = set(WORSE_THROUGH_THE_GATEWAY) & set(expected)
    slow = {name for name in worse - known if passes_alone(node_program, through, revision, tmp_path, name)}
    assert worse - slow == known, {name: found.get(name) for name in worse}
    assert found["dns-rebinding-protection"] == expected["dns-rebinding-protection"] == (2, 0)

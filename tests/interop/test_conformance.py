"""The official conformance suite, against a server directly and through the gateway: what passes directly must
pass through it. (What the server itself does not offer fails both ways.)"""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import wait_until
from tests.interop.conftest import PACKAGES

SUITE = PACKAGES / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
EVERYTHING = PACKAGES / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"
RESULT = re.compile(r"[✓✗] ([\w-]+): (\d+) passed, (\d+) failed")


@pytest.fixture
def direct(node_program, tmp_path) -> Iterator[str]:
    """server-everything with its own HTTP transport."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (tmp_path / "everything.log").open("wb") as log:
        process = subprocess.Popen(
            [node_program, str(EVERYTHING), "streamableHttp"],
            env={**os.environ, "PORT": str(port)},
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, what="the server")
    yield f"http://localhost:{port}/mcp"
    process.kill()
    process.wait()


def conformance(node: str, url: str, folder) -> dict[str, tuple[int, int]]:
    """Checks passed and failed, by scenario."""
    done = subprocess.run(
        [node, str(SUITE), "server", "--url", url],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    return {name: (int(passed), int(failed)) for name, passed, failed in RESULT.findall(text)}


@pytest.mark.node
@pytest.mark.heavy
def test_no_check_passes_directly_and_fails_through_the_gateway(servers, direct, node_program, tmp_path):
    through = f"http{servers.endpoint('everything').removeprefix('ws')}?token={servers.token}"
    expected, found = (conformance(node_program, url, tmp_path) for url in (direct, through))
    assert sum(passed for passed, _ in expected.values()) >= 13, expected
    # How many checks a scenario makes may differ: whether concurrent answers are event streams is the server's choice.
    worse = {}
    for name, (passed, failed) in expected.items():
        through_passed, through_failed = found.get(name, (0, 1))
        if through_failed > failed or (passed and not through_passed):
            worse[name] = (passed, failed), (through_passed, through_failed)
    assert worse == {}, "checks passed directly and failed through the gateway"
    assert found["dns-rebinding-protection"] == (2, 0)

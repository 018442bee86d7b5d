"""The package as it is packed, and what docs/guides/typescript.md and its own README show of it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import BOUND
from tests.frontend.conftest import FRONTEND, ROOT
from tests.interop.conftest import node, npm

pytestmark = [pytest.mark.node]
CLIENT = """
import { Client } from "@modelcontextprotocol/client";
const client = new Client({ name: "docs", version: "1" });
"""
SHOW = (
    "\nconsole.log((await client.listTools()).tools.map(({ name }) => name).join());\nawait client.close();\n"
)


@pytest.fixture(scope="module")
def installed(frontend, tmp_path_factory) -> Path:
    """A folder with the packed package and the SDKs in its node_modules."""
    folder = tmp_path_factory.mktemp("app")
    subprocess.run(
        [npm(), "pack", "--ignore-scripts", "--silent", f"--pack-destination={folder}"],
        cwd=frontend,
        env={"PATH": f"{Path(npm()).parent}:/usr/bin:/bin", "HOME": str(folder)},
        check=True,
        capture_output=True,
        timeout=BOUND,
    )
    (archive,) = folder.glob("mcp-ws-client-*.tgz")
    (folder / "node_modules").mkdir(exist_ok=True)
    subprocess.run(["tar", "-xzf", archive, "-C", folder / "node_modules"], check=True, timeout=BOUND)
    (folder / "node_modules" / "package").rename(folder / "node_modules" / "mcp-ws-client")
    (folder / "node_modules" / "@modelcontextprotocol").symlink_to(
        FRONTEND / "node_modules" / "@modelcontextprotocol"
    )
    return folder


def run(folder: Path, source: str, own) -> str:
    for scheme in ("wss://", "https://"):
        there = own.endpoint("demo").replace("ws://", "ws://" if scheme == "wss://" else "http://")
        source = source.replace(f"{scheme}host/mcp-ws/servers/git", there)
    program = folder / "example.mjs"
    program.write_text(source.replace("mcpws_…", own.token) + SHOW)
    done = subprocess.run([node() or "", str(program)], capture_output=True, text=True, timeout=BOUND)
    assert done.returncode == 0, done.stderr
    return done.stdout


def blocks(path: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / path).read_text(), re.DOTALL)


def test_the_examples_of_the_documentation_work(own, installed):
    simple, _in_a_page, _over_a_reload, refused, negotiating = blocks("docs/guides/typescript.md", "ts")
    assert "echo" in (printed := run(installed, simple + refused, own))
    assert "kind: 'open'" in printed
    without_client = negotiating.replace("import { Client, ", "import { ")
    assert "echo" in run(installed, CLIENT + without_client, own)


def test_the_example_of_the_package_works(own, installed):
    (package,) = blocks("frontend_static/README.md", "ts")
    assert "echo" in run(installed, package, own)

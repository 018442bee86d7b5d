"""The TypeScript client's unit tests: vectors, random schedules, and all parts without I/O."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import BOUND
from tests.frontend.conftest import FRONTEND
from tests.interop.conftest import node, npm

pytestmark = [pytest.mark.node]


@pytest.fixture(params=["the environment's Node", "Node 22"])
def program(request, node22):
    return node22 if request.param == "Node 22" else node()


def test_the_vectors_and_the_parts_without_io_pass(frontend, program):
    files = sorted(str(path) for path in (frontend / "test").glob("*.test.mjs"))
    done = subprocess.run(
        [program, "--test", "--test-reporter=tap", *files], capture_output=True, text=True, timeout=4 * BOUND
    )
    failed = done.stdout.split("\nnot ok ")[1:]
    assert done.returncode == 0, [text[:1000] for text in failed] or done.stdout[-1000:]
    passed = re.search(r"# pass (\d+)", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 200, done.stdout[-500:]


def test_the_package_contains_its_files_and_imports_nothing_from_node(frontend, run_npm):
    manifest = json.loads((frontend / "package.json").read_text())
    assert "dependencies" not in manifest
    (packed,) = json.loads(run_npm("pack", "--dry-run", "--json", "--ignore-scripts"))
    names = {entry["path"] for entry in packed["files"]}
    assert {"LICENSE", "README.md", "dist/index.js", "dist/index.d.ts", "package.json"} <= names
    assert not [name for name in names if name.startswith(("node_modules", "test", "build"))]
    for path in (FRONTEND / "dist").glob("*.js"):
        imports = re.findall(r'from "([^"]+)"', path.read_text())
        assert all(name.startswith("./") for name in imports), (path, imports)


@pytest.fixture
def run_npm(frontend):
    def run(*arguments: str) -> str:
        environment = {"PATH": f"{Path(npm()).parent}:/usr/bin:/bin", "HOME": "/tmp"}
        done = subprocess.run(
            [npm(), *arguments], cwd=frontend, env=environment, capture_output=True, text=True, timeout=BOUND
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run

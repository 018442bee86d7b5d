"""The documentation as a site: no broken link, no page outside the navigation, no path that does not exist."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import BOUND
from tests.interop.conftest import need

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("[A-Z]*.md")]
PATH = re.compile(
    r"`((?:tests|benchmarks|docs|mcp_ws_ide|frontend_static|binder|jupyter-config)/[\w/.-]*\w/?)`"
)
"""A file or folder of the repository, as pages name it."""
PACKAGED = re.compile(
    r"`((?:core|config|links|gateway|transports|observe|handlers|client|inspector|demo)/[\w/]+\.py|[a-z_]+\.py)`"
)
"""A file of the package, named from its root."""


def test_the_site_builds_without_a_warning(tmp_path):
    need(importlib.util.find_spec("material") is not None, "mkdocs-material")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--strict",
            "--quiet",
            "--site-dir",
            str(tmp_path / "site"),
        ],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=BOUND,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "reference" / "traits" / "index.html").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_lead_to_something(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        assert "://" in target or (page.parent / target).exists(), target
    for target in PATH.findall(text):
        assert (ROOT / target).exists(), target


def test_code_names_pages_that_exist():
    sources = [
        path
        for folder in (
            "mcp_ws_ide",
            "frontend_static/src",
            "frontend_static/page",
            "tests",
            "benchmarks",
            "binder",
        )
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".ts", ".tsx", ".mjs", ".json", ".ipynb"}
        and "node_modules" not in path.parts
    ]
    assert len(sources) > 300
    for source in sources:
        for page in re.findall(r"\bdocs/[\w/-]+\.(?:md|conf)\b", source.read_text(encoding="utf-8")):
            assert (ROOT / page).exists(), f"{source.relative_to(ROOT)}: {page}"


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/contribute/architecture.md"])
def test_every_module_that_is_named_exists(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in PACKAGED.findall(text):
        assert (ROOT / "mcp_ws_ide" / target).exists() or (ROOT / target).exists(), target

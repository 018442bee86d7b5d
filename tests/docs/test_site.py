"""The documentation as a site: no broken link or anchor, no page outside the navigation, no path that does not exist."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import BOUND
from tests.programs import need

pytestmark = pytest.mark.pure("reads the sources of the package")

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


HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
OPTIONS = re.compile(r"mkdocs build (.+) --site-dir")
"""The options with which ``make docs`` builds the site."""


def built(site: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Build the site as ``make docs`` does."""
    need(importlib.util.find_spec("material"), "mkdocs-material")
    (as_made,) = OPTIONS.findall((ROOT / "Makefile").read_text(encoding="utf-8"))
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", *as_made.split(), "--site-dir", str(site), *options],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=BOUND,
    )


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page: its headings as mkdocs and GitHub spell them."""
    headings = HEADING.findall(page.read_text(encoding="utf-8"))
    names = {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}
    return names | set(re.findall(r'<a id="([^"]+)"></a>', page.read_text(encoding="utf-8")))


def test_the_site_builds_without_a_warning(tmp_path):
    done = built(tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "reference" / "traits" / "index.html").exists()


@pytest.mark.parametrize(
    ("link", "code", "reason"),
    [
        ("#a-heading", 0, ""),
        ("missing.md", 1, "the target is not found"),
        ("#no-such-heading", 1, "there is no such anchor"),
        ("other.md#no-such-heading", 1, "does not contain an anchor"),
    ],
)
def test_a_broken_link_or_anchor_fails_the_build(tmp_path, link, code, reason):
    pages = tmp_path / "docs"
    pages.mkdir()
    (pages / "index.md").write_text(f"# A heading\n\n[a link]({link})\n")
    (pages / "other.md").write_text("# Another heading\n")
    config = tmp_path / "mkdocs.yml"
    config.write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: {pages}\nnav: [index.md, other.md]\n")
    done = built(tmp_path / "site", "--config-file", str(config))
    assert done.returncode == code, done.stdout + done.stderr
    assert reason in done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_lead_to_something(page):
    text = page.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", text):
        if "://" in target:
            continue
        linked = page.parent / target if target else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"
    for target in PATH.findall(text):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_is_wrapped_at_120_characters(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    if text.startswith("<!-- Written by docs/generate.py"):
        return
    long = [line for line in text.splitlines() if len(line) > 120]
    assert not [
        line for line in long if not line.lstrip().startswith(("|", "![", "`{"))
    ]  # these cannot be wrapped


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

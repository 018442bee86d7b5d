"""The shape of the code base: nothing grows past what one can read. (.importlinter keeps imports in order.)"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import mcp_ws_ide
from tests.durations import SECONDS

pytestmark = pytest.mark.pure("reads the sources of the package")

ROOT = Path(__file__).parents[1]
LOOKED_AT = ("mcp_ws_ide", "tests", "benchmarks", "docs")
MAX_CLASS_LINES = 350
MAX_FUNCTION_LINES = 50


def definitions(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The classes and functions among statements, and within them; ``ast.walk`` visits every expression too."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        for part in ("body", "orelse", "finalbody", "handlers"):
            yield from definitions(getattr(node, part, []))


def long_definitions() -> Iterator[str]:
    for path in sorted(path for name in LOOKED_AT for path in (ROOT / name).rglob("*.py")):
        for node in definitions(ast.parse(path.read_text(encoding="utf-8")).body):
            if isinstance(node, ast.ClassDef):
                limit = MAX_CLASS_LINES
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                limit = MAX_FUNCTION_LINES
            else:
                continue
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > limit:
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines, at most {limit}"


def test_no_class_and_no_function_is_too_long():
    assert list(long_definitions()) == []


@pytest.mark.parametrize("manifest", ["frontend_static/package.json", "frontend_static/lab/package.json"])
def test_the_npm_packages_have_the_version_of_the_python_package(manifest):
    assert json.loads((ROOT / manifest).read_text())["version"] == mcp_ws_ide.__version__


def test_the_files_that_are_tested_first_exist():
    assert [name for name in SECONDS if not (ROOT / "tests" / name).exists()] == []


def test_make_check_runs_what_pre_commit_runs():
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)
    assert recipe is not None
    assert "pre-commit run --all-files" in recipe.group(1)

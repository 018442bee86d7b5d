"""The compiled build: which modules mypyc compiles, which tests do not run against it, and how one sees it."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES

import msgspec
import pytest

import mcp_ws_ide
from mcp_ws_ide.core import messages
from mcp_ws_ide.version import build
from tests.conftest import BOUND, TESTS

ROOT = TESTS.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
HOOK = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["mypyc"]
MODULES = [path.removeprefix("/").removesuffix(".py").replace("/", ".") for path in HOOK["include"]]
OWN = {"mcp_ws_ide", *sys.stdlib_module_names}
PURE_ONLY = {
    "tests/core/test_resume.py": {
        "test_a_seeded_bug_is_caught",
        "test_mutants_start_from_a_core_that_passes",
    },
    "tests/docs/test_generated.py": {"*"},
    "tests/docs/test_site.py": {"*"},
    "tests/engines/test_mutants.py": {"test_a_mistake_fails_the_contract_that_holds_without_it"},
    "tests/gateway/test_durable_schedules.py": {"test_a_seeded_bug_is_caught"},
    "tests/test_house.py": {"*"},
    "tests/test_packaging.py": {"*"},
}
"""What make test-compiled leaves out, by file; ``{"*"}`` is a whole file. Each has its reason in its marker."""


def marked() -> Iterator[tuple[str, str]]:
    """Find the tests with the marker ``pure``, which must give a reason."""
    for path in sorted(TESTS.rglob("test_*.py")):
        name = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            owner = getattr(node, "name", "*")
            marks = node.decorator_list if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else []
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
                marks = node.value.elts if isinstance(node.value, ast.List) else [node.value]
            for mark in marks:
                if ast.unparse(mark).startswith("pytest.mark.pure"):
                    assert isinstance(mark, ast.Call) and len(mark.args) == 1, f"{name}, {owner}: no reason"
                    yield name, owner


def test_the_tests_that_need_the_pure_build_are_listed_and_give_a_reason():
    found: dict[str, set[str]] = {}
    for name, owner in marked():
        found.setdefault(name, set()).add(owner)
    assert found == PURE_ONLY


def test_every_compiled_module_runs_as_this_build_says():
    suffixes = tuple(EXTENSION_SUFFIXES) if build() == "compiled" else (".py",)
    for name in MODULES:
        module = importlib.import_module(name)
        assert str(module.__file__).endswith(suffixes), name


def test_a_build_compiles_nothing_unless_it_is_asked_to():
    assert HOOK["enable-by-default"] is False


def test_no_compiled_class_inherits_from_one_of_another_package():
    """mypyc, which sees no type of other packages, takes such a class for one of its own: it crashes."""
    for path in HOOK["include"]:
        source = ROOT / path.removeprefix("/")
        if not source.exists():  # in the tree of make test-compiled
            continue
        tree = ast.parse(source.read_text("utf-8"))
        foreign = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] not in OWN
            for alias in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases = {ast.unparse(base).partition("[")[0].partition(".")[0] for base in node.bases}
                assert not bases & (foreign | {"msgspec"}), f"{path}: {node.name}"


def test_no_struct_that_msgspec_decodes_is_in_a_compiled_module():
    for path in HOOK["include"]:
        source = ROOT / path.removeprefix("/")
        if not source.exists():  # in the tree of make test-compiled
            continue
        assert "(msgspec.Struct" not in source.read_text("utf-8"), path


def test_messages_are_structs_in_pure_python_and_classes_of_their_own_where_they_are_compiled():
    message = messages.parse(b'{"jsonrpc":"2.0","id":1,"method":"m"}')
    assert isinstance(message, msgspec.Struct) == (build() == "pure Python")
    assert (message.id_key, message.method_name, message.params) == (1, "m", b"")
    assert messages.Message.__doc__ is not None
    with pytest.raises(TypeError):
        messages.Message(messages.REQUEST)


def test_nothing_needs_mypy_extensions_to_run():
    code = "import sys; sys.modules['mypy_extensions'] = None; import mcp_ws_ide.gateway, mcp_ws_ide.transports.stdio"
    subprocess.run([sys.executable, "-c", code], timeout=BOUND, check=True)


def test_the_docs_list_the_compiled_modules():
    page = (ROOT / "docs" / "operate" / "performance.md").read_text("utf-8")
    rows = re.findall(r"^\| (`[\w/]+\.py`.*?) \|.*\| yes \|$", page, re.M)
    listed = [name for row in rows for name in re.findall(r"`([\w/]+\.py)`", row)]
    assert {path.removeprefix("/mcp_ws_ide/") for path in HOOK["include"]} == set(listed)


def test_the_inspector_says_which_build_runs():
    command = [sys.executable, "-m", "mcp_ws_ide.inspector.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND, check=True)
    assert done.stdout.strip() == f"{mcp_ws_ide.__version__} ({build()})"


def test_a_release_has_a_compiled_wheel_for_every_python():
    settings = PROJECT["tool"]["cibuildwheel"]
    assert settings["build"] == ["cp311-*", "cp312-*", "cp313-*", "cp314-*"]
    assert settings["environment"] == {"HATCH_BUILD_HOOK_ENABLE_MYPYC": "1"}
    release = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    assert "pypa/cibuildwheel@" in release


def declared(node: ast.ClassDef) -> tuple[set[str], set[str]]:
    """Attributes of a class that mypyc takes for its own, and all that it assigns; ``ClassVar`` aside."""
    own: set[str] = set()
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and not ast.unparse(part.annotation).startswith("ClassVar"):
            own.add(ast.unparse(part.target))
        elif isinstance(part, ast.Assign):
            own.update(ast.unparse(target) for target in part.targets if isinstance(target, ast.Name))
    inner = list(ast.walk(node))
    annotated = {ast.unparse(part.target) for part in inner if isinstance(part, ast.AnnAssign)}
    own |= {name.removeprefix("self.") for name in annotated if name.startswith("self.")}
    stored = {
        part.attr
        for part in inner
        if isinstance(part, ast.Attribute)
        and isinstance(part.ctx, ast.Store)
        and ast.unparse(part.value) == "self"
    }
    return own - {"__slots__"}, own | stored


def test_no_compiled_class_declares_an_attribute_of_a_compiled_base_again():
    """mypyc visits it twice for the garbage collector, which then clears what it refers to while it is in use."""
    classes = {}
    for path in HOOK["include"]:
        source = ROOT / path.removeprefix("/")
        if source.exists():  # not in the tree of make test-compiled
            nodes = [
                node
                for node in ast.walk(ast.parse(source.read_text("utf-8")))
                if isinstance(node, ast.ClassDef)
            ]
            classes |= {node.name: (node, *declared(node)) for node in nodes}

    def bases(name: str) -> Iterator[str]:
        for base in (ast.unparse(base).partition("[")[0] for base in classes[name][0].bases):
            if base in classes:
                yield base
                yield from bases(base)

    again = {(name, base): classes[name][1] & classes[base][2] for name in classes for base in bases(name)}
    assert {pair: names for pair, names in again.items() if names} == {}
    assert ("ResumableSession", "Session") in again or build() == "compiled"

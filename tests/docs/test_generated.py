"""The generated pages of the reference match the code."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mcp_ws_ide import errors
from mcp_ws_ide.core import binding

pytestmark = pytest.mark.pure("generates references from the sources")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/generate.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module
    spec.loader.exec_module(module)
    return module


def test_the_committed_pages_follow_from_the_code(generate):
    for name, text in generate.pages().items():
        committed = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
        assert committed == text, f"docs/reference/{name} is out of date: run make docs, and commit the page"


def test_every_error_code_and_every_close_code_has_a_meaning(generate):
    codes = [*generate.documented(binding, "CloseCode")]
    codes += [(name, text) for name, text in generate.documented(errors) if generate.is_code(name)]
    assert len(codes) >= len(binding.CloseCode) + 10
    assert [name for name, text in codes if not text] == []


def test_every_trait_and_both_programs_have_a_section(generate):
    pages = generate.pages()
    assert "## max_queued_bytes\n\n*Int, at least `1024`, default `16777216`*" in pages["traits.md"]
    assert "### `mcp-ws-inspect token mint`" in pages["cli.md"]
    assert "## `mcp-ws-inspect -- COMMAND`" in pages["cli.md"]
    assert "## `mcp-ws-connect NAME|URL`" in pages["cli.md"]
    assert "| `mcp_ws_links` | gauge | `server`, `era` |" in pages["metrics.md"]
    assert "## `PUT /api/servers/{name}/definition`" in pages["rest.md"]

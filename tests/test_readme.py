"""The examples of the README and the Python guides work as printed."""

from __future__ import annotations

import re
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import BOUND, PROGRAMS

ROOT = Path(__file__).parents[1]


def blocks(page: str, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.fixture
def run(jupyter, tmp_path) -> Callable[[str], str]:
    """Return a function that runs the body of a coroutine as a program, and returns what it printed."""
    PROGRAMS.begin()

    def run(source: str) -> str:
        file = tmp_path / "example.py"
        body = textwrap.indent(source, "    ")
        file.write_text(f"import asyncio\nasync def main():\n{body}\nasyncio.run(main())")
        return _output_of(PROGRAMS.command(str(file)), jupyter.environment)

    return run


def _output_of(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=BOUND,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_success_of_the_readme(run):
    (first,) = blocks("README.md")
    assert "echo" in run(first)


@pytest.mark.heavy
def test_the_examples_of_the_python_guide(jupyter, run):
    found, elsewhere, reconnecting, negotiated, cells = blocks("docs/guides/python.md")
    assert "git_status" in run(found)
    assert "git_status" in run(f"from mcp_ws_ide.client import connect\n{cells}")
    printed = run(reconnecting)
    assert printed.startswith("Connected(resumable=True")
    assert "git_status" in printed
    http = f"http{jupyter.endpoint('git').removeprefix('ws')}"
    chosen = negotiated.replace("https://host/mcp-ws/servers/git", http).replace("mcpws_…", jupyter.token)
    printed = run(f"from mcp_ws_ide.client import connect\n{chosen}")
    assert printed.startswith("Negotiated(transport='http', refused={})")
    assert "git_status" in printed
    real = elsewhere.replace("wss://host/mcp-ws/servers/git", jupyter.endpoint("git"))
    token = jupyter.rest("POST", "tokens", {"servers": ["git"]})[1]["token"]
    real = real.replace("mcpws_…", token).replace("    ...", "    print(await client.list_tools())")
    assert "git_status" in run(real)


@pytest.mark.heavy
def test_the_example_of_an_agent(run):
    agent, _langchain = blocks("docs/guides/agents.md")
    with_model = agent.replace('"openai:gpt-5"', "TestModel(call_tools=[])")
    with_model = f"from pydantic_ai.models.test import TestModel\n{with_model}"
    assert "success" in run(with_model + 'print((await agent.run("go")).output)')

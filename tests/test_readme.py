"""The examples of the README and the Python guides work as printed."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.conftest import BOUND

ROOT = Path(__file__).parents[1]


def blocks(page: str, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def run(source: str, jupyter) -> str:
    program = (
        "import asyncio\nasync def main():\n" + textwrap.indent(source, "    ") + "\nasyncio.run(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=jupyter.environment,
        capture_output=True,
        text=True,
        timeout=BOUND,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_success_of_the_readme(jupyter):
    (first,) = blocks("README.md")
    assert "echo" in run(first, jupyter)


def test_the_examples_of_the_python_guide(jupyter):
    found, elsewhere, reconnecting, negotiated, cells = blocks("docs/guides/python.md")
    assert "git_status" in run(found, jupyter)
    assert "git_status" in run(f"from mcp_ws_ide.client import connect\n{cells}", jupyter)
    printed = run(reconnecting, jupyter)
    assert printed.startswith("Connected(resumable=True")
    assert "git_status" in printed
    http = f"http{jupyter.endpoint('git').removeprefix('ws')}"
    chosen = negotiated.replace("https://host/mcp-ws/servers/git", http).replace("mcpws_…", jupyter.token)
    printed = run(f"from mcp_ws_ide.client import connect\n{chosen}", jupyter)
    assert printed.startswith("Negotiated(transport='http', refused={})")
    assert "git_status" in printed
    real = elsewhere.replace("wss://host/mcp-ws/servers/git", jupyter.endpoint("git"))
    token = jupyter.rest("POST", "tokens", {"servers": ["git"]})[1]["token"]
    real = real.replace("mcpws_…", token).replace("    ...", "    print(await client.list_tools())")
    assert "git_status" in run(real, jupyter)


def test_the_example_of_an_agent(jupyter):
    agent, _langchain = blocks("docs/guides/agents.md")
    with_model = agent.replace('"openai:gpt-5"', "TestModel(call_tools=[])")
    with_model = f"from pydantic_ai.models.test import TestModel\n{with_model}"
    assert "success" in run(with_model + 'print((await agent.run("go")).output)', jupyter)

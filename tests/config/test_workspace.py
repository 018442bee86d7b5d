"""Variables of editors in entries: what each means here, and which folder is the workspace."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mcp_ws_ide.config.entry_check import check_entry
from mcp_ws_ide.config.load import load
from mcp_ws_ide.config.secrets import censored_spec
from mcp_ws_ide.config.spec import Configuration, ServerSpec
from mcp_ws_ide.config.workspace import workspace_of

ROOT_DIR = "/srv/notebooks"
VALUES = {
    "${workspaceFolder}": ROOT_DIR,
    "${workspaceFolderBasename}": "notebooks",
    "${workspaceFolder:-/elsewhere}": ROOT_DIR,
    "${workspaceFolder}${/}s.py": f"{ROOT_DIR}{os.sep}s.py",
    "${userHome}${pathSeparator}x": os.path.join(os.path.expanduser("~"), "x"),
    "${env:NAME}": "value",
    "${env:workspaceFolder:-unset}": "unset",
    "$${workspaceFolder}": "${workspaceFolder}",
    "${workspaceFolder": "${workspaceFolder",
}
"""Texts in an entry, and what they mean."""


def configured(entry: dict[str, object], root_dir: str = ROOT_DIR, **environ: str) -> Configuration:
    return load({"s": entry}, [], [], environ, root_dir=root_dir)


def server(entry: dict[str, object], root_dir: str = ROOT_DIR, **environ: str) -> ServerSpec:
    configuration = configured(entry, root_dir, **environ)
    assert configuration.problems == []
    return configuration.servers["s"]


@pytest.mark.parametrize(("text", "value"), VALUES.items())
def test_variables_of_editors_have_a_value_wherever_an_entry_may_have_variables(text, value):
    entry = {"command": f"x{text}", "args": [text], "env": {"K": text}, "cwd": text}
    spec = server(entry, NAME="value")
    assert (spec.command, spec.args, spec.env, spec.cwd) == (f"x{value}", (value,), {"K": value}, value)
    remote = server({"url": f"https://h/{text}", "headers": {"X": text}}, NAME="value")
    assert (remote.url, remote.headers) == (f"https://h/{value}", {"X": value})


def test_an_environment_variable_precedes_an_editors_of_the_same_name():
    entry = {"command": "x", "args": ["${workspaceFolder}"]}
    assert server(entry, workspaceFolder="/own").args == ("/own",)
    assert server({**entry, "env": {"workspaceFolder": "/entry"}}).args == ("/entry",)


def test_without_a_workspace_its_variables_are_passed_on_with_a_notice():
    configuration = configured({"command": "x", "args": ["${workspaceFolder}", "${userHome}"]}, root_dir="")
    (problem,) = configuration.problems
    assert (problem.key, problem.severity) == ("s.args[0]", "notice")
    assert configuration.servers["s"].args == ("${workspaceFolder}", os.path.expanduser("~"))


def test_a_folder_named_like_a_variable_is_not_filled_in_again():
    assert server({"command": "x", "args": ["${workspaceFolder}"]}, "/a/${NAME}", NAME="n").args == (
        "/a/${NAME}",
    )


@pytest.mark.parametrize(
    ("source", "workspace"),
    [
        ("/p/.vscode/mcp.json", "/p"),
        ("/p/.cursor/mcp.json", "/p"),
        ("/p/.kiro/settings/mcp.json", "/p"),
        ("/p/.continue/mcpServers/s.yaml", "/p"),
        ("/p/sub/../.vscode/mcp.json", "/p"),
        ("/p/.vscode/../mcp.json", ROOT_DIR),
        ("/p/mcp.json", ROOT_DIR),
        ("/p/.venv/etc/jupyter/mcp.json", ROOT_DIR),
        ("~/.cursor/mcp.json", ROOT_DIR),
        ("~/p/.cursor/mcp.json", "~/p"),
        ("trait MCPWebSocketApp.servers", ROOT_DIR),
        ("entry point a (.vscode/b:c)", ROOT_DIR),
    ],
)
def test_the_workspace_is_the_project_of_a_file_in_its_editors_folder_and_else_what_jupyter_serves(
    source, workspace
):
    assert workspace_of(source, ROOT_DIR) == os.path.expanduser(workspace)


def test_two_files_of_projects_have_workspaces_of_their_own(tmp_path):
    files = [tmp_path / name / ".vscode" / "mcp.json" for name in ("a", "b")]
    for name, file in zip("ab", files, strict=True):
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"servers": {name: {"command": "${workspaceFolder}/run"}}}))
    servers = load({}, [str(file) for file in files], [], {}, root_dir=ROOT_DIR).servers
    assert [servers[name].command for name in "ab"] == [f"{tmp_path}/{name}/run" for name in "ab"]


def test_the_check_of_an_unsaved_entry_fills_in_the_same_folder():
    entry = {"command": "x", "cwd": "${workspaceFolder}"}
    spec, problems = check_entry("s", "/home/u/.jupyter/mcp.json", entry, {}, ROOT_DIR)
    assert spec is not None
    assert (spec.cwd, problems) == (ROOT_DIR, [])


def test_paths_are_shown_with_their_values_and_environment_variables_without():
    entry = {"command": "x", "args": ["${workspaceFolder}/${NAME}", "${workspaceFolder}", "${/}"]}
    spec = server(entry, root_dir="/", NAME="hidden")
    assert censored_spec(spec)["args"] == ["//${NAME}", "/", "/"]
    assert spec.unresolved("no such file: /a/b") == "no such file: /a/b"
    assert spec.unresolved("no such file: //hidden") == "no such file: //${NAME}"


def test_a_server_file_with_a_tilde_is_of_its_project(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    file = Path(tmp_path, "p", ".vscode", "mcp.json")
    file.parent.mkdir(parents=True)
    file.write_text(
        '{"servers": {"s": {"command": "x", "cwd": "${workspaceFolder}", "args": ["${userHome}"]}}}'
    )
    spec = load({}, ["~/p/.vscode/mcp.json"], [], {}, root_dir=ROOT_DIR).servers["s"]
    assert (spec.cwd, spec.args) == (f"{tmp_path}/p", (str(tmp_path),))

"""Servers of other MCP clients over REST: listed without secrets, imported with them, and only for the account's user."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FAST_SERVER, SHADOWED, Jupyter
from tests.handlers.test_api import check
from tests.handlers.test_editor import ROOT, Manager, answers

SECRET = "s3cr3t-of-another-client"
JSON_FILES: dict[str, Any] = {
    ".cursor/mcp.json": {"mcpServers": {"fast": {**FAST_SERVER, "env": {"API_KEY": SECRET}}}},
    ".config/zed/settings.json": {
        "context_servers": {
            "zed one": {"command": {"path": "zed-server", "args": ["--token", SECRET], "env": {"T": SECRET}}}
        }
    },
    ".config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json": {
        "mcpServers": {
            "cline": {
                "url": f"https://u:{SECRET}@example.org/mcp",
                "headers": {"X-Key": SECRET},
                "transportType": "http",
            }
        }
    },
    ".codeium/windsurf/mcp_config.json": {
        "mcpServers": {
            "surf": {"serverUrl": "https://example.org/surf", "apiKey": SECRET, "env": {"A": f"%B%{SECRET}"}}
        }
    },
}
TEXT_FILES = {
    ".codex/config.toml": f'[mcp_servers.codex]\ncommand = "codex-server"\nenv = {{ KEY = "{SECRET}" }}\n',
    ".config/goose/config.yaml": f"extensions:\n  goose:\n    type: stdio\n    cmd: goose-server\n    envs:\n      KEY: {SECRET}\n",
    ".continue/mcpServers/one.yaml": "mcpServers:\n  - name: continue\n    command: continue-server\n",
    ".config/Claude/claude_desktop_config.json": '{"mcpServers": {"broken": {"command": "' + SECRET,
}


def write_files(home: Path) -> None:
    """Write the settings of several clients, as they do, into a home directory."""
    texts = TEXT_FILES | {path: json.dumps(document) for path, document in JSON_FILES.items()}
    for path, text in texts.items():
        file = home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    home = tmp_path_factory.mktemp("home")
    write_files(home)
    running = Jupyter(home, {})
    yield running
    running.stop()


def test_the_files_of_several_clients_are_listed_without_secrets(jupyter):
    status, answer = jupyter.rest("GET", "client-files")
    check(jupyter.rest("GET", "openapi.json")[1], "/api/client-files", "get", status, answer)
    assert SECRET not in json.dumps(answer)
    files = {file["program"]: file for file in answer["files"]}
    assert set(files) == {
        "Cursor",
        "Zed",
        "Cline",
        "Windsurf",
        "Codex",
        "Goose",
        "Continue",
        "Claude Desktop",
    }
    assert "line 1" in files["Claude Desktop"]["problem"]
    entries = {program: file["entries"][0] for program, file in files.items() if file["entries"]}
    commands = {program: found["entry"].get("command") for program, found in entries.items()}
    assert (commands["Zed"], commands["Codex"], commands["Goose"], commands["Continue"]) == (
        *("zed-server", "codex-server", "goose-server", "continue-server"),
    )
    assert entries["Cursor"]["entry"]["env"] == {"API_KEY": {"hidden": "/env/API_KEY", "shown": "••••"}}
    assert entries["Zed"]["address"] == "zed-one"
    assert any(
        notice.startswith("env.A: '%B%' is used literally") for notice in entries["Windsurf"]["notices"]
    )
    assert any(notice.startswith("apiKey: ignored") for notice in entries["Windsurf"]["notices"])


async def test_an_entry_is_imported_with_its_secrets_after_consent_and_serves(jupyter):
    manager = Manager(jupyter)
    (file,) = [f for f in jupyter.rest("GET", "client-files")[1]["files"] if f["program"] == "Cursor"]
    (found,) = file["entries"]
    body = {"entry": found["entry"], "from": {"path": file["path"], "key": found["key"]}}
    status, seen = manager.request("POST", "fast/preview", body)
    assert (status, seen["launch"]["values"]) == (200, {"API_KEY": "••••"})
    tried = manager.request("POST", "fast/try", {**body, "consent": seen["digest"]})
    assert (tried[0], tried[1]["ok"]) == (200, True)
    assert not manager.file.exists()
    agreed = {**body, "consent": seen["digest"]}
    status, saved = manager.request("PUT", "fast/definition", agreed, seen["version"])
    assert (status, saved["awaits"]) == (201, False)
    assert SECRET not in json.dumps([seen, saved])
    stored = json.loads(manager.file.read_text())["mcpServers"]["fast"]
    assert stored == {**FAST_SERVER, "env": {"API_KEY": SECRET}}
    assert await answers(jupyter, "fast")
    assert json.loads((jupyter.home / ".cursor/mcp.json").read_text()) == JSON_FILES[".cursor/mcp.json"]


def test_hidden_values_come_only_from_an_entry_of_a_known_file(jupyter):
    manager = Manager(jupyter)
    secret = jupyter.home / "mcp.json"
    entry = {"command": "true", "env": {"A": {"hidden": "/env/API_KEY"}}}
    for place, expected in (
        ({"path": str(secret), "key": "mcpServers.fast"}, 404),
        ({"path": str(jupyter.home / ".cursor/mcp.json"), "key": "mcpServers.gone"}, 404),
        ({"path": str(jupyter.home / ".cursor/mcp.json"), "key": "mcpServers.fast"}, 422),
        ({"path": 1}, 400),
        ("x", 400),
    ):
        status, said = manager.request("POST", "new/preview", {"entry": entry, "from": place})
        assert (status, SECRET in json.dumps(said)) == (expected, False), place


@pytest.mark.parametrize(
    ("options", "owner", "allowed"),
    [
        ((), None, {"alice": 403, "bob": 403}),
        (
            ("--ServerApp.authorizer_class=tests.servers.identity.NoGuests",),
            None,
            {"alice": 200, "guest": 403},
        ),
        ((), "alice", {"alice": 200, "bob": 403}),
    ],
    ids=["no authorizer", "an authorizer", "a hub"],
)
def test_named_users_see_them_as_owner_or_by_consent_of_an_authorizer(
    make_jupyter: Callable[..., Jupyter], tmp_path, options, owner, allowed
):
    users = tmp_path / "users.json"
    names = ("alice", "bob", "guest")
    users.write_text(
        json.dumps({**{f"{name}-token": name for name in names}, "test-token-0123456789": "root"})
    )
    environment = {"USERS_FILE": str(users), "PYTHONPATH": f"{SHADOWED}:{ROOT}"}
    running = make_jupyter(
        {},
        "--ServerApp.identity_provider_class=tests.servers.identity.NamedUsers",
        *options,
        environment=environment | ({"JUPYTERHUB_USER": owner} if owner else {}),
    )
    write_files(running.home)
    place = {"path": str(running.home / ".cursor/mcp.json"), "key": "mcpServers.fast"}
    manager = Manager(running)
    for name, expected in allowed.items():
        assert running.rest("GET", "client-files", token=f"{name}-token")[0] == expected
        body = {"entry": {"command": "true"}, "from": place}
        assert manager.request("POST", "new/preview", body, token=f"{name}-token")[0] == expected


def test_where_nothing_may_be_edited_no_file_is_listed(make_jupyter):
    running = make_jupyter({}, "--MCPWebSocketApp.allow_editing=False")
    status, said = running.rest("GET", "client-files")
    assert (status, "allow_editing" in said["message"]) == (403, True)

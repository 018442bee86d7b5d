"""A server that lacks a variable of Jupyter: every way to start it passes on the same ones, and names what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import BOUND, Jupyter, Peer

EXITS = "import os, sys; sys.exit('needs the index' if 'UV_INDEX_URL' not in os.environ else 0)"
NEEDY = {"command": sys.executable, "args": ["-I", "-S", "-c", EXITS]}
HERE = {"command": "${workspaceFolder}/run", "cwd": "${workspaceFolder}"}
SHELL = {
    "UV_INDEX_URL": "https://user:s3cret@index.example",
    "NODE_EXTRA_CA_CERTS": "/ca.pem",
    "DOCKER_HOST": "d",
}


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    servers = {"needy": NEEDY, "here": HERE}
    server = Jupyter(tmp_path_factory.mktemp("jupyter"), servers, environment=SHELL)
    yield server
    server.stop()


@pytest.mark.parametrize("era", ["handshake", "modern"])
async def test_the_error_of_a_failed_start_names_the_variables_that_were_not_passed_on(jupyter, era):
    async with jupyter.connect("needy") as link:
        peer = Peer(link)
        if era == "modern":
            answer = await peer.call(1, "tools/list")
        else:
            client = {"name": "test", "version": "1"}
            params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
            await peer.send(id=1, method="initialize", params=params)
            answer = await peer.receive()
    message = answer["error"]["message"]
    assert "it did not get these variables: " in message, message
    assert "UV_INDEX_URL" in message
    assert "DOCKER_HOST" in message
    assert "NODE_EXTRA_CA_CERTS" not in message, "it is passed on"
    assert "s3cret" not in message


def test_the_list_of_servers_names_them(jupyter):
    listed = jupyter.rest("GET", "servers")[1]["withheld"]
    assert {"UV_INDEX_URL", "DOCKER_HOST"} <= set(listed)
    assert "NODE_EXTRA_CA_CERTS" not in listed
    environment = {**os.environ, "JUPYTER_SERVER_URL": jupyter.url, "JUPYTER_TOKEN": jupyter.token}
    command = [sys.executable, "-m", "mcp_ws_ide.inspector.cli", "servers"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    (notice,) = [line for line in done.stderr.splitlines() if "UV_INDEX_URL" in line]
    assert notice.startswith('notice: not passed to servers (list those that they need under "env_vars"): ')


def test_a_trial_names_them_and_env_vars_passes_them_on(jupyter):
    def tried(entry):
        digest = jupyter.rest("POST", "servers/new/preview", {"entry": entry})[1]["digest"]
        return jupyter.rest("POST", "servers/new/try", {"entry": entry, "consent": digest})[1]

    failed = tried(NEEDY)
    assert not failed["ok"]
    assert "UV_INDEX_URL" in failed["error"]
    assert "needs the index" not in str(tried({**NEEDY, "env_vars": ["UV_*"]})), "it exits for another reason"


def test_the_inspector_starts_a_command_with_the_same_variables(tmp_path):
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")},
        **SHELL,
        "TMPDIR": str(tmp_path),
    }
    command = [
        sys.executable,
        "-m",
        "mcp_ws_ide.inspector.cli",
        "--",
        *NEEDY["command"].split(),
        *NEEDY["args"],
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=BOUND
    )
    assert "needs the index" in done.stderr
    assert "UV_INDEX_URL" in done.stderr
    assert "s3cret" not in done.stderr


def test_the_workspace_of_an_entry_is_the_directory_that_jupyter_serves(jupyter):
    listed = {server["name"]: server for server in jupyter.rest("GET", "servers")[1]["servers"]}
    assert listed["here"]["command"] == [f"{jupyter.home}/run"]
    preview = jupyter.rest("POST", "servers/new/preview", {"entry": HERE})[1]
    assert preview["launch"]["cwd"] == str(jupyter.home)
    assert preview["launch"]["program"] == f"{jupyter.home}/run"

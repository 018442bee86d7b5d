"""The TypeScript SDKs 1.x and 2.x, unmodified, under Node."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.interop.conftest import PACKAGES
from tests.interop.test_python_2 import CALLS

HERE = Path(__file__).parent


def program(name: str) -> str:
    """Node resolves packages from where the file is."""
    return shutil.copy(HERE / name, PACKAGES.parent / name)


@pytest.mark.node
@pytest.mark.parametrize("scheme", ["ws", "http"])
@pytest.mark.parametrize("name", CALLS)
def test_sdk_1_reaches_every_server(servers, node_program, run_program, repository, name, scheme):
    tool, arguments, expected = CALLS[name]
    given = json.dumps({"repo_path": str(repository)} if arguments is None else arguments)
    url = f"{scheme}{servers.endpoint(name).removeprefix('ws')}?token={servers.token}"
    assert expected in run_program(node_program, program("sdk1_client.mjs"), url, tool, given)


@pytest.mark.node
@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("name", CALLS)
def test_sdk_2_reaches_every_server_over_http(servers, node_program, run_program, repository, name, mode):
    tool, arguments, expected = CALLS[name]
    given = json.dumps({"repo_path": str(repository)} if arguments is None else arguments)
    url = f"http{servers.endpoint(name).removeprefix('ws')}?token={servers.token}"
    assert expected in run_program(node_program, program("sdk2_client.mjs"), url, tool, given, mode)

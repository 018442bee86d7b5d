"""The TypeScript SDK 1.x, unmodified, under Node."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.interop.conftest import PACKAGES
from tests.interop.test_python_2 import CALLS

CLIENT = Path(__file__).with_name("sdk1_client.mjs")


@pytest.mark.node
@pytest.mark.parametrize("name", CALLS)
def test_the_unmodified_websocket_transport_reaches_every_server(
    servers, node_program, run_program, repository, name
):
    tool, arguments, expected = CALLS[name]
    given = json.dumps({"repo_path": str(repository)} if arguments is None else arguments)
    # Node resolves packages from where the file is.
    program = PACKAGES.parent / CLIENT.name
    shutil.copy(CLIENT, program)
    url = f"{servers.endpoint(name)}?token={servers.token}"
    assert expected in run_program(node_program, str(program), url, tool, given)

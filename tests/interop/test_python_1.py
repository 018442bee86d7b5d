"""Python SDK 1.x, unmodified, and our client on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.interop.conftest import need
from tests.interop.test_python_2 import CALLS, NODE_SERVERS

CLIENT = str(Path(__file__).with_name("sdk1_client.py"))


@pytest.mark.parametrize("name", CALLS)
def test_the_unmodified_websocket_client_reaches_every_server(
    servers, mcp1_python, run_program, repository, name
):
    tool, arguments, expected = CALLS[name]
    need(
        name not in NODE_SERVERS or servers.rest("GET", f"servers/{name}")[0] == 200,
        "Node with the npm packages",
    )
    given = json.dumps({"repo_path": str(repository)} if arguments is None else arguments)
    url = f"{servers.endpoint(name)}?token={servers.token}"
    assert expected in run_program(mcp1_python, CLIENT, url, tool, given)


def test_our_client_works_on_the_old_sdk(servers, mcp1_python, run_program):
    script = (
        "import asyncio, sys\n"
        "from mcp_ws_ide.client import connect\n"
        "async def main():\n"
        "    async with connect(sys.argv[1], token=sys.argv[2]) as session:\n"
        "        print(len((await session.list_tools()).tools))\n"
        "asyncio.run(main())"
    )
    assert int(run_program(mcp1_python, "-c", script, servers.endpoint("demo"), servers.token)) >= 13

"""Python SDK 1.x, unmodified, and our client on it."""

from __future__ import annotations

import asyncio
import json
import subprocess

import pytest

from tests.chaos import ChaosLink
from tests.conftest import BOUND, child, wait_until
from tests.interop.test_python_2 import CALLS, NODE_SERVERS
from tests.programs import need


@pytest.mark.parametrize("scheme", ["ws", "http"])
@pytest.mark.parametrize("name", CALLS)
def test_the_unmodified_clients_reach_every_server(
    servers, mcp1_client, run_program, repository, name, scheme
):
    tool, arguments, expected = CALLS[name]
    need(
        name not in NODE_SERVERS or servers.rest("GET", f"servers/{name}")[0] == 200,
        "Node with the npm packages",
    )
    given = json.dumps({"repo_path": str(repository)} if arguments is None else arguments)
    url = f"{scheme}{servers.endpoint(name).removeprefix('ws')}?token={servers.token}"
    assert expected in run_program(*mcp1_client, url, tool, given)


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


def test_the_blocking_client_works_on_the_old_sdk_and_cancels_what_is_given_up(
    servers, mcp1_python, run_program
):
    script = (
        "import sys\n"
        "from mcp_ws_ide.client import ToolError, connect_sync\n"
        "states = []\n"
        "answers = {'on_elicit': lambda message, schema: {'name': 'Ann'}, 'on_sample': lambda params: '42'}\n"
        "mcp = connect_sync(sys.argv[1], token=sys.argv[2], on_state=states.append, **answers)\n"
        "print(mcp.tools.elicit(), mcp.tools.sample(prompt='why'), mcp.tools.add(1, 2).json, sep='|')\n"
        "try:\n"
        "    mcp.call('slow', {'steps': 1000}, timeout=0.3)\n"
        "except TimeoutError:\n"
        "    pass\n"
        "mcp.tools.echo('after the cancellation')\n"
        "print(states[0].session)\n"
        "input()\n"
    )
    command = [mcp1_python, "-c", script, servers.endpoint("demo"), servers.token]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout.readline() == "hello Ann|the model says: 42|3.0\n"
        session = client.stdout.readline().strip()

        def in_flight() -> list[int]:
            listed = servers.rest("GET", "sessions")[1]["sessions"]
            return [each["in_flight"] for each in listed if each["id"] == session]

        wait_until(lambda: in_flight() == [0], what="the cancellation")
        client.communicate("\n", timeout=BOUND)
    assert client.returncode == 0


async def test_our_client_resumes_on_the_old_sdk(servers, mcp1_python):
    script = (
        "import asyncio, sys\n"
        "from mcp_ws_ide.client import connect, Reconnect\n"
        "async def progress(done, total, message): print(f'progress {done:g}', flush=True)\n"
        "async def main():\n"
        "    policy = Reconnect(first_delay=0.01, max_delay=0.1)\n"
        "    states = []\n"
        "    async with connect(sys.argv[1], token=sys.argv[2], reconnect=policy, on_state=states.append) as session:\n"
        "        arguments = {'steps': 6, 'delay': 0.1}\n"
        "        result = await session.call_tool('slow', arguments, progress_callback=progress)\n"
        "        print(result.content[0].text, *(type(state).__name__ for state in states), flush=True)\n"
        "asyncio.run(main())"
    )
    async with ChaosLink(servers.port, 1) as link:
        url = servers.endpoint("demo").replace(str(servers.port), str(link.port))
        lines = []
        command = (mcp1_python, "-c", script, url, servers.token)
        async with asyncio.timeout(2 * BOUND), child(*command, stdout=asyncio.subprocess.PIPE) as client:
            async for line in client.stdout:
                lines.append(line.decode().strip())
                if lines[-1] in ("progress 2", "progress 4"):
                    link.cut("reset")
            assert await client.wait() == 0
    assert lines[:-1] == [f"progress {number}" for number in range(1, 7)]
    assert lines[-1].startswith("6 steps done Connected")
    assert lines[-1].count("Resumed") == 2


async def test_notebooks_show_values_of_the_old_sdk(mcp1_python, run_program):
    program = (
        "from mcp_ws_ide import notebook; from mcp import types; "
        "tool = types.Tool(name='t', inputSchema={'properties': {'a': {'type': 'number'}}}); "
        "print(notebook.FORMATS[types.Tool](tool))"
    )
    assert "<code>a</code>: float" in await asyncio.to_thread(run_program, mcp1_python, "-c", program)

"""Clients that are opened in one task and closed in another; and uses that cannot work say so."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from mcp import ClientSession
from mcp.shared.exceptions import MCPError

from mcp_ws_ide.client import ConnectError, connect, websocket_transport
from mcp_ws_ide.client.own_task import OwnTask
from tests.conftest import BOUND, Jupyter, until, wait_until

NO_SESSION = 10.0


def sessions(jupyter: Jupyter) -> list[str]:
    return [session["id"] for session in jupyter.rest("GET", "sessions")[1]["sessions"]]


@pytest.fixture(params=[None, ("http",), ("websocket",), ("poll",)])
def opened(request, jupyter):
    """Make a client over each transport."""

    def make(**options):
        url = jupyter.endpoint("fast")
        url = f"http{url.removeprefix('ws')}" if request.param else url
        return connect(url, token=jupyter.token, transports=request.param, **options)

    return make


async def call(client) -> None:
    assert (await client.list_tools()).tools


async def test_a_client_is_opened_in_one_task_and_closed_in_another(opened, jupyter):
    before = set(sessions(jupyter))
    context = opened()
    client = await asyncio.create_task(context.__aenter__())
    await asyncio.create_task(call(client))
    await call(client)
    await asyncio.create_task(context.__aexit__(None, None, None))
    await until(lambda: set(sessions(jupyter)) <= before)
    used = time.process_time()
    await asyncio.sleep(0.5)  # the loop has nothing to do
    assert time.process_time() - used < 0.2


def test_an_event_loop_of_another_library_is_refused_in_words():
    opening = connect("ws://127.0.0.1:1/x", token="t").__aenter__()
    with pytest.raises(RuntimeError, match=r"connect\('ws://127.0.0.1:1/x'\) needs an event loop of asyncio"):
        opening.send(None)


@pytest.mark.parametrize("copied", ["{}\n", "Bearer {}", "token {} "])
async def test_what_is_copied_with_a_token_is_left_out(jupyter, copied):
    async with connect(jupyter.endpoint("fast"), token=copied.format(jupyter.token)) as client:
        await call(client)


async def test_the_first_of_two_exit_stacks_is_closed_first(opened):
    one, two = contextlib.AsyncExitStack(), contextlib.AsyncExitStack()
    first, second = await one.enter_async_context(opened()), await two.enter_async_context(opened())
    await call(first)
    await one.aclose()
    await call(second)
    await two.aclose()


@pytest.fixture
async def client_of_a_fixture(jupyter) -> AsyncIterator:
    async with connect(jupyter.endpoint("fast"), token=jupyter.token) as client:
        yield client


async def test_a_fixture_may_hold_a_client(client_of_a_fixture):
    await call(client_of_a_fixture)


async def test_a_transport_is_opened_in_one_task_and_closed_in_another(jupyter):
    transport = websocket_transport(jupyter.endpoint("fast"), token=jupyter.token)
    read, write = await asyncio.create_task(transport.__aenter__())
    async with ClientSession(read, write) as session:
        await session.initialize()
        await call(session)
    await asyncio.create_task(transport.__aexit__(None, None, None))


async def test_an_error_of_the_block_is_raised_as_it_is(opened):
    with pytest.raises(ZeroDivisionError):
        async with opened():
            raise ZeroDivisionError


async def test_an_error_of_the_server_is_no_group(opened):
    with pytest.raises(MCPError):
        async with opened() as client:
            await client.read_resource("no:such")


async def test_a_refusal_is_no_group(jupyter):
    with pytest.raises(ConnectError):
        async with connect(jupyter.endpoint("nope"), token=jupyter.token):
            pass


async def test_opening_and_the_block_can_be_cancelled(opened, jupyter):
    before = set(sessions(jupyter))
    with anyio.move_on_after(0.001):
        async with opened():
            pass
    with anyio.move_on_after(2) as scope:
        async with opened() as client:
            await call(client)
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    await until(lambda: set(sessions(jupyter)) <= before)


async def test_a_context_that_fails_meanwhile_ends_the_block_with_its_error():
    @contextlib.asynccontextmanager
    async def failing() -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            yield

    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with OwnTask(failing(), "it"):
            await asyncio.sleep(60)
    assert asyncio.current_task().cancelling() == 0


def test_another_event_loop_is_an_error_that_says_so(jupyter):
    context = connect(jupyter.endpoint("fast"), token=jupyter.token, mode="legacy")
    loop, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    client = loop.run_until_complete(context.__aenter__())
    with pytest.raises(RuntimeError, match="another event loop; open, use and close"):
        other.run_until_complete(client.list_tools())
    with pytest.raises(RuntimeError, match="another event loop; open, use and close"):
        other.run_until_complete(context.__aexit__(None, None, None))
    loop.run_until_complete(call(client))
    loop.run_until_complete(context.__aexit__(None, None, None))
    loop.close()
    with pytest.raises(RuntimeError, match="which is closed"):
        other.run_until_complete(context.__aexit__(None, None, None))
    other.close()


async def test_other_uses_that_cannot_work_say_what_to_write(jupyter):
    context = connect(jupyter.endpoint("fast"), token=jupyter.token)
    with pytest.raises(TypeError, match="async with"), context:
        pass
    with pytest.raises(TypeError, match="async with"):
        await context
    with pytest.raises(AttributeError, match="async with"):
        await context.list_tools()
    with pytest.raises(RuntimeError, match="not open"):
        await context.__aexit__(None, None, None)
    async with context:
        pass
    with pytest.raises(RuntimeError, match="create another"):
        await context.__aenter__()


async def test_a_toolset_of_pydantic_ai_is_opened_in_one_task_and_closed_in_another(jupyter):
    from mcp_ws_ide.client.pydantic_ai import MCPServerWebSocket

    before = set(sessions(jupyter))
    toolset = MCPServerWebSocket(jupyter.endpoint("fast"), token=jupyter.token)
    await asyncio.create_task(toolset.__aenter__())
    assert await toolset.list_tools()
    await asyncio.create_task(toolset.__aexit__(None, None, None))
    await until(lambda: set(sessions(jupyter)) <= before)


CELLS = [
    "from mcp_ws_ide.client import connect\ncm = connect('fast')\nclient = await cm.__aenter__()",
    "print('first', len((await client.list_tools()).tools))",
    "print('second', len((await client.list_tools()).tools))",
    "await cm.__aexit__(None, None, None)\nprint('closed')",
    "import time, asyncio\nc = time.process_time(); await asyncio.sleep(1)\n"
    "print('still here', time.process_time() - c < 0.3)",
    "async with connect('nope') as other:\n    pass",
]


def test_a_notebook_opens_a_client_in_one_cell_and_closes_it_in_another(jupyter: Jupyter, tmp_path: Path):
    before = set(sessions(jupyter))
    script = tmp_path / "run.py"
    script.write_text(
        "import json, sys\nfrom jupyter_client.manager import start_new_kernel\n"
        "manager, client = start_new_kernel()\n"
        "def show(message):\n    c = message['content']\n"
        "    print(c.get('text') or c.get('evalue') or '', flush=True)\n"
        "for cell in json.load(open(sys.argv[1])):\n"
        "    client.execute_interactive(cell, timeout=60, output_hook=show)\n"
        "client.stop_channels()\nmanager.shutdown_kernel(now=True)\n"
    )
    cells = tmp_path / "cells.json"
    cells.write_text(json.dumps(CELLS))
    done = subprocess.run(
        [sys.executable, str(script), str(cells)],
        env=jupyter.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=BOUND,
    )
    assert all(word in done.stdout for word in ("first 1", "second 1", "closed", "still here True")), done
    assert "server 'nope' is not configured" in done.stdout, "an error, and no kernel that hangs"
    wait_until(lambda: set(sessions(jupyter)) <= before, NO_SESSION)

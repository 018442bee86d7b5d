"""Agent frameworks over our transport, while links are cut."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcp_ws_ide import client
from mcp_ws_ide.client import Negotiated, Reconnect, Resumed
from tests.chaos import ChaosLink
from tests.conftest import BOUND, TESTS, Jupyter, child, until

if TYPE_CHECKING:  # the frameworks take seconds to import, in every worker that collects this file
    from pydantic_ai.messages import ModelMessage, ModelResponse
    from pydantic_ai.models.function import AgentInfo

RECONNECT = Reconnect(first_delay=0.01, max_delay=0.05)
FAST = str(TESTS / "servers" / "fast.py")
SHAPES = str(TESTS / "servers" / "shapes.py")


def slow_then_bump(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """A model that calls two tools in turn, then returns their results."""
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart

    returned = [p.content for m in messages for p in m.parts if isinstance(p, ToolReturnPart)]
    if not returned:
        assert {"slow", "bump"} <= {tool.name for tool in info.function_tools}
        return ModelResponse(parts=[ToolCallPart("slow", {"steps": 6, "delay": 0.05})])
    if len(returned) == 1:
        return ModelResponse(parts=[ToolCallPart("bump", {})])
    return ModelResponse(parts=[TextPart(" / ".join(map(str, returned)))])


@pytest.mark.parametrize("scheme", ["ws", "http"])
async def test_an_agents_calls_survive_two_cuts_and_run_once(jupyter, scheme):
    """Even if the address is written as for HTTP: the configured WebSocket is used."""
    from pydantic_ai import Agent
    from pydantic_ai.models.function import FunctionModel

    states: list = []
    async with ChaosLink(jupyter.port, 5) as link:
        url = jupyter.endpoint("demo").replace(str(jupyter.port), str(link.port)).replace("ws", scheme, 1)
        seen: list[float] = []

        async def progress(done, total, message):
            seen.append(done)
            if len(seen) in (2, 4):
                link.cut("reset")

        server = client.MCPServerWebSocket(
            url,
            headers={"Authorization": f"Bearer {jupyter.token}"},
            reconnect=RECONNECT,
            on_state=states.append,
            init_timeout=BOUND,
            progress_handler=progress,
        )
        agent = Agent(FunctionModel(slow_then_bump), toolsets=[server])
        async with agent:
            result = await agent.run("go")
    assert "6 steps done" in result.output
    assert seen == [1, 2, 3, 4, 5, 6], "it ran once"
    assert sum(isinstance(state, Resumed) for state in states) == 2


async def test_an_agents_server_degrades_only_if_configured(jupyter):
    states: list = []
    url = f"{jupyter.url}mcp-ws/servers/demo"
    options = {
        "token": jupyter.token,
        "transports": ("poll", "http"),
        "on_state": states.append,
        "init_timeout": BOUND,
    }
    async with client.MCPServerWebSocket(url, **options) as server:
        assert {"slow", "bump"} <= {tool.name for tool in await server.list_tools()}
    assert [state.transport for state in states if isinstance(state, Negotiated)] == ["poll"]


@pytest.mark.parametrize("framework", ["fastmcp", "pydantic-ai"])
@pytest.mark.parametrize("transport", ["http", "websocket"])
@pytest.mark.parametrize("era", ["handshake", "modern"])
async def test_the_processes_that_frameworks_cost_do_not_depend_on_how_often_they_call(
    make_jupyter, tmp_path, framework, transport, era, record_property
):
    """Both send a log level with every request, and each request over HTTP is an exchange of its own.

    Of a handshake-era server, the first process shows the era, and then serves a session over WebSocket. Exchanges over
    HTTP, which have no session, share another one.
    """
    starts = tmp_path / "starts"
    script, tool = SERVERS[era]
    counted = f"open({str(starts)!r}, 'a').write('x'); import runpy; "
    program = f"{counted}runpy.run_path({script!r}, run_name='__main__')"
    jupyter = make_jupyter({"fast": {"command": sys.executable, "args": ["-c", program, "shape"]}})
    began = time.monotonic()
    await CALLERS[framework, transport](jupyter, tool)
    record_property("seconds", round(time.monotonic() - began, 2))
    assert len(starts.read_text()) == (2 if (era, transport) == ("handshake", "http") else 1)


SERVERS = {"handshake": (SHAPES, "t"), "modern": (FAST, "echo")}
"""A server of each era, with a tool that answers a text."""


async def call_with_fastmcp(transport: Any, tool: str) -> None:
    from fastmcp import Client

    async with Client(transport, init_timeout=BOUND) as fast:
        for _ in range(10):
            assert (await fast.call_tool(tool, {"text": "ok"})).content[0].text == "ok"


async def call_with_pydantic_ai(toolset: Any, tool: str) -> None:
    async with toolset:
        for _ in range(10):
            assert await toolset.direct_call_tool(tool, {"text": "ok"}) == "ok"


async def fastmcp_over_http(jupyter: Jupyter, tool: str) -> None:
    from fastmcp.client.transports import StreamableHttpTransport

    await call_with_fastmcp(StreamableHttpTransport(http_url(jupyter), headers=bearer(jupyter)), tool)


async def fastmcp_over_websocket(jupyter: Jupyter, tool: str) -> None:
    await call_with_fastmcp(
        client.WebSocketClientTransport(jupyter.endpoint("fast"), token=jupyter.token), tool
    )


async def pydantic_ai_over_http(jupyter: Jupyter, tool: str) -> None:
    from pydantic_ai.mcp import MCPToolset

    await call_with_pydantic_ai(MCPToolset(http_url(jupyter), headers=bearer(jupyter)), tool)


async def pydantic_ai_over_websocket(jupyter: Jupyter, tool: str) -> None:
    url = jupyter.endpoint("fast")
    await call_with_pydantic_ai(client.MCPServerWebSocket(url, token=jupyter.token, init_timeout=BOUND), tool)


def http_url(jupyter: Jupyter) -> str:
    return f"{jupyter.url}mcp-ws/servers/fast"


def bearer(jupyter: Jupyter) -> dict[str, str]:
    return {"Authorization": f"Bearer {jupyter.token}"}


CALLERS = {
    ("fastmcp", "http"): fastmcp_over_http,
    ("fastmcp", "websocket"): fastmcp_over_websocket,
    ("pydantic-ai", "http"): pydantic_ai_over_http,
    ("pydantic-ai", "websocket"): pydantic_ai_over_websocket,
}
"""Opens a client, calls a tool ten times and closes it."""


async def test_fastmcps_client_works_through_cuts(jupyter):
    from fastmcp import Client

    async with ChaosLink(jupyter.port, 6) as link:
        url = jupyter.endpoint("demo").replace(str(jupyter.port), str(link.port))
        transport = client.WebSocketClientTransport(url, token=jupyter.token, reconnect=RECONNECT)

        async def progress(done, total, message):
            if done == 2:
                link.cut("reset")

        async with Client(transport, init_timeout=BOUND) as connected:
            result = await connected.call_tool("slow", {"steps": 4, "delay": 0.05}, progress_handler=progress)
            assert result.content[0].text == "4 steps done"
            assert isinstance(transport.link.state, Resumed)


async def cut_twice_in_a_call(jupyter: Jupyter, python: str, script: str, *arguments: str) -> list[str]:
    """Run a client program over a link that is cut, twice, while its call runs; the lines it printed last.

    The program prints its states as they come.
    """
    printed: list[str] = []
    async with ChaosLink(jupyter.port, 7) as link:
        url = jupyter.endpoint("demo").replace(str(jupyter.port), str(link.port))
        program = str(Path(__file__).with_name(script))
        command = (python, program, url, jupyter.token, *arguments)
        async with asyncio.timeout(2 * BOUND), child(*command, stdout=asyncio.subprocess.PIPE) as client:
            assert client.stdout is not None
            async for line in client.stdout:
                printed.append(line.decode().strip())
                if printed[-1] in ("Connected", "Resumed") and len(links_of(printed)) <= 2:
                    await until(lambda: in_flight(jupyter), what="the call")
                    link.cut("reset")
            assert await client.wait() == 0
    assert printed.count("Resumed") == 2
    return [line for line in printed if line not in ("Connected", "Reconnecting", "Resumed")]


def links_of(printed: list[str]) -> list[str]:
    return [line for line in printed if line in ("Connected", "Resumed")]


def in_flight(jupyter: Jupyter) -> bool:
    return any(
        s["server"] == "demo" and s["in_flight"] for s in jupyter.rest("GET", "sessions")[1]["sessions"]
    )


async def test_an_openai_agents_calls_survive_two_cuts(jupyter, agents_python):
    (said,) = await cut_twice_in_a_call(jupyter, agents_python, "agent_openai.py")
    slow, bump = json.loads(said)
    assert slow[0]["text"] == "10 steps done"
    assert int(bump[0]["text"]) >= 1


async def test_calls_of_langchains_tools_survive_two_cuts(jupyter, mcp1_python):
    slow, bump = await cut_twice_in_a_call(jupyter, mcp1_python, "agent_langchain.py", "ours")
    assert slow.startswith("success slow")
    assert "10 steps done" in slow
    assert bump.startswith("success bump")


def test_langchains_own_websocket_connection_works_unmodified(jupyter, mcp1_python, run_program):
    program = str(Path(__file__).with_name("agent_langchain.py"))
    output = run_program(mcp1_python, program, jupyter.endpoint("demo"), jupyter.token, "theirs")
    assert "by their own websocket" in output


@pytest.mark.parametrize(
    ("name", "extra"), [("MCPServerWebSocket", "pydantic-ai"), ("WebSocketClientTransport", "fastmcp")]
)
def test_a_missing_framework_is_named_with_its_extra(name, extra):
    script = f"import sys; sys.modules['pydantic_ai'] = sys.modules['fastmcp'] = None; from mcp_ws_ide.client import {name}"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=BOUND, check=False
    )
    assert done.returncode == 1
    assert f"mcp-ws-ide[{extra}]" in done.stderr

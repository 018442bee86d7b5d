"""Clients of one era on real servers that speak only the other (docs/reference/eras.md)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from mcp_ws_ide.client import connect
from tests.chaos import ChaosLink
from tests.client.test_reconnect import FAST
from tests.conftest import BOUND, DEMO, FAST_SERVER, Jupyter, until
from tests.interop.conftest import MCP1, ON_SDK_1, PACKAGES, node
from tests.interop.test_python_2 import elicit, roots, sample, text_of
from tests.interop.test_typescript import program

MODERN = "2026-07-28"
CALLBACKS = {"elicitation_callback": elicit, "sampling_callback": sample, "list_roots_callback": roots}
TASKS = str(Path(__file__).parents[1] / "servers" / "tasks.py")
MODERN_ONLY = str(Path(__file__).parents[1] / "servers" / "modern_only.py")


@pytest.fixture(scope="module")
def bridged(tmp_path_factory) -> Iterator[Jupyter]:
    """Servers of one era each."""
    servers: dict[str, Any] = {
        "new": {"command": sys.executable, "args": [MODERN_ONLY, DEMO["command"], *DEMO["args"]]},
        "new-fast": {
            "command": sys.executable,
            "args": [MODERN_ONLY, FAST_SERVER["command"], *FAST_SERVER["args"]],
        },
    }
    if MCP1.exists():
        command, *arguments = ON_SDK_1.command("-m", "mcp_ws_ide.demo")
        servers["old"] = {"command": command, "args": arguments}
        servers["old-shared"] = {**servers["old"], "mcp_ws": {"sharing": "always"}}
        servers["old-unbridged"] = {**servers["old"], "mcp_ws": {"bridge": False}}
    if (program_path := node()) is not None and PACKAGES.exists():
        for name in ("everything", "memory"):
            script = PACKAGES / "@modelcontextprotocol" / f"server-{name}" / "dist" / "index.js"
            servers[name] = {"command": program_path, "args": [str(script)]}
        servers["tasks"] = {"command": sys.executable, "args": ["-I", "-S", TASKS]}
        servers["both"] = {"group": ["everything", "tasks"]}
        memory = tmp_path_factory.mktemp("memory") / "memory.json"
        servers["memory"] |= {"env": {"MEMORY_FILE_PATH": str(memory)}, "mcp_ws": {"sharing": "always"}}
    running = Jupyter(tmp_path_factory.mktemp("bridge"), servers)
    yield running
    running.stop()


def client(jupyter: Jupyter, name: str, mode: str, **options: Any) -> Any:
    return connect(jupyter.endpoint(name), token=jupyter.token, mode=mode, **{**CALLBACKS, **options})


@pytest.mark.parametrize("mode", [MODERN, "auto"])
@pytest.mark.parametrize("name", ["old", "old-shared"])
async def test_a_modern_client_uses_every_feature_of_a_handshake_server(bridged, mcp1_python, name, mode):
    progress: list[float] = []
    logs: list[str] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        progress.append(done)

    async def on_log(params: Any) -> None:
        logs.append(params.level)

    async with client(bridged, name, mode, logging_callback=on_log) as demo:
        assert "echo" in {tool.name for tool in (await demo.list_tools()).tools}
        assert text_of(await demo.call_tool("echo", {"text": "hi"})) == "hi"
        assert text_of(await demo.call_tool("elicit", {})) == "hello Ann"
        assert "forty-two" in text_of(await demo.call_tool("sample", {"prompt": "?"}))
        if name == "old":  # one client's roots are not told to a server that is shared
            assert "file:///here" in text_of(await demo.call_tool("roots", {}))
        assert (await demo.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3.0}
        assert (await demo.call_tool("fail", {"text": "no"})).is_error
        slow = await demo.call_tool("slow", {"steps": 3, "delay": 0.01}, progress_callback=on_progress)
        assert text_of(slow) == "3 steps done"
        await until(lambda: progress == [1, 2, 3], what="progress")
        assert (await demo.read_resource("demo://item/7")).contents[0].text == "item 7"
        assert "Bo" in (await demo.get_prompt("greet", {"name": "Bo"})).messages[0].content.text
        with pytest.raises(MCPError):
            await demo.read_resource("demo://nowhere")
        assert len(text_of(await demo.call_tool("big", {"size": 1 << 20}))) == 1 << 20


@pytest.mark.parametrize("name", ["old", "old-shared"])
async def test_subscriptions_reach_a_modern_client_of_a_handshake_server(bridged, mcp1_python, name):
    async with (
        client(bridged, name, MODERN) as watching,
        client(bridged, name, MODERN) as other,
        watching.listen(tools_list_changed=True, resource_subscriptions=["demo://counter"]) as changes,
    ):
        actor = other if name == "old-shared" else watching
        seen: list[str] = []

        async def listen() -> None:
            async for event in changes:
                seen.append(type(event).__name__)

        listener = asyncio.ensure_future(listen())
        await actor.call_tool("bump", {})
        await until(lambda: any("Updated" in name for name in seen), what="the update")
        listener.cancel()


async def test_a_cancelled_call_is_cancelled_at_a_handshake_server(bridged, mcp1_python):
    async with client(bridged, "old", MODERN) as demo:
        call = asyncio.ensure_future(demo.call_tool("slow", {"steps": 600, "delay": 0.1}))
        await until(lambda: bridged.rest("GET", "sessions")[1]["sessions"][0]["in_flight"] == 1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert text_of(await demo.call_tool("echo", {"text": "still here"})) == "still here"
        await until(lambda: bridged.rest("GET", "sessions")[1]["sessions"][0]["in_flight"] == 0)


async def test_a_question_survives_the_loss_of_the_link(bridged, mcp1_python):
    async with ChaosLink(bridged.port, 1) as network:
        url = bridged.endpoint("old").replace(str(bridged.port), str(network.port))

        async def slowly(context: Any, params: Any) -> types.ElicitResult:
            network.cut("reset")
            return await elicit(context, params)

        callbacks = {**CALLBACKS, "elicitation_callback": slowly}
        async with connect(url, token=bridged.token, mode=MODERN, reconnect=FAST, **callbacks) as demo:
            assert text_of(await demo.call_tool("elicit", {})) == "hello Ann"


async def test_each_bridged_client_has_its_own_process_unless_configured_to_share(bridged, mcp1_python):
    for name, expected in (("old", 3), ("old-shared", 1)):
        async with (
            client(bridged, name, MODERN) as a,
            client(bridged, name, MODERN) as b,
            client(bridged, name, "legacy") as c,
        ):
            await asyncio.gather(*(one.call_tool("echo", {"text": "x"}) for one in (a, b, c)))
            processes = bridged.processes(name)
            assert len(processes) == expected
            assert {process["era"] for process in processes} == {"legacy"}
            assert all(process["shared"] is (name == "old-shared") for process in processes)


async def test_without_the_bridge_a_modern_client_is_asked_to_initialize(bridged, mcp1_python):
    async with client(bridged, "old-unbridged", MODERN) as demo:
        with pytest.raises(MCPError, match="initialize handshake"):
            await demo.list_tools()
    async with client(bridged, "old-unbridged", "auto") as demo:
        assert text_of(await demo.call_tool("echo", {"text": "x"})) == "x"


@pytest.mark.node
async def test_a_modern_client_uses_every_feature_of_server_everything(bridged, node_program):
    progress: list[float] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        progress.append(done)

    async with client(bridged, "everything", MODERN) as everything:
        assert "forty-two" in text_of(await everything.call_tool("trigger-sampling-request", {"prompt": "x"}))
        answered = await everything.call_tool("trigger-elicitation-request", {})
        assert "provided the requested information" in text_of(answered)
        assert "file:///here" in text_of(await everything.call_tool("get-roots-list", {}))
        long = {"duration": 0.5, "steps": 2}
        await everything.call_tool("trigger-long-running-operation", long, progress_callback=on_progress)
        await until(lambda: progress == [1, 2], what="progress")
        structured = await everything.call_tool("get-structured-content", {"location": "New York"})
        assert structured.structured_content
        image = await everything.call_tool("get-tiny-image", {})
        assert any(block.type == "image" for block in image.content)
        assert (await everything.list_prompts()).prompts
        assert (await everything.get_prompt("simple-prompt")).messages
        (first, *_) = (await everything.list_resources()).resources
        assert (await everything.read_resource(str(first.uri))).contents
        assert (await everything.list_resource_templates()).resource_templates
        async with everything.listen(resource_subscriptions=[str(first.uri)]) as changes:
            await everything.call_tool("toggle-subscriber-updates", {})
            async with asyncio.timeout(BOUND):
                async for event in changes:
                    assert str(first.uri) in str(event)
                    break


@pytest.mark.node
async def test_a_modern_client_calls_a_tool_of_server_everything_that_runs_only_as_a_task(
    bridged, node_program
):
    async with client(bridged, "everything", MODERN) as everything:
        assert "simulate-research-query" in {tool.name for tool in (await everything.list_tools()).tools}
        about = {"topic": "python", "ambiguous": True}
        report = text_of(await everything.call_tool("simulate-research-query", about))
        assert "# Research Report: python" in report
        assert "After receiving clarification" in report


RESEARCH = {"topic": "python", "ambiguous": True}


@pytest.mark.node
@pytest.mark.parametrize(
    ("scheme", "name", "tool", "arguments", "expected"),
    [
        ("ws", "everything", "simulate-research-query", RESEARCH, "# Research Report: python"),
        ("http", "both", "everything__simulate-research-query", RESEARCH, "# Research Report: python"),
        ("ws", "both", "tasks__ask", {}, '"Ann"'),
        ("http", "tasks", "ask", {}, '"Ann"'),
    ],
)
async def test_the_client_of_sdk_1_uses_its_tasks_on_every_server(
    bridged, mcp1_client, node_program, run_program, scheme, name, tool, arguments, expected
):
    url = bridged.endpoint(name).replace("ws:", f"{scheme}:", 1) + f"?token={bridged.token}"
    command = [*mcp1_client[:-1], str(Path(__file__).with_name("tasks_client_1.py"))]
    printed = await asyncio.to_thread(run_program, *command, url, tool, json.dumps(arguments))
    assert "asked for True" in printed
    assert expected in printed
    assert "ended completed" in printed


@pytest.mark.node
async def test_32_agents_share_a_memory_server_and_see_each_others_writes(bridged, node_program):
    async with asyncio.timeout(BOUND), AsyncExitStack() as stack:
        entered = [
            await stack.enter_async_context(client(bridged, "memory", MODERN if number % 2 else "legacy"))
            for number in range(32)
        ]
        entity = [{"name": f"agent {n}", "entityType": "agent", "observations": []} for n in range(32)]
        for number, one in enumerate(entered):
            await one.call_tool("create_entities", {"entities": [entity[number]]})
        graphs = await asyncio.gather(*(one.call_tool("read_graph", {}) for one in entered))
        assert len(bridged.processes("memory")) == 1
    for graph in graphs:
        assert len(json.loads(text_of(graph))["entities"]) == 32


async def test_a_handshake_client_uses_every_feature_of_a_modern_only_server(bridged):
    progress: list[float] = []
    seen: list[str] = []
    logs: list[str] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        progress.append(done)

    async def on_log(params: Any) -> None:
        logs.append(params.level)

    async def on_message(message: Any) -> None:
        seen.append(type(message).__name__)

    options = {"logging_callback": on_log, "message_handler": on_message}
    async with client(bridged, "new", "legacy", **options) as demo:
        assert demo.protocol_version == "2025-11-25"
        assert text_of(await demo.call_tool("elicit", {})) == "hello Ann"
        assert "forty-two" in text_of(await demo.call_tool("sample", {"prompt": "?"}))
        assert "file:///here" in text_of(await demo.call_tool("roots", {}))
        slow = await demo.call_tool("slow", {"steps": 3, "delay": 0.01}, progress_callback=on_progress)
        assert text_of(slow) == "3 steps done"
        await until(lambda: progress == [1, 2, 3], what="progress")
        await demo.subscribe_resource("demo://counter")
        await demo.call_tool("bump", {})
        await until(lambda: any("Updated" in name for name in seen), what="the update")
        await demo.call_tool("grow", {})
        await until(lambda: any("ToolListChanged" in name for name in seen), what="the change")
        await demo.send_ping()
        await demo.set_logging_level("debug")
        await demo.call_tool("log", {})
        await until(lambda: len(logs) == 4, what="logs")
        told = len(seen)
        await demo.call_tool("bump", {})
        await until(lambda: len(seen) > told, what="an update by the process that logs")
        told = len(seen)
        with pytest.raises(MCPError):
            await demo.call_tool("crash", {})
        await until(lambda: any("Updated" in name for name in seen[told:]), what="what may have been missed")
        told = len(seen)
        await demo.call_tool("bump", {})
        await until(lambda: any("Updated" in name for name in seen[told:]), what="the update")
        eras = {s["era"] for s in bridged.rest("GET", "sessions")[1]["sessions"] if s["server"] == "new"}
        assert eras == {"legacy"}


async def test_the_python_1_client_uses_every_feature_of_a_modern_only_server(
    bridged, mcp1_client, run_program
):
    url = f"{bridged.endpoint('new')}?token={bridged.token}"
    printed = await asyncio.to_thread(run_program, *mcp1_client, url, "echo", '{"text": "hello"}')
    assert "hello" in printed


@pytest.mark.node
@pytest.mark.parametrize("scheme", ["ws", "http"])
async def test_the_typescript_1_client_uses_every_feature_of_a_modern_only_server(
    bridged, node_program, run_program, scheme
):
    url = f"{scheme}{bridged.endpoint('new').removeprefix('ws')}?token={bridged.token}"
    given = '{"text": "hello"}'
    printed = await asyncio.to_thread(
        run_program, node_program, program("sdk1_client.mjs"), url, "echo", given
    )
    assert "hello" in printed

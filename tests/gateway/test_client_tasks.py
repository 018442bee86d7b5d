"""Clients of 2025-11-25 that use its tasks, on servers of the other era, alone and in groups."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from mcp_ws_ide.config.spec import Configuration, ServerSpec
from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.gateway import Gateway, Limits
from mcp_ws_ide.links.base import LinkInfo
from tests.conftest import until
from tests.gateway.test_gateway import ODD, Client, HeldLink
from tests.gateway.test_server_tasks import spec

TASKS = "io.modelcontextprotocol/related-task"


@pytest.fixture
async def gateway(tmp_path):
    gateway = Gateway(Limits(probe_timeout=0.5))
    plain = ServerSpec(
        "old", "test", command=sys.executable, args=("-I", "-S", ODD, "plain", str(tmp_path / "n"))
    )
    both = ServerSpec("both", "test", group=("tasks", "old"))
    gateway.configure(Configuration({"tasks": spec("tasks"), "old": plain, "both": both}, []))
    yield gateway
    await gateway.aclose()


class TaskClient(Client):
    """A client of 2025-11-25."""

    def __init__(self, gateway: Gateway, name: str, tools: ToolRules | None = None) -> None:
        self.link, self.count, self.told = HeldLink(), 0, 0
        info = LinkInfo("me", link="websocket", tools=tools)
        self.session = gateway.open_session(gateway.servers[name], self.link, info)

    async def begin(self) -> dict[str, Any]:
        client = {"name": "c", "version": "1"}
        capabilities: dict[str, Any] = {"elicitation": {}}
        answer = await self.legacy(
            "initialize", protocolVersion="2025-11-25", capabilities=capabilities, clientInfo=client
        )
        self.say(method="notifications/initialized")
        return answer["result"]

    async def legacy(self, method: str, **params: Any) -> dict[str, Any]:
        return await self.ask(method, None, **params)

    async def task(self, name: str, **arguments: Any) -> dict[str, Any]:
        answer = await self.legacy("tools/call", name=name, arguments=arguments, task={"ttl": 60_000})
        return answer["result"]["task"]

    async def reaches(self, task: str, status: str) -> None:
        async def status_now() -> str:
            return (await self.legacy("tasks/get", taskId=task))["result"]["status"]

        while await status_now() != status:
            await until(lambda: self._news(), what=f"a change of the task to {status}")

    def _news(self) -> bool:
        told = sum(m.get("method") == "notifications/tasks/status" for m in self.link.sent)
        news, self.told = told > self.told, told
        return news


@pytest.mark.parametrize(("name", "prefix"), [("tasks", ""), ("both", "tasks__")])
async def test_a_task_asks_its_question_with_the_request_for_its_result(gateway, name, prefix):
    client = TaskClient(gateway, name)
    offered = (await client.begin())["capabilities"]
    assert offered["tasks"]["requests"]["tools"] == {"call": {}}
    tools = (await client.legacy("tools/list"))["result"]["tools"]
    assert {tool.get("execution", {}).get("taskSupport") for tool in tools} == {"optional"}
    task = (await client.task(f"{prefix}ask"))["taskId"]
    await client.reaches(task, "input_required")
    assert not any(m.get("method") == "elicitation/create" for m in client.link.sent)
    client.say(id="result", method="tasks/result", params={"taskId": task})
    await until(lambda: any(m.get("method") == "elicitation/create" for m in client.link.sent))
    question = next(m for m in client.link.sent if m.get("method") == "elicitation/create")
    assert question["params"]["_meta"] == {TASKS: {"taskId": task}}
    assert not client.session.attachments.movable, "a task ends with the bridge"
    client.say(id=question["id"], result={"action": "accept", "content": {"name": "Ann"}})
    await until(lambda: any(m.get("id") == "result" for m in client.link.sent), what="the result")
    result = next(m["result"] for m in client.link.sent if m.get("id") == "result")
    assert "Ann" in result["content"][0]["text"]
    assert result["_meta"] == {TASKS: {"taskId": task}}
    assert client.session.attachments.movable


async def test_a_call_that_the_server_runs_only_as_a_task_is_possible_for_every_client(gateway):
    client = TaskClient(gateway, "tasks")
    await client.begin()
    client.say(id="c", method="tools/call", params={"name": "ask", "arguments": {}})
    await until(lambda: any(m.get("method") == "elicitation/create" for m in client.link.sent))
    question = next(m for m in client.link.sent if m.get("method") == "elicitation/create")
    client.say(id=question["id"], result={"action": "decline"})
    await until(lambda: any(m.get("id") == "c" for m in client.link.sent), what="the result")
    assert (
        "decline" in next(m["result"] for m in client.link.sent if m.get("id") == "c")["content"][0]["text"]
    )


def unfinished(gateway: Gateway) -> bool:
    """Return whether a process of the server has an unfinished task."""
    shared = (each for each in gateway.servers["tasks"].upstreams if each.shared)
    return any(each.lifetime.unfinished for each in shared)


async def test_a_cancelled_task_is_cancelled_at_the_server(gateway):
    client, other = TaskClient(gateway, "both"), TaskClient(gateway, "tasks")
    await client.begin()
    await other.begin()
    task = (await client.task("tasks__job", id="t1"))["taskId"]
    await until(lambda: unfinished(gateway), what="the server's task")
    cancelled = await client.legacy("tasks/cancel", taskId=task)
    assert cancelled["result"]["status"] == "cancelled"
    await until(lambda: not unfinished(gateway), what="the end of the server's task")
    assert "not made in this session" in (await other.legacy("tasks/get", taskId=task))["error"]["message"]


@pytest.mark.parametrize("name", ["tasks", "both"])
async def test_a_restricted_token_reaches_the_tasks_that_it_made_and_no_others(gateway, name):
    prefix = "" if name == "tasks" else "tasks__"
    client = TaskClient(gateway, name, ToolRules(allow=(f"{prefix}plain",)))
    await client.begin()
    task = (await client.task(f"{prefix}plain"))["taskId"]
    await client.reaches(task, "completed")
    result = await client.legacy("tasks/result", taskId=task)
    assert result["result"]["content"][0]["text"] == "done at once"
    for method in ("tasks/get", "tasks/result", "tasks/cancel"):
        refused = await client.legacy(method, taskId="another")
        assert "given to another credential" in refused["error"]["message"]
    assert (await client.legacy("tasks/list"))["error"]["code"] == -32601

"""Tasks of servers (``io.modelcontextprotocol/tasks``, SEP-2663) through a gateway without HTTP."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from mcp_ws_ide.config.spec import Configuration, ServerSpec
from mcp_ws_ide.core.open_work import MAX_KEPT, OpenWork
from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.gateway import Gateway, Limits
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.links.base import LinkInfo
from tests.conftest import MODERN, TESTS, until
from tests.gateway.test_gateway import Client

TASKS = "io.modelcontextprotocol/tasks"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
DECLARED = {**MODERN, CAPABILITIES: {"elicitation": {}, "extensions": {TASKS: {}}}}


def spec(name: str, **options: Any) -> ServerSpec:
    script = str(TESTS / "servers" / "tasks.py")
    return ServerSpec(name, "test", command=sys.executable, args=("-I", "-S", script), **options)


@pytest.fixture
def limits():
    return Limits(idle_timeout=0.05)


@pytest.fixture
async def gateway(limits):
    gateway = Gateway(limits)
    gateway.configure(Configuration({"tasks": spec("tasks")}, []))
    yield gateway
    await gateway.aclose()


class TaskClient(Client):
    """A client that declares the extension."""

    def __init__(self, gateway: Gateway, link_kind: str = "websocket", **options: Any) -> None:
        server = options.pop("server", None) or gateway.servers["tasks"]
        super().__init__(gateway, link_kind, server, **options)

    async def result(self, method: str, **params: Any) -> dict[str, Any]:
        answer = await self.ask(method, DECLARED, **params)
        assert "result" in answer, answer
        return answer["result"]

    async def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        return await self.result("tools/call", name=name, arguments=arguments)

    def leave(self) -> None:
        self.session.link_closed(1000, "bye")


def running(gateway: Gateway) -> int:
    return gateway.process_count()


async def passes_its_idle_time(gateway: Gateway) -> None:
    """Wait until the unused process of the server was looked at several times."""
    (upstream,) = gateway.servers["tasks"].upstreams
    looks = 0
    look = upstream.lifetime._end

    def counted() -> None:
        nonlocal looks
        looks += 1
        look()

    upstream.lifetime._end = counted
    await until(lambda: looks > 2 or not running(gateway), what="three looks")


@pytest.mark.parametrize("later", ["websocket", "http"])
async def test_a_task_is_found_by_the_next_connection_of_its_user_although_the_idle_time_is_over(
    gateway, later
):
    client = TaskClient(gateway)
    task = await client.call("job", id="t1")
    assert (task["resultType"], task["taskId"]) == ("task", "t1")
    client.leave()
    await passes_its_idle_time(gateway)
    again = TaskClient(gateway, later)
    found = await again.result("tasks/get", taskId="t1")
    assert (found["status"], found["statusMessage"]) == ("working", task["statusMessage"])


async def test_the_process_ends_when_a_client_has_seen_that_the_task_is_finished(gateway):
    client = TaskClient(gateway)
    await client.call("job", id="t1")
    await client.call("end", id="t1")
    client.leave()
    await passes_its_idle_time(gateway)
    assert running(gateway) == 1, "nobody has its result"
    client = TaskClient(gateway)
    assert (await client.result("tasks/get", taskId="t1"))["result"]["content"][0]["text"] == "result of t1"
    client.leave()
    await until(lambda: not running(gateway), what="the end of the process")


@pytest.mark.parametrize("how", ["cancelled", "notified", "ttl"])
async def test_the_process_ends_when_nothing_more_can_be_wanted_of_the_task(gateway, how):
    client = TaskClient(gateway)
    await client.call("job", id="t1", **({"ttlMs": 10} if how == "ttl" else {}))
    if how == "cancelled":
        await client.result("tasks/cancel", taskId="t1")
    elif how == "notified":
        params = {"_meta": DECLARED, "notifications": {"taskIds": ["t1"]}}
        client.say(id="listen", method="subscriptions/listen", params=params)
        await until(lambda: any("acknowledged" in m.get("method", "") for m in client.link.sent))
        await client.call("end", id="t1")
        told = [m["params"] for m in client.link.sent if m.get("method") == "notifications/tasks"]
        assert [(task["taskId"], task["status"]) for task in told] == [("t1", "completed")]
    client.leave()
    await until(lambda: not running(gateway), what="the end of the process")


@pytest.mark.parametrize("limits", [Limits(idle_timeout=0.02, task_timeout=0.1)])
async def test_a_task_without_a_time_of_its_own_keeps_the_process_no_longer_than_the_limit(gateway):
    client = TaskClient(gateway)
    await client.call("job", id="t1")
    client.leave()
    await until(lambda: not running(gateway), what="the end of the process")


async def test_a_call_that_waits_for_an_answer_keeps_its_process_until_it_is_continued(gateway):
    client = TaskClient(gateway, "http")
    asked = await client.call("wait", state="s1")
    client.leave()
    await passes_its_idle_time(gateway)
    assert running(gateway) == 1
    client = TaskClient(gateway, "http")
    answers = {"inputResponses": {"who": {"action": "accept"}}, "requestState": asked["requestState"]}
    await client.result("tools/call", name="wait", arguments={}, **answers)
    client.leave()
    await until(lambda: not running(gateway), what="the end of the process")


async def test_a_changed_entry_ends_the_old_process_although_it_has_a_task(gateway):
    client = TaskClient(gateway)
    await client.call("job", id="t1")
    gateway.configure(Configuration({"tasks": spec("tasks", title="changed")}, []))
    client.leave()
    await until(lambda: not running(gateway), what="the end of the process")


async def test_a_group_keeps_the_tasks_of_its_members_apart_and_their_processes_alive(gateway):
    gateway.configure(Configuration({"one": spec("one"), "two": spec("two")}, []))
    group = gateway.find("+one+two")
    client = TaskClient(gateway, server=group)
    tasks = {member: await client.call(f"{member}__job", id="t1") for member in ("one", "two")}
    assert {member: task["taskId"] for member, task in tasks.items()} == {"one": "one:t1", "two": "two:t1"}
    await client.call("two__end", id="t1")
    client.leave()
    for link_kind in ("http", "websocket"):
        client = TaskClient(gateway, link_kind, server=group)
        found = [await client.result("tasks/get", taskId=f"{member}:t1") for member in ("one", "two")]
        assert [(task["taskId"], task["status"]) for task in found] == [
            ("one:t1", "working"),
            ("two:t1", "completed"),
        ]
        assert [task["statusMessage"] for task in found] == [
            tasks[member]["statusMessage"] for member in ("one", "two")
        ]
        client.leave()


async def test_a_group_carries_a_question_of_a_task_and_its_answer(gateway):
    gateway.configure(Configuration({"one": spec("one"), "two": spec("two")}, []))
    client = TaskClient(gateway, server=gateway.find("+one+two"))
    task = await client.call("two__ask", id="t1")
    found = await client.result("tasks/get", taskId=task["taskId"])
    assert list(found["inputRequests"]) == ["who"]
    answers = {"who": {"action": "accept", "content": {"name": "Ann"}}}
    await client.result("tasks/update", taskId=task["taskId"], inputResponses=answers)
    done = await client.result("tasks/get", taskId=task["taskId"])
    assert json.loads(done["result"]["content"][0]["text"]) == answers


def test_many_tasks_make_room_for_newer_ones():
    work = OpenWork(Limits())
    for number in range(MAX_KEPT + 10):
        work.answered(b'{"taskId":"%d","status":"working","ttlMs":1e9}' % number, 0.0)
    for number in range(10, MAX_KEPT + 10):
        work.answered(b'{"taskId":"%d","status":"completed"}' % number, 0.0)
    assert not work.is_open(1.0)


# --- restricted gateway tokens --------------------------------------------------------------------

NARROW = ToolRules(allow=("plain",))
JOBS = ToolRules(allow=("job", "plain"))


def restricted(gateway: Gateway, tools: ToolRules, server: Server | None = None) -> TaskClient:
    server = server or gateway.servers["tasks"]
    client = TaskClient(gateway, server=server)
    client.session.link_closed(1000, "replaced")
    info = LinkInfo("me", link="websocket", tools=tools)
    client.session = gateway.open_session(server, client.link, info)
    return client


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel", "subscriptions/listen"])
@pytest.mark.parametrize("owner", ["user", "token"])
async def test_a_restricted_token_reaches_no_task_of_another_credential(gateway, method, owner):
    holder = TaskClient(gateway) if owner == "user" else restricted(gateway, JOBS)
    await holder.call("job", id="t1")
    thief = restricted(gateway, NARROW)
    params = {"notifications": {"taskIds": ["t1"]}} if method == "subscriptions/listen" else {"taskId": "t1"}
    refused = await thief.ask(method, DECLARED, **params)
    assert refused["error"]["code"] == -32602
    assert "given to another credential" in refused["error"]["message"]
    assert (await holder.result("tasks/get", taskId="t1"))["status"] == "working"


@pytest.mark.parametrize(
    "params",
    [
        '{"taskId":"own","TaskID":"t1","_meta":META}',
        '{"taskId":"own","taskId":"t1","_meta":META}',
        '{"taskId":"own","task_id":"t1","_meta":META}',
    ],
)
async def test_no_spelling_of_a_task_reaches_a_server_that_reads_it_differently(gateway, params):
    await TaskClient(gateway).call("job", id="t1")
    thief = restricted(gateway, JOBS)
    await thief.call("job", id="own")
    text = params.replace("META", json.dumps(DECLARED))
    thief.session.receive(f'{{"jsonrpc":"2.0","id":99,"method":"tasks/get","params":{text}}}'.encode(), 0.0)
    await until(lambda: any(m.get("id") == 99 for m in thief.link.sent))
    answer = next(m for m in thief.link.sent if m.get("id") == 99)
    assert "where tools are restricted" in answer["error"]["message"]


async def test_a_restricted_token_follows_its_own_task(gateway):
    client = restricted(gateway, JOBS)
    await client.call("job", id="t1")
    assert (await client.result("tasks/get", taskId="t1"))["status"] == "working"
    assert (await client.result("tasks/cancel", taskId="t1")) == {"resultType": "complete"}


@pytest.mark.parametrize(
    "rules", [ToolRules(deny=("one__end",)), ToolRules(allow=("one__job", "two__*", "end"))]
)
async def test_rules_about_prefixed_names_cannot_be_passed_by_a_call_without_a_prefix(gateway, rules):
    gateway.configure(Configuration({"one": spec("one"), "two": spec("two", tools=ToolRules(allow=()))}, []))
    group = gateway.find("+one+two")
    client = restricted(gateway, rules, group)
    await client.result("tools/list")
    task = await client.call("one__job", id="t1")
    refused = await client.ask("tools/call", DECLARED, name="end", arguments={"id": "t1"})
    assert refused["error"] == {"code": -32602, "message": "Unknown tool: end"}
    assert (await client.result("tasks/get", taskId=task["taskId"]))["status"] == "working"
    free = TaskClient(gateway, server=group)
    assert (await free.call("end", id="t1"))["content"][0]["text"] == "ended"


@pytest.mark.parametrize("link_kind", ["websocket", "http"])
async def test_a_group_without_prefixes_is_used_like_one_server(gateway, link_kind):
    team = ServerSpec("team", "test", "group", group=("one", "two"), prefix="never")
    only = ToolRules(allow=("plain",))
    specs = {"one": spec("one", tools=only), "two": spec("two", tools=ToolRules(deny=("plain",)))}
    gateway.configure(Configuration({**specs, "team": team}, []))
    client = TaskClient(gateway, link_kind, server=gateway.servers["team"])
    assert (await client.call("plain"))["content"][0]["text"] == "done at once"
    assert (await client.call("job", id="t1"))["taskId"] == "two:t1"
    names = [tool["name"] for tool in (await client.result("tools/list"))["tools"]]
    assert names == ["plain", "job", "end", "ask", "wait"]

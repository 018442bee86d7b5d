"""Tasks of a group's members (SEP-2663), as transcripts of the messages to each member and to the client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.group_tasks import TaskIds
from tests.core.test_group import Rig

SUB = messages.SUBSCRIPTION_ID_KEY


class TaskRig(Rig):
    """Reads what members send as the gateway does."""

    def member(self, name: str, **members: Any) -> Any:
        data = json.dumps({"jsonrpc": "2.0", **members}).encode()
        return self.read(self.group.from_member(name, messages.parse_server(data)))

    def create(self, number: int, member: str, task: str) -> dict[str, Any]:
        self.client(number, "tools/call", name=f"{member}__job")
        created = {"resultType": "task", "taskId": task, "status": "working", "ttlMs": None}
        _, (answer,) = self.member(member, id=number, result=created)
        return answer["result"]


def test_equal_ids_of_two_members_name_two_tasks():
    rig = TaskRig("a", "b")
    assert rig.create(1, "a", "t1") == {
        "resultType": "task",
        "taskId": "a:t1",
        "status": "working",
        "ttlMs": None,
    }
    assert rig.create(2, "b", "t1")["taskId"] == "b:t1"


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
@pytest.mark.parametrize("own", ["t1", "b:t1", "", "ü/1"])
def test_a_request_goes_to_the_member_of_its_task_under_the_members_own_id(method, own):
    rig = TaskRig("a", "b")
    inputs = {"inputResponses": {"q": {"action": "accept"}}} if method == "tasks/update" else {}
    ((member, sent),), answers = rig.client(3, method, taskId=f"a:{own}", **inputs)
    assert (member, sent["params"], answers) == ("a", {"taskId": own, **inputs}, [])
    if method == "tasks/get" and own:
        result = {
            "resultType": "complete",
            "taskId": own,
            "status": "completed",
            "result": {"content": [{"type": "text", "text": "t1"}]},
        }
        _, (answer,) = rig.member("a", id=3, result=result)
        assert answer["result"] == {**result, "taskId": f"a:{own}"}
    else:
        _, (answer,) = rig.member("a", id=3, result={"resultType": "complete"})
        assert answer["result"] == {"resultType": "complete"}


@pytest.mark.parametrize("task", ["t1", "c:t1", "a", 7, None])
def test_an_id_of_no_member_is_refused_with_what_ids_begin_with(task):
    rig = TaskRig("a", "b")
    to_members, (answer,) = rig.client(1, "tasks/get", taskId=task)
    assert to_members == []
    assert answer["error"]["code"] == -32602
    assert "a:, b:" in answer["error"]["message"]


def test_a_subscription_asks_each_member_for_its_own_tasks():
    rig = TaskRig("a", "b", "c")
    filters = {"taskIds": ["a:1", "b:1", "a:2", "z:9", "none"], "toolsListChanged": True}
    to_members, _ = rig.client(5, "subscriptions/listen", notifications=filters)
    assert {member: sent["params"]["notifications"] for member, sent in to_members} == {
        "a": {"toolsListChanged": True, "taskIds": ["1", "2"]},
        "b": {"toolsListChanged": True, "taskIds": ["1"]},
        "c": {"toolsListChanged": True},
    }
    acknowledged = "notifications/subscriptions/acknowledged"
    for member, ids in (("a", ["1"]), ("b", ["1"])):
        rig.member(member, method=acknowledged, params={"_meta": {SUB: 5}, "notifications": {"taskIds": ids}})
    _, (told,) = rig.member("c", method=acknowledged, params={"_meta": {SUB: 5}, "notifications": {}})
    assert told["params"]["notifications"] == {"taskIds": ["a:1", "b:1"]}
    task = {"taskId": "1", "status": "completed", "result": {"content": []}}
    _, (told,) = rig.member("b", method="notifications/tasks", params={"_meta": {SUB: 5}, **task})
    assert told["params"] == {"_meta": {SUB: 5}, **task, "taskId": "b:1"}


def test_notifications_before_the_acknowledgement_name_their_tasks_too():
    rig = TaskRig("a", "b")
    rig.client(5, "subscriptions/listen", notifications={"taskIds": ["a:1", "b:1"]})
    for member in "ab":
        task = {"_meta": {SUB: 5}, "taskId": "1", "status": "working"}
        assert rig.member(member, method="notifications/tasks", params=task) == ([], [])
    acknowledged = "notifications/subscriptions/acknowledged"
    for member in "ab":
        note = {"_meta": {SUB: 5}, "notifications": {"taskIds": ["1"]}}
        _, told = rig.member(member, method=acknowledged, params=note)
    assert [message["params"].get("taskId") for message in told] == [None, "a:1", "b:1"]


def test_a_client_that_did_not_declare_the_extension_learns_it_from_its_subscription():
    rig = TaskRig("a", "b")
    rig.client(5, "subscriptions/listen", notifications={"taskIds": ["a:1"]})
    error = {"code": -32021, "message": "Missing required client capability"}
    to_members, (answer,) = rig.member("a", id=5, error=error)
    assert (answer["id"], answer["error"]) == (5, error)
    assert [(member, sent["method"]) for member, sent in to_members] == [("b", "notifications/cancelled")]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4, unique=True), st.data())
def test_an_id_comes_back_as_its_member_wrote_it(members, data):
    ids = TaskIds(members)
    member, task = data.draw(st.sampled_from(members)), data.draw(st.text())
    shown = ids.shown(member, task)
    assert ids.split(shown) == (member, task)
    assert ids.own(member, [shown]) == [task]
    assert all(ids.own(other, [shown]) == [] for other in members if other != member)


def test_the_extension_is_announced_where_a_member_has_it():
    rig = TaskRig("a", "b")
    rig.client(1, "server/discover")
    tasks = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
    rig.member("a", id=1, result={"capabilities": {"tools": {}}})
    _, (answer,) = rig.member("b", id=1, result={"capabilities": tasks})
    assert answer["result"]["capabilities"] == {"tools": {}, **tasks}

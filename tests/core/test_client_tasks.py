"""Tasks of 2025-11-25 that the bridge runs for a client, and tasks of a modern server that it follows (SEP-2663)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mcp_ws_ide.core.bridges.client_tasks import DEFAULT_TTL, MAX_FINISHED, MAX_FINISHED_BYTES, MAX_TTL
from mcp_ws_ide.core.effects import Abandon
from mcp_ws_ide.errors import CANCELLED, INTERNAL_ERROR, UPSTREAM_LOST
from tests.core.test_bridge import New, message

TASKS = "io.modelcontextprotocol/tasks"
ABOUT = "io.modelcontextprotocol/related-task"
DECLARED = "io.modelcontextprotocol/clientCapabilities"
HAS_TASKS = {"tools": {}, "extensions": {TASKS: {}}}
NEEDED = {"code": -32021, "message": "no", "data": {"requiredCapabilities": {"extensions": {TASKS: {}}}}}
ASKED = {"who": {"method": "elicitation/create", "params": {"message": "who?"}}}
DONE = {"content": [{"type": "text", "text": "done"}]}


class Tasking(New):
    """A bridge for a client of 2025-11-25."""

    version = "2025-11-25"

    def task(self, number: int = 1, **params: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Call a tool as a task; return the call to the server, and the task."""
        task = params.pop("task", {})
        (sent,), (created,) = self.client(
            id=number, method="tools/call", params={"name": "t", "task": task, **params}
        )
        assert created["id"] == number
        return sent, created["result"]["task"]

    def about(self, method: str, task: str, number: int = 50) -> tuple[list[Any], list[Any]]:
        return self.client(id=number, method=f"tasks/{method}", params={"taskId": task})

    def get(self, task: str) -> dict[str, Any]:
        _, (answer,) = self.about("get", task)
        return answer["result"]

    def end(self, sent: dict[str, Any], **response: Any) -> tuple[list[Any], list[Any]]:
        """Answer what the bridge has sent; give back what the client is told beside the change of the status."""
        forwarded, told = self.server(id=sent["id"], **response)
        return forwarded, [each for each in told if each.get("method") != "notifications/tasks/status"]


def declares(sent: dict[str, Any]) -> bool:
    return TASKS in sent["params"]["_meta"][DECLARED].get("extensions", {})


def test_a_call_that_asks_for_a_task_gets_one_at_once_and_the_server_an_ordinary_call():
    new = Tasking()
    assert new.initialized["result"]["capabilities"]["tasks"]["requests"] == {"tools": {"call": {}}}
    sent, task = new.task(task={"ttl": 60_000}, arguments={"a": 1}, _meta={"progressToken": "p"})
    assert (sent["method"], sent["params"]["arguments"]) == ("tools/call", {"a": 1})
    assert ("task" in sent["params"], sent["params"]["_meta"]["progressToken"]) == (False, "p")
    assert task == {
        "taskId": "task-1",
        "status": "working",
        "createdAt": "1970-01-01T00:00:00.000Z",
        "lastUpdatedAt": "1970-01-01T00:00:00.000Z",
        "ttl": 60_000,
        "pollInterval": 500,
    }
    assert new.about("result", "task-1", 2) == ([], []), "it has no result yet"
    new.now = 1.5
    _, (told, answer) = new.server(id=sent["id"], result={"resultType": "complete", **DONE})
    assert (told["method"], told["params"]["status"]) == ("notifications/tasks/status", "completed")
    assert (answer["id"], answer["result"]) == (2, {**DONE, "_meta": {ABOUT: {"taskId": "task-1"}}})
    assert new.get("task-1")["lastUpdatedAt"] == "1970-01-01T00:00:01.500Z"
    _, (again,) = new.about("result", "task-1", 3)
    assert again["result"] == answer["result"]


def test_an_older_client_has_no_tasks():
    new = New()
    assert "tasks" not in new.initialized["result"]["capabilities"]
    assert "task" not in new.call(1, task={"ttl": 1})["params"]
    (sent,), answers = new.client(id=2, method="tasks/get", params={"taskId": "x"})
    assert (sent["method"], answers) == ("tasks/get", [])


@pytest.mark.parametrize(
    ("response", "status"),
    [
        ({"error": {"code": -5, "message": "no"}}, "failed"),
        ({"result": {**DONE, "isError": True}}, "failed"),
        ({"result": DONE}, "completed"),
    ],
)
def test_the_result_of_a_task_is_that_of_its_call(response, status):
    new = Tasking()
    sent, task = new.task()
    assert new.end(sent, **response) == ([], [])
    assert new.get(task["taskId"])["status"] == status
    _, (answer,) = new.about("result", task["taskId"])
    if "error" in response:
        assert answer["error"] == response["error"]
    else:
        assert answer["result"] == {**response["result"], "_meta": {ABOUT: {"taskId": "task-1"}}}


def test_a_call_that_the_gateway_fails_ends_its_task():
    new = Tasking()
    sent, task = new.task()
    lost = new.core.fail(new.core.pending[sent["id"]], UPSTREAM_LOST, "it exited")
    new.split(new.bridge.to_client(lost, None))
    assert new.get(task["taskId"])["status"] == "failed"
    assert not new.bridge.runs_tasks


def test_questions_wait_until_the_client_asks_for_the_result():
    new = Tasking()
    sent, task = new.task()
    required = {"resultType": "input_required", "inputRequests": ASKED, "requestState": "s"}
    assert new.end(sent, result=required) == ([], [])
    assert new.get(task["taskId"])["status"] == "input_required"
    _, (question,) = new.about("result", task["taskId"], 9)
    assert question["method"] == "elicitation/create"
    assert question["params"] == {"message": "who?", "_meta": {ABOUT: {"taskId": "task-1"}}}
    (again,), _ = new.client(id=question["id"], result={"action": "accept"})
    assert again["params"]["inputResponses"] == {"who": {"action": "accept"}}
    assert (again["params"]["requestState"], new.get(task["taskId"])["status"]) == ("s", "working")
    assert new.end(again, result={**required, "inputRequests": {"q": ASKED["who"]}})[1][0]["method"] == (
        "elicitation/create"
    ), "the client is waiting, so that it is asked at once"


def test_a_question_that_the_client_refuses_fails_the_task_and_leaves_its_call():
    new = Tasking()
    sent, task = new.task()
    new.end(sent, result={"resultType": "input_required", "inputRequests": ASKED, "requestState": "s"})
    _, (question,) = new.about("result", task["taskId"], 9)
    refusal = message(id=question["id"], error={"code": -1, "message": "no"})
    effects = new.bridge.from_client(new.core.from_client(refusal, 0.0))
    assert [effect.state for effect in effects if isinstance(effect, Abandon)] == ["s"]
    assert new.get(task["taskId"])["status"] == "failed"


@pytest.mark.parametrize("asked", [False, True])
def test_a_cancelled_task_cancels_its_call_and_stays_cancelled(asked):
    new = Tasking()
    sent, task = new.task()
    new.about("result", task["taskId"], 9)
    if asked:
        new.end(sent, result={"resultType": "input_required", "inputRequests": ASKED, "requestState": "s"})
    cancelled, told = new.about("cancel", task["taskId"], 10)
    params = [each["params"] for each in cancelled]
    assert params == ([] if asked else [{"requestId": sent["id"]}])
    answers = {each["id"]: each for each in told if "id" in each}
    assert answers[10]["result"]["status"] == "cancelled"
    assert answers[9]["error"]["code"] == CANCELLED
    assert new.server(id=sent["id"], result=DONE)[1] == [], "the server was too late"
    _, (refused,) = new.about("cancel", task["taskId"])
    assert (refused["error"]["code"], "cancelled" in refused["error"]["message"]) == (-32602, True)


def test_a_request_for_a_result_may_be_cancelled_and_the_task_goes_on():
    new = Tasking()
    sent, task = new.task()
    new.about("result", task["taskId"], 9)
    new.client(method="notifications/cancelled", params={"requestId": 9})
    assert new.end(sent, result=DONE) == ([], [])
    assert new.get(task["taskId"])["status"] == "completed"


@pytest.mark.parametrize("method", ["get", "result", "cancel"])
@pytest.mark.parametrize("task", ["task-2", "", None, 7])
def test_an_unknown_task_is_refused(method, task):
    new = Tasking()
    new.task()
    forwarded, (answer,) = new.about(method, task)
    assert (forwarded, answer["error"]["code"]) == ([], -32602)
    assert "Task not found" in answer["error"]["message"]


def test_a_list_of_tasks_has_one_page_newest_first():
    new = Tasking()
    for number in (1, 2):
        new.task(number)
    _, (answer,) = new.client(id=3, method="tasks/list")
    assert [task["taskId"] for task in answer["result"]["tasks"]] == ["task-2", "task-1"]
    _, (refused,) = new.client(id=3, method="tasks/list", params={"cursor": "x"})
    assert refused["error"]["code"] == -32602


@pytest.mark.parametrize(
    ("asked", "given"),
    [(None, DEFAULT_TTL), (1500, 1500), (1e300, MAX_TTL), (-1, DEFAULT_TTL), (True, DEFAULT_TTL)],
)
def test_a_finished_task_is_kept_for_its_time(asked, given):
    new = Tasking()
    sent, task = new.task(task={"ttl": asked})
    assert task["ttl"] == given
    new.end(sent, result=DONE)
    new.now = given / 1000 - 0.001
    assert new.get("task-1")["status"] == "completed"
    new.now += 0.001
    assert "or expired" in new.about("get", "task-1")[1][0]["error"]["message"]


def test_a_running_task_is_kept_beyond_its_time():
    new = Tasking()
    sent, _ = new.task(task={"ttl": 1})
    new.now = 100
    assert new.get("task-1")["status"] == "working"
    new.about("result", "task-1", 9)
    assert [answer["id"] for answer in new.end(sent, result=DONE)[1]] == [9]


def test_finished_tasks_are_bounded_by_number_and_by_bytes():
    new = Tasking()
    for number in range(MAX_FINISHED + 2):
        new.end(new.task(number)[0], result=DONE)
    kept = [task["taskId"] for task in new.client(id="l", method="tasks/list")[1][0]["result"]["tasks"]]
    assert (len(kept), kept[-1]) == (MAX_FINISHED, "task-3")
    long = {"content": [{"type": "text", "text": "x" * (MAX_FINISHED_BYTES - 1000)}]}
    for number in (1, 2):
        new.end(new.task(number)[0], result=long)
    kept = [task["taskId"] for task in new.client(id="l", method="tasks/list")[1][0]["result"]["tasks"]]
    assert kept == [f"task-{MAX_FINISHED + 4}"]


# --- tasks of the server ----------------------------------------------------------------------------


def test_tools_of_a_server_with_tasks_may_be_run_as_tasks():
    new = Tasking(capabilities=HAS_TASKS)
    new.client(id=1, method="tools/list", params={})
    forbidden = {"name": "b", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "forbidden"}}
    tools = [{"name": "a", "inputSchema": {"type": "object"}}, forbidden]
    _, (answer,) = new.server(id=1, result={"tools": tools})
    listed = [tool["execution"]["taskSupport"] for tool in answer["result"]["tools"]]
    assert listed == ["optional", "forbidden"]


@pytest.mark.parametrize("as_task", [False, True])
def test_a_call_that_the_server_answers_with_a_task_has_the_result_of_that_task(as_task):
    new = Tasking(capabilities=HAS_TASKS)
    if as_task:
        sent, _ = new.task()
        new.about("result", "task-1", 9)
        assert declares(sent)
    else:
        refused = new.call(9)
        assert not declares(refused)
        (sent,), told = new.server(id=9, error=NEEDED)
        assert (declares(sent), sent["params"]["name"], told) == (True, "t", [])
    working = {"resultType": "task", "taskId": "s", "status": "working", "pollIntervalMs": 200}
    assert new.server(id=sent["id"], result=working) == ([], [])
    assert new.delays == [0.2]
    (asked,), _ = new.again()
    assert (asked["method"], asked["params"]["taskId"], declares(asked)) == ("tasks/get", "s", True)
    required = {"taskId": "s", "status": "input_required", "inputRequests": ASKED}
    _, questions = new.server(id=asked["id"], result=required)
    question = questions[-1]
    (update,), _ = new.client(id=question["id"], result={"action": "accept"})
    assert (update["method"], update["params"]["inputResponses"]) == (
        "tasks/update",
        {"who": {"action": "accept"}},
    )
    assert new.end(update, result={"resultType": "complete"}) == ([], [])
    (asked,), _ = new.again()
    assert new.end(asked, result=required) == ([], []), "a question is put once"
    (asked,), _ = new.again()
    complete = {"taskId": "s", "status": "completed", "result": {"resultType": "complete", **DONE}}
    _, (answer,) = new.end(asked, result=complete)
    assert (answer["id"], answer["result"]["content"]) == (9, DONE["content"])
    assert "resultType" not in answer["result"]
    assert new.again() == ([], [])
    assert not new.core.pending.keys() - {"i"}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"result": {"status": "failed", "error": {"code": -7, "message": "broke"}}}, -7),
        ({"result": {"status": "failed"}}, CANCELLED),
        ({"result": {"status": "cancelled"}}, CANCELLED),
        ({"result": {"status": 7}}, INTERNAL_ERROR),
        ({"error": {"code": -32602, "message": "Task not found"}}, -32602),
    ],
)
def test_a_call_ends_as_the_task_of_the_server_does(answer, code):
    new = Tasking(capabilities=HAS_TASKS)
    new.call(1)
    (sent,), _ = new.server(id=1, error=NEEDED)
    new.server(id=sent["id"], result={"resultType": "task", "taskId": "s", "status": "working"})
    (asked,), _ = new.again()
    _, (told,) = new.server(id=asked["id"], **answer)
    assert (told["id"], told["error"]["code"]) == (1, code)


@pytest.mark.parametrize("as_task", [False, True])
def test_a_call_that_is_given_up_cancels_the_task_of_the_server(as_task):
    new = Tasking(capabilities=HAS_TASKS)
    if as_task:
        sent, _ = new.task()
    else:
        new.call(1)
        (sent,), _ = new.server(id=1, error=NEEDED)
    new.server(id=sent["id"], result={"resultType": "task", "taskId": "s", "status": "working"})
    if as_task:
        (cancel,), _ = new.about("cancel", "task-1")
    else:
        (cancel,), _ = new.client(method="notifications/cancelled", params={"requestId": 1})
    assert (cancel["method"], cancel["params"]["taskId"]) == ("tasks/cancel", "s")
    assert new.end(cancel, result={}) == ([], [])
    assert new.again() == ([], [])


def test_a_question_of_a_task_that_the_client_cannot_answer_fails_the_call():
    new = Tasking(capabilities=HAS_TASKS, offered={})
    new.call(1)
    (sent,), _ = new.server(id=1, error=NEEDED)
    new.server(id=sent["id"], result={"resultType": "task", "taskId": "s", "status": "working"})
    (asked,), _ = new.again()
    required = {"taskId": "s", "status": "input_required", "inputRequests": ASKED}
    (cancel,), (answer,) = new.server(id=asked["id"], result=required)
    assert (cancel["method"], "lacks the capability" in answer["error"]["message"]) == ("tasks/cancel", True)


def test_a_task_without_an_id_fails_the_call_and_other_refusals_are_passed_on():
    new = Tasking(capabilities=HAS_TASKS)
    new.call(1)
    other = {**NEEDED, "data": {"requiredCapabilities": {"sampling": {}}}}
    assert new.server(id=1, error=other)[1][0]["error"]["code"] == -32021
    new.call(2)
    (sent,), _ = new.server(id=2, error=NEEDED)
    _, (answer,) = new.server(id=sent["id"], result={"resultType": "task", "status": "working"})
    assert "no id" in answer["error"]["message"]


def test_a_server_that_refuses_a_call_although_tasks_are_declared_is_asked_once():
    new = Tasking(capabilities=HAS_TASKS)
    new.call(1)
    (sent,), _ = new.server(id=1, error=NEEDED)
    _, (answer,) = new.server(id=sent["id"], error=NEEDED)
    assert json.dumps(answer["error"]) == json.dumps(NEEDED)

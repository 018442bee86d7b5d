"""The tools of the conformance suite's scenarios for tasks (SEP-2663), as an extension of a server on the SDK 2.x.

The SDK has the hooks of extensions, and no tasks of its own. Tasks live as long as the process.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import mcp_types as types
from mcp.server.extension import Extension, MethodBinding, ToolBinding
from mcp.server.mcpserver import require_client_extension
from mcp.shared.exceptions import MCPError

MODERN = frozenset({"2026-07-28"})
REQUIRED = frozenset({"failing_job", "test_tool_with_task"})
"""Tools that only clients with the extension can call."""


def text(words: str, *, failed: bool = False) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": words}], "isError": failed}


def question(message: str, name: str, kind: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}


class Task:
    """One task, and what it still wants to know."""

    def __init__(self, number: int) -> None:
        self.id = f"task-{number}"
        self.created = datetime.now(UTC).isoformat()
        self.outcome: dict[str, Any] = {"status": "working"}
        self.questions: dict[str, Any] = {}
        self.answers: dict[str, Any] = {}
        self.changed = asyncio.Event()
        self.runner: asyncio.Task[None] | None = None

    def shown(self) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat()
        times = {"createdAt": self.created, "lastUpdatedAt": now, "ttlMs": 600_000, "pollIntervalMs": 100}
        return {"taskId": self.id, **times, **self.outcome}

    async def ask(self, **questions: Any) -> dict[str, Any]:
        """Wait for the answers to all questions."""
        self.questions = questions
        while self.questions:
            self.outcome = {"status": "input_required", "inputRequests": self.questions}
            self.changed.clear()
            await self.changed.wait()
        self.outcome = {"status": "working"}
        return self.answers

    async def run(self, work: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        try:
            self.outcome = {"status": "completed", "result": await work()}
        except asyncio.CancelledError:
            self.outcome = {"status": "cancelled"}
        except MCPError as error:
            self.outcome = {
                "status": "failed",
                "error": {"code": error.error.code, "message": error.error.message},
            }


class TaskParams(types.RequestParams):
    task_id: str


class UpdateParams(TaskParams):
    input_responses: dict[str, Any]


class Tasks(Extension):
    """The extension, with the suite's tools."""

    identifier = "io.modelcontextprotocol/tasks"

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}
        self._numbers = itertools.count(1)

    def tools(self) -> Sequence[ToolBinding]:
        tools = (greet, slow_compute, failing_job, protocol_error_job, confirm_delete, multi_input)
        return [ToolBinding(tool) for tool in (*tools, test_tool_with_task)]

    def methods(self) -> Sequence[MethodBinding]:
        handlers = (
            ("tasks/get", TaskParams, self._get),
            ("tasks/update", UpdateParams, self._update),
            ("tasks/cancel", TaskParams, self._cancel),
        )
        return [MethodBinding(method, params, handler, MODERN) for method, params, handler in handlers]

    # --- calls ----------------------------------------------------------------------------------

    async def intercept_tool_call(self, params: Any, ctx: Any, call_next: Any) -> Any:
        work = WORK.get(params.name)
        if work is None:
            return await call_next(ctx)
        capabilities = ctx.session.client_capabilities
        if self.identifier not in ((capabilities and capabilities.extensions) or {}):
            if params.name in REQUIRED:
                require_client_extension(ctx, self.identifier)
            return await call_next(ctx)
        arguments = dict(params.arguments or {})
        if params.name == "test_tool_with_task":
            answer = (params.input_responses or {}).get("user_name")
            if answer is None:
                asked = types.ElicitRequest.model_validate(question("Your name?", "name", "string"))
                return types.InputRequiredResult(input_requests={"user_name": asked}, request_state="asked")
            arguments["name"] = answer.content["name"]
        task = Task(next(self._numbers))
        self._tasks[task.id] = task
        created = {"resultType": "task", **task.shown()}
        task.runner = asyncio.create_task(task.run(lambda: work(task, arguments)))
        return created

    # --- requests of tasks ----------------------------------------------------------------------

    def _known(self, ctx: Any, params: TaskParams) -> Task:
        require_client_extension(ctx, self.identifier)
        if params.task_id not in self._tasks:
            raise MCPError(code=types.INVALID_PARAMS, message="Task not found")
        return self._tasks[params.task_id]

    async def _get(self, ctx: Any, params: TaskParams) -> dict[str, Any]:
        return {"resultType": "complete", **self._known(ctx, params).shown()}

    async def _update(self, ctx: Any, params: UpdateParams) -> dict[str, Any]:
        task = self._known(ctx, params)
        answered = {key: value for key, value in params.input_responses.items() if key in task.questions}
        task.answers |= answered
        task.questions = {key: value for key, value in task.questions.items() if key not in answered}
        if task.questions:
            task.outcome = {"status": "input_required", "inputRequests": task.questions}
        task.changed.set()
        return {"resultType": "complete"}

    async def _cancel(self, ctx: Any, params: TaskParams) -> dict[str, Any]:
        task = self._known(ctx, params)
        if task.runner is not None:
            task.runner.cancel()
        return {"resultType": "complete"}


# --- tools ------------------------------------------------------------------------------------------


def greet(name: str) -> str:
    """Greet at once."""
    return f"Hello, {name}!"


async def slow_compute(seconds: float, label: str = "") -> str:
    """Sleep."""
    await asyncio.sleep(seconds)
    return f"slept {seconds} s"


def failing_job() -> str:
    """Fail as a tool does."""
    return "only as a task"


def protocol_error_job() -> str:
    """Fail with an error of the protocol."""
    return "only as a task"


def confirm_delete(filename: str) -> str:
    """Ask before something is deleted."""
    return "only as a task"


def multi_input() -> str:
    """Ask two questions at once."""
    return "only as a task"


def test_tool_with_task() -> str:
    """Ask for a name, then go on as a task."""
    return "only as a task"


async def _slept(task: Task, arguments: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(arguments["seconds"])
    return text(f"slept {arguments['seconds']} s")


async def _failed(task: Task, arguments: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(0.5)
    return text("the job failed", failed=True)


async def _broken(task: Task, arguments: dict[str, Any]) -> dict[str, Any]:
    raise MCPError(code=types.INTERNAL_ERROR, message="the job broke")


async def _confirmed(task: Task, arguments: dict[str, Any]) -> dict[str, Any]:
    answers = await task.ask(confirm=question("Delete it?", "confirm", "boolean"))
    return text(f"{arguments['filename']}: {answers['confirm']['action']}")


async def _two(task: Task, arguments: dict[str, Any]) -> dict[str, Any]:
    answers = await task.ask(
        first=question("A name?", "name", "string"), second=question("Sure?", "confirm", "boolean")
    )
    return text(f"{len(answers)} answers")


async def _named(task: Task, arguments: dict[str, Any]) -> dict[str, Any]:
    return text(f"Hello, {arguments['name']}!")


WORK: dict[str, Callable[[Task, dict[str, Any]], Awaitable[dict[str, Any]]]] = {
    "slow_compute": _slept,
    "failing_job": _failed,
    "protocol_error_job": _broken,
    "confirm_delete": _confirmed,
    "multi_input": _two,
    "test_tool_with_task": _named,
}

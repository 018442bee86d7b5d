"""Tools of a handshake-era server that run only as tasks (MCP 2025-11-25, basic/utilities/tasks), called by clients
that know no such tasks (docs/reference/eras.md). Pure.

A call of such a tool is sent as a task; then the bridge asks for the result of the task, which the server returns once
there is one. Meanwhile the server asks its questions as in any other call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.server_subscriptions import Ask, OnAnswer, ignore
from mcp_ws_ide.core.bridges.step import Step
from mcp_ws_ide.core.lenient_json import encode, items_of, object_of, text_of
from mcp_ws_ide.core.messages import Message

MAX_TOOLS: Final = 1024
"""Names of tools that run only as tasks, which are remembered."""


@dataclass(slots=True, eq=False)
class TaskCall:
    """A call that runs as a task.

    Attributes:
        then: takes the result, or the error that the server answered with.
        task: the task's id; ``""`` until the server has made the task.
        given_up: whether nobody waits for the result any more.
    """

    then: OnAnswer
    task: str = ""
    given_up: bool = False


class ServerTasks:
    """The tasks of all clients of one server.

    Args:
        ask: sends requests to the server.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._tools: set[str] = set()
        self.offered = False
        """Whether the server runs tools as tasks."""

    def read_capabilities(self, capabilities: Mapping[str, Any]) -> None:
        """Learn from its capabilities whether the server runs tools as tasks."""
        value: Any = capabilities
        for name in ("tasks", "requests", "tools", "call"):
            value = value.get(name) if isinstance(value, Mapping) else None
        self.offered = value is not None

    def read_list(self, result: bytes) -> None:
        """Learn from a result of ``tools/list`` which tools run only as tasks."""
        if not self.offered or b'"taskSupport"' not in result:
            return
        for tool in items_of(messages.member(result, "tools")):
            execution = object_of(messages.member(bytes(tool), "execution"))
            if execution.get("taskSupport") == "required" and len(self._tools) < MAX_TOOLS:
                self._tools.add(text_of(messages.member(bytes(tool), "name")))

    def needed(self, params: bytes) -> bool:
        """Whether the tool that these params of a call name is known to run only as a task."""
        return bool(self._tools) and text_of(messages.member(params, "name")) in self._tools

    def run(self, params: bytes, then: OnAnswer, step: Step) -> TaskCall:
        """Call a tool as a task, and wait for its result."""
        call = TaskCall(then)
        params = messages.with_member(params, "task", b"{}")
        self._ask(step, "tools/call", params, partial(self._created, call))
        return call

    def _created(self, call: TaskCall, answer: Message, step: Step) -> None:
        call.task = text_of(messages.member(messages.member(answer.result, "task"), "taskId"))
        if not call.task:
            return self._finished(call, answer, step)
        if call.given_up:
            return self._cancel(call, step)
        self._ask(step, "tasks/result", encode({"taskId": call.task}), partial(self._finished, call))

    def _finished(self, call: TaskCall, answer: Message, step: Step) -> None:
        if not call.given_up:
            call.then(answer, step)

    def give_up(self, call: TaskCall, step: Step) -> None:
        """Cancel the task of a call that nobody waits for any more."""
        call.given_up = True
        if call.task:
            self._cancel(call, step)

    def _cancel(self, call: TaskCall, step: Step) -> None:
        self._ask(step, "tasks/cancel", encode({"taskId": call.task}), ignore)

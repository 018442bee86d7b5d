"""What keeps a server's process needed after its last session: unfinished tasks, and calls that wait for answers. Pure.

A task (``io.modelcontextprotocol/tasks``, SEP-2663) and a ``requestState`` (MCP 2026-07-28, basic/patterns/mrtr) are
good for any later connection of the same client, but often only in the process that made them. Reads the few results
that say so; knows nothing of sessions and processes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Protocol

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.methods import TASK_METHODS
from mcp_ws_ide.core.lenient_json import members_of, text_of, value_of
from mcp_ws_ide.core.messages import Message

MAX_KEPT: Final = 4096
"""Tasks, and calls that wait, of one process that are remembered; the oldest ones make room."""
UNFINISHED: Final = frozenset({"working", "input_required"})
"""Values of a task's ``status`` before it has ended."""
TASK_CHANGED: Final = b'"notifications/tasks"'
"""The method, as JSON, of the notification that a task has changed."""
_STATE: Final = b'"requestState"'


@dataclass(slots=True)
class _Task:
    """An unfinished task.

    Attributes:
        since: when it was first heard of, on the caller's clock.
        until: when it no longer keeps its process.
    """

    since: float
    until: float


class Times(Protocol):
    """How long work counts, in seconds."""

    @property
    def task_timeout(self) -> float:
        """For a task, since a client last heard of it; less if its ``ttlMs`` is over."""

    @property
    def park_timeout(self) -> float:
        """For a ``requestState``."""


class OpenWork:
    """The unfinished tasks and waiting calls of one process."""

    def __init__(self, times: Times) -> None:
        self._times = times
        self._tasks: OrderedDict[str, _Task] = OrderedDict()
        self._states: OrderedDict[str, float] = OrderedDict()

    def answered(self, result: bytes, now: float) -> None:
        """Note what a result that is none of a call leaves open (see :attr:`Message.odd`)."""
        members = members_of(result)
        if task := text_of(bytes(members.get("taskId", b""))):
            self._changed(task, bytes(members.get("status", b"")), bytes(members.get("ttlMs", b"")), now)
        elif state := text_of(bytes(members.get("requestState", b""))):
            self._states[state] = now + self._times.park_timeout
            if len(self._states) > MAX_KEPT:
                self._states.popitem(last=False)

    def notified(self, message: Message, now: float) -> None:
        """Note a notification of the server, if it says that a task has changed."""
        if message.method == TASK_CHANGED:
            self.answered(message.params, now)

    def requested(self, message: Message) -> None:
        """Note a client's request: a call that continues no longer waits, and a task being cancelled need not go on."""
        if _STATE in message.params:
            self._states.pop(text_of(messages.member(message.params, "requestState")), None)
        elif message.method_name == "tasks/cancel":
            self._tasks.pop(text_of(messages.member(message.params, TASK_METHODS["tasks/cancel"])), None)

    def _changed(self, task: str, status: bytes, ttl: bytes, now: float) -> None:
        if text_of(status) not in UNFINISHED:
            self._tasks.pop(task, None)
            return
        known = self._tasks.get(task)
        since = known.since if known is not None else now
        lifetime = value_of(ttl)
        until = now + self._times.task_timeout
        if isinstance(lifetime, int | float) and not isinstance(lifetime, bool):
            until = min(until, since + lifetime / 1000)
        self._tasks[task] = _Task(since, until)
        if len(self._tasks) > MAX_KEPT:
            self._tasks.popitem(last=False)

    def is_open(self, now: float) -> bool:
        """Return whether a client may come back for anything; forget what is over."""
        self._tasks = OrderedDict((name, task) for name, task in self._tasks.items() if task.until > now)
        self._states = OrderedDict((name, until) for name, until in self._states.items() if until > now)
        return bool(self._tasks or self._states)

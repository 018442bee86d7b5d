"""Tasks of MCP 2025-11-25 for a client of the handshake era, run by the bridge (docs/reference/eras.md). Pure.

A call that asks for a task is answered with one at once. The call itself goes to the server as a request of the
bridge's own, whether the server knows tasks or not; its result is kept for ``tasks/result``. A question of the server
waits until the client asks for the result, as that revision says. Tasks end with their session.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.methods import RELATED_TASK
from mcp_ws_ide.core.bridges.rounds import Round
from mcp_ws_ide.core.effects import Deliver, Effect, Pending
from mcp_ws_ide.core.lenient_json import encode, text_of, value_of
from mcp_ws_ide.core.messages import Message
from mcp_ws_ide.core.session import SessionCore
from mcp_ws_ide.errors import CANCELLED, INVALID_PARAMS

FIRST_VERSION: Final = "2025-11-25"
"""The revision that has these tasks; the next one has others."""
CAPABILITY: Final[dict[str, Any]] = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
"""What the bridge offers to clients of that revision."""
REQUESTS: Final = frozenset({"tasks/get", "tasks/result", "tasks/list", "tasks/cancel"})
"""Requests of these tasks."""
DEFAULT_TTL: Final = 3_600_000
"""Milliseconds for which a finished task is kept, counted from its creation, if its client asks for no time."""
MAX_TTL: Final = 86_400_000
"""The longest such time, in milliseconds."""
POLL_INTERVAL: Final = 500
"""Milliseconds after which a client should ask again."""
MAX_FINISHED: Final = 256
"""Finished tasks of one client that are kept; the oldest ones make room."""
MAX_FINISHED_BYTES: Final = 16 << 20
"""Bytes of their results; the newest result is kept in any case."""

_UNKNOWN: Final = (
    "Task not found: task {!r} was not made in this session, or expired; they end with the gateway"
)


@dataclass(slots=True, eq=False)
class _Task:
    """A task of the client.

    Attributes:
        created, updated: seconds since the epoch.
        ttl: milliseconds for which it is kept, from its creation.
        call: the call that runs for it.
        outcome: the response to this call, once there is one.
        status: its status, once it has ended.
        waiters: the client's requests for its result.
        held: questions that the client gets with its next request for the result.
    """

    id: str
    created: float
    updated: float
    ttl: int
    call: Round
    outcome: Message | None = None
    status: str = ""
    waiters: list[Pending] = field(default_factory=list)
    held: list[Deliver] = field(default_factory=list)

    @property
    def shown(self) -> dict[str, Any]:
        """What a client is told of it."""
        running = "input_required" if self.call.waiting else "working"
        return {
            "taskId": self.id,
            "status": self.status or running,
            "createdAt": _iso(self.created),
            "lastUpdatedAt": _iso(self.updated),
            "ttl": self.ttl,
            "pollInterval": POLL_INTERVAL,
        }

    @property
    def size(self) -> int:
        return len(self.outcome.data) if self.outcome is not None else 0


class ClientTasks:
    """The tasks of one session.

    Args:
        core: the session's.
        new_id: makes an unguessable string for each task.
        clock: the time, in seconds since the epoch.
    """

    def __init__(self, core: SessionCore, new_id: Callable[[], str], clock: Callable[[], float]) -> None:
        self._core, self._new_id, self._clock = core, new_id, clock
        self._tasks: dict[str, _Task] = {}

    @property
    def running(self) -> bool:
        """Whether any task has not ended."""
        return any(not task.status for task in self._tasks.values())

    def begin(self, message: Message, asked: Pending, name: str) -> tuple[Round, Deliver]:
        """Make a task of a call.

        Args:
            asked: the client's request, which the returned message answers.
            name: id of the request that the bridge sends to the server.

        Returns:
            The call to send, and the response to the client.
        """
        pending = Pending(name, encode(name), asked.method, asked.received, modern=True)
        call = Round(pending, message)
        call.client_task, call.follows_tasks = self._new_id(), True
        now = self._clock()
        ttl = _ttl(messages.member(messages.member(message.params, "task"), "ttl"))
        task = self._tasks[call.client_task] = _Task(call.client_task, now, now, ttl, call)
        self._core.answered(asked)
        self._core.pending[pending.key] = pending
        return call, Deliver(messages.response(asked.raw_id, encode({"task": task.shown})), asked)

    # --- requests of tasks ------------------------------------------------------------------------

    def request(self, message: Message, pending: Pending) -> list[Effect]:
        """Handle a request of the client, one of :data:`REQUESTS` other than ``tasks/cancel``."""
        self._forget()
        if message.method_name == "tasks/list":
            return self._list(message, pending)
        task = self._tasks.get(_id_in(message))
        if task is None:
            return [self._refused(pending, _UNKNOWN.format(_id_in(message)[:200]))]
        if message.method_name == "tasks/get":
            return [self._answer(pending, encode(task.shown))]
        if task.outcome is not None:
            return [self._result(task, task.outcome, pending)]
        task.waiters.append(pending)
        held, task.held = task.held, []
        return [*held]

    def cancel(self, message: Message, pending: Pending) -> tuple[Round | None, list[Effect]]:
        """Handle ``tasks/cancel``; return the call to give up as well, None if there is none."""
        self._forget()
        task = self._tasks.get(_id_in(message))
        if task is None:
            return None, [self._refused(pending, _UNKNOWN.format(_id_in(message)[:200]))]
        if task.status:
            return None, [self._refused(pending, f"the task has ended already; its status is {task.status}")]
        outcome = messages.error(task.call.pending.raw_id, CANCELLED, "the client cancelled the task")
        effects = self._ended(task, outcome, "cancelled")
        return task.call, [self._answer(pending, encode(task.shown)), *effects]

    def _list(self, message: Message, pending: Pending) -> list[Effect]:
        if messages.member(message.params, "cursor"):
            return [self._refused(pending, "params.cursor is none of this list, which has one page")]
        tasks = [task.shown for task in reversed(self._tasks.values())]
        return [self._answer(pending, encode({"tasks": tasks}))]

    def _answer(self, pending: Pending, result: bytes) -> Deliver:
        self._core.answered(pending)
        return Deliver(messages.response(pending.raw_id, result), pending)

    def _refused(self, pending: Pending, text: str) -> Deliver:
        self._core.answered(pending)
        return Deliver(messages.error(pending.raw_id, INVALID_PARAMS, text), pending)

    # --- what becomes of the calls ----------------------------------------------------------------

    def asks(self, call: Round, questions: list[Deliver]) -> list[Effect]:
        """Put the questions of a call to the client, or keep them until it asks for the result of its task."""
        task = self._tasks.get(call.client_task)
        if task is None:
            return [*questions]
        task.updated = self._clock()
        if not self._waiting(task):
            task.held += questions
            return [self._told(task)]
        return [self._told(task), *questions]

    def settle(self, effects: list[Effect]) -> list[Effect]:
        """Keep the responses to calls that run for tasks; return what is left to do."""
        if not self.running:
            return effects
        kept: list[Effect] = []
        for effect in effects:
            answered = effect.answered if isinstance(effect, Deliver) else None
            task = None if answered is None else self._run_by(answered)
            if task is None or not isinstance(effect, Deliver):
                kept.append(effect)
            else:
                kept += self._ended(task, effect.message, _status(effect.message))
        return kept

    def _run_by(self, call: Pending) -> _Task | None:
        """Return the running task of a call."""
        running = (task for task in self._tasks.values() if not task.status)
        return next((task for task in running if task.call.pending is call), None)

    def _ended(self, task: _Task, outcome: Message, status: str) -> list[Effect]:
        """Note the outcome of a task, and answer who waits for it."""
        task.outcome, task.status, task.updated, task.held = outcome, status, self._clock(), []
        waiting, task.waiters = self._waiting(task), []
        effects: list[Effect] = [self._told(task), *(self._result(task, outcome, each) for each in waiting)]
        self._tasks[task.id] = self._tasks.pop(task.id)  # the one that ended last is forgotten last
        self._forget()
        return effects

    def _waiting(self, task: _Task) -> list[Pending]:
        """Return the requests for a result that the client has not cancelled."""
        task.waiters = [each for each in task.waiters if self._core.pending.get(each.key) is each]
        return task.waiters

    def _told(self, task: _Task) -> Deliver:
        return Deliver(messages.notification("notifications/tasks/status", encode(task.shown)))

    def _result(self, task: _Task, outcome: Message, pending: Pending) -> Deliver:
        self._core.answered(pending)
        result = about_task(outcome.result, task.id) if outcome.result else b""
        return Deliver(messages.rebuild(outcome, pending.raw_id, result=result), pending)

    def _forget(self) -> None:
        """Forget ended tasks whose time is over, and the oldest ones beyond the limits."""
        now = self._clock()
        ended = [task for task in self._tasks.values() if task.status]
        size = sum(task.size for task in ended)
        for place, task in enumerate(ended, 1):
            last = place == len(ended)
            crowded = len(ended) - place >= MAX_FINISHED or (size > MAX_FINISHED_BYTES and not last)
            if crowded or now >= task.created + task.ttl / 1000:
                size -= task.size
                del self._tasks[task.id]


def about_task(payload: bytes, task: str) -> bytes:
    """Return params or a result that name a task in ``_meta``."""
    return messages.with_meta(payload, RELATED_TASK, encode({"taskId": task}))


def may_be_task(tool: bytes) -> bytes:
    """Return a tool of a list, as one that a client may run as a task unless the server says otherwise."""
    if messages.member(tool, "execution"):
        return tool
    return messages.with_member(tool, "execution", b'{"taskSupport":"optional"}')


def _id_in(message: Message) -> str:
    return text_of(messages.member(message.params, "taskId"))


def _ttl(raw: bytes) -> int:
    value = value_of(raw) if raw else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        return DEFAULT_TTL
    return int(min(value, MAX_TTL))


def _status(outcome: Message) -> str:
    """Return the status of a task whose call has this outcome."""
    failed = outcome.error or messages.member(outcome.result, "isError") == b"true"
    return "failed" if failed else "completed"


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""Tasks with which a modern server answers the calls of a client that does not know them (SEP-2663). Pure.

The bridge asks the server for each task until it has ended (docs/reference/eras.md);
:mod:`mcp_ws_ide.core.bridges.legacy_client` decides what becomes of the call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.methods import CAPABILITIES_KEY, TASKS
from mcp_ws_ide.core.bridges.rounds import InputRequest, Round
from mcp_ws_ide.core.effects import Again, Effect, Forward, Pending
from mcp_ws_ide.core.lenient_json import encode, error_code, members_of, object_of
from mcp_ws_ide.core.messages import IdKey, Message
from mcp_ws_ide.core.session import SessionCore
from mcp_ws_ide.errors import CANCELLED, INTERNAL_ERROR

MISSING_CAPABILITY: Final = -32021
"""Error code: the client did not declare a capability that its request needs (MCP 2026-07-28)."""
SHORTEST: Final = 0.1
"""Seconds until a task is asked for again, at least."""
LONGEST: Final = 30.0
"""Seconds until a task is asked for again, at most."""
DEFAULT_MS: Final = 1000.0
"""Milliseconds until a task is asked for again, if the server names no time."""
UNREADABLE: Final = "unreadable"
"""Stands for the status of a task that cannot be read; none of SEP-2663."""
NAME: Final = "\0mcp-ws-task-"
"""Start of the ids of the bridge's requests about tasks."""

Send = Callable[[Pending, str, dict[str, Any]], Forward]


class State(msgspec.Struct):
    """What ``tasks/get`` returns; of the members, those that matter here."""

    status: str = ""
    poll: Any = msgspec.field(name="pollIntervalMs", default=None)
    result: Raw = Raw()
    error: Raw = Raw()
    requests: dict[str, InputRequest] = msgspec.field(name="inputRequests", default_factory=dict)


class FollowedTasks:
    """The tasks of a server that one session's calls wait for.

    Args:
        core: the session's; the bridge's own requests are entered there.
        send: sends a request of the bridge, given its entry, method and params.
    """

    def __init__(self, core: SessionCore, send: Send) -> None:
        self._core, self._send = core, send
        self._asked: dict[IdKey, Round | None] = {}
        """Requests about tasks that are in flight; None for those whose response says nothing."""
        self._due: list[Round] = []
        """Calls whose tasks are asked for with the next :meth:`again`."""
        self._count = 0

    def new_name(self) -> str:
        """Return the id for one more request of the bridge about tasks."""
        self._count += 1
        return f"{NAME}{self._count}"

    def ask(self, call: Round, method: str = "tasks/get", **params: Any) -> Forward:
        """Send a request about the task of a call, whose response :meth:`response` returns."""
        return self._request(call, call, method, params)

    def cancel(self, call: Round) -> Forward:
        """Cancel the task of a call that nobody waits for any more."""
        return self._request(call, None, "tasks/cancel", {})

    def _request(self, call: Round, to: Round | None, method: str, params: dict[str, Any]) -> Forward:
        name = self.new_name()
        pending = Pending(name, encode(name), method, call.pending.received, modern=True)
        self._core.pending[name] = pending
        self._asked[name] = to
        return self._send(pending, method, {"taskId": call.server_task, **params})

    def later(self, call: Round, milliseconds: Any) -> list[Effect]:
        """Ask for the task of a call again when the time is over that the server has named."""
        named = isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool)
        seconds = (milliseconds if named else DEFAULT_MS) / 1000
        self._due.append(call)
        return [Again(min(max(seconds, SHORTEST), LONGEST))] if len(self._due) == 1 else []

    def again(self) -> list[Effect]:
        """Ask for the tasks that are due."""
        due, self._due = self._due, []
        return [self.ask(call) for call in due if self._core.pending.get(call.pending.key) is call.pending]

    def takes(self, message: Message) -> bool:
        """Return whether a response is about a task."""
        return message.id_key in self._asked

    def response(self, message: Message) -> Round | None:
        """Return the call that a response about a task is for; None if it is for none that is still open."""
        call = self._asked.pop(message.id_key, None)
        return call if call is not None and self._core.pending.get(call.pending.key) is call.pending else None


def read_state(result: bytes) -> State:
    """Return the state of a task; one with the status :data:`UNREADABLE` if it cannot be read."""
    try:
        return msgspec.json.decode(result, type=State)
    except (msgspec.DecodeError, RecursionError):
        return State(UNREADABLE)


def outcome_of(state: State, raw_id: bytes) -> Message | None:
    """Return the response to a call whose task is in this state; None if the task has not ended.

    Args:
        raw_id: the id of the call, as JSON.
    """
    if state.status == "completed":
        response = messages.response(raw_id, bytes(state.result) or b"{}")
        response.odd = True  # nobody has looked at what the server has wrapped
        return response
    if state.status == "failed" and state.error:
        return messages.failure(raw_id, bytes(state.error))
    if state.status == UNREADABLE:
        text = "what the server says of the task with which it answered cannot be read"
        return messages.error(raw_id, INTERNAL_ERROR, text, {"outcome": "unknown"})
    if state.status in ("failed", "cancelled"):
        text = f"the server's task has ended; its status is {state.status}"
        return messages.error(raw_id, CANCELLED, text, {"outcome": "unknown"})
    return None


def needs_tasks(error: bytes) -> bool:
    """Return whether a server refuses a call because only clients that follow tasks can make it."""
    if error_code(error) != MISSING_CAPABILITY:
        return False
    data = messages.member(error, "data")
    extensions = messages.member(messages.member(data, "requiredCapabilities"), "extensions")
    return TASKS in members_of(extensions)


def offers_tasks(capabilities: dict[str, Any]) -> bool:
    """Return whether a server's capabilities have the extension."""
    extensions = capabilities.get("extensions")
    return isinstance(extensions, dict) and TASKS in extensions


def declaring(envelope: dict[str, Any]) -> dict[str, Any]:
    """Return the envelope of a request whose answer may be a task."""
    capabilities = object_of(bytes(envelope.get(CAPABILITIES_KEY, b"{}")))
    extensions = capabilities.get("extensions")
    known = extensions if isinstance(extensions, dict) else {}
    declared = {**capabilities, "extensions": {**known, TASKS: {}}}
    return {**envelope, CAPABILITIES_KEY: Raw(encode(declared))}

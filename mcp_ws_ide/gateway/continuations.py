"""Which session was given a ``requestState`` or a task: a call may continue only with the rights with which it began.

A call that waits for answers (MCP 2026-07-28, basic/patterns/mrtr) is continued by a request of its own, and a task
(SEP-2663 and 2025-11-25) is read, updated and cancelled by requests of their own, which may come in other sessions. A
gateway token that allows certain tools only must not continue a call of a wider one, or read its result. Knows nothing
of calls; it compares what was handed out with what comes back.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.methods import TASK_LIST, TASK_METHODS, TASK_RESULT
from mcp_ws_ide.core.lenient_json import members_of, text_of, texts_of
from mcp_ws_ide.core.messages import Message
from mcp_ws_ide.core.multiplexer import LISTEN
from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.errors import INVALID_PARAMS, METHOD_NOT_FOUND
from mcp_ws_ide.links.base import LinkInfo

MAX_KEPT: Final = 4096
"""Number of the newest states and tasks that are remembered for one server."""
_STATE: Final = "requestState"
_TASK: Final = "taskId"
_NAMES: Final = (_STATE.encode(), _TASK.encode())
NOT_ITS_OWN: Final = (
    "this requestState was given to another credential, or is no longer known; make the call again without it"
)
NO_LIST: Final = (
    "Method not found: this credential is for some tools only, and the list may have tasks of others"
)
NOT_ITS_TASK: Final = "this task was given to another credential, or is no longer known; make the call again"


class Continuations:
    """The states and tasks that sessions with restricted gateway tokens were given, for one server."""

    def __init__(self) -> None:
        self._holders: OrderedDict[bytes, tuple[str, ToolRules]] = OrderedDict()

    def given(self, result: bytes, info: LinkInfo) -> None:
        """Note the state or task in a result for the client of a link, if its token is restricted."""
        if info.tools is None or not any(name in result for name in _NAMES):
            return
        members = members_of(result)
        members = {**members_of(bytes(members.get("task", b""))), **members}  # of 2025-11-25
        for name in (_STATE, _TASK):
            if value := bytes(members.get(name, b"")):
                self._holders[_digest(name, text_of(value))] = info.principal, info.tools
                if len(self._holders) > MAX_KEPT:
                    self._holders.popitem(last=False)

    def refusal(self, message: Message, info: LinkInfo) -> tuple[int, str] | None:
        """Return code and text of the error for a restricted token that continues a call of another; None if it may."""
        if info.tools is None:
            return None
        if message.method_name == TASK_LIST:
            return METHOD_NOT_FOUND, NO_LIST
        state = messages.member(message.params, _STATE)  # its name may be escaped
        if state and not self._holds(_STATE, text_of(state), info):
            return INVALID_PARAMS, NOT_ITS_OWN
        if not all(self._holds(_TASK, task, info) for task in _tasks_of(message)):
            return INVALID_PARAMS, NOT_ITS_TASK
        return None

    def _holds(self, name: str, value: str, info: LinkInfo) -> bool:
        return self._holders.get(_digest(name, value)) == (info.principal, info.tools)


def _tasks_of(message: Message) -> list[str]:
    """Return the ids of the tasks that a request names."""
    if message.method_name in TASK_METHODS or message.method_name == TASK_RESULT:
        return [text_of(messages.member(message.params, _TASK))]
    if message.method_name != LISTEN:
        return []
    return texts_of(messages.member(messages.member(message.params, "notifications"), "taskIds"))


def _digest(name: str, value: str) -> bytes:
    """Return the digest of a state or task, which may be long."""
    return hashlib.sha256(f"{name}:{value}".encode("utf-8", "surrogatepass")).digest()

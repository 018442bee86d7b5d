"""Which calls can be continued at this gateway: what it handed out in results of single POSTs.

A call that waits for answers (``requestState``; MCP 2026-07-28, basic/patterns/mrtr) is continued by a request of its
own, and so is a task (SEP-2663). Where several gateways share an engine, that request may reach another gateway than
the one that parked the call, or whose server process sealed the state or runs the task. Knows nothing of calls; it
compares what was handed out with what comes back.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final

import msgspec

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.methods import TASK_METHODS
from mcp_ws_ide.core.lenient_json import members_of, text_of
from mcp_ws_ide.errors import MalformedMessageError

MAX_KEPT: Final = 4096
"""Number of the newest states and tasks that are remembered."""
_STATE: Final = "requestState"
_TASK: Final = "taskId"
_NAMES: Final = (_STATE.encode(), _TASK.encode())


class ContinuedCall(msgspec.Struct, frozen=True):
    """A call that was handed out.

    Attributes:
        principal, server: whose call it is, and at which server.
        digest: of the state or the task.
    """

    principal: str
    server: str
    digest: bytes


class HandedOut:
    """The states and tasks in results of single POSTs."""

    def __init__(self) -> None:
        self._calls: OrderedDict[ContinuedCall, None] = OrderedDict()

    def note(self, principal: str, server: str, result: bytes) -> None:
        """Note the state or task in a result, if it has one."""
        if not any(name in result for name in _NAMES):
            return
        members = members_of(result)
        for name in (_STATE, _TASK):
            if value := bytes(members.get(name, b"")):
                self._calls[ContinuedCall(principal, server, _digest(name, value))] = None
                if len(self._calls) > MAX_KEPT:
                    self._calls.popitem(last=False)

    def __contains__(self, call: ContinuedCall) -> bool:
        return call in self._calls


def continued_call(body: bytes, principal: str, server: str) -> ContinuedCall | None:
    """Return the call that a request continues; None if it continues none, or cannot be read.

    Args:
        body: one message.
        server: name of the server that it is for.
    """
    if not any(name in body for name in _NAMES):
        return None
    try:
        message = messages.parse(body)
    except MalformedMessageError:
        return None
    if state := messages.member(message.params, _STATE):
        return ContinuedCall(principal, server, _digest(_STATE, state))
    member = TASK_METHODS.get(message.method_name)
    if member is not None and (task := messages.member(message.params, member)):
        return ContinuedCall(principal, server, _digest(_TASK, task))
    return None


def _digest(name: str, value: bytes) -> bytes:
    """Return the digest of a state or task, which may be long; its JSON text may differ between two spellings."""
    return hashlib.sha256(f"{name}:{text_of(value)}".encode("utf-8", "surrogatepass")).digest()

"""One call of a bridged client of the handshake era, which may take several requests to its modern server. Pure."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from mcp_ws_ide.core.effects import Pending
from mcp_ws_ide.core.messages import IdKey, Message


class InputRequest(msgspec.Struct):
    """A question of a server (MCP 2026-07-28, basic/patterns/mrtr)."""

    method: str
    params: Raw = Raw(b"{}")


class Result(msgspec.Struct):
    """What a result says of the rest of its call; the defaults are those of a complete one."""

    kind: str = msgspec.field(name="resultType", default="complete")
    requests: dict[str, InputRequest] = msgspec.field(name="inputRequests", default_factory=dict)
    state: Raw = msgspec.field(name="requestState", default=Raw())


class Round:
    """One call.

    Attributes:
        pending: the request that its result answers.
        rounds: rounds of questions so far.
        state: the server's ``requestState``, as JSON.
        waiting: the server's keys of unanswered questions, by their ids toward the client.
        responses: the client's answers, by the server's keys.
        client_task: id of the client's task that the call runs for (2025-11-25); ``""`` for none.
        follows_tasks: whether the server is told that its answer may be a task (SEP-2663).
        server_task: id of the task with which the server has answered; ``""`` for none.
        asked: the server's keys of all questions of that task so far.
    """

    def __init__(self, pending: Pending, message: Message) -> None:
        self.pending = pending
        self.message = message
        self.rounds = 0
        self.state = b""
        self.waiting: dict[IdKey, str] = {}
        self.responses: dict[str, Raw] = {}
        self.client_task = ""
        self.follows_tasks = False
        self.server_task = ""
        self.asked: set[str] = set()
